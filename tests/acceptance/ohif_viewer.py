"""OHIF, a viewer of hospitals, on a real archive: a Segmentation of this package must lie where its masks are.

Run by "make test-viewer". Starts Orthanc, stores an open radiograph as DX with its Segmentation, opens both in OHIF in
a headless Chromium, and compares the colours on the screen with the masks. Writes the picture of the documentation.

    python tests/acceptance/ohif_viewer.py OHIF OUTPUT

OHIF is the folder "dist" of the npm package @ohif/app.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pydicom
from PIL import Image
from pydicom.uid import generate_uid

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "tests"), str(REPOSITORY / "tests" / "dicom_network")]

from pacs import orthanc, wait_until  # noqa: E402

from cxr_attn_unet import Segmenter  # noqa: E402
from samples import write_dicom  # noqa: E402

RADIOGRAPH = REPOSITORY / "examples" / "open_radiographs" / "00cfd1c1.png"
STRUCTURES = ("lungs", "heart")
LEAST_DICE = 0.97  # of the colours on the screen, whose outlines are some pixels wide
COVERED = 60  # pixels at the upper and lower side of the canvas, where texts and buttons lie over the picture
COLOURED = 30  # difference of red and blue, of 255; a radiograph is grey
MILLISECONDS = 900_000  # the machine may be busy
WINDOW = {"width": 1000, "height": 700}
QUIET = "--no-sandbox --use-gl=angle --use-angle=swiftshader --enable-unsafe-swiftshader --disable-quic --no-first-run "
QUIET += "--disable-background-networking --disable-component-update --disable-sync"
DATA_SOURCE = {
    "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
    "sourceName": "dicomweb",
    "configuration": {
        "friendlyName": "Orthanc",
        "name": "orthanc",
        "wadoUriRoot": "/wado",
        "qidoRoot": "/dicom-web",
        "wadoRoot": "/dicom-web",
        "qidoSupportsIncludeField": False,
        "imageRendering": "wadors",
        "thumbnailRendering": "wadors",
        "enableStudyLazyLoad": True,
        "bulkDataURI": {"enabled": True, "relativeResolution": "studies"},
        "omitQuotationForMultipartRequest": True,
    },
}
CONFIG = {
    "extensions": [],
    "modes": [],
    "customizationService": {"ohif.tours": {"$set": []}},
    "maxNumberOfWebWorkers": 1,
    "investigationalUseDialog": {"option": "never"},
    "defaultDataSourceName": "dicomweb",
    "dataSources": [DATA_SOURCE],
}
# on the page, in CSS pixels: [x of the radiograph's first pixel, y, x of its last one, y], and the canvas' sides
PLACE = """() => {
  const services = window.services;
  const id = services.viewportGridService.getState().activeViewportId;
  const viewport = services.cornerstoneViewportService.getCornerstoneViewport(id);
  const image = viewport.getImageData();
  const box = viewport.canvas.getBoundingClientRect();
  const [columns, rows] = image.dimensions;
  const corners = [[0, 0, 0], [columns - 1, rows - 1, 0]];
  const pixels = corners.flatMap((index) => {
    const [x, y] = viewport.worldToCanvas(image.imageData.indexToWorld(index));
    return [x + box.left, y + box.top];
  });
  return [pixels, [box.left, box.top, box.right, box.bottom]];
}"""


def served(viewer: Path, archive: int) -> int:
    """The viewer, and the archive below the same address, as a proxy would serve them; returns the port."""

    class Handler(SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(viewer))

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            path = self.path.split("?")[0]
            if path.startswith(("/dicom-web", "/wado")):
                self._from_archive()
            elif path == "/app-config.js":
                self._answer(200, "text/javascript", f"window.config = {json.dumps(CONFIG)};".encode())
            else:
                if not (viewer / path.lstrip("/")).is_file():
                    self.path = "/index.html"
                super().do_GET()

        def _from_archive(self) -> None:
            request = urllib.request.Request(f"http://127.0.0.1:{archive}{self.path}")
            request.add_header("Accept", self.headers.get("Accept", "*/*"))
            try:
                with urllib.request.urlopen(request, timeout=600) as answer:
                    self._answer(answer.status, answer.headers.get("Content-Type", ""), answer.read())
            except urllib.error.HTTPError as error:
                self._answer(error.code, "text/plain", error.read())

        def _answer(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_port


def write_study(folder: Path) -> tuple[Path, Path, dict[str, np.ndarray]]:
    """An open radiograph as DX, its Segmentation, and the masks in it."""
    pixels = np.asarray(Image.open(RADIOGRAPH).convert("L"))
    identity = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    about = {"PatientID": "example", "PatientName": "Example", "StudyDate": "20240101", "BodyPartExamined": "CHEST"}
    lying = {"PatientOrientation": ["L", "F"], "ImagerPixelSpacing": [0.3, 0.3]}
    numbers = {"SeriesNumber": 1, "InstanceNumber": 1}
    path = write_dicom(folder / "a.dcm", pixels, bits=8, **identity, **about, **lying, **numbers)
    found = Segmenter.from_bundles(STRUCTURES)(path)
    (segmentation,) = found.save(folder, ["dicom-seg-plane"])
    return path, segmentation, dict(found.masks)


def dice_on_screen(screen: np.ndarray, masks: dict[str, np.ndarray], place: list[list[float]]) -> dict[str, float]:
    """Dice between each mask and the pixels of its colour; orange are the lungs, blue is the heart.

    Args:
        screen: ``(height, width, 3)``.
        masks: by structure, ``(rows, columns)``.
        place: centres of the first and the last pixel on the screen, and the canvas' sides.
    """
    (left, top, right, bottom), canvas = place
    first_x, first_y, last_x, last_y = (round(side) for side in canvas)
    rows, columns = masks["lungs"].shape
    ys, xs = np.mgrid[first_y + COVERED : last_y - COVERED, first_x:last_x]
    i = np.rint((ys - top) * (rows - 1) / (bottom - top)).astype(int)
    j = np.rint((xs - left) * (columns - 1) / (right - left)).astype(int)
    inside = (i >= 0) & (i < rows) & (j >= 0) & (j < columns)
    red, blue = (screen[ys, xs, channel].astype(int) for channel in (0, 2))
    shown = {"lungs": red - blue > COLOURED, "heart": blue - red > COLOURED}
    result = {}
    for structure, coloured in shown.items():
        expected = np.zeros(ys.shape, bool)
        expected[inside] = masks[structure][i[inside], j[inside]]
        seen = coloured & inside
        result[structure] = 2 * float((seen & expected).sum()) / float(seen.sum() + expected.sum())
    return result


def main(viewer: Path, output: Path) -> None:
    from playwright.sync_api import sync_playwright

    output.mkdir(parents=True, exist_ok=True)
    program = shutil.which("chromium") or shutil.which("google-chrome")
    with tempfile.TemporaryDirectory() as temporary, orthanc(Path(temporary) / "orthanc") as archive:
        folder = Path(temporary) / "study"
        folder.mkdir()
        radiograph, segmentation, masks = write_study(folder)
        for path in (radiograph, segmentation):
            request = urllib.request.Request(f"http://127.0.0.1:{archive.http}/instances", path.read_bytes())
            urllib.request.urlopen(request).close()
        header = pydicom.dcmread(segmentation)
        address = f"http://127.0.0.1:{served(viewer, archive.http)}/viewer?StudyInstanceUIDs={header.StudyInstanceUID}"
        with sync_playwright() as started:
            browser = started.chromium.launch(executable_path=program, args=QUIET.split(), timeout=MILLISECONDS)
            tab = browser.new_page(viewport=WINDOW)
            tab.set_default_timeout(MILLISECONDS)
            tab.goto(f"{address}&initialSeriesInstanceUID={header.SeriesInstanceUID}")
            tab.get_by_text("Do you want to open this Segmentation?").wait_for()
            tab.get_by_text("Yes", exact=True).first.click()
            wait_until(lambda: is_shown(tab, masks), "the segmentation is shown at its place")
            picture = output / "dicom_ohif.jpg"
            screenshot(tab).save(picture, quality=85)
            found = dice_on_screen(np.asarray(screenshot(tab)), masks, tab.evaluate(PLACE))
            browser.close()
    print(f"On the screen, Dice with the masks: {', '.join(f'{name} {value:.3f}' for name, value in found.items())}")
    print(f"All steps passed. Look at {picture}.")


def is_shown(tab: object, masks: dict[str, np.ndarray]) -> bool:
    """Whether the masks are on the screen, where they should be."""
    found = dice_on_screen(np.asarray(screenshot(tab)), masks, tab.evaluate(PLACE))
    print(f"seen: {found}", flush=True)
    return min(found.values()) >= LEAST_DICE


def screenshot(tab: object) -> Image.Image:
    """What is on the screen."""
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        tab.screenshot(path=file.name)
        return Image.open(file.name).convert("RGB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
