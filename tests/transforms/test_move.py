"""A structure that is taken out of the picture and put in elsewhere."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from cxr_attn_unet.transforms import RandMoveStructured


@pytest.fixture
def item():
    """Two bright bars on a slope, the first the right one, and a column that the mask says nothing about."""
    label = np.zeros((2, 120, 120), np.float32)
    label[:, 60:68, 10:50] = 1
    label[0, 60:68, 70:110] = 1
    label[1, 60:68, 70:110] = 2
    image = np.linspace(0.2, 0.6, 120, dtype=np.float32)[None, None, :] + 0.3 * label[:1]
    label[0, :, 115:] = -1
    return {"image": torch.from_numpy(image), "label": torch.from_numpy(label)}


def moved(item, **settings):
    fixed = {"prob": 1.0, "down": (-0.2, -0.2), "apart": 0.0, "turn": 0.0, "sigma": 6.0}
    return RandMoveStructured(**{**fixed, **settings})(item)


def test_the_mask_moves_by_the_shift_given(item):
    found = moved(item)["label"][0] == 1
    assert torch.equal(found, torch.roll(item["label"][0] == 1, -24, 0))


def test_the_bits_of_parts_move_with_their_piece(item):
    assert torch.equal(moved(item)["label"][1], torch.roll(item["label"][1], -24, 0))


def test_what_the_mask_says_nothing_about_stays_where_it_is(item):
    assert torch.equal(moved(item)["label"][0] == -1, item["label"][0] == -1)


def test_the_structure_shows_where_it_is_now_and_no_more_where_it_was(item):
    image = moved(item)["image"][0].numpy()
    background = np.linspace(0.2, 0.6, 120)
    assert image[38:42, 15:45] - background[15:45] == pytest.approx(0.3, abs=0.08)
    assert image[62:66, 15:45] - background[15:45] == pytest.approx(0, abs=0.08)


def test_each_piece_is_turned_about_its_own_centre(item):
    found = moved(item, down=(0, 0), turn=30.0)["label"][0].numpy() == 1
    numbers, count = ndimage.label(found)
    assert count == 2
    centres = np.array(ndimage.center_of_mass(found, numbers, [1, 2]))
    assert np.sort(centres[:, 1]) == pytest.approx([29.5, 89.5], abs=1)
    assert np.ptp(np.nonzero(numbers == 1)[0]) > 9


def test_without_a_structure_nothing_changes(item):
    item["label"][:] = 0
    assert torch.equal(moved(item)["image"], item["image"])


def test_the_item_itself_is_left_alone(item):
    before = item["image"].clone(), item["label"].clone()
    moved(item)
    assert torch.equal(item["image"], before[0])
    assert torch.equal(item["label"], before[1])
