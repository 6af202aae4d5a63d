"""What is done with one radiograph."""

import numpy as np
import pytest

from cxr_attn_unet.io import Radiograph
from cxr_attn_unet.segment.inputs import Input
from cxr_attn_unet.segment.steps import Opened, fills_batch


def opened(rows: int, columns: int) -> Opened:
    pixels = np.broadcast_to(np.float32(0), (rows, columns))  # which takes no memory
    return Opened(Input("a.png", "a", "a.png"), (0, 0), Radiograph(pixels, "a.png"))


@pytest.mark.parametrize(("count", "expected"), [(0, False), (3, False), (4, True)])
def test_a_batch_of_small_radiographs_is_full_at_its_number(count, expected):
    assert fills_batch([opened(2000, 2000)] * count, 4) is expected


@pytest.mark.parametrize(("count", "expected"), [(1, False), (2, True)])
def test_a_batch_of_large_radiographs_is_full_before(count, expected):
    assert fills_batch([opened(5000, 6000)] * count, 4) is expected
