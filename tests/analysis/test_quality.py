"""What quality control says of good and of spoiled radiographs."""

import numpy as np
import pytest

from conftest import EXAMPLES
from cxr_attn_unet import Segmenter
from cxr_attn_unet.analysis.quality import describe, features, letter_boxed, similarities
from cxr_attn_unet.io import read_radiograph

FILES = sorted((EXAMPLES / "open_radiographs").glob("*.png"))


@pytest.fixture(scope="module")
def warnings_of():
    segmenter = Segmenter.from_bundles()
    return lambda pixels: " ".join(segmenter(np.ascontiguousarray(pixels)).warnings)


@pytest.fixture(scope="module")
def pixels():
    return read_radiograph(FILES[0]).upright()[::2, ::2]


def test_good_ones_pass(warnings_of):
    """Of another hospital than those that the limits were learnt from."""
    flagged = [path.name for path in FILES[:3] if warnings_of(read_radiograph(path).upright()[::2, ::2])]
    assert not flagged


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda p: np.rot90(p), "rotated by 90 degrees counter-clockwise"),
        (lambda p: np.rot90(p, 2), "rotated by 180 degrees"),
        (lambda p: np.rot90(p, 3), "rotated by 90 degrees clockwise"),
        (lambda p: p.max() - p, "inverted"),
        (lambda p: p.max() - np.rot90(p), "inverted"),
        (lambda p: p[:, p.shape[1] // 2 :], ""),
        (lambda p: p[p.shape[0] // 2 :], ""),
        (lambda p: np.random.default_rng(0).normal(size=p.shape), ""),
        (lambda p: np.tile(np.arange(256.0), (200, 1)), ""),
    ],
    ids=["90", "180", "270", "inverted", "both", "half", "lower half", "noise", "gradient"],
)
def test_spoiled_ones_do_not(warnings_of, pixels, spoil, words):
    said = warnings_of(spoil(pixels))
    assert said
    assert words in said


def test_direction_of_turning(pixels):
    """``np.rot90`` turns counter-clockwise, by -1 clockwise."""
    mean = letter_boxed(pixels)
    similarity = similarities(letter_boxed(np.rot90(pixels, -1)), mean)
    assert max(similarity, key=similarity.get) == "rotated by 90 degrees clockwise"
    assert similarities(mean, mean)["upright"] == pytest.approx(1)
    assert similarities(1 - mean, mean)["upright"] == pytest.approx(-1)


LUNGS = np.zeros((100, 100), bool)
LUNGS[20:80, 10:40] = LUNGS[20:80, 60:90] = True
HEART = np.zeros((100, 100), bool)
HEART[55:75, 35:70] = True
LEARNT = {"similarity": 0.2, "limits": {"column_heart": [0.5, 0.6], "area_lungs": [0.2, 0.4], "cut_left": [0.0, 0.05]}}
UPRIGHT = {"upright": 0.9, "rotated by 90 degrees clockwise": 0.1}


def said(masks, similarity=UPRIGHT, structures=("lungs", "heart")) -> str:
    values = features(masks, dict.fromkeys(masks, 0.9))
    return "; ".join(describe(similarity, values, LEARNT, structures))


def test_words():
    assert said({"lungs": LUNGS, "heart": HEART}) == ""
    assert "heart too far to the patient's right" in said({"lungs": LUNGS, "heart": HEART[:, ::-1]})
    assert "no heart found" in said({"lungs": LUNGS, "heart": HEART & False})
    half = LUNGS.copy()
    half[50:] = False
    assert "lungs unusually small in the picture (0.18; usual 0.20 to 0.40)" in said({"lungs": half, "heart": HEART})
    assert "lungs cut off at the picture's left" in said({"lungs": np.roll(LUNGS, -10, 1), "heart": HEART})
    assert said({"lungs": LUNGS, "heart": HEART}, {"upright": 0.1}).startswith("does not look like")
    turned = {"upright": 0.1, "rotated by 90 degrees clockwise": -0.8}
    assert said({"lungs": LUNGS}, turned) == "looks rotated by 90 degrees clockwise and inverted, bone is dark"


def test_features_do_not_depend_on_the_resolution():
    masks = {"lungs": LUNGS, "heart": HEART}
    large = {name: mask.repeat(7, 0).repeat(7, 1) for name, mask in masks.items()}
    one, other = (features(which, {}) for which in (masks, large))
    assert one.keys() == other.keys()
    assert all(one[name] == pytest.approx(other[name], abs=0.03) for name in one)


def test_nothing_found():
    values = features({"lungs": np.zeros((64, 64), bool)}, {"lungs": 0.0})
    assert values == {"confidence_lungs": 0.0, "area_lungs": 0.0}
    assert similarities(letter_boxed(np.zeros((64, 64))), letter_boxed(LUNGS.astype(float)))["upright"] == 0
