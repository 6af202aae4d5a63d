"""Sides of organs that come as a pair, told by where they lie."""

import numpy as np

from cxr_attn_unet.analysis.parts import sides_by_place


def mask_of(*columns):
    mask = np.zeros((60, 100), bool)
    for first, last in columns:
        mask[20:30, first:last] = True
    return mask


def test_each_pixel_is_of_the_nearer_organ():
    right, left = sides_by_place(mask_of((5, 30), (60, 95)))
    assert right[25, :45].all()
    assert left[25, 46:].all()


def test_of_a_patient_who_stands_aside_both_organs_keep_their_sides():
    mask = mask_of((52, 62), (80, 95))
    right, left = sides_by_place(mask)
    assert np.flatnonzero((mask & right).any(0)).tolist() == list(range(52, 62))
    assert np.flatnonzero((mask & left).any(0)).tolist() == list(range(80, 95))


def test_a_single_organ_is_of_the_side_of_the_picture_where_it_lies():
    right, left = sides_by_place(mask_of((60, 90)))
    assert left[25, 60:90].all()
    assert not right[25, 60:90].any()


def test_organs_that_run_together_are_divided_in_the_middle():
    right, left = sides_by_place(mask_of((10, 90)))
    assert right[25, :50].all()
    assert left[25, 50:].all()


def test_every_pixel_has_one_side():
    for mask in (mask_of((5, 30), (60, 95)), mask_of((10, 90)), mask_of()):
        right, left = sides_by_place(mask)
        assert (right ^ left).all()
