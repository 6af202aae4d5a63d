"""The command ``cxr-attn-unet serve`` in a process of its own, and a client of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path

START_SECONDS = 1200  # a busy machine starts slowly
ANSWER_SECONDS = 600
STOP_SECONDS = 300


@dataclass(frozen=True)
class Answer:
    """What the server answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict:
        return json.loads(self.body)


class Server:
    """The server, ready when this returns."""

    def __init__(self, folder: Path, *arguments: object) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True)
        self.log = folder / "log"
        command = [sys.executable, "-m", "cxr_attn_unet", "serve", "--port", "0", *map(str, arguments)]
        environment = {**os.environ, "TMPDIR": str(self.temporary), "PYTHONUNBUFFERED": "1"}
        with open(self.log, "w") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT, env=environment)
        end = time.monotonic() + START_SECONDS
        while (port := re.search(r"(?:127\.0\.0\.1:|port )(\d+)", self.text())) is None:
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"the server did not start:\n{self.text()}")
            time.sleep(0.1)
        self.port = int(port.group(1))
        self.address = f"http://127.0.0.1:{self.port}"

    def text(self) -> str:
        """The log so far."""
        return self.log.read_text()

    def ask(self, path: str, method: str = "GET", body: bytes | None = None, **headers: str) -> Answer:
        """Answer of a request; names of headers with ``_`` for ``-``."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.address + path, body, named, method=method)
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_SECONDS) as answer:
                return _answer(answer.status, answer)
        except urllib.error.HTTPError as error:
            return _answer(error.code, error)

    def send(self, name: str, content: bytes, wait: float = 60, field: str = "file", **headers: str) -> Answer:
        """Answer of an upload."""
        head = f'--b\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'
        body = head.encode() + content + b"\r\n--b--\r\n"
        kind = "multipart/form-data; boundary=b"
        return self.ask(f"/api/radiographs?wait={wait}", "POST", body, Content_Type=kind, **headers)

    def segment(self, path: Path) -> dict:
        """The last status of a radiograph, once it has one that is final."""
        status = self.send(path.name, path.read_bytes()).json()
        while status["state"] in ("waiting", "running"):
            status = self.ask(f"/api/radiographs/{status['id']}?wait=60").json()
        return status

    def file(self, status: dict, name: str) -> bytes:
        """A file of a result."""
        answer = self.ask(f"/api/radiographs/{status['id']}/files/{name}")
        assert answer.status == 200, answer
        return answer.body

    def workers(self) -> list[int]:
        """Processes that the server started; Linux only."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        commands = {int(child): Path(f"/proc/{child}/cmdline").read_bytes() for child in children}
        return [child for child, command in commands.items() if b"spawn_main" in command]

    def stop(self) -> int:
        """End the server as a service manager does; its exit status."""
        self.process.terminate()
        return self.process.wait(STOP_SECONDS)


def _answer(status: int, response: HTTPResponse | urllib.error.HTTPError) -> Answer:
    return Answer(status, {name.lower(): value for name, value in response.headers.items()}, response.read())
