"""Statistics of results."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["bootstrap_interval", "mask_dice"]


def bootstrap_interval(values: np.ndarray, patients: Sequence[str], resamples: int = 9999) -> list[float] | None:
    """95 % confidence interval of the mean over patients, by the percentile bootstrap (Efron 1979), seed 0.

    Args:
        values: one per case; those that are not finite are left out.
        patients: one per case; the cases of one patient are averaged first, for they are not independent.
        resamples: how many.

    Returns:
        lower and upper end, rounded to five decimals; ``None`` of fewer than two patients.
    """
    from scipy import stats  # slow to import, and what segments takes no interval

    by_patient: dict[str, list[float]] = {}
    for patient, value in zip(patients, np.asarray(values, dtype=float), strict=True):
        if math.isfinite(value):
            by_patient.setdefault(patient, []).append(float(value))
    means = [float(np.mean(cases)) for cases in by_patient.values()]
    if len(means) < 2:
        return None
    if min(means) == max(means):
        return [round(means[0], 5)] * 2
    rng = np.random.default_rng(0)
    result = stats.bootstrap((means,), np.mean, n_resamples=resamples, method="percentile", vectorized=True, rng=rng)
    interval = result.confidence_interval
    return [round(float(interval.low), 5), round(float(interval.high), 5)]


def mask_dice(first: np.ndarray, second: np.ndarray) -> float:
    """2 |A and B| / (|A| + |B|) of two masks; 0 if both are empty.

    Args:
        first: bool, of any shape.
        second: bool, of the same shape.
    """
    return 2 * float((first & second).sum()) / max(1, int(first.sum()) + int(second.sum()))
