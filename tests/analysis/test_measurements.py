"""Measurements on shapes whose answers are known."""

import numpy as np
import pytest

from cxr_attn_unet.analysis.measurements import (
    MEASUREMENTS,
    clavicle_asymmetry,
    heart_diameter,
    measure,
    midline,
    split_lungs,
    thoracic_diameter,
    withheld,
)


def boxes(*places: tuple[int, int, int, int], size: tuple[int, int] = (200, 240)) -> np.ndarray:
    """Mask with rectangles given as (first row, last row + 1, first column, last column + 1)."""
    mask = np.zeros(size, bool)
    for top, foot, left, right in places:
        mask[top:foot, left:right] = True
    return mask


LUNGS = boxes((40, 160, 20, 100), (40, 160, 140, 220))  # 120 x 80 each, midline between columns 119 and 120
HEART = boxes((110, 150, 90, 170))
CLAVICLES = boxes((30, 40, 30, 110), (30, 40, 130, 210))


def ellipse(row: float, column: float, height: float, width: float, size: tuple[int, int] = (400, 400)) -> np.ndarray:
    y, x = np.mgrid[: size[0], : size[1]]
    return ((y - row) / (height / 2)) ** 2 + ((x - column) / (width / 2)) ** 2 <= 1


def test_known_answers_in_pixels():
    values = measure({"lungs": LUNGS, "heart": HEART, "clavicles": CLAVICLES})
    assert values["heart_diameter"] == 80
    assert values["thoracic_diameter"] == 200
    assert values["cardiothoracic_ratio"] == pytest.approx(0.4)
    assert values["heart_area"] == 3200
    assert values["right_lung_area"] == values["left_lung_area"] == 9600
    assert values["lungs_area"] == 19200
    assert values["lung_ratio"] == 1
    assert values["lung_coverage"] == pytest.approx(0.4)
    assert values["clavicle_asymmetry"] == pytest.approx(0)
    assert (values["length_unit"], values["area_unit"]) == ("px", "px")
    assert set(MEASUREMENTS) < set(values)


def test_known_answers_in_millimetres():
    pixels, mm = measure({"lungs": LUNGS, "heart": HEART}), measure({"lungs": LUNGS, "heart": HEART}, (0.5, 0.2))
    assert mm["heart_diameter"] == pytest.approx(16)  # across columns
    assert mm["heart_area"] == pytest.approx(320)
    assert mm["lungs_area"] == pytest.approx(1920)
    assert mm["cardiothoracic_ratio"] == pixels["cardiothoracic_ratio"]
    assert (mm["length_unit"], mm["area_unit"]) == ("mm", "mm2")


def test_heart_ends_on_two_levels():
    """The extents to both sides are added, not the longest row taken."""
    heart = boxes((100, 110, 80, 130), (140, 150, 110, 180))
    line = heart_diameter(heart)
    assert (line.start, line.stop, line.length) == (80, 179, 100)
    assert line.row == pytest.approx((104.5 + 144.5) / 2)


def test_the_thorax_is_measured_where_each_side_is_widest():
    """The right side's widest point lies lower than the left side's, as in a patient who leans."""
    lungs = boxes((40, 100, 20, 100), (60, 160, 140, 220), (170, 180, 10, 60))
    line = thoracic_diameter(lungs)
    assert (line.start, line.stop) == (10, 219)


def test_the_level_of_the_thorax_lies_between_its_widest_points():
    lungs = boxes((40, 100, 20, 100), (60, 160, 140, 220), (170, 180, 10, 60))
    assert thoracic_diameter(lungs).row == pytest.approx((174.5 + 109.5) / 2)


@pytest.mark.parametrize(
    ("structure", "empty"),
    [("heart", {"cardiothoracic_ratio", "heart_diameter"}), ("lungs", {"cardiothoracic_ratio", "thoracic_diameter"})],
)
def test_ratio_and_diameter_of_an_unreliable_structure_are_withheld(structure, empty):
    values = measure({"lungs": LUNGS, "heart": HEART})
    left = withheld(values, [structure])
    assert {name for name in values if left[name] != values[name]} == empty


def test_what_is_withheld_is_empty():
    assert withheld(measure({"lungs": LUNGS, "heart": HEART}), ["heart"])["cardiothoracic_ratio"] is None


def test_nothing_is_withheld_for_other_structures():
    values = measure({"lungs": LUNGS, "heart": HEART})
    assert withheld(values, ["ribs"]) == values


def test_ellipses():
    heart, lungs = ellipse(250, 210, 120, 160), ellipse(200, 100, 300, 120) | ellipse(200, 300, 300, 120)
    values = measure({"lungs": lungs, "heart": heart}, (0.25, 0.25))
    assert values["cardiothoracic_ratio"] == pytest.approx(160 / 320, abs=0.01)
    assert values["heart_area"] == pytest.approx(np.pi / 4 * 120 * 160 * 0.0625, rel=0.01)


def test_sides_are_the_patients():
    lungs = boxes((40, 160, 20, 100), (40, 160, 140, 180))
    right, left = split_lungs(lungs)
    assert right[:, :120].sum() == 9600
    assert not right[:, 120:].any()
    assert left[:, 120:].sum() == 4800
    assert not left[:, :120].any()
    assert measure({"lungs": lungs})["lung_ratio"] == pytest.approx(0.5)


def test_small_parts_go_with_their_side():
    right, left = split_lungs(LUNGS | boxes((170, 174, 30, 34)))
    assert right.sum() == 9616
    assert left.sum() == 9600


def test_joined_lungs_are_cut_where_they_are_thinnest():
    right, left = split_lungs(LUNGS | boxes((50, 52, 100, 140)))
    assert right.sum() == pytest.approx(9640, abs=4)
    assert left.sum() == pytest.approx(9640, abs=4)
    assert not (right & left).any()


def test_a_single_lung_has_one_side():
    right, left = split_lungs(boxes((40, 160, 20, 100)))
    assert right.sum() == 9600
    assert not left.any()
    assert measure({"lungs": boxes((40, 160, 20, 100))})["lung_ratio"] is None


def test_midline_follows_the_thorax():
    assert midline(LUNGS) == pytest.approx(119.5)
    assert midline(np.roll(LUNGS, 10, 1)) == pytest.approx(129.5)
    # what the diaphragm leaves of one lung does not move it
    assert midline(LUNGS & ~boxes((120, 160, 20, 100))) == pytest.approx(119.5)


@pytest.mark.parametrize("shift", [-8, -4, 0, 4, 8])
def test_clavicle_asymmetry(shift):
    """Both medial ends lie 10 columns from the midline; moved to the picture's right, the right one is nearer."""
    assert clavicle_asymmetry(np.roll(CLAVICLES, shift, 1), LUNGS) == pytest.approx(-shift / 10, abs=0.06)


@pytest.mark.parametrize("missing", [boxes(), boxes((30, 40, 30, 110)), boxes((30, 40, 30, 60), (30, 40, 80, 110))])
def test_asymmetry_needs_a_clavicle_on_each_side(missing):
    assert clavicle_asymmetry(missing, LUNGS) is None


def test_nothing_found_is_no_error():
    values = measure({"lungs": boxes(), "heart": boxes(), "clavicles": boxes()})
    assert all(values[name] is None for name in MEASUREMENTS)
    assert measure({})["cardiothoracic_ratio"] is None
    assert measure({"heart": HEART})["heart_area"] == 3200


def test_lungs_of_many_specks_are_divided_too():
    """Noise gives pieces none of which is a tenth of all."""
    specks = np.zeros((60, 60), bool)
    specks[::5, ::5] = True
    right, left = split_lungs(specks)
    assert np.array_equal(right | left, specks)
