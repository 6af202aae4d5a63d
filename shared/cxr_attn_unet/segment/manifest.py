"""What a run was made of, for whoever must repeat or audit it: inputs, weights, options, versions, host."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .. import __version__
from ..files import written
from ..system import hardware, processor
from .inputs import Failure
from .record import Record, digest_of
from .settings import Settings
from .tables import Finished

__all__ = ["MANIFEST", "write_manifest"]

MANIFEST = "manifest.json"
VERSION = 1  # of the layout
PACKAGES = ("torch", "monai", "numpy", "scipy", "scikit-image", "pillow", "pydicom", "nibabel", "highdicom")


def write_manifest(settings: Settings, finished: Finished, failures: Sequence[Failure]) -> None:
    """Write ``manifest.json``, whole or not at all; radiographs are taken one at a time.

    It names radiographs as the results are named, and says nothing of what is in their headers.

    Args:
        settings: what was wanted.
        finished: the radiographs that have results, of this run and of those that it resumed.
        failures: the files that have none.

    Raises:
        OSError: it cannot be written.
    """
    head = json.dumps(_head(settings, failures), indent=1, ensure_ascii=False)
    with (
        written(settings.output / MANIFEST) as temporary,
        open(temporary, "w", encoding="utf-8", errors="surrogateescape") as file,
    ):
        # a line for each radiograph, so that a list of a million needs no memory
        file.write(head.removesuffix("\n}") + ',\n "radiographs": [')
        separator = "\n  "
        for _, record in finished:
            file.write(separator + json.dumps(_entry(record), ensure_ascii=False))
            separator = ",\n  "
        file.write("\n ]\n}\n")


def _head(settings: Settings, failures: Sequence[Failure]) -> dict[str, Any]:
    return {
        "manifest_version": VERSION,
        "written": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "identity": settings.identity,
        "weights": _weights(settings),
        "options": {
            "format": list(settings.formats),
            "parts": {structure: list(parts) for structure, parts in settings.parts.items()},
            "tta": settings.tta,
            "threshold": settings.threshold,
            "max_pixels": settings.max_pixels,
            "uids": settings.uids,
            "with_identifiers": settings.with_identifiers,
            "report": settings.report,
        },
        "versions": _versions(),
        "host": {
            "system": platform.platform(),
            "processor": processor(),
            "hardware": hardware(),
            "device": settings.device,
        },
        "failures": [
            {"file": failure.name, "kind": "skipped" if failure.skipped else "failed"} for failure in failures
        ],
    }


def _weights(settings: Settings) -> dict[str, Mapping[str, str]]:
    return {
        structure: {"version": settings.versions[structure], "sha256": settings.checksums.get(structure, "")}
        for structure in settings.structures
    }


def _versions() -> dict[str, str]:
    """Of this package, Python, and the packages that read, segment and write."""
    versions = {"cxr-attn-unet": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue  # of an extra that is not installed
    return versions


def _entry(record: Record) -> dict[str, Any]:
    # records of earlier versions of this package have no checksum
    digest = record.sha256 or digest_of(Path(record.path), record.state)
    return {"name": record.stem, "bytes": record.state[0], "sha256": digest, "results": list(record.files)}
