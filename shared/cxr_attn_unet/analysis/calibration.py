"""From the confidence that a network gives itself to the Dice to expect of its mask.

A network is surest of the radiographs that it learnt from, and sure of masks that are wrong. On radiographs of other
hospitals and on spoiled copies, the Dice of its masks was compared with its confidence
(``python -m cxr_attn_unet_dev.tools.calibrate``); a curve of two numbers for each structure says what to expect.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

__all__ = ["Curve", "calibration_error", "curve_of", "fit"]

FILE = "calibration.json"
NEAREST = 1e-4  # to 0 and 1, of confidences: beyond it the logit runs away
GENTLEST = 0.05  # slope: a curve always rises, so that the order of radiographs stays what it is


@dataclass(frozen=True)
class Curve:
    """Platt's curve: expected Dice = 1 / (1 + exp(-(offset + slope * logit(confidence)))).

    Platt, Probabilistic outputs for support vector machines, 1999; here with a Dice in place of a class. It rises, so
    it changes no order.

    Attributes:
        offset: the logit of the Dice to expect at a confidence of one half.
        slope: above 0.
    """

    offset: float
    slope: float

    def __call__(self, confidence: float) -> float:
        """The Dice to expect, 0 to 1; 0 at a confidence of 0, where nothing was found."""
        if confidence <= 0:
            return 0.0
        return float(expit(self.offset + self.slope * logit(np.clip(confidence, NEAREST, 1 - NEAREST))))


def fit(confidences: Sequence[float], dice: Sequence[float]) -> Curve:
    """The curve that gives the mean Dice best, by cross-entropy with the Dice as target.

    Papke and Wooldridge, Econometric methods for fractional response variables, J Appl Econometrics 11 (1996). Masks of
    which nothing was found (a confidence of 0) are left out.

    Args:
        confidences: of the network, 0 to 1.
        dice: of the same masks, 0 to 1.

    Raises:
        ValueError: fewer than ten masks, or numbers that do not match.
    """
    if len(confidences) != len(dice):
        raise ValueError(f"there are {len(confidences)} confidences and {len(dice)} Dice")
    given = np.asarray(confidences, float)
    found = given > 0
    if found.sum() < 10:
        raise ValueError(f"there are {found.sum()} masks, needed are 10 or more")
    steps = logit(np.clip(given[found], NEAREST, 1 - NEAREST))
    wanted = np.asarray(dice, float)[found]

    def loss(numbers: np.ndarray) -> float:
        value = numbers[0] + numbers[1] * steps
        return float(np.mean(np.logaddexp(0, value) - wanted * value))

    best = minimize(loss, (0.0, 1.0), bounds=((-30, 30), (GENTLEST, 30)))
    return Curve(round(float(best.x[0]), 4), round(float(best.x[1]), 4))


def calibration_error(expected: Sequence[float], dice: Sequence[float], bins: int = 10) -> float:
    """Expected calibration error, over bins that hold equally many masks: mean |mean expected - mean Dice|.

    Naeini et al., Obtaining well calibrated probabilities using Bayesian binning, AAAI 2015; with equal numbers, for
    most masks are good and would fill one of its equally wide bins.

    Args:
        expected: Dice that was said, 0 to 1.
        dice: of the same masks, 0 to 1.
        bins: how many; fewer where there are fewer masks.

    Raises:
        ValueError: there are no masks.
    """
    if not len(expected):
        raise ValueError("there are no masks to compare")
    order = np.argsort(expected, kind="stable")
    said = np.asarray(expected, float)[order]
    true = np.asarray(dice, float)[order]
    error = 0.0
    for places in np.array_split(np.arange(len(said)), min(bins, len(said))):
        error += len(places) * abs(said[places].mean() - true[places].mean())
    return float(error / len(said))


def curve_of(structure: str, weights: str) -> Curve | None:
    """The curve of a bundle's weights.

    Args:
        structure: what they segment.
        weights: SHA-256 of their file, in hexadecimal.

    Returns:
        ``None`` for weights that were not calibrated, such as those of a bundle of your own.
    """
    known = _curves().get(structure)
    if known is None or not weights.startswith(str(known["weights"])):
        return None
    return Curve(float(known["offset"]), float(known["slope"]))


@cache
def _curves() -> Mapping[str, Mapping[str, float | str]]:
    text = resources.files(__package__).joinpath(FILE).read_text(encoding="utf-8")
    return json.loads(text)["curves"]
