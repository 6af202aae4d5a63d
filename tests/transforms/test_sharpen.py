"""Sharpening at the size of organs."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from conftest import phantom
from cxr_attn_unet.transforms import RandSharpend


@pytest.fixture
def image():
    pixels, _ = phantom(0, 96, 128)
    return torch.from_numpy(pixels)[None].float() / 255


@pytest.mark.parametrize("sigma", [2.0, 4.0, 9.0, 16.0])
def test_it_adds_what_a_gaussian_blur_takes_away(image, sigma):
    sharpened = RandSharpend("image", 1.0, (sigma, sigma), (2.0, 2.0))({"image": image})["image"][0].numpy()
    blurred = gaussian_filter(image[0].numpy(), sigma, mode="nearest")
    expected = image[0].numpy() + 2 * (image[0].numpy() - blurred)
    assert np.abs(sharpened - expected).max() < 0.06


def test_a_uniform_image_stays(image):
    uniform = torch.full_like(image, 0.7)
    assert torch.allclose(RandSharpend("image", 1.0)({"image": uniform})["image"], uniform, atol=1e-3)


def test_it_is_done_as_often_as_asked(image):
    transform = RandSharpend("image", 0.25)
    transform.set_random_state(0)
    changed = [not torch.equal(transform({"image": image})["image"], image) for _ in range(200)]
    assert 0.15 < np.mean(changed) < 0.35


def test_a_seed_gives_the_same_image(image):
    one, other = (RandSharpend("image", 1.0).set_random_state(3)({"image": image})["image"] for _ in range(2))
    assert torch.equal(one, other)
