"""What the writers need to know of a radiograph's results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np
from pydicom.dataset import Dataset

from ..io import Radiograph
from .dicom_identity import Uids
from .overlay import Field

__all__ = ["SegmentedRadiograph", "uids_of"]


class SegmentedRadiograph(Protocol):
    """What the formats write, such as a :class:`~cxr_attn_unet.inference.Segmentation`."""

    @property
    def radiograph(self) -> Radiograph:
        """The radiograph as read."""

    @property
    def masks(self) -> Mapping[str, np.ndarray]:
        """By structure, ``(rows, columns)`` bool over the file's own pixels, as stored."""

    @property
    def confidences(self) -> Mapping[str, float]:
        """By structure, 0 to 1."""

    @property
    def measurements(self) -> Mapping[str, float | str | None]:
        """See :func:`cxr_attn_unet.analysis.measure`."""

    @property
    def warnings(self) -> Sequence[str]:
        """What was odd in the file, and what quality control noticed, in words."""

    @property
    def versions(self) -> Mapping[str, str]:
        """By structure, the version of the weights."""

    @property
    def checksums(self) -> Mapping[str, str]:
        """By structure, the SHA-256 of the weights' file, 64 hexadecimal digits; empty if not known."""

    @property
    def identity(self) -> str:
        """Changes with weights and settings, see :class:`~cxr_attn_unet.inference.Segmenter`; empty if not known."""

    @property
    def field(self) -> Field | None:
        """The part of the radiograph that pictures show; all of it if ``None``."""

    @property
    def parts(self) -> Mapping[str, Mapping[str, np.ndarray]]:
        """By structure and name of the part, masks as those of structures; empty if no parts are wanted."""


def uids_of(result: SegmentedRadiograph, header: Dataset, form: str, version: str, kind: str) -> Uids:
    """The UIDs of a DICOM object of results.

    Args:
        result: what the object holds.
        header: of the radiograph.
        form: the object's format.
        version: of this package.
        kind: of :data:`~cxr_attn_unet.output.dicom_identity.UIDS`.

    Raises:
        ValueError: an unknown kind.
    """
    # the spacing may have been given rather than read, and lengths depend on it
    identity = f"{result.identity} {result.radiograph.spacing}"
    return Uids(kind, header, form, version, identity, result.masks)
