"""The page of many radiographs, as text and in a real browser."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from cxr_attn_unet.output.report import Column, Entry, write_report

COLUMNS = [Column("ctr", "CTR", "", 2, "heart over thorax"), Column("area", "area", "mm²", 0)]
HOSTILE = "<script>alert(1)</script> \"quoted\" 'x' & Röntgen 胸部\n.png"


def jpeg(shade: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.full((40, 30), shade, np.uint8)).save(file, "JPEG")
    return file.getvalue()


def entries():
    yield Entry("b.png", jpeg(10), {"ctr": 0.5, "area": 9.0}, [])
    yield Entry("a.png", jpeg(90), {"ctr": None, "area": 1000.0}, ["looks inverted"], "sub/a b_overlay.jpg")
    yield Entry(HOSTILE, jpeg(200), {"ctr": 0.45, "area": 80.0}, [])
    yield Entry("c.png", b"", {"ctr": 0.61, "area": None}, ["no heart found", "lungs cut off"])


@pytest.fixture
def page(tmp_path):
    path = tmp_path / "report.html"
    write_report(path, entries(), COLUMNS, [("bad.png", "bad.png: the file is empty.")], "A <title>", "version 1 & 2")
    return path


def test_nothing_but_the_file_itself(page):
    text = page.read_text(encoding="utf-8")
    assert not re.search(r"https?:|src=\"(?!data:)|@import|url\(", text)
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "A &lt;title&gt;" in text
    assert "Not segmented: 1" in text
    assert "version 1 &amp; 2" in text
    assert "not for diagnosis" in text
    assert 'href="sub/a%20b_overlay.jpg"' in text
    assert "胸部" in text
    assert "<!--" not in text.replace("<!doctype", "")


def test_text_in_a_column(tmp_path):
    entry = Entry("a.png", b"", {"spacing": "detector"}, [])
    write_report(tmp_path / "report.html", [entry], [Column("spacing", "spacing")])
    assert "<td>detector</td>" in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_no_radiographs(tmp_path):
    write_report(tmp_path / "report.html", [], COLUMNS)
    assert "Not segmented" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_nothing_half_written(tmp_path):
    def broken():
        yield next(entries())
        raise RuntimeError("the disk went away")

    with pytest.raises(RuntimeError, match="went away"):
        write_report(tmp_path / "report.html", broken(), COLUMNS)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def opened(browser, page):
    """Opens the page, and makes sure that it asked for nothing else and complained of nothing."""
    asked, complaints = [], []
    tab = browser.new_page()
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))

    def one(fragment: str = ""):
        tab.goto(page.as_uri() + fragment)
        return tab

    yield one
    tab.close()
    assert not complaints
    assert all(url.startswith((page.as_uri(), "data:image/jpeg")) for url in asked)


def names(tab) -> list[str]:
    return [name.split(" ")[0] for name in tab.locator("tbody tr:visible td.name").all_inner_texts()]


def test_sorting(opened):
    tab = opened()
    assert names(tab) == ["b.png", "a.png", "<script>alert(1)</script>", "c.png"]
    ratio, area, name = (tab.get_by_role("button", name=text) for text in ("CTR", "area", "radiograph"))
    ratio.click()
    assert names(tab) == ["<script>alert(1)</script>", "b.png", "c.png", "a.png"]  # what was not measured comes last
    assert tab.locator("th[data-key=ctr]").get_attribute("aria-sort") == "ascending"
    ratio.click()
    assert names(tab) == ["c.png", "b.png", "<script>alert(1)</script>", "a.png"]
    area.click()  # by number, not by letter: 9 before 80 before 1000
    assert names(tab) == ["b.png", "<script>alert(1)</script>", "a.png", "c.png"]
    name.press("Enter")
    assert names(tab)[1:] == ["a.png", "b.png", "c.png"]
    tab.get_by_role("button", name="warnings").click()
    assert names(tab)[-2:] == ["a.png", "c.png"]


def test_filters(opened):
    tab = opened()
    assert tab.locator("#count").inner_text() == "4 of 4 radiographs"
    tab.get_by_label("only with warnings").check()
    assert names(tab) == ["a.png", "c.png"]
    tab.get_by_label("Filter by name").fill("C.PN")
    assert names(tab) == ["c.png"]
    assert tab.locator("#count").inner_text() == "1 of 4 radiographs"


def test_link_that_sorts(opened):
    assert names(opened("#sort=ctr&order=desc"))[0] == "c.png"


def test_pictures_are_shown(opened):
    tab = opened()
    # wait_for_function would evaluate a string in the page if its first look came too early, which the page forbids
    sizes = tab.evaluate(
        """Promise.all([...document.images].map(async image => {
            await image.decode();
            return [image.naturalWidth, image.clientHeight];
        }))"""
    )
    assert sizes == [[30, 149]] * 3
