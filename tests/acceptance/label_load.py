"""MONAI Label's real server under load: clients side by side, good requests and bad ones mixed.

Run by tests/soak/test_soak_label.py in MONAI Label's own environment. Prints one line of JSON.

    python tests/acceptance/label_load.py OUTPUT --requests 1000 --clients 8
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import tempfile
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from label_server import ALL, REPOSITORY, Server
from PIL import Image

from cxr_attn_unet_dev.tools.session import Look, look_at

SIDE = 256  # of the radiographs, in pixels
MODELS = ("heart_attn_unet", "lungs_attn_unet", ALL)
# of ten requests, two that can not be answered
PATTERN = ("good",) * 4 + ("bad",) + ("good",) * 4 + ("bad",)
BAD = ("truncated", "text", "missing", "model", "params")
WARM_UP = 0.2  # of the requests
SECONDS = 5.0  # from one look at the server to the next


def write_studies(folder: Path) -> list[str]:
    """Small real radiographs; their names."""
    folder.mkdir(parents=True)
    for source in sorted((REPOSITORY / "examples" / "open_radiographs").glob("*.png"))[:4]:
        Image.open(source).convert("L").resize((SIDE, SIDE)).save(folder / source.name)
    return sorted(path.stem for path in folder.iterdir())


def write_bad(folder: Path, good: Path) -> dict[str, Path]:
    folder.mkdir()
    files = {"truncated": folder / "truncated.png", "text": folder / "text.png", "missing": folder / "missing.png"}
    files["truncated"].write_bytes(good.read_bytes()[:5000])
    files["text"].write_text("no picture")
    return files


class Load:
    """Requests of several clients, and what came of them."""

    def __init__(self, port: int, names: list[str], bad: dict[str, Path]) -> None:
        self._port = port
        self._names = names
        self._bad = bad
        self._lock = threading.Lock()
        self._masks: dict[tuple[str, str], bytes] = {}
        self.seconds: list[float] = []
        self.good = Counter[str]()
        self.bad = Counter[str]()
        self.done = 0

    def request(self, number: int) -> None:
        """Send the request of that number, and note what came of it."""
        kind = PATTERN[number % len(PATTERN)]
        if kind == "good":
            model, name = MODELS[number % len(MODELS)], self._names[number % len(self._names)]
            start = time.monotonic()
            status, body = self._send(model, name)
            outcome = self._judged(model, name, status, body)
            with self._lock:
                self.seconds.append(time.monotonic() - start)
                self.good[outcome] += 1
        else:
            which = BAD[number // 5 % len(BAD)]
            outcome = self._send_bad(which)
            with self._lock:
                self.bad[f"{which}: {outcome}"] += 1
        with self._lock:
            self.done += 1

    def _judged(self, model: str, name: str, status: int, body: bytes) -> str:
        """``right`` if a label came that is the same as all before of that model and radiograph."""
        if status != 200:
            return f"status {status}: {body[:300].decode(errors='replace')}"
        with self._lock:
            first = self._masks.setdefault((model, name), body)
        return "right" if body == first else "another label than before"

    def _send_bad(self, which: str) -> int:
        name = self._names[0]
        if which == "model":
            return self._send("spleen_attn_unet", name)[0]
        if which == "params":
            return self._send(MODELS[0], name, b"params={")[0]
        return self._send(MODELS[0], str(self._bad[which]))[0]

    def _send(self, model: str, image: str, data: bytes = b"") -> tuple[int, bytes]:
        address = f"http://127.0.0.1:{self._port}/infer/{model}?image={urllib.parse.quote(image)}&output=image"
        try:
            with urllib.request.urlopen(urllib.request.Request(address, data, method="POST"), timeout=900) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()
        except OSError as error:
            return 0, str(error).encode()


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def drive(server: Server, load: Load, requests: int, clients: int) -> list[tuple[int, Look]]:
    """Send all requests; what the server had from time to time."""
    looks = []
    numbers = itertools.count()

    def client() -> None:
        while (number := next(numbers)) < requests:
            load.request(number)

    with ThreadPoolExecutor(clients) as pool:
        running = [pool.submit(client) for _ in range(clients)]
        while not all(future.done() for future in running):
            time.sleep(SECONDS)
            looks.append((load.done, look_at(server.process.pid)))
        for future in running:
            future.result()
    return looks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder of the server's log")
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--clients", type=int, default=8)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        names = write_studies(root / "studies")
        bad = write_bad(root / "bad", root / "studies" / f"{names[0]}.png")
        app = REPOSITORY / "apps" / "monailabel"
        shutil.copytree(app, root / "app", ignore=shutil.ignore_patterns("model", "__pycache__"))
        server = Server(root / "app", root / "studies", options.output / "load.log")
        try:
            load = Load(server.port, names, bad)
            looks = drive(server, load, options.requests, options.clients)
            alive = server.process.poll() is None
        finally:
            server.stop()
    warm = [look for done, look in looks if done >= WARM_UP * options.requests]
    found: dict[str, Any] = {
        "good": load.good,
        "bad": load.bad,
        "alive": alive,
        "seconds": {name: percentile(load.seconds, share) for name, share in (("50", 0.5), ("95", 0.95), ("99", 0.99))},
        "memory": [warm[0].memory, warm[-1].memory],
        "files": [warm[0].files, warm[-1].files],
        "threads": [warm[0].threads, warm[-1].threads],
    }
    found["seconds"]["100"] = max(load.seconds)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
