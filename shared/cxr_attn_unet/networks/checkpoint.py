"""Reading weight files, with errors that say what is wrong with the file and what to do about it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

WRAPPERS = ("model", "network", "state_dict")
Network = TypeVar("Network", bound=nn.Module)


def read_state_dict(path: str | Path) -> dict[str, torch.Tensor]:
    """Read a state dict from ``path``, bare or under the key ``model``, ``network`` or ``state_dict``.

    Only tensors and plain containers are unpickled, so a file from elsewhere cannot run code.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a weight file, or one without a state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weight file {path}; name one with --checkpoint, or train the network first")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file can fail in the zip reader, in the unpickler or in the tensors
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"{path} cannot be read as a PyTorch weight file: it is damaged, cut short or of another kind ({reason})"
        ) from error
    if isinstance(content, Mapping):
        for wrapper in WRAPPERS:
            if isinstance(content.get(wrapper), Mapping):
                content = content[wrapper]
                break
    weights = dict(content) if isinstance(content, Mapping) else {}
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
        ValueError: a damaged file, one without a state dict, or weights of another network or width.
    """
    weights = read_state_dict(path)
    mismatch = describe_mismatch(network.state_dict(), weights)
    if mismatch:
        raise ValueError(
            f"the weights in {path} do not fit {type(network).__name__} ({mismatch}); set network_name and width at "
            "the head of the config to those that the weights were trained with"
        )
    network.load_state_dict(weights)
    return network
