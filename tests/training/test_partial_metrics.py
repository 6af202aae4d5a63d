"""Distances to references that say nothing about some pixels."""

import math

import pytest
import torch
from monai.data import MetaTensor

from cxr_attn_unet.io import IGNORED
from cxr_attn_unet.training.metrics import HausdorffDistanceMetricMM, MeanSurfaceDistanceMetricMM
from cxr_attn_unet.transforms import OneHotMaskd

FIELD = torch.tensor((80.0, 25.0))  # (rows, columns) in mm, of 50 columns and 40 rows: 0.5 mm across, 2 mm down
METRICS = [HausdorffDistanceMetricMM, MeanSurfaceDistanceMetricMM]


def value(metric, prediction, reference):
    d = {"pred": MetaTensor(prediction), "label": MetaTensor(reference, meta={"field_of_view_mm": FIELD})}
    d = OneHotMaskd(["pred", "label"])(d)
    measure = metric()
    measure([d["pred"]], [d["label"]])
    return float(measure.get_buffer())


def band(first, last, columns=50, rows=40):
    mask = torch.zeros(1, columns, rows)
    mask[:, :, first:last] = 1
    return mask


@pytest.mark.parametrize("metric", METRICS)
def test_a_difference_among_ignored_pixels_does_not_count(metric):
    reference = band(10, 20)
    prediction = reference.clone()
    prediction[:, 30:40, 25:35] = 1
    reference[:, 28:] = IGNORED
    assert value(metric, prediction, reference) == 0


def test_a_shift_is_measured_beside_ignored_pixels():
    reference, prediction = band(10, 20), band(14, 24)
    reference[:, 30:] = IGNORED
    assert value(HausdorffDistanceMetricMM, prediction, reference) == pytest.approx(4 * 2.0)


@pytest.mark.parametrize("metric", METRICS)
def test_distances_beside_pixels_that_are_ignored_far_away_are_those_without_them(metric):
    reference, prediction = band(10, 20), band(13, 24)
    expected = value(metric, prediction, reference)
    reference[:, :, 38:] = IGNORED
    assert value(metric, prediction, reference) == pytest.approx(expected)


@pytest.mark.parametrize("metric", METRICS)
def test_a_case_whose_only_outline_is_the_border_of_ignored_pixels_is_left_out(metric):
    reference = torch.full((1, 50, 40), float(IGNORED))
    reference[:, 20:30, 10:20] = 1
    assert math.isnan(value(metric, reference.clamp(min=0), reference))


@pytest.mark.parametrize("metric", METRICS)
def test_empty_prediction_of_the_labelled_pixels_is_as_bad_as_can_be(metric):
    reference = band(10, 20)
    reference[:, 30:] = IGNORED
    prediction = torch.zeros(1, 50, 40)
    prediction[:, 40:] = 1
    assert value(metric, prediction, reference) == pytest.approx(float(FIELD.norm()))
