"""Metrics in physical units."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from monai.handlers.ignite_metric import IgniteMetricHandler
from monai.metrics import CumulativeIterationMetric, compute_hausdorff_distance

__all__ = ["HausdorffDistanceMM", "HausdorffDistanceMetricMM"]


class HausdorffDistanceMetricMM(CumulativeIterationMetric):
    """Percentile of the symmetric Hausdorff distance of one structure, in millimetres.

    The distances are those of MONAI's ``compute_hausdorff_distance``, with the pixel spacing of each case: its field
    of view divided by the mask's size. A case without a known field of view is NaN and left out of the mean. A
    prediction (or reference) that is empty has no surface: its distance is the diagonal of the field of view, the
    worst that is possible, rather than an infinite or a missing value that would hide the failure.

    Args:
        percentile: 95 gives HD95 (Huttenlocher et al., IEEE TPAMI 15 (1993) 850-863), ``None`` the maximum.
    """

    def __init__(self, percentile: float | None = 95) -> None:
        super().__init__()
        self.percentile = percentile

    def _compute_tensor(self, y_pred: torch.Tensor, y: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """One batch of one-hot ``(batch, 2, columns, rows)``; the field of view is in the metadata of ``y``."""
        rows, columns = (float(side) for side in _field_of_view(y))
        if not math.isfinite(rows * columns):
            return torch.full((len(y), 1), torch.nan)
        if not (y_pred[:, 1:].any() and y[:, 1:].any()):
            return torch.full((len(y), 1), math.hypot(rows, columns))
        spacing = (columns / y.shape[2], rows / y.shape[3])
        prediction, reference = (t.as_tensor() if hasattr(t, "as_tensor") else t for t in (y_pred, y))
        return compute_hausdorff_distance(prediction, reference, percentile=self.percentile, spacing=spacing).cpu()

    def aggregate(self) -> torch.Tensor:
        """Mean over the cases whose field of view is known; NaN if there is none."""
        return torch.nanmean(self.get_buffer())


def _field_of_view(reference: torch.Tensor) -> Sequence[float]:
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
