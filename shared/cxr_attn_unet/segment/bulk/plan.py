"""What a run is to do: which radiographs, in which shards, under which settings; kept in the output folder.

The list is written before the work starts, so that every shard is the same whenever it is done, and by whomever.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from ... import __version__
from ...inference.engines import TORCH
from ...inference.segmenter import Segmenter
from ..inputs import Failure
from .listing import Listed, Listing
from .store import Store

__all__ = [
    "ATTEMPTS",
    "FAILURES",
    "LIST",
    "MANIFEST",
    "SEGMENTATIONS",
    "OtherRunError",
    "Plan",
    "Wanted",
    "forget_attempts",
    "make_plan",
]

VERSION = 1  # of the manifest and of the files beside it
MANIFEST = "bulk_manifest.json"
SEGMENTATIONS = "segmentations"
FAILURES = "failures"
LIST = "list"
ATTEMPTS = "attempts"
OWN_FILE = re.compile(
    r"shard-\d{6,}-[0-9a-f]{8}\.parquet|list-\d{6,}\.jsonl|attempt-\d{6,}-\d"
)  # what a run may remove


class OtherRunError(ValueError):
    """The output folder has the results of other settings or of another list."""


@dataclass(frozen=True)
class Wanted:
    """What the user wants, but for the radiographs; see :meth:`cxr_attn_unet.inference.Segmenter.from_bundles`.

    Attributes:
        structures: those wanted; all if ``None``.
        bundles: their folder, the same on every machine.
        threshold: of the masks.
        tta: average several views.
        parts: tell parts apart.
        max_pixels: the most pixels of a radiograph.
        trust: run bundles of any content.
        engine: what runs the networks.
        calibration: folder of radiographs for an engine that needs them, the same on every machine.
        with_identifiers: say in the tables who a DICOM radiograph is of.
        shard_size: radiographs per shard.
    """

    structures: tuple[str, ...] | None = None
    bundles: str | None = None
    threshold: float | None = None
    tta: bool = False
    parts: bool = False
    max_pixels: int | None = None
    trust: bool = False
    engine: str = TORCH
    calibration: str | None = None
    with_identifiers: bool = False
    shard_size: int = 256

    def segmenter(self, device: str | None) -> Segmenter:
        """The segmenter; see :meth:`cxr_attn_unet.inference.Segmenter.from_bundles` for what it raises."""
        return Segmenter.from_bundles(
            self.structures,
            self.bundles,
            device,
            self.threshold,
            self.tta,
            self.parts,
            self.max_pixels,
            self.trust,
            self.engine,
            self.calibration,
        )


@dataclass(frozen=True)
class Plan:
    """The work of a run.

    Attributes:
        output: where everything is.
        run: changes with settings and radiographs; part of every shard's name.
        wanted: the settings.
        identity: of weights and settings, see :class:`~cxr_attn_unet.inference.Segmenter`.
        radiographs: how many there are.
        shards: into how many they are divided.
        ignored: numbers of other files in the folders that were given, by kind.
        failures: folders that could not be listed.
    """

    output: Store
    run: str
    wanted: Wanted
    identity: str
    radiographs: int
    shards: int
    ignored: Mapping[str, int]
    failures: tuple[Failure, ...] = ()

    def shard_name(self, folder: str, shard: int) -> str:
        """A shard's file in one of the folders, below the output folder."""
        return f"{folder}/{self.file_name(shard)}"

    def file_name(self, shard: int) -> str:
        """The name of a shard's files."""
        return f"shard-{shard:06}-{self.run}.parquet"

    def size(self, shard: int) -> int:
        """How many radiographs a shard has."""
        return min(self.wanted.shard_size, self.radiographs - shard * self.wanted.shard_size)

    def entries(self, shard: int) -> list[Listed]:
        """The radiographs of a shard.

        Raises:
            OSError: the list cannot be read.
        """
        with self.output.open(_list_name(shard)) as file:
            return [Listed(**json.loads(line)) for line in file]

    def todo(self) -> list[int]:
        """The shards without results, and those in which something failed, in order.

        Raises:
            OSError: the output folder cannot be listed.
        """
        done = self.output.names(SEGMENTATIONS)
        failed = self.output.names(FAILURES)
        unfinished = []
        for shard in range(self.shards):
            name = self.file_name(shard)
            if name not in done or name in failed:
                unfinished.append(shard)
        return unfinished


def make_plan(output: Store, given: Iterable[str], wanted: Wanted, segmenter: Segmenter, overwrite: bool) -> Plan:
    """The plan that the output folder has, or a new one.

    Args:
        output: where it is kept.
        given: files, folders and URLs.
        wanted: the settings.
        segmenter: made by them.
        overwrite: start over, whatever there is.

    Raises:
        OtherRunError: what is there was made of something else.
        ValueError: there is nothing to segment.
        OSError: the folder cannot be read or written.
    """
    settings = _settings(wanted, segmenter)
    if not overwrite and output.has(MANIFEST):
        return _resumed(output, given, wanted, settings)
    _clear(output)
    listing = Listing(given)
    radiographs, list_checksum = _write_list(output, listing, wanted.shard_size)
    if not radiographs:
        reasons = [failure.reason for failure in listing.failures]
        raise ValueError("\n".join([*reasons, "there is nothing to segment"]))
    settings["given_sha256"] = listing.checksum
    manifest = {
        "version": VERSION,
        "run": _key([settings, list_checksum]),
        "settings": settings,
        "list_sha256": list_checksum,
        "radiographs": radiographs,
        "shards": -(-radiographs // wanted.shard_size),
        "ignored": dict(listing.ignored),
        "failures": [asdict(failure) for failure in listing.failures],
    }
    with output.written(MANIFEST) as temporary:
        temporary.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    return _plan(output, wanted, manifest)


def forget_attempts(output: Store) -> None:
    """Remove the marks of attempts of a former run.

    Raises:
        OSError: they cannot be removed.
    """
    _remove_own(output, ATTEMPTS)


def _settings(wanted: Wanted, segmenter: Segmenter) -> dict[str, Any]:
    """What the results depend on; ``identity`` stands for all that the segmenter does."""
    return {
        "package": __version__,
        "identity": segmenter.identity,
        "structures": dict(segmenter.versions),
        "checksums": dict(segmenter.checksums),
        "threshold": wanted.threshold,
        "tta": wanted.tta,
        "parts": wanted.parts,
        "max_pixels": wanted.max_pixels,
        "with_identifiers": wanted.with_identifiers,
        "shard_size": wanted.shard_size,
    }


def _key(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def _list_name(shard: int) -> str:
    return f"{LIST}/list-{shard:06}.jsonl"


def _resumed(output: Store, given: Iterable[str], wanted: Wanted, settings: dict[str, Any]) -> Plan:
    with output.open(MANIFEST) as file:
        content = file.read()
    try:
        manifest = json.loads(content)
        former = manifest["settings"]
        plan = _plan(output, wanted, manifest)
    except (ValueError, KeyError, TypeError) as error:
        raise OtherRunError(
            f"{output}/{MANIFEST} cannot be used ({error!r}). Name another output folder, or start over with "
            "--overwrite."
        ) from error
    listing = Listing(given)
    listing.pass_over()
    settings["given_sha256"] = listing.checksum
    different = [name for name in settings if former.get(name) != settings[name]]
    if manifest["version"] != VERSION or different:
        raise OtherRunError(
            f"{output} holds the results of other settings or radiographs (different: "
            f"{', '.join(different) or 'version'}; see {MANIFEST}). Name another output folder, or start over with "
            "--overwrite."
        )
    return plan


def _plan(output: Store, wanted: Wanted, manifest: Mapping[str, Any]) -> Plan:
    return Plan(
        output=output,
        run=manifest["run"],
        wanted=wanted,
        identity=manifest["settings"]["identity"],
        radiographs=manifest["radiographs"],
        shards=manifest["shards"],
        ignored=manifest["ignored"],
        failures=tuple(Failure(**failure) for failure in manifest["failures"]),
    )


def _clear(output: Store) -> None:
    """Remove what another run has left, the manifest first: without it nothing else counts."""
    output.remove(MANIFEST)
    output.remove("failures.csv")
    for folder in (SEGMENTATIONS, FAILURES, LIST, ATTEMPTS):
        _remove_own(output, folder)


def _remove_own(output: Store, folder: str) -> None:
    for name in output.names(folder):
        if OWN_FILE.fullmatch(name):
            output.remove(f"{folder}/{name}")


def _write_list(output: Store, listing: Listing, shard_size: int) -> tuple[int, str]:
    """Write the radiographs of each shard, as they are found; returns how many there are, and their SHA-256."""
    entries = iter(listing)
    radiographs = 0
    shard = 0
    digest = hashlib.sha256()
    while some := list(islice(entries, shard_size)):
        # JSON keeps paths that are no UTF-8
        lines = "".join(json.dumps(asdict(entry)) + "\n" for entry in some)
        digest.update(lines.encode("ascii"))
        with output.written(_list_name(shard)) as temporary:
            temporary.write_text(lines, encoding="ascii")
        radiographs += len(some)
        shard += 1
    return radiographs, digest.hexdigest()
