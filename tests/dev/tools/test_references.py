"""Radiographs with reference masks, for the programs that measure."""

import numpy as np
import pytest
from PIL import Image

from conftest import phantom, write_folder, write_jsrt
from cxr_attn_unet.datasets import DatasetError
from cxr_attn_unet_dev.tools import references


@pytest.fixture
def places(tmp_path):
    """A data set with hearts, and one with lungs alone."""
    jsrt = write_jsrt(tmp_path / "jsrt", ["JPCLN001", "JPCLN012", "JPCLN029"], ("heart",))
    return [str(write_folder(tmp_path / "others", "lungs", 4)), str(jsrt)]


def test_a_data_set_without_the_structure_is_passed_over(places):
    assert list(references.items_by_dataset(places, "heart", "validation", 5)) == ["jsrt"]


def test_no_more_radiographs_are_taken_than_asked_for(places):
    found = references.items_by_dataset(places, "heart", "validation", 1)
    assert [len(items) for items in found.values()] == [1]


def test_a_structure_that_no_data_set_has_is_an_error(places):
    with pytest.raises(DatasetError, match="clavicles"):
        references.items_by_dataset(places, "clavicles", "validation", 5)


def test_pixels_of_which_nothing_is_known_do_not_count(tmp_path):
    image, _ = phantom(0, 64, 64)
    Image.fromarray(image).save(tmp_path / "image.png")
    drawn = np.full((64, 64), 128, np.uint8)
    drawn[:32] = 255
    Image.fromarray(drawn).save(tmp_path / "mask.png")
    item = {"image": str(tmp_path / "image.png"), "label": str(tmp_path / "mask.png"), "ignore_value": 128}
    assert references.dice_with_reference(np.ones((64, 64), bool), item) == 1.0
