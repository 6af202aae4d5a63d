"""Copies of radiographs with something amiss, on which networks draw bad masks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from cxr_attn_unet.io import IGNORED
from cxr_attn_unet.transforms import RandDevicesd, RandFilmCurved

__all__ = ["SPOILED", "Case"]

DEEPEST_CUT = (0.1, 0.4)  # of the side
ANGLES = (10.0, 40.0)  # in degrees
SLOPES = (5.0, 14.0)  # of the film's curve: 1 is almost a straight line, 12 almost a threshold
MIDDLES = (-0.1, 1.1)


@dataclass(frozen=True)
class Case:
    """A radiograph with its true mask.

    Attributes:
        pixels: upright, bone bright, 0 to 1, ``(rows, columns)`` float32.
        truth: of the same size, int8: 1 structure, 0 background, ``cxr_attn_unet.io.IGNORED`` where nothing is known.
    """

    pixels: np.ndarray
    truth: np.ndarray


def cut(case: Case, rng: np.random.Generator) -> Case:
    """Without 10 to 40 % of a random side."""
    rows, columns = case.pixels.shape
    share = rng.uniform(*DEEPEST_CUT)
    top = int(share * rows)
    left = int(share * columns)
    boxes = (
        np.s_[top:, :],
        np.s_[: rows - top, :],
        np.s_[:, left:],
        np.s_[:, : columns - left],
    )
    box = boxes[rng.integers(len(boxes))]
    return Case(np.ascontiguousarray(case.pixels[box]), np.ascontiguousarray(case.truth[box]))


def rotated(case: Case, rng: np.random.Generator) -> Case:
    """Turned by 10 to 40 degrees to either side; what comes from outside the picture is black and unknown."""
    degrees = rng.uniform(*ANGLES) * rng.choice((-1, 1))
    pixels = ndimage.rotate(case.pixels, degrees, reshape=False, order=1)
    truth = ndimage.rotate(case.truth, degrees, reshape=False, order=0, cval=IGNORED)
    return Case(pixels, truth)


def exposed(case: Case, rng: np.random.Generator) -> Case:
    """Exposed far too little or too much, by a film's curve."""
    curve = RandFilmCurved("image", prob=1, slope=SLOPES, middle=MIDDLES)
    return _transformed(case, curve, rng)


def with_devices(case: Case, rng: np.random.Generator) -> Case:
    """Under many tubes, leads and electrodes, with burned-in text and collimation."""
    return _transformed(case, RandDevicesd("image", prob=1, share=0.8, largest=6), rng)


def _transformed(case: Case, transform: RandFilmCurved | RandDevicesd, rng: np.random.Generator) -> Case:
    transform.set_random_state(seed=int(rng.integers(2**31)))
    image = transform({"image": torch.from_numpy(case.pixels)[None]})["image"]
    return Case(np.asarray(image[0], np.float32), case.truth)


SPOILED: dict[str, Callable[[Case, np.random.Generator], Case]] = {
    "as it is": lambda case, rng: case,
    "exposure": exposed,
    "cut": cut,
    "rotated": rotated,
    "devices": with_devices,
}
