"""Confidence intervals over patients, and the Dice of masks."""

import math

import numpy as np
import pytest
from scipy import stats

from cxr_attn_unet.statistics import bootstrap_interval, mask_dice


def test_the_interval_is_about_that_of_the_t_test():
    values = np.random.default_rng(0).normal(0.9, 0.05, 400)
    expected = stats.t.interval(0.95, 399, values.mean(), stats.sem(values))
    assert bootstrap_interval(values, [str(i) for i in range(400)]) == pytest.approx(expected, abs=5e-4)


def test_radiographs_of_one_patient_count_once():
    values = np.array([0.7, 0.8, 0.9, 0.95])
    repeated = bootstrap_interval(np.repeat(values, 100), [str(i // 100) for i in range(400)])
    assert repeated == bootstrap_interval(values, list("abcd"))


def test_the_same_values_give_the_same_interval():
    values = np.array([0.7, 0.8, 0.9])
    assert bootstrap_interval(values, list("abc")) == bootstrap_interval(values, list("abc"))


@pytest.mark.parametrize("missing", [math.nan, math.inf])
def test_values_that_are_not_finite_are_left_out(missing):
    assert bootstrap_interval(np.array([0.9, missing, 0.9]), list("abc")) == [0.9, 0.9]


@pytest.mark.parametrize(
    ("values", "patients"), [([], []), ([0.9], ["a"]), ([0.9, 0.8], ["a", "a"]), ([0.9, math.nan], ["a", "b"])]
)
def test_one_patient_has_no_interval(values, patients):
    assert bootstrap_interval(np.array(values), patients) is None


def test_equal_patients_have_an_interval_without_width():
    assert bootstrap_interval(np.array([0.9, 0.9]), ["a", "b"]) == [0.9, 0.9]


def test_every_value_needs_a_patient():
    with pytest.raises(ValueError, match="argument 2"):
        bootstrap_interval(np.array([0.9, 0.8]), ["a"])


@pytest.mark.parametrize(("second", "expected"), [([1, 1, 0, 0], 1), ([0, 1, 1, 0], 0.5), ([0, 0, 1, 1], 0)])
def test_dice_of_masks(second, expected):
    assert mask_dice(np.array([1, 1, 0, 0], bool), np.array(second, bool)) == expected


def test_dice_of_empty_masks_is_0():
    assert mask_dice(np.zeros(4, bool), np.zeros(4, bool)) == 0
