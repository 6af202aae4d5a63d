"""Pictures that another program hands over in memory."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from cxr_attn_unet.transforms import PictureInMemoryd, to_rows_columns

VALUES = np.arange(6, dtype=np.uint16).reshape(3, 2)  # (columns, rows)


@pytest.mark.parametrize("shape", [(3, 2), (3, 2, 1), (1, 3, 2)])
def test_an_axis_of_length_one_becomes_the_channel(shape):
    (image,) = PictureInMemoryd("image")({"image": VALUES.reshape(shape)}).values()
    assert (image.shape, image.dtype) == ((1, 3, 2), torch.float32)
    assert np.array_equal(image[0], VALUES)


def test_metadata_are_kept():
    given = MetaTensor(torch.zeros(3, 2, 1), meta={"spacing": 0.5})
    assert PictureInMemoryd("image")({"image": given})["image"].meta["spacing"] == 0.5


@pytest.mark.parametrize("shape", [(3,), (3, 2, 3), (1, 3, 2, 4)])
def test_a_volume_or_colours_are_named(shape):
    with pytest.raises(ValueError, match="of one slice, in grey"):
        PictureInMemoryd("image")({"image": np.zeros(shape)})


def test_a_mask_gets_its_rows_first():
    mask = torch.tensor(VALUES.astype(np.float32))[None] > 2
    assert np.array_equal(to_rows_columns(mask)[0], VALUES.T > 2)
