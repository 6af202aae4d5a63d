"""Masks of which some pixels say nothing."""

import numpy as np
import pytest
from PIL import Image

from cxr_attn_unet.io import IGNORED, RadiographError, read_partial_mask

VALUES = np.array([[0, 128, 255], [255, 128, 0]], np.uint8)


@pytest.fixture
def mask_file(tmp_path):
    Image.fromarray(VALUES).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def test_pixels_of_the_ignore_value_are_neither_structure_nor_background(mask_file):
    assert read_partial_mask(mask_file, 128).tolist() == [[0, IGNORED, 1], [1, IGNORED, 0]]


def test_without_an_ignore_value_every_value_but_zero_is_structure(mask_file):
    assert read_partial_mask(mask_file).tolist() == [[0, 1, 1], [1, 1, 0]]


def test_a_file_that_knows_settles_what_another_ignores(mask_file, tmp_path):
    Image.fromarray(np.array([[0, 255, 128], [128, 0, 128]], np.uint8)).save(tmp_path / "b.png")
    union = read_partial_mask([mask_file, tmp_path / "b.png"], 128)
    assert union.tolist() == [[0, 1, 1], [1, IGNORED, IGNORED]]


@pytest.mark.parametrize("value", [0, "128", True])
def test_what_cannot_be_ignored_is_named(mask_file, value):
    with pytest.raises(RadiographError, match=rf"a\.png: {value!r} cannot be the value of pixels to ignore"):
        read_partial_mask(mask_file, value)


@pytest.mark.parametrize("suffix", [".jpg", ".webp"])
def test_a_file_whose_values_are_changed_by_its_compression_has_none_to_ignore(tmp_path, suffix):
    Image.fromarray(VALUES).save(tmp_path / f"a{suffix}")
    with pytest.raises(RadiographError, match=r"its compression changes values.*Save it as PNG"):
        read_partial_mask(tmp_path / f"a{suffix}", 128)


def test_masks_of_several_sizes_are_not_joined(mask_file, tmp_path):
    Image.fromarray(VALUES[:, :2]).save(tmp_path / "b.png")
    with pytest.raises(RadiographError, match="Masks that are joined must have one size"):
        read_partial_mask([mask_file, tmp_path / "b.png"], 128)
