"""Distances in millimetres."""

import math

import pytest
import torch
from monai.data import MetaTensor

from cxr_attn_unet.metrics import HausdorffDistanceMetricMM


def one_hot(columns, rows, box, field_of_view=None):
    mask = torch.zeros(columns, rows)
    if box:
        mask[box[0] : box[1], box[2] : box[3]] = 1
    meta = {} if field_of_view is None else {"field_of_view_mm": torch.tensor(field_of_view)}
    return MetaTensor(torch.stack([1 - mask, mask]), meta=meta)


def test_shift_along_columns_and_rows_is_measured_in_their_own_spacing():
    # 50 columns over 25 mm, 40 rows over 80 mm: 0.5 mm across, 2 mm down
    field = (80.0, 25.0)
    reference = one_hot(50, 40, (10, 20, 10, 20), field)
    across, down = one_hot(50, 40, (14, 24, 10, 20)), one_hot(50, 40, (10, 20, 14, 24))
    metric = HausdorffDistanceMetricMM(percentile=None)
    metric([across, down], [reference, reference])
    assert metric.get_buffer().flatten().tolist() == pytest.approx([4 * 0.5, 4 * 2.0])
    assert float(metric.aggregate()) == pytest.approx(5.0)


def test_empty_prediction_is_as_bad_as_can_be_and_unknown_spacing_is_left_out():
    full, empty = one_hot(50, 40, (10, 20, 10, 20), (80.0, 25.0)), one_hot(50, 40, None)
    unknown = one_hot(50, 40, (10, 20, 10, 20))
    metric = HausdorffDistanceMetricMM()
    metric([empty, unknown], [full, unknown])
    values = metric.get_buffer().flatten()
    assert float(values[0]) == pytest.approx(math.hypot(80, 25))
    assert math.isnan(values[1])
    assert float(metric.aggregate()) == pytest.approx(math.hypot(80, 25))
