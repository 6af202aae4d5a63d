"""The part of a picture that is shown."""

import numpy as np
import pytest

from cxr_attn_unet.io import Orientation, Radiograph
from cxr_attn_unet.output import Field, draw_overlay, upright_field
from samples import picture

PIXELS = picture().astype(np.float32)
INSIDE = PIXELS[16:112, 8:72]
FIELD = Field((16, 112, 8, 72), INSIDE)


def test_all_of_it_without_a_field():
    assert np.array_equal(upright_field(Radiograph(PIXELS, "a.png"), {})[0], PIXELS)


def test_the_field_alone():
    assert np.array_equal(upright_field(Radiograph(PIXELS, "a.png"), {}, FIELD)[0], INSIDE)


def test_the_field_upright():
    radiograph = Radiograph(PIXELS, "a.dcm", orientation=Orientation(transpose=True, flip_rows=True))
    assert np.array_equal(upright_field(radiograph, {}, FIELD)[0], INSIDE.T[::-1])


@pytest.mark.parametrize("factor", [1, 2])
def test_masks_of_any_resolution_are_cut_alike(factor):
    mask = (PIXELS > 100).repeat(factor, 0).repeat(factor, 1)
    _, masks = upright_field(Radiograph(PIXELS, "a.png"), {"heart": mask}, FIELD)
    assert np.array_equal(masks["heart"][::factor, ::factor], INSIDE > 100)


def test_the_picture_has_the_shape_of_the_field():
    picture_of_field = draw_overlay(Radiograph(PIXELS, "a.png"), {"heart": PIXELS > 100}, {}, 96, FIELD)
    assert picture_of_field.width == 64
