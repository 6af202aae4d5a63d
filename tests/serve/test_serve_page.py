"""The page of ``cxr-attn-unet serve`` in a real browser, in front of a real server."""

import io

import numpy as np
import pydicom
import pytest
from PIL import Image

from http_server import Server
from part_bundles import RIBS, picture_of, rib_masks, write_bundle
from samples import write_dicom

for _package in ("fastapi", "uvicorn", "python_multipart", "highdicom"):
    pytest.importorskip(_package, reason="needs the extra serve")

PATIENCE = 900_000  # ms, for machines that are busy
pytestmark = pytest.mark.timeout(2400)  # a busy machine takes minutes to start a server
MASKS = rib_masks(missing=("R6",))
PICTURE = picture_of(MASKS, RIBS)


@pytest.fixture(scope="module")
def server(browser, tmp_path_factory):
    bundles = tmp_path_factory.mktemp("bundles")
    write_bundle(bundles)
    started = Server(tmp_path_factory.mktemp("server"), "--bundles", bundles)
    yield started
    started.stop()


@pytest.fixture(scope="module")
def tab(server, browser):
    """The page; at the end it must have asked nobody but the server, and complained of nothing."""
    asked, complaints = [], []
    opened = browser.new_page(viewport={"width": 1200, "height": 900}, accept_downloads=True)
    opened.set_default_timeout(PATIENCE)
    opened.on("request", lambda request: asked.append(request.url))
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto(server.address)
    yield opened
    opened.close()
    assert not complaints
    assert [url for url in asked if not url.startswith((server.address, "data:", "blob:"))] == []


def write_radiograph(folder, name="a.dcm"):
    tags = {"StudyInstanceUID": "1.2.3", "SeriesInstanceUID": "1.2.4", "PixelSpacing": [0.5, 0.5]}
    return write_dicom(folder / name, PICTURE, bits=8, **tags)


@pytest.fixture(scope="module")
def shown(tab, tmp_path_factory):
    """The page with a DICOM radiograph that was dropped on it."""
    path = write_radiograph(tmp_path_factory.mktemp("in"))
    drop(tab, path)
    tab.wait_for_selector("#side:not([hidden])")
    return tab


def drop(tab, path):
    """Drop a file on the page, as a file manager does."""
    files = tab.evaluate_handle(
        """([name, bytes]) => {
            const files = new DataTransfer();
            files.items.add(new File([new Uint8Array(bytes)], name));
            return files;
        }""",
        [path.name, list(path.read_bytes())],
    )
    tab.dispatch_event("#stage", "dragover", {"dataTransfer": files})
    tab.dispatch_event("#stage", "drop", {"dataTransfer": files})


def greys(tab) -> np.ndarray:
    """What the canvas shows, ``(rows, columns)`` from 0 to 255, after the next frame."""
    values = tab.evaluate(
        """() => new Promise(resolve => requestAnimationFrame(() => requestAnimationFrame(() => {
            const canvas = document.getElementById("picture");
            const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", {willReadFrequently: true});
            copy.drawImage(canvas, 0, 0);
            const {data} = copy.getImageData(0, 0, canvas.width, canvas.height);
            resolve([canvas.height, canvas.width, Array.from(data.filter((_, index) => index % 4 === 0))]);
        })))"""
    )
    return np.array(values[2]).reshape(values[:2])


def set_slider(tab, name, value):
    tab.eval_on_selector(
        f"#{name}", "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input')); }", value
    )


def visibility(tab, kind):
    return tab.locator(f"#outlines [data-kind={kind}][data-name=ribs]").get_attribute("visibility") or "visible"


def test_the_address_is_said(server):
    assert f"Open {server.address} (this machine alone reaches it" in server.text()


def test_the_radiograph_is_shown_between_its_percentiles(shown):
    shown.get_by_role("button", name="Reset").click()
    low, high = np.percentile(PICTURE, (1, 99))
    expected = np.clip((PICTURE - low) / (high - low), 0, 1) * 255
    assert np.abs(greys(shown) - expected).max() <= 2


def test_window_and_level_change_the_greys(shown):
    set_slider(shown, "level", 100)
    set_slider(shown, "window", 50)
    expected = np.clip((PICTURE - 75.0) / 50, 0, 1) * 255
    assert np.abs(greys(shown) - expected).max() <= 4


def test_a_drag_changes_window_and_level(shown):
    shown.get_by_role("button", name="Reset").click()
    before = [float(shown.input_value(f"#{name}")) for name in ("level", "window")]
    box = shown.locator("#view").bounding_box()
    shown.mouse.move(box["x"] + 100, box["y"] + 100)
    shown.mouse.down()
    shown.mouse.move(box["x"] + 60, box["y"] + 140, steps=4)
    shown.mouse.up()
    after = [float(shown.input_value(f"#{name}")) for name in ("level", "window")]
    assert after[0] > before[0]
    assert after[1] < before[1]


def test_outlines_lie_where_the_structure_is(shown):
    view = shown.locator("#view").bounding_box()
    drawn = shown.locator("#outlines [data-kind=outline][data-name=ribs] path").bounding_box()
    rows, columns = np.nonzero(np.any(list(MASKS.values()), axis=0))
    scale = view["width"] / PICTURE.shape[1]
    expected = [columns.min(), rows.min(), columns.max() + 1 - columns.min(), rows.max() + 1 - rows.min()]
    found = [(drawn["x"] - view["x"]) / scale, (drawn["y"] - view["y"]) / scale]
    found += [drawn["width"] / scale, drawn["height"] / scale]
    # the box has half of the stroke's width around it
    assert np.allclose(found, expected, atol=1.5)


def test_outlines_are_toggled(shown):
    box = shown.get_by_role("checkbox", name="Ribs")
    box.uncheck()
    assert visibility(shown, "outline") == "hidden"
    box.check()
    assert visibility(shown, "outline") == "visible"


def test_ribs_are_numbered(shown):
    texts = shown.locator("#outlines text").all_text_contents()
    assert [text.rstrip("?") for text in texts] == list(MASKS)


def test_numbers_are_toggled(shown):
    box = shown.get_by_role("checkbox", name="numbers")
    box.uncheck()
    assert visibility(shown, "names") == "hidden"
    box.check()


def test_the_opacity_fills_the_outlines(shown):
    set_slider(shown, "opacity", 60)
    assert shown.locator("#outlines .whole").get_attribute("fill-opacity") == "0.6"


def test_measurements_stand_beside_it(shown):
    rows = shown.locator("#measurements tr").all_inner_texts()
    assert "right ribs\t11" in [row.strip() for row in rows]


def test_warnings_stand_beside_it(shown):
    # a picture of bars is no chest
    assert shown.locator("#warnings li").count() >= 1


def test_the_dicom_segmentation_is_downloaded(shown):
    with shown.expect_download() as event:
        shown.get_by_role("link", name="DICOM Segmentation").click()
    assert event.value.suggested_filename == "a.seg.dcm"
    with open(event.value.path(), "rb") as file:
        labels = [one.SegmentLabel for one in pydicom.dcmread(io.BytesIO(file.read())).SegmentSequence]
    assert labels[0] == "Ribs"


def test_another_radiograph_takes_the_place_of_the_first(server, shown, tmp_path):
    first = shown.evaluate("shown.address")
    Image.fromarray(PICTURE).save(tmp_path / "b.png")
    shown.set_input_files("#file", tmp_path / "b.png")
    shown.wait_for_selector("#side[hidden]", state="attached")
    shown.wait_for_selector("#side:not([hidden])")
    assert shown.locator("#name").inner_text() == "b.png"
    assert shown.get_by_role("link", name="DICOM Segmentation").count() == 0
    assert server.ask(f"/{first}").status == 404


def test_a_file_that_cannot_be_used_is_said_with_its_reason(shown, tmp_path):
    (tmp_path / "notes.png").write_text("no picture")
    shown.set_input_files("#file", tmp_path / "notes.png")
    shown.wait_for_selector("#state.bad")
    assert shown.locator("#state").inner_text().startswith("Not segmented: ")
    assert not shown.locator("#view").is_visible()


def test_a_file_that_is_too_large_is_not_sent(shown, tmp_path):
    with open(tmp_path / "large.dcm", "wb") as file:
        file.truncate(101 << 20)
    shown.set_input_files("#file", tmp_path / "large.dcm")
    shown.wait_for_selector("#state.bad")
    assert shown.locator("#state").inner_text() == "Not taken: larger than the 100 MB that this server takes."


def test_the_page_of_the_service_lists_every_address(server, tab):
    tab.goto(f"{server.address}/api")
    tab.wait_for_selector("article[data-path]")
    found = {
        (one.get_attribute("data-method"), one.get_attribute("data-path"))
        for one in tab.locator("article[data-path]").all()
    }
    paths = server.ask("/openapi.json").json()["paths"]
    assert found == {(method, path) for path, methods in paths.items() for method in methods}
