"""Fading takes a structure away or strengthens it, and leaves everything else alone."""

import numpy as np
import pytest
import torch

from cxr_attn_unet.transforms import RandFadeStructured


def striped():
    """A ramp with two bright ribs on it, and their mask: ``(1, rows, columns)``."""
    _y, x = np.mgrid[:64, :64] / 64
    ground = 0.3 + 0.3 * x
    mask = np.zeros((64, 64), np.float32)
    mask[15:20], mask[40:45] = 1, 1
    return torch.tensor(ground + 0.2 * mask, dtype=torch.float32)[None], torch.tensor(mask)[None], ground


@pytest.mark.parametrize("factor", [-0.5, 0.5, 1.0])
def test_contrast_is_scaled(factor):
    image, mask, ground = striped()
    fade = RandFadeStructured("image", prob=1.0, factor=(factor, factor), sigma=5)
    data = fade({"image": image, "label": mask})
    contrast = (data["image"][0].numpy() - ground)[[17, 42]]
    assert contrast == pytest.approx(0.2 * (1 - factor), abs=0.02)
    assert torch.equal(data["image"][0, 30], image[0, 30])  # far from both ribs
    assert torch.equal(data["label"], mask)
    assert data["image"].dtype == image.dtype


def test_drawn_at_random_and_repeatable():
    image, mask, _ = striped()
    fade = RandFadeStructured("image", prob=0.5)
    draws = []
    for _ in range(2):
        fade.set_random_state(3)
        draws.append([fade({"image": image, "label": mask})["image"] for _ in range(20)])
    assert all(torch.equal(a, b) for a, b in zip(*draws, strict=True))
    changed = [not torch.equal(picture, image) for picture in draws[0]]
    assert 4 < sum(changed) < 16


def test_nothing_to_fade_or_nothing_around_it():
    image, mask, _ = striped()
    fade = RandFadeStructured("image", prob=1.0, factor=(1, 1))
    assert torch.equal(fade({"image": image, "label": mask * 0})["image"], image)
    assert torch.equal(fade({"image": image, "label": mask * 0 + 1})["image"], image)
