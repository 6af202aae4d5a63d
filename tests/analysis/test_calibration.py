"""The Dice to expect of a mask."""

import numpy as np
import pytest
from scipy.special import expit, logit

from cxr_attn_unet.analysis import calibration
from cxr_attn_unet.analysis.calibration import Curve, calibration_error, curve_of, fit

RNG = np.random.default_rng(0)
CONFIDENCES = RNG.uniform(0.5, 0.99, 400)
DICE = expit(-2 + 1.5 * logit(CONFIDENCES))


def test_a_known_curve_is_found():
    curve = fit(CONFIDENCES, DICE)
    assert (curve.offset, curve.slope) == pytest.approx((-2, 1.5), abs=0.02)


def test_it_is_found_through_noise():
    noisy = np.clip(DICE + RNG.normal(0, 0.1, len(DICE)), 0, 1)
    curve = fit(CONFIDENCES, noisy)
    assert curve(0.9) == pytest.approx(expit(-2 + 1.5 * logit(0.9)), abs=0.03)


def test_the_error_is_less_after_it():
    curve = fit(CONFIDENCES, DICE)
    expected = [curve(confidence) for confidence in CONFIDENCES]
    assert calibration_error(expected, DICE) < 0.1 * calibration_error(CONFIDENCES, DICE)


def test_a_curve_always_rises():
    """Even where surer masks were worse, the order of radiographs stays."""
    curve = fit(CONFIDENCES, 1 - DICE)
    assert curve(0.9) > curve(0.6)


def test_a_curve_of_zero_and_one_changes_nothing():
    assert Curve(0.0, 1.0)(0.83) == pytest.approx(0.83)


def test_nothing_is_expected_where_nothing_was_found():
    assert Curve(3.0, 1.0)(0.0) == 0.0


def test_masks_of_nothing_do_not_count():
    assert fit([*CONFIDENCES, *[0.0] * 50], [*DICE, *[1.0] * 50]) == fit(CONFIDENCES, DICE)


@pytest.mark.parametrize(
    ("confidences", "said"), [([0.5] * 9, "needed are 10"), ([0.5] * 11, "11 confidences and 9 Dice")]
)
def test_what_cannot_be_fitted_is_named(confidences, said):
    with pytest.raises(ValueError, match=said):
        fit(confidences, [0.5] * 9)


def test_error_of_what_is_right_on_average_in_every_group():
    assert calibration_error([0.4, 0.4, 0.8, 0.8], [0.3, 0.5, 0.7, 0.9], bins=2) == pytest.approx(0)


def test_error_of_what_is_too_sure():
    assert calibration_error([0.9, 0.9, 1.0, 1.0], [0.5, 0.5, 0.9, 0.9], bins=2) == pytest.approx(0.25)


def test_no_masks_have_no_error():
    with pytest.raises(ValueError, match="no masks"):
        calibration_error([], [])


@pytest.fixture
def known(monkeypatch):
    curves = {"heart": {"weights": "0123456789abcdef", "offset": -1.0, "slope": 2.0}}
    monkeypatch.setattr(calibration, "_curves", lambda: curves)


@pytest.mark.usefixtures("known")
def test_the_curve_of_known_weights():
    assert curve_of("heart", "0123456789abcdef" + "0" * 48) == Curve(-1.0, 2.0)


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize(("structure", "weights"), [("heart", "f" * 64), ("lungs", "0123456789abcdef")])
def test_other_weights_have_no_curve(structure, weights):
    assert curve_of(structure, weights) is None
