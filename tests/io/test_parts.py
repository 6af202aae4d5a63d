"""Files that say which part of a structure lies where."""

import numpy as np
import pytest
from PIL import Image

from cxr_attn_unet.io import UNKNOWN, RadiographError, read_parts, right_and_left
from cxr_attn_unet.io.parts import PAIRS


def write(path, values, dtype=np.uint16):
    Image.fromarray(np.asarray(values, dtype)).save(path)
    return path


def pairs_of_ribs():
    """Two pairs of ribs on each side of a spine that leans to one side."""
    bits = np.zeros((40, 60), np.uint16)
    bits[5:8, 5:20] |= 1
    bits[5:8, 26:40] |= 1
    bits[25:28, 15:30] |= 2
    bits[25:28, 36:50] |= 2
    return bits


def test_bits_are_read_as_they_are(tmp_path):
    bits = np.array([[0, 1], [3, 1 << 23]])
    assert (read_parts(write(tmp_path / "a.tif", bits, np.int32), 24) == bits).all()


def test_more_bits_than_parts_are_refused(tmp_path):
    with pytest.raises(RadiographError, match=r"a.png: has values other than the bits of 2 parts \(0 to 3\)"):
        read_parts(write(tmp_path / "a.png", [[0, 4]]), 2)


def test_pixels_whose_parts_are_not_known_are_read(tmp_path):
    bits = np.array([[0, UNKNOWN], [3, 1]])
    assert (read_parts(write(tmp_path / "a.tif", bits, np.int32), 2) == bits).all()


@pytest.mark.parametrize(("value", "coding"), [(-2, None), (UNKNOWN, PAIRS)])
def test_other_negative_numbers_are_refused(tmp_path, value, coding):
    with pytest.raises(RadiographError, match=r"a.tif: has values other than the bits"):
        read_parts(write(tmp_path / "a.tif", [[0, value]], np.int32), 2, coding)


def test_the_right_rib_of_a_pair_is_the_one_left_of_the_spine(tmp_path):
    bits = read_parts(write(tmp_path / "a.png", pairs_of_ribs()), 4, PAIRS)
    assert (bits[6, 10], bits[26, 20]) == (1 << 0, 1 << 1)


def test_the_left_rib_of_a_pair_follows_the_right_ones(tmp_path):
    bits = read_parts(write(tmp_path / "a.png", pairs_of_ribs()), 4, PAIRS)
    assert (bits[6, 30], bits[26, 40]) == (1 << 2, 1 << 3)


def test_ribs_that_cross_keep_both_bits(tmp_path):
    pairs = pairs_of_ribs()
    pairs[5:8, 5:20] |= 2
    bits = read_parts(write(tmp_path / "a.png", pairs), 4, PAIRS)
    assert bits[6, 10] == (1 << 0) | (1 << 1)


def test_the_right_organ_is_the_one_on_the_left():
    mask = np.zeros((20, 40), bool)
    mask[5:15, 3:12] = True
    mask[5:15, 25:38] = True
    right, _ = right_and_left(mask)
    assert np.flatnonzero(right.any(0)).tolist() == list(range(3, 12))


def test_right_and_left_together_are_the_mask():
    mask = np.zeros((20, 40), bool)
    mask[5:15, 3:12] = True
    mask[5:15, 25:38] = True
    mask[0, 39] = True
    right, left = right_and_left(mask)
    assert ((right ^ left) == mask).all()


@pytest.mark.parametrize("columns", [slice(3, 38), slice(3, 12)], ids=["fused", "one only"])
def test_organs_that_cannot_be_told_apart_have_no_side(columns):
    mask = np.zeros((20, 40), bool)
    mask[5:15, columns] = True
    mask[0, 39] = True  # a speck
    assert right_and_left(mask) is None
