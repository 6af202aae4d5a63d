"""Reverse classification accuracy: how good a mask is, judged by radiographs whose masks are known.

The radiograph is registered with each of some reference radiographs, its mask is carried over to them, and the Dice
there with their true masks says how good it is (Valindria et al., Reverse classification accuracy, IEEE Trans Med
Imaging 36, 2017). The best reference counts, as a mask that is right fits at least one; CheXmask (Gaggion et al., Sci
Data 11, 2024) gives the mean too. The registration is a cheap one, at 128 pixels: affine by mutual information, then
demons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from cxr_attn_unet.statistics import mask_dice

if TYPE_CHECKING:
    import SimpleITK

    from .spoil import Case

__all__ = ["ReverseAccuracy", "Verdict"]

SIDE = 128  # of the square in which radiographs are registered, in pixels
HISTOGRAM_BINS = 32
AFFINE_STEPS = 60
DEMONS_STEPS = 40
SMOOTHNESS = 2.5  # standard deviation of the Gaussian over the displacements, in pixels


@dataclass(frozen=True)
class Verdict:
    """The Dice that references give a mask, 0 to 1: of the best one, and the mean."""

    best: float
    mean: float


class ReverseAccuracy:
    """Judges masks of one structure by reference radiographs.

    Args:
        references: radiographs with true masks, of different patients. Pixels of which nothing is known count as
            background.

    Raises:
        ImportError: SimpleITK is not installed.
        ValueError: no reference.
    """

    def __init__(self, references: Sequence[Case]) -> None:
        try:
            import SimpleITK as sitk
        except ImportError as error:
            raise ImportError("registration needs SimpleITK: pip install 'cxr-attn-unet[itk]'") from error
        if not references:
            raise ValueError("there is no reference radiograph")
        self._sitk = sitk
        self._references = [(self._image(case.pixels), _squared(case.truth == 1) > 0.5) for case in references]

    def __call__(self, pixels: np.ndarray, mask: np.ndarray) -> Verdict:
        """Judge a mask.

        Args:
            pixels: the radiograph, upright, bone bright, 0 to 1, ``(rows, columns)``.
            mask: of the same size, bool.
        """
        if not mask.any():
            return Verdict(0.0, 0.0)
        moving = self._image(pixels)
        carried = self._sitk.GetImageFromArray(_squared(mask))
        found = [self._dice(fixed, truth, moving, carried) for fixed, truth in self._references]
        return Verdict(max(found), float(np.mean(found)))

    def _image(self, pixels: np.ndarray) -> SimpleITK.Image:
        return self._sitk.GetImageFromArray(_squared(pixels))

    def _dice(
        self, fixed: SimpleITK.Image, truth: np.ndarray, moving: SimpleITK.Image, carried: SimpleITK.Image
    ) -> float:
        """Dice of a mask that was carried over to a reference with that one's own."""
        transform = self._registered(fixed, moving)
        there = self._sitk.Resample(carried, fixed, transform, self._sitk.sitkLinear, 0.0)
        return mask_dice(self._sitk.GetArrayFromImage(there) > 0.5, truth)

    def _registered(self, fixed: SimpleITK.Image, moving: SimpleITK.Image) -> SimpleITK.Transform:
        """Where each place of the reference lies in the radiograph."""
        sitk = self._sitk
        matched = sitk.HistogramMatching(moving, fixed, 64, 8)
        method = sitk.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(HISTOGRAM_BINS)
        method.SetInterpolator(sitk.sitkLinear)
        method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-3, AFFINE_STEPS)
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetShrinkFactorsPerLevel([4, 2])
        method.SetSmoothingSigmasPerLevel([2, 1])
        start = sitk.CenteredTransformInitializer(
            fixed, matched, sitk.AffineTransform(2), sitk.CenteredTransformInitializerFilter.GEOMETRY
        )
        method.SetInitialTransform(start, inPlace=True)
        method.Execute(fixed, matched)
        demons = sitk.FastSymmetricForcesDemonsRegistrationFilter()
        demons.SetNumberOfIterations(DEMONS_STEPS)
        demons.SetStandardDeviations(SMOOTHNESS)
        displacements = demons.Execute(fixed, sitk.Resample(matched, fixed, start, sitk.sitkLinear, 0.0))
        field = sitk.DisplacementFieldTransform(sitk.Cast(displacements, sitk.sitkVectorFloat64))
        # of a composite, the last transform is applied to a place first
        return sitk.CompositeTransform([start, field])


def _squared(values: np.ndarray) -> np.ndarray:
    """Values in the middle of a square of ``SIDE`` pixels, their aspect kept, the rest 0; float32."""
    rows, columns = values.shape
    scale = SIDE / max(rows, columns)
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    small = np.asarray(Image.fromarray(values.astype(np.float32)).resize(size, Image.Resampling.BOX))
    square = np.zeros((SIDE, SIDE), np.float32)
    top, left = (SIDE - size[1]) // 2, (SIDE - size[0]) // 2
    square[top : top + size[1], left : left + size[0]] = small
    return square
