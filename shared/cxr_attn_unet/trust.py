"""Which bundles may run: a MONAI config is a program, so one that nobody knows asks before.

Bundles that came with this package are known, wherever a copy of them lies, and so are the zips that were released with
it or before it, by the checksums in ``released.json``; others are once someone has said so. What counts is the content:
configs, Python code and weights. The weights as well, for a reader of files can have faults.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from .bundle import shipped_bundles
from .files import sha256, write_json

__all__ = ["UntrustedBundleError", "check_trusted", "fingerprint", "released", "remember", "trust_file"]

# written by "make release", once for each release; not part of what a fingerprint counts, so it can name its own zip
RELEASED = "released.json"
# no code lies there, but perhaps many radiographs
WITHOUT_CODE = ("data", "docs", "eval", "models")


class UntrustedBundleError(ValueError):
    """A bundle that is not known; the message says what it may do and how to trust it."""


def trust_file() -> Path:
    """Where trust is remembered: ``cxr-attn-unet/trusted_bundles.json`` in ``XDG_CONFIG_HOME``, or in ``~/.config``."""
    named = os.environ.get("XDG_CONFIG_HOME")
    folder = Path(named) if named else Path.home() / ".config"
    return folder / "cxr-attn-unet" / "trusted_bundles.json"


def fingerprint(bundle: str | os.PathLike) -> str:
    """SHA-256 over the names and SHA-256 of a bundle's configs, Python code and weights, in hexadecimal.

    Raises:
        OSError: a file cannot be read.
    """
    root = Path(bundle)
    paths = [path for path in (root / "configs").rglob("*") if path.is_file()]
    paths.extend((root / "models").glob("model.pt"))
    for parent, folders, files in os.walk(root):
        if Path(parent) == root:
            folders[:] = [name for name in folders if name not in WITHOUT_CODE]
        paths.extend(Path(parent) / name for name in files if name.endswith(".py"))
    lines = {f"{sha256(path)}  {path.relative_to(root).as_posix()}\n" for path in paths}
    return hashlib.sha256("".join(sorted(lines)).encode("utf-8", "surrogateescape")).hexdigest()


def released() -> set[str]:
    """Fingerprints of the bundles in all zips that were released up to this version."""
    content = resources.files(__package__).joinpath(RELEASED)
    # the copy that a zip carries has none
    return set(json.loads(content.read_text(encoding="utf-8"))["bundles"].values()) if content.is_file() else set()


def check_trusted(bundles: Iterable[str | os.PathLike]) -> None:
    """Make sure that bundles came with this package, were released by this project, or were trusted before.

    Args:
        bundles: their folders.

    Raises:
        UntrustedBundleError: some did not; the message names them and the remedy.
        OSError: a file of a bundle cannot be read.
    """
    shipped = shipped_bundles()
    places = {path.resolve() for path in shipped}
    asked = [Path(bundle) for bundle in bundles if Path(bundle).resolve() not in places]
    if not asked:
        return
    known = {fingerprint(path) for path in shipped} | released() | _remembered()
    unknown = [str(path) for path in asked if fingerprint(path) not in known]
    if unknown:
        raise UntrustedBundleError(
            f"{', '.join(unknown)}: did not come with this package and was not trusted before, and a MONAI config can "
            "run code. If you trust whoever made it, give --trust (Python: trust=True); the command remembers what it "
            f"was told in {trust_file()}, by checksums.{_damage()}"
        )


def remember(bundles: Iterable[str | os.PathLike]) -> None:
    """Trust bundles as they are now, from here on.

    Args:
        bundles: their folders; those of this project need not be remembered.

    Raises:
        OSError: the file cannot be written, or one of a bundle cannot be read.
    """
    known = {fingerprint(path) for path in shipped_bundles()} | released()
    path = trust_file()
    entries = _entries()
    for bundle in bundles:
        digest = fingerprint(bundle)
        if digest not in known:
            entries[digest] = str(Path(bundle).resolve())
    if entries != _entries():
        write_json(path, entries)


def _damage() -> str:
    """What is wrong with the file of trust, if something is."""
    if not trust_file().exists() or _entries():
        return ""
    return " That file holds nothing now or is damaged: what was trusted before must be trusted again."


def _remembered() -> set[str]:
    return set(_entries())


def _entries() -> dict[str, str]:
    """Fingerprint to where the bundle lay; none where the file is missing or damaged."""
    try:
        content = json.loads(trust_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
