"""Metrics in physical units."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from monai.handlers.ignite_metric import IgniteMetricHandler
from monai.metrics import CumulativeIterationMetric, compute_average_surface_distance, compute_hausdorff_distance
from monai.metrics.utils import get_edge_surface_distance
from scipy import ndimage

__all__ = ["HausdorffDistanceMM", "HausdorffDistanceMetricMM", "MeanSurfaceDistanceMM", "MeanSurfaceDistanceMetricMM"]


class _SurfaceDistanceMetricMM(CumulativeIterationMetric):
    """A distance between the surfaces of prediction and reference, in millimetres.

    The distances are MONAI's, with the pixel spacing of each case: its field of view divided by the mask's size. A case
    without a known field of view is NaN and left out of the mean. A prediction (or reference) that is empty has no
    surface: its distance is the diagonal of the field of view, the worst that is possible, rather than an infinite or a
    missing value that would hide the failure.

    Pixels that the reference says nothing about are 0 in every channel of both, see
    :class:`~cxr_attn_unet.transforms.OneHotMaskd`. Outlines are not compared there, nor where they only follow the
    border of such pixels; a case that has no other outline left is NaN.
    """

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """One batch of one-hot ``(batch, 2, columns, rows)``; the field of view is in the metadata of ``y``."""
        rows, columns = (float(side) for side in _field_of_view(y))
        if not math.isfinite(rows * columns):
            return torch.full((len(y), 1), torch.nan)
        if not (y_pred[:, 1:].any() and y[:, 1:].any()):
            return torch.full((len(y), 1), math.hypot(rows, columns))
        spacing = (columns / y.shape[2], rows / y.shape[3])
        prediction, reference = (t.as_tensor() if hasattr(t, "as_tensor") else t for t in (y_pred, y))
        labelled = reference.sum(1) > 0
        if bool(labelled.all()):
            return self.distance(prediction, reference, spacing).cpu()
        cases = zip(prediction[:, 1], reference[:, 1], labelled, strict=True)
        return torch.stack([self._partial_distance(*case, spacing) for case in cases])[:, None].cpu()

    def _partial_distance(
        self, prediction: torch.Tensor, reference: torch.Tensor, labelled: torch.Tensor, spacing: Sequence[float]
    ) -> torch.Tensor:
        """The distance of one case ``(columns, rows)`` of which only some pixels are labelled."""
        # an outline beside ignored pixels may be where the label ends rather than where the structure does
        inner = torch.as_tensor(ndimage.binary_erosion(labelled.cpu().numpy(), border_value=1), device=labelled.device)
        _, distances, _ = get_edge_surface_distance(
            prediction.bool(), reference.bool(), spacing=list(spacing), symmetric=True, mask=inner, warn_empty=False
        )
        if min(len(of_one_outline) for of_one_outline in distances) == 0:
            return torch.tensor(torch.nan)
        return self.summary(distances)

    def distance(self, prediction: torch.Tensor, reference: torch.Tensor, spacing: Sequence[float]) -> torch.Tensor:
        raise NotImplementedError

    def summary(self, distances: Sequence[torch.Tensor]) -> torch.Tensor:
        """One figure in mm of the distances of each outline's points to the other outline."""
        raise NotImplementedError

    def aggregate(self) -> torch.Tensor:
        """Mean over the cases whose field of view is known; NaN if there is none."""
        return torch.nanmean(self.get_buffer())


class HausdorffDistanceMetricMM(_SurfaceDistanceMetricMM):
    """Percentile of the symmetric Hausdorff distance of one structure, in millimetres; :class:`HausdorffDistanceMM`.

    Args:
        percentile: 95 gives HD95 (Huttenlocher et al., IEEE TPAMI 15 (1993) 850-863), ``None`` the maximum.
    """

    def __init__(self, percentile: float | None = 95) -> None:
        super().__init__()
        self.percentile = percentile

    def distance(self, prediction: torch.Tensor, reference: torch.Tensor, spacing: Sequence[float]) -> torch.Tensor:
        """Distance of one case in mm; see the class."""
        return compute_hausdorff_distance(prediction, reference, percentile=self.percentile, spacing=list(spacing))

    def summary(self, distances: Sequence[torch.Tensor]) -> torch.Tensor:
        """The percentile of each outline's distances, the larger of both."""
        share = 1.0 if self.percentile is None else self.percentile / 100
        return torch.stack([torch.quantile(of_one_outline, share) for of_one_outline in distances]).max()


class MeanSurfaceDistanceMetricMM(_SurfaceDistanceMetricMM):
    """Mean symmetric distance between the outlines of one structure, in millimetres; :class:`MeanSurfaceDistanceMM`.

    The mean over all points of both outlines of the distance to the other one (Heimann et al., IEEE TMI 28 (2009)
    1251-1265, average symmetric surface distance).
    """

    def distance(self, prediction: torch.Tensor, reference: torch.Tensor, spacing: Sequence[float]) -> torch.Tensor:
        """Distance of one case in mm; see the class."""
        return compute_average_surface_distance(prediction, reference, symmetric=True, spacing=list(spacing))

    def summary(self, distances: Sequence[torch.Tensor]) -> torch.Tensor:
        """The mean over the points of both outlines."""
        return torch.cat(list(distances)).mean()


def _field_of_view(reference: torch.Tensor) -> torch.Tensor:
    meta = getattr(reference, "meta", {})
    return torch.as_tensor(meta.get("field_of_view_mm", (math.nan, math.nan)), dtype=torch.float64).flatten()[:2]


class HausdorffDistanceMM(IgniteMetricHandler):
    """Ignite handler of :class:`HausdorffDistanceMetricMM`, for lists of one-hot cases ``(2, columns, rows)``.

    Args:
        percentile: see :class:`HausdorffDistanceMetricMM`.
        output_transform: takes ``(predictions, references)`` from the engine's output.
    """

    def __init__(self, percentile: float | None = 95, output_transform: Callable = lambda x: x) -> None:
        super().__init__(metric_fn=HausdorffDistanceMetricMM(percentile), output_transform=output_transform)


class MeanSurfaceDistanceMM(IgniteMetricHandler):
    """Ignite handler of :class:`MeanSurfaceDistanceMetricMM`, for lists of one-hot cases ``(2, columns, rows)``.

    Args:
        output_transform: takes ``(predictions, references)`` from the engine's output.
    """

    def __init__(self, output_transform: Callable = lambda x: x) -> None:
        super().__init__(metric_fn=MeanSurfaceDistanceMetricMM(), output_transform=output_transform)
