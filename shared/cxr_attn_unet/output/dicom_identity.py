"""By what a DICOM object that this package writes is known: its UIDs, and the software and weights that made it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.uid import UID, generate_uid

__all__ = [
    "FRESH",
    "NAME",
    "REPRODUCIBLE",
    "UIDS",
    "Uids",
    "algorithm_parameters",
    "device_uid",
    "equipment",
    "software_versions",
]

NAME = "cxr-attn-unet"
REPRODUCIBLE = "reproducible"
FRESH = "fresh"
UIDS = (REPRODUCIBLE, FRESH)
LONGEST_TEXT = 64  # characters of a LO value
SHORT_CHECKSUM = 16  # digits of a checksum where there is no room for 64


class Uids:
    """The UIDs of one object.

    Reproducible ones are made from the source's SOP Instance UID, the version of the software, the weights and settings
    and the masks: the same results of the same radiograph have the same UIDs, whenever they are written, so that an
    archive that is sent them twice keeps one. Other results have other UIDs.

    Args:
        kind: of :data:`UIDS`.
        source: the radiograph's header.
        format_name: such as ``dicom-sr``.
        version: of this package.
        identity: of weights and settings.
        masks: by structure, ``(rows, columns)`` bool.

    Raises:
        ValueError: an unknown kind.
    """

    def __init__(
        self,
        kind: str,
        source: Dataset,
        format_name: str,
        version: str,
        identity: str = "",
        masks: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        if kind not in UIDS:
            raise ValueError(f"uids is {kind!r}, must be one of {', '.join(UIDS)}")
        self._fresh = kind == FRESH
        content = _digest(masks or {})
        self._basis = [NAME, version, str(source.SOPInstanceUID), format_name, identity, content]
        self._given: dict[str, UID] = {}

    def __call__(self, purpose: str) -> UID:
        """The UID for a purpose, such as ``series``; the same one if asked again."""
        if purpose not in self._given:
            entropy = None if self._fresh else [*self._basis, purpose]
            self._given[purpose] = generate_uid(entropy_srcs=entropy)
        return self._given[purpose]


def _digest(masks: Mapping[str, np.ndarray]) -> str:
    """Changes with the names, sizes and pixels of masks."""
    sha = hashlib.sha256()
    for structure, mask in masks.items():
        sha.update(f"{structure} {mask.shape}\n".encode())
        sha.update(np.packbits(np.asarray(mask, bool)).tobytes())
    return sha.hexdigest()


def device_uid(version: str) -> UID:
    """The UID of a version of this software as an observer; the same everywhere."""
    return generate_uid(entropy_srcs=[NAME, "device", version])


def software_versions(version: str, versions: Mapping[str, str], checksums: Mapping[str, str]) -> list[str]:
    """Values of Software Versions: this package's, and those of the weights with the start of their checksums."""
    values = [version]
    for structure, of_weights in versions.items():
        text = f"{structure} {of_weights}"
        if structure in checksums:
            text += f" sha256:{checksums[structure][:SHORT_CHECKSUM]}"
        values.append(text[:LONGEST_TEXT])
    return values


def equipment(version: str, versions: Mapping[str, str], checksums: Mapping[str, str]) -> dict[str, Any]:
    """The equipment of an object, as highdicom's constructors take it."""
    return {
        "manufacturer": NAME,
        "manufacturer_model_name": NAME,
        "software_versions": software_versions(version, versions, checksums),
        "device_serial_number": "none",  # required; software has none
    }


def algorithm_parameters(structure: str, version: str, checksums: Mapping[str, str], identity: str) -> dict[str, str]:
    """What else tells one algorithm from another: the software, the whole checksum of the weights, the settings."""
    parameters = {"software": f"{NAME} {version}"}
    if structure in checksums:
        parameters["weights SHA-256"] = checksums[structure]
    if identity:
        parameters["weights and settings"] = identity
    return parameters
