"""A folder with one file that shows a fault of the program."""

import pytest

from cxr_attn_unet.inference.folder import FAILED, TolerantDataset
from cxr_attn_unet.io import RadiographError

ITEMS = [{"image": "a.png"}, {"image": "b.png"}, {"image": "c.png"}]


def prepared(item: dict) -> dict:
    """Preprocessing with a fault that shows with one file, and that refuses another."""
    if item["image"] == "b.png":
        raise AttributeError("no such thing")
    if item["image"] == "c.png":
        raise RadiographError("c.png: the file is empty. Copy it again.")
    return {"image": item["image"].upper()}


@pytest.fixture
def items():
    dataset = TolerantDataset(ITEMS, prepared)
    return [dataset[index] for index in range(len(ITEMS))]


def test_good_files_are_prepared(items):
    assert items[0] == {"image": "A.PNG"}


def test_a_fault_of_the_program_is_told_from_a_bad_file(items):
    assert "b.png: could not be read because of a fault of this program" in items[1][FAILED]


def test_a_bad_file_keeps_its_own_reason(items):
    assert items[2] == {FAILED: "c.png: the file is empty. Copy it again."}


def test_the_traceback_of_a_fault_is_logged(caplog):
    TolerantDataset(ITEMS, prepared)[1]
    assert "AttributeError: no such thing" in caplog.text
