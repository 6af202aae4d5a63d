"""What was found in one radiograph."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image

from ..io import Radiograph
from ..output import REPRODUCIBLE, Field, draw_overlay, save

__all__ = ["Segmentation"]


@dataclass(frozen=True)
class Segmentation:
    """The structures found in one radiograph.

    Attributes:
        radiograph: as read; ``radiograph.pixels`` are ``(rows, columns)``, halved where a side is above 6000.
        masks: by structure, ``(rows, columns)`` bool over the file's own pixels, as stored.
        confidences: by structure, 0 to 1: the Dice to expect of the mask, learnt from how good masks of the same
            confidence were on radiographs of other hospitals (:mod:`cxr_attn_unet.analysis.calibration`); as in
            ``raw_confidences`` for weights that were not calibrated, or with another threshold.
        agreements: by structure, 0 to 1: mean Dice between the mask and those of single views; only with ``tta``.
        measurements: see :func:`cxr_attn_unet.analysis.measurements.measure`; without the cardiothoracic ratio and
            its diameters where heart or lungs are not reliable.
        warnings: what was odd in the file, and what quality control noticed, in words; empty if nothing.
        versions: by structure, the version of the bundle.
        field: the part of the picture that shows the radiograph, without frames, padding and hot pixels; quality
            control and pictures look at nothing else. All of it if not given.
        parts: by structure and name of the part, such as ``parts["ribs"]["R7"]``, ``(rows, columns)`` bool over the
            file's own pixels, as stored; empty where a part was not found. Only with ``parts`` of the segmenter, and
            of structures whose network tells parts apart, or that come as a pair. A mask is made each time that it is
            asked for.
        raw_confidences: by structure, 0 to 1: the Dice that the mask would have with a truth drawn from the network's
            own probabilities, 2 sum(p m) / (sum(p) + sum(m)); 0 where nothing was found. A network can be sure and
            wrong.
        unreliable: by structure, why nothing should be measured on its mask, in words; empty if nothing is wrong.
        checksums: by structure, the SHA-256 of the weights' file in hexadecimal digits.
        identity: changes with weights and settings, see :class:`~cxr_attn_unet.inference.Segmenter`.
    """

    radiograph: Radiograph
    masks: Mapping[str, np.ndarray]
    confidences: Mapping[str, float]
    agreements: Mapping[str, float]
    measurements: Mapping[str, float | str | None]
    warnings: Sequence[str]
    versions: Mapping[str, str]
    field: Field | None = None
    parts: Mapping[str, Mapping[str, np.ndarray]] = dataclass_field(default_factory=dict)
    raw_confidences: Mapping[str, float] = dataclass_field(default_factory=dict)
    unreliable: Mapping[str, str] = dataclass_field(default_factory=dict)
    checksums: Mapping[str, str] = dataclass_field(default_factory=dict)
    identity: str = ""
    _restore: Mapping[str, Callable[[], np.ndarray]] = dataclass_field(repr=False, default_factory=dict)

    @cached_property
    def probabilities(self) -> dict[str, np.ndarray]:
        """By structure, ``(rows, columns)`` float32 from 0 to 1 over the file's own pixels; made when first asked."""
        return {structure: restore() for structure, restore in self._restore.items()}

    def upright(self, structure: str, part: str | None = None) -> np.ndarray:
        """The mask of a structure, or of one of its parts, as a person would see it, ``(rows, columns)`` bool."""
        mask = self.masks[structure] if part is None else self.parts[structure][part]
        return self.radiograph.orientation.apply(mask)

    def plot(self, side: int = 1024) -> Image.Image:
        """The upright radiograph with outlines in fixed colours, both diameters of the ratio, and a legend.

        Parts are named where they are: ribs by side and number, lungs and clavicles by side.

        Args:
            side: of the square that the picture fits, in pixels.
        """
        return draw_overlay(self.radiograph, self.masks, self.measurements, side, self.field, self.parts)

    def save(
        self,
        folder: str | os.PathLike,
        formats: Sequence[str] = ("png",),
        stem: str | None = None,
        uids: str = REPRODUCIBLE,
    ) -> list[Path]:
        """Write the result; each file appears whole or not at all.

        Args:
            folder: made if missing.
            formats: of ``cxr_attn_unet.output.FORMATS``.
            stem: start of the files' names; that of the radiograph if not given.
            uids: of DICOM objects: ``reproducible``, the same for the same results, or ``fresh``.

        Returns:
            the files.

        Raises:
            ValueError: an unknown format.
            RadiographError: a DICOM format for what is not DICOM, or has no UIDs.
            ImportError: the format needs a package that is not installed.
            OSError: cannot be written.
        """
        return save(self, folder, formats, stem, uids)
