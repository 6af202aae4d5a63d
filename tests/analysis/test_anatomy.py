"""Masks that no heart and no lungs have, and those that they have."""

import numpy as np
import pytest

from conftest import EXAMPLES
from cxr_attn_unet.analysis.anatomy import RATIOS, heart_place, heart_shape, lungs_shape, unreliable
from cxr_attn_unet.analysis.quality import assess, features, implausible
from cxr_attn_unet.io import read_radiograph

SIDE = 256
Y, X = np.mgrid[:SIDE, :SIDE]


def ellipse(row: float, column: float, height: float, width: float) -> np.ndarray:
    return ((Y - row) / (height / 2)) ** 2 + ((X - column) / (width / 2)) ** 2 <= 1


# 190 wide, their midline at column 128
LUNGS = ellipse(120, 75, 170, 84) | ellipse(120, 181, 170, 84)
HEART = ellipse(165, 140, 74, 96)
TWO_LOBES = ellipse(165, 112, 60, 48) | ellipse(165, 165, 60, 48) | (ellipse(165, 138, 8, 40))
IMPOSSIBLE = {
    "two lobes": TWO_LOBES,
    "the right half": HEART & (X < 128),
    "the left half": HEART & (X > 150),
    "in the right lung": ellipse(150, 60, 60, 50),
    "in the neck": ellipse(30, 140, 60, 80),
    "below the diaphragm": ellipse(230, 140, 50, 90),
    "all of the thorax": ellipse(140, 128, 150, 180),
    "a small piece": ellipse(165, 140, 24, 30),
    "a ring": HEART & ~ellipse(165, 140, 60, 80),
    "a band": ellipse(165, 140, 24, 110),
}


def test_a_heart_between_lungs_is_plausible():
    assert implausible({"heart": HEART, "lungs": LUNGS}) == {}


@pytest.mark.parametrize("scale", [2, 5])
def test_it_is_plausible_at_any_resolution(scale):
    masks = {"heart": HEART, "lungs": LUNGS}
    assert implausible({name: mask.repeat(scale, 0).repeat(scale, 1) for name, mask in masks.items()}) == {}


@pytest.mark.parametrize("kind", IMPOSSIBLE)
def test_what_no_heart_has_is_not_reliable(kind):
    assert set(implausible({"heart": IMPOSSIBLE[kind], "lungs": LUNGS})) == {"heart"}


def test_two_lobes_are_called_so():
    assert implausible({"heart": TWO_LOBES, "lungs": LUNGS})["heart"] == "two lobes or a deep notch"


def test_two_lobes_are_seen_without_lungs():
    assert set(implausible({"heart": TWO_LOBES})) == {"heart"}


def test_a_heart_in_pieces_before_postprocessing_is_not_reliable():
    assert set(implausible({"heart": HEART, "lungs": LUNGS}, kept={"heart": 0.6})) == {"heart"}


def test_a_heart_of_which_little_is_to_be_expected_is_not_reliable():
    assert set(implausible({"heart": HEART, "lungs": LUNGS}, expected={"heart": 0.5})) == {"heart"}


@pytest.mark.parametrize(
    "lungs",
    [
        LUNGS & (X < 128),
        LUNGS & ((X < 128) | (Y < 70)),
        np.roll(LUNGS, -60, 1) & (X < 190),
    ],
    ids=["one", "one cut short", "cut off at the border"],
)
def test_lungs_that_are_missing_or_cut_are_not_reliable(lungs):
    assert "lungs" in implausible({"heart": HEART, "lungs": lungs})


def test_a_heart_is_not_blamed_for_the_lungs():
    """Where it lies between them cannot be said."""
    assert set(implausible({"heart": HEART, "lungs": LUNGS & (X < 128)})) == {"lungs"}


@pytest.mark.parametrize(("width", "reasons"), [(0.249, {"heart"}), (0.5, set()), (0.801, {"heart"})])
def test_a_ratio_outside_what_hearts_have_makes_the_heart_unreliable(width, reasons):
    values = {"area_heart": 0.1, "area_lungs": 0.3, "heart_width": width}
    assert set(unreliable(values, {})) == reasons


def test_an_empty_heart_is_no_implausible_one():
    assert implausible({"heart": HEART & False, "lungs": LUNGS}) == {}


def test_solidity_of_a_convex_heart_is_one():
    assert heart_shape(HEART)["heart_solidity"] == pytest.approx(1, abs=0.02)


def test_solidity_of_two_lobes_is_low():
    assert heart_shape(TWO_LOBES)["heart_solidity"] < 0.85


def test_width_over_height():
    assert heart_shape(HEART)["heart_shape"] == pytest.approx(96 / 74, abs=0.03)


def test_share_on_the_left_of_the_midline():
    assert heart_place(ellipse(165, 128, 74, 96), LUNGS)["heart_side"] == pytest.approx(0.5, abs=0.02)


def test_width_in_the_thorax_is_the_ratio():
    assert heart_place(HEART, LUNGS)["heart_width"] == pytest.approx(96 / 190, abs=0.01)


def test_the_smaller_lung_over_the_larger():
    assert lungs_shape(LUNGS & ((X < 128) | (Y < 120)))["lung_ratio"] == pytest.approx(0.5, abs=0.02)


def test_a_single_lung_has_a_ratio_of_zero():
    assert lungs_shape(LUNGS & (X < 128))["lung_ratio"] == 0


def test_kept_shares_are_features():
    assert features({"heart": HEART}, {}, {"heart": 0.8})["kept_heart"] == 0.8


PICTURE = read_radiograph(EXAMPLES / "open_radiographs" / "00cfd1c1.png").upright()


def said(heart: np.ndarray) -> list[str]:
    return assess(PICTURE, {"lungs": LUNGS, "heart": heart}, {"lungs": 0.99, "heart": 0.99}).warnings


def test_the_reason_is_said():
    assert "heart not reliable: two lobes or a deep notch" in said(TWO_LOBES)


def test_that_the_ratio_is_withheld_is_said():
    assert "cardiothoracic ratio withheld" in said(TWO_LOBES)


def test_of_a_plausible_heart_it_is_not_said():
    assert "cardiothoracic ratio withheld" not in said(HEART)


@pytest.mark.parametrize("kind", IMPOSSIBLE)
def test_no_warning_writes_a_ratio_that_no_heart_has(kind):
    ratio = heart_place(IMPOSSIBLE[kind], LUNGS)["heart_width"]
    least, most = RATIOS
    assert least <= ratio <= most or f"{ratio:.2f}" not in " ".join(said(IMPOSSIBLE[kind]))


def test_nothing_is_measured_on_a_turned_radiograph():
    turned = {"lungs": np.rot90(LUNGS), "heart": np.rot90(HEART)}
    assert set(assess(np.rot90(PICTURE), turned, {}).unreliable) == {"lungs", "heart"}
