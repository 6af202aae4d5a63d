"""What a server is started with."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from ..files import DICOM, PICTURES

__all__ = ["NO_UPLOAD", "UPLOADS", "Bundles", "Limits", "is_loopback", "suffix_of"]

LOOPBACK_NAME = "localhost"
# MHA, MHD, NRRD and their like may name other files as their pixels, and a ZIP may hold them
UPLOADS = (*PICTURES, *DICOM, ".nii.gz", ".nii", ".img")
NO_UPLOAD = (".mha", ".mhd", ".nrrd", ".nhdr", ".hdr", ".zip")


@dataclass(frozen=True)
class Bundles:
    """Which bundles segment, and on what; see :meth:`cxr_attn_unet.inference.Segmenter.from_bundles`."""

    structures: tuple[str, ...] | None = None
    folder: str | None = None
    device: str | None = None
    max_pixels: int | None = None
    trust: bool = False


@dataclass(frozen=True)
class Limits:
    """How much a server takes on.

    Attributes:
        waiting: radiographs that may wait besides the one that is segmented.
        bytes: of an upload.
        upload_seconds: that an upload may take.
        seconds: that one radiograph may take.
        keep_seconds: that results stay in memory after they were last asked for.
        kept: radiographs whose results stay in memory at most; the oldest go first.
        folder: where uploads and results are kept as files; ``None`` keeps nothing.
    """

    waiting: int = 8
    bytes: int = 100 << 20
    upload_seconds: float = 60.0
    seconds: float = 120.0
    keep_seconds: float = 600.0
    kept: int = 16
    folder: Path | None = None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a host: a name or an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == LOOPBACK_NAME


def suffix_of(name: str) -> str:
    """The known suffix of an uploaded file's name, in lower case; empty if there is none, as DICOM files often have."""
    lower = name.lower()
    # the longest first: .dcm.gz before .gz
    for suffix in sorted((*UPLOADS, *NO_UPLOAD), key=len, reverse=True):
        if lower.endswith(suffix):
            return suffix
    return ""
