"""Distances in millimetres."""

import math

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from cxr_attn_unet.training.handlers.results import bootstrap_interval
from cxr_attn_unet.training.metrics import HausdorffDistanceMetricMM, MeanSurfaceDistanceMetricMM


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


def test_mean_surface_distance_of_a_shift():
    # a band across the whole picture, moved by 4 rows of 2 mm: every point of both outlines is 8 mm from the other
    field = (80.0, 25.0)
    reference, moved = one_hot(50, 40, (0, 50, 10, 12), field), one_hot(50, 40, (0, 50, 14, 16))
    metric = MeanSurfaceDistanceMetricMM()
    metric([moved, reference], [reference, reference])
    values = metric.get_buffer().flatten()
    # of two rows each, the near ones are 2 rows apart and the far ones 4; both outlines alike
    assert float(values[0]) == pytest.approx(2.0 * (3 + 4) / 2)
    assert float(values[1]) == 0


def test_bootstrap_interval_is_of_patients_not_of_radiographs():
    rng = np.random.default_rng(1)
    values = rng.normal(0.9, 0.03, 400)
    low, high = bootstrap_interval(values, [str(i) for i in range(400)])
    half = 1.96 * values.std() / 20  # of the normal approximation
    assert low == pytest.approx(values.mean() - half, abs=5e-4)
    assert high == pytest.approx(values.mean() + half, abs=5e-4)
    # the same patient a hundred times says no more than once
    repeated = bootstrap_interval(np.repeat(values[:4], 100), [str(i // 100) for i in range(400)])
    assert repeated == bootstrap_interval(values[:4], list("abcd"))
    assert bootstrap_interval(np.array([0.9, math.nan]), ["a", "b"]) is None
    assert bootstrap_interval(np.array([0.9, 0.9]), ["a", "b"]) == [0.9, 0.9]
