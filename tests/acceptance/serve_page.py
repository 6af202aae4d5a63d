"""The page of ``cxr-attn-unet serve`` with the shipped weights and a real radiograph, as a picture for the docs.

Needs playwright and Chromium. Fails if the page asks anybody but the server, or complains of anything.

    python tests/acceptance/serve_page.py docs/serve.jpg
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY / "tests"))

from http_server import Server  # noqa: E402

RADIOGRAPH = REPOSITORY / "examples" / "open_radiographs" / "19073f37.png"
WINDOW = {"width": 1180, "height": 860}
PATIENCE = 1_800_000  # ms, for machines that are busy
QUALITY = 80  # of the JPEG


def photograph(address: str, output: Path) -> None:
    """Open the page, drop the radiograph on it, and take a picture of it."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        raise SystemExit("needs Chromium")
    asked: list[str] = []
    complaints: list[str] = []
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        tab = browser.new_page(viewport=WINDOW)
        tab.set_default_timeout(PATIENCE)
        tab.on("request", lambda request: asked.append(request.url))
        tab.on("console", lambda message: complaints.append(message.text))
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto(address)
        tab.set_input_files("#file", RADIOGRAPH)
        tab.wait_for_selector("#side:not([hidden])")
        tab.wait_for_timeout(500)  # until the picture is painted
        tab.screenshot(path=output, type="jpeg", quality=QUALITY)
        browser.close()
    foreign = [url for url in asked if not url.startswith((address, "data:"))]
    if complaints or foreign:
        raise SystemExit(f"the page complains of {complaints}, and asks {foreign}")


def main() -> None:
    """Write the picture."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    with tempfile.TemporaryDirectory() as folder:
        server = Server(Path(folder) / "server")
        try:
            photograph(server.address, Path(sys.argv[1]))
        finally:
            server.stop()
    print(sys.argv[1])


if __name__ == "__main__":
    main()
