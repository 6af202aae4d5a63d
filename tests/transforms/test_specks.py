"""Small pieces of masks are removed, by their share of the whole."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from cxr_attn_unet.transforms import RemoveSpecksd, without_small_pieces


def pieces(*sizes):
    """A row of pieces of these many pixels."""
    mask = np.zeros((3, sum(sizes) + len(sizes)), bool)
    start = 0
    for size in sizes:
        mask[1, start : start + size] = True
        start += size + 1
    return mask


@pytest.mark.parametrize(
    ("share", "kept"), [(0.0, 110), (0.01, 110), (0.02, 108), (0.5, 100)], ids=["none", "few", "two pixels", "most"]
)
def test_pieces_below_a_share_of_the_mask_are_removed(share, kept):
    assert without_small_pieces(pieces(100, 8, 2), share).sum() == kept


def test_the_share_is_that_of_the_mask_at_any_size():
    large = np.kron(pieces(100, 8, 2), np.ones((7, 7), bool))
    assert without_small_pieces(large, 0.02).sum() == 49 * 108


def test_pixels_that_touch_at_a_corner_are_one_piece():
    assert without_small_pieces(np.eye(20, dtype=bool), 0.5).sum() == 20


def test_a_piece_also_has_at_least_so_many_pixels():
    assert without_small_pieces(pieces(100, 8, 2), 0.02, least=9).sum() == 100


def test_an_empty_mask_stays_empty():
    assert not without_small_pieces(np.zeros((4, 5), bool), 0.1).any()


def test_the_step_keeps_type_and_metadata():
    mask = MetaTensor(torch.from_numpy(pieces(100, 8, 2))[None].float(), meta={"filename_or_obj": "a.png"})
    cleaned = RemoveSpecksd("pred", 0.02)({"pred": mask})["pred"]
    assert (cleaned.dtype, cleaned.shape, cleaned.meta) == (mask.dtype, mask.shape, mask.meta)
    assert cleaned.sum() == 108
    assert mask.sum() == 110
