"""Masks judged by reference radiographs: a right one is worth more than a wrong one."""

import numpy as np
import pytest

from conftest import phantom
from cxr_attn_unet_dev.tools.spoil import Case

pytest.importorskip("SimpleITK")

from cxr_attn_unet_dev.tools.reverse_accuracy import ReverseAccuracy


def case(seed):
    image, mask = phantom(seed)
    return Case(image.astype(np.float32) / 255, mask.astype(np.int8))


@pytest.fixture(scope="module")
def reverse():
    return ReverseAccuracy([case(1), case(2)])


@pytest.fixture(scope="module")
def right(reverse):
    judged = case(3)
    return reverse(judged.pixels, judged.truth == 1)


def test_a_right_mask_fits_a_reference(right):
    assert right.best > 0.8


def test_a_wrong_mask_is_worth_less(reverse, right):
    judged = case(3)
    assert reverse(judged.pixels, np.roll(judged.truth == 1, 30, 1)).best < right.best - 0.3


def test_the_best_reference_is_at_least_as_good_as_the_mean(right):
    assert right.best >= right.mean > 0


def test_an_empty_mask_is_worth_nothing(reverse):
    judged = case(3)
    assert reverse(judged.pixels, np.zeros(judged.truth.shape, bool)).best == 0


def test_references_are_needed():
    with pytest.raises(ValueError, match="no reference"):
        ReverseAccuracy([])
