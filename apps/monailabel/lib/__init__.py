"""The bundles in MONAI Label: one model a structure, one of all structures, least certain radiographs first.

MONAI Label needs pydicom 2 and so an environment of its own: ``make label STUDIES=folder`` makes it.
"""

try:
    import monailabel  # noqa: F401
except ImportError as error:
    raise ImportError("MONAI Label is not installed here; make label STUDIES=folder does all of it") from error

from .app import ChestRadiographApp
from .strategy import LeastCertain
from .tasks import AllStructures, BundleInfer, BundleTrainer

__all__ = ["AllStructures", "BundleInfer", "BundleTrainer", "ChestRadiographApp", "LeastCertain"]
