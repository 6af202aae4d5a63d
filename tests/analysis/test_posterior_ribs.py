"""One number for each posterior rib."""

import numpy as np
import pytest

from cxr_attn_unet.analysis.posterior_ribs import followed, numbered, sides_of, with_one_number_each
from rib_ladder import COLUMNS, FIRST, LAST, LEFT, RIGHT, SPINE, chest, rib_mask, swap

NEAR_SPINE = slice(SPINE + 20, SPINE + 45)


def of_highest_probability(parts):
    return parts.argmax(0) + 1


def test_ribs_are_followed_from_the_top():
    right = chest()[0][:, ::-1] > 0.5
    right[:, :SPINE] = False
    levels = [rib.level for rib in followed(right)]
    assert len(levels) == LAST - FIRST + 1
    assert np.diff(levels) == pytest.approx(20, abs=1)


def test_a_rib_with_a_gap_is_one():
    right = chest()[0][:, ::-1] > 0.5
    right[:, :SPINE] = False
    right[:, SPINE + 40 : SPINE + 48] &= ~rib_mask(6, True)[:, ::-1][:, SPINE + 40 : SPINE + 48]
    assert len(followed(right)) == LAST - FIRST + 1


def test_nothing_is_followed_where_no_ribs_are():
    assert followed(np.zeros((100, 100), bool)) == []


def test_numbers_grow_from_the_top():
    right, left = sides_of(chest()[1:], chest()[0] > 0.5)
    for side, other in ((right, left), (left, right)):
        assert numbered(side.ribs, side.parts, other.ribs, other.parts)[0] == list(range(FIRST, LAST + 1))


def test_right_numbers_stay_and_leave_no_doubt():
    probabilities = chest()
    numbering = with_one_number_each(probabilities[1:], probabilities[0])
    assert np.allclose(numbering.parts, probabilities[1:], atol=0.011)
    assert numbering.doubts == ()


@pytest.mark.parametrize("number", range(4, LAST))
def test_a_rib_with_two_numbers_gets_one(number):
    probabilities = chest()
    swap(probabilities, number, False, NEAR_SPINE)
    numbering = with_one_number_each(probabilities[1:], probabilities[0])
    assert (of_highest_probability(numbering.parts)[rib_mask(number, False)] == LEFT + number).all()


def test_the_other_side_decides_where_a_side_is_shifted():
    probabilities = chest()
    for number in range(5, 8):
        swap(probabilities, number, False, slice(SPINE + 20, SPINE + 88))
    numbering = with_one_number_each(probabilities[1:], probabilities[0])
    found = of_highest_probability(numbering.parts)
    for number in range(5, 8):
        assert (found[rib_mask(number, False)] == LEFT + number).all(), number
        assert (found[rib_mask(number, True)] == RIGHT + number).all(), number


def test_doubts_name_the_side_of_which_numbers_were_changed():
    probabilities = chest()
    for number in range(5, 8):
        swap(probabilities, number, False, slice(SPINE + 20, SPINE + 88))
    numbering = with_one_number_each(probabilities[1:], probabilities[0])
    assert numbering.doubts == ("the left ribs fit no sequence of numbers well",)


def test_doubts_name_the_side_of_which_nothing_is_sure():
    probabilities = chest()
    probabilities[1 : 1 + LEFT] = np.where(probabilities[0] > 0.5, 0.3, 0.01)
    probabilities[1 : 1 + LEFT, :, SPINE:] = 0.01
    numbering = with_one_number_each(probabilities[1:], probabilities[0])
    assert "the right ribs fit no sequence of numbers well" in numbering.doubts


def test_what_is_not_a_ladder_is_not_numbered():
    probabilities = chest()
    for number in range(5, LAST + 1):
        for right in (True, False):
            mask = rib_mask(number, right)
            probabilities[0][mask] = 0.01
            probabilities[(RIGHT if right else LEFT) + number][mask] = 0.01
    numbering = with_one_number_each(probabilities[1:], probabilities[0])
    assert np.array_equal(numbering.parts, probabilities[1:])
    assert [doubt.split()[:2] for doubt in numbering.doubts] == [["too", "few"], ["too", "few"]]


def test_a_mirrored_chest_has_mirrored_numbers():
    probabilities = chest()
    swap(probabilities, 6, False, NEAR_SPINE)
    mirrored = probabilities[:, :, ::-1].copy()
    mirrored[1:] = mirrored[[*range(1 + LEFT, 25), *range(1, 1 + LEFT)]]
    once = with_one_number_each(probabilities[1:], probabilities[0]).parts
    twice = with_one_number_each(mirrored[1:], mirrored[0]).parts[:, :, ::-1]
    assert once.shape[2] == COLUMNS
    assert np.allclose(once, twice[[*range(LEFT, 24), *range(LEFT)]])


@pytest.mark.parametrize("seed", range(12))
def test_whatever_a_network_says_probabilities_stay_probabilities(seed):
    rng = np.random.default_rng(seed)
    rough = rng.random((25, 24, 20))
    probabilities = np.kron(rough, np.ones((1, 4 + seed % 7, 6))).astype(np.float32)
    numbering = with_one_number_each(probabilities[1:], probabilities[0])
    assert numbering.parts.shape == probabilities[1:].shape
    assert ((numbering.parts >= 0) & (numbering.parts <= 1)).all()
