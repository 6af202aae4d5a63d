import numpy as np
import pytest
import torch
from monai.transforms import ScaleIntensityRangePercentilesd

from cxr_attn_unet.transforms import FastPercentilesd
from cxr_attn_unet.transforms.percentiles import quantile

RANGE = {"keys": "image", "lower": 1, "upper": 99, "b_min": 0, "b_max": 1, "clip": True}


def image(seed, rows, columns):
    return torch.as_tensor(np.random.default_rng(seed).gamma(2, size=(1, rows, columns)), dtype=torch.float32)


@pytest.mark.parametrize("share", [0.0, 0.01, 0.37, 0.99, 1.0])
@pytest.mark.parametrize("size", [(1, 1), (7, 9), (64, 64), (256, 255)])
def test_a_quantile_is_that_of_pytorch_to_the_bit(share, size):
    for seed in range(5):
        values = image(seed, *size)
        assert torch.equal(quantile(values, share), torch.quantile(values, share))


@pytest.mark.parametrize("size", [(8, 8), (96, 80), (256, 256)])
def test_images_are_those_of_monai_to_the_bit(size):
    for seed in range(5):
        item = {"image": image(seed, *size)}
        expected = ScaleIntensityRangePercentilesd(**RANGE)(item)["image"]
        assert torch.equal(FastPercentilesd(**RANGE)(item)["image"], expected)


def test_other_numbers_than_float32_are_scaled_by_monai():
    item = {"image": torch.arange(100).reshape(1, 10, 10).to(torch.float64)}
    expected = ScaleIntensityRangePercentilesd(**RANGE)(item)["image"]
    assert torch.equal(FastPercentilesd(**RANGE)(item)["image"], expected)
