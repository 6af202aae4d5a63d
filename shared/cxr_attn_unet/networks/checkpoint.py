"""Weight files: which network they are of, and errors that say what is wrong with one and what to do about it.

Weights can fit a network by shape and yet be another's: the Spatial and the Full Spatial Attention U-Net, or one
network with and without ``scale_attention``. So what :func:`save_weights` writes has a record beside it,
``model.json`` beside ``model.pt``, with the file's SHA-256 and the network's name, width and options; the weights that
a bundle is shipped with have theirs in ``configs/metadata.json``, under ``weights``.
"""

from __future__ import annotations

import json
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from ..files import sha256, write_json, written

WRAPPERS = ("model", "network", "state_dict")
# options of networks by the names that version 0.1.0 wrote into weight files and records
FORMER_OPTIONS = {"scale": "scale_attention"}
Network = TypeVar("Network", bound=nn.Module)


def read_checkpoint(path: str | Path) -> Any:
    """What ``torch.save`` wrote to a file, if each byte of it is as it was written.

    PyTorch writes a checksum of each of its tensors and does not look at it when it reads them, so that a damaged file
    would give other numbers without a word. Only tensors and plain containers are unpickled, so a file from elsewhere
    cannot run code.

    Raises:
        ValueError: it is damaged or of another kind; the message says how, and does not name the file.
    """
    try:
        damaged = _damaged_member(path)
        if not damaged:
            return torch.load(path, map_location="cpu", weights_only=True)
        reason = f"the checksum of {damaged} is not that of its content"
    except Exception as error:  # a damaged file can fail in the zip reader, in the unpickler or in the tensors
        reason = (str(error).splitlines() or [type(error).__name__])[0]
    raise ValueError(f"it is damaged, cut short or of another kind ({reason})")


def write_checkpoint(content: Any, path: str | Path) -> None:
    """Write what :func:`read_checkpoint` reads, whole or not at all.

    Raises:
        OSError: it cannot be written, such as to a full disk; the message names the file and the remedy.
    """
    with written(path) as temporary:
        _save(content, temporary, path)


def _save(content: Any, temporary: Path, path: str | Path) -> None:
    try:
        torch.save(content, temporary)
    except RuntimeError as error:  # its way to say that a file cannot be written
        raise OSError(
            f"{path}: could not be written ({str(error).splitlines()[0]}). Make room on the disk and run the same "
            "command again."
        ) from error


def _damaged_member(path: str | Path) -> str | None:
    """The first member of a weight file whose checksum is wrong; ``None`` in sound ones and those without checksums."""
    with open(path, "rb") as file:
        if file.read(4) != b"PK\x03\x04":
            return None  # as written before PyTorch 1.6, which has its own way to fail
        with zipfile.ZipFile(file) as archive:
            return archive.testzip()


def read_state_dict(path: str | Path) -> Mapping[str, torch.Tensor]:
    """Read a state dict from ``path``, bare or under the key ``model``, ``network`` or ``state_dict``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a weight file, or one without a state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weight file {path}; name one with --checkpoint, or train the network first")
    try:
        content = read_checkpoint(path)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read as a PyTorch weight file: {error}") from error
    if isinstance(content, Mapping):
        for wrapper in WRAPPERS:
            if isinstance(content.get(wrapper), Mapping):
                content = content[wrapper]
                break
    weights = content if isinstance(content, Mapping) else {}
    if not weights or not all(isinstance(weight, torch.Tensor) for weight in weights.values()):
        raise ValueError(
            f"{path} holds no state dict: expected tensors by name, bare or under one of {', '.join(WRAPPERS)}"
        )
    return weights


def describe_mismatch(expected: Mapping[str, torch.Tensor], given: Mapping[str, torch.Tensor]) -> str:
    """Say in a few words how the names and shapes in ``given`` differ from ``expected``; empty if they do not."""
    shared = [key for key in expected if key in given and expected[key].shape != given[key].shape]
    problems = {
        "missing": [key for key in expected if key not in given],
        "unexpected": [key for key in given if key not in expected],
        "of another shape": [f"{key} {tuple(given[key].shape)} for {tuple(expected[key].shape)}" for key in shared],
    }
    return "; ".join(
        f"{len(keys)} {problem}: {', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''}"
        for problem, keys in problems.items()
        if keys
    )


def _settings_of_network(network: nn.Module) -> dict[str, Any]:
    """Settings of one of this package's networks; nothing of any other."""
    settings = getattr(network, "settings", None)
    return {} if settings is None else settings()


def _settings_of(weights: Mapping[str, Any]) -> dict[str, Any] | None:
    """Settings of the network that a state dict was taken from, if it carries them."""
    settings = getattr(weights, "_metadata", {}).get("", {}).get("network")
    return None if settings is None else _with_current_names(settings)


def _with_current_names(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {FORMER_OPTIONS.get(name, name): value for name, value in settings.items()}


def check_fit(network: nn.Module, weights: Mapping[str, Any]) -> None:
    """Make sure that weights are a network's own, by name and shape and by the settings that they carry.

    Args:
        network: a :class:`~.blocks.SegmentationNetwork`.
        weights: a state dict.

    Raises:
        RuntimeError: they are another network's; the message names both.
    """
    own = _settings_of_network(network)
    given = _settings_of(weights)
    if given is not None and given != own:
        raise RuntimeError(f"the weights are of {_named(given)}, the network is {_named(own)}")
    mismatch = describe_mismatch(network.state_dict(), weights)
    if mismatch:
        raise RuntimeError(f"the weights do not fit the network {_named(own)} ({mismatch})")


def record_of(path: str | Path) -> tuple[Path, dict[str, Any]] | None:
    """What is on record of a weight file: the record's own file, and ``sha256`` and ``network``; None if nothing is.

    Args:
        path: the weights. Their record is the JSON file of the same name beside them, or for ``models/model.pt`` of a
            bundle its ``configs/metadata.json``.

    Raises:
        ValueError: the record cannot be read.
    """
    path = Path(path).absolute()
    beside, metadata = path.with_suffix(".json"), path.parent.parent / "configs" / "metadata.json"
    for source in (beside, metadata):
        if not source.is_file():
            continue
        try:
            content = json.loads(source.read_text(encoding="utf-8"))
            record = content.get("weights") if source == metadata else content
            if not record or not {"sha256", "network"} & set(record):
                continue  # another kind of file
            if source == metadata and path != metadata.parents[1] / record["file"]:
                continue
            network = _with_current_names(record["network"])
            return source, {"sha256": record["sha256"], "before": record.get("before"), "network": network}
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise ValueError(f"{source}: no record of weights ({error!r}). Correct or remove it.") from error
    return None


def save_weights(network: nn.Module, path: str | Path, unfinished: Mapping[str, Any] | None = None) -> None:
    """Write the state dict of a network, and the record of it beside it; at no time do the two disagree.

    Args:
        network: the network.
        path: such as ``models/model.pt``, whose record is ``models/model.json``.
        unfinished: of weights that a training has still to better, see :func:`unfinished_training`.

    Raises:
        OSError: one of them cannot be written.
    """
    target = Path(path)
    with written(target) as temporary:
        _save(network.state_dict(), temporary, target)
        record = {
            "sha256": sha256(temporary),
            "before": sha256(target) if target.is_file() else None,  # what lies there until the last moment
            "network": _settings_of_network(network) or {"name": type(network).__name__},
        }
        if unfinished is not None:
            record["unfinished"] = dict(unfinished)
        write_json(target.with_suffix(".json"), record)


def unfinished_training(path: str | Path) -> dict[str, Any] | None:
    """What is on record of the training that wrote a weight file and has not come to its end; ``None`` if it has.

    Args:
        path: such as ``models/model.pt``.

    Returns:
        ``previous``, the SHA-256 of the weights that stood there before that training, or ``None`` if there were none,
        and ``request``, what the training was asked for, or ``None`` if it was not said.
    """
    record = _record_beside(path)
    unfinished = record.get("unfinished")
    if not isinstance(unfinished, dict) or not Path(path).is_file():
        return None
    digest = sha256(path)
    # the record is written before the weights, so these can be those from before the training, or are somebody else's
    if digest == unfinished.get("previous") or digest not in (record.get("sha256"), record.get("before")):
        return None
    return {"previous": unfinished.get("previous"), "request": unfinished.get("request")}


def finish_training(path: str | Path) -> None:
    """Put on record that the training that wrote a weight file has come to its end.

    Args:
        path: such as ``models/model.pt``.
    """
    record = _record_beside(path)
    if "unfinished" in record:
        del record["unfinished"]
        write_json(Path(path).with_suffix(".json"), record)


def copy_weights(source: Path, target: Path) -> None:
    """Copy a weight file and the record beside it, so that at no time the two copies disagree.

    Args:
        source: such as ``models/model.pt``.
        target: such as ``models/model.previous.pt``.
    """
    record = _record_beside(source)
    digest = sha256(source)
    if record.get("sha256") == digest:
        record = {"sha256": digest, "network": record["network"]}
        record["before"] = sha256(target) if target.is_file() else None
        write_json(target.with_suffix(".json"), record)
    else:
        target.with_suffix(".json").unlink(missing_ok=True)  # that of other weights
    with written(target) as temporary:
        shutil.copyfile(source, temporary)


def _record_beside(path: str | Path) -> dict[str, Any]:
    """The record of a weight file in its folder; empty if there is none, or if it cannot be read."""
    try:
        record = json.loads(Path(path).with_suffix(".json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) and {"sha256", "network"} <= set(record) else {}


def load_weights(network: Network, path: str | Path) -> Network:
    """Copy the weights in a file into ``network``; every weight must match by name and shape.

    Args:
        network: the network, changed in place; its weights keep their type and device, so half-precision weights
            in the file become float32 in a float32 network.
        path: a file such as ``models/model.pt``: a state dict, bare or under ``model``, ``network`` or ``state_dict``.

    Returns:
        ``network``.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged file, one without a state dict, weights of another network or width, or a file that is
            not the one on record (see :func:`record_of`).
    """
    path = Path(path)
    record = record_of(path) if path.is_file() else None
    settings = _settings_of_network(network)
    given = None
    if record:
        source, entry = record
        digest = sha256(path)
        if digest not in (entry["sha256"], entry["before"]):
            raise ValueError(
                f"{path} is not the file on record in {source}: its SHA-256 is {digest[:12]}..., on record is "
                f"{entry['sha256'][:12]}.... It was damaged or exchanged: get it again, or if it is your own, "
                f"give it another name and name it with --checkpoint."
            )
        if digest == entry["sha256"]:
            given = entry["network"]
    weights = read_state_dict(path)
    if given is None:
        given = _settings_of(weights)
    mismatch = describe_mismatch(network.state_dict(), weights)
    if mismatch or (given and settings and given != settings):
        whose = f"they are of {_named(given)}, " if given else ""
        makes = _named(settings) if settings else type(network).__name__
        raise ValueError(
            f"the weights in {path} do not fit: {whose}the config makes {makes}{f' ({mismatch})' if mismatch else ''}; "
            "set network_name, width and scale_attention at the head of the config to those of the weights' training"
        )
    network.load_state_dict(weights)
    return network


def _named(settings: Mapping[str, Any]) -> str:
    name, *rest = (f"{key} {value}" if key != "name" else str(value) for key, value in settings.items())
    return ", ".join([name, *rest])
