"""Ignite handlers of the training and validation engines."""

from .checkpoints import Checkpoints
from .guards import SeedEachEpoch, StopOnNaN
from .pictures import WorstCases
from .processes import JointLoss
from .progress import ProgressBar
from .results import SaveResults

__all__ = ["Checkpoints", "JointLoss", "ProgressBar", "SaveResults", "SeedEachEpoch", "StopOnNaN", "WorstCases"]
