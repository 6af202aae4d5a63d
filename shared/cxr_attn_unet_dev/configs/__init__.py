"""The bundles' configs, made from one template each and the head of each bundle: ``make bundles``.

``templates/NAME.json`` is what all bundles have in common. ``heads/STRUCTURE.json`` has the values at the head of the
templates in which the bundle of a structure differs, at least those that the templates leave open (``"<head>"``). A
new structure is a head here, a folder ``bundles/STRUCTURE_attn_unet`` with metadata and card, and an entry of
:data:`cxr_attn_unet.structures.REGISTRY`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from cxr_attn_unet.structures import BUNDLE_SUFFIX

from ..json_style import format_json, read_json

__all__ = ["NAMES", "channel_def", "configs_of", "head_of", "texts", "with_head"]

NAMES = (
    *("train", "train_strong", "evaluate", "multi_gpu_train", "multi_gpu_evaluate"),
    *("inference", "inference_in_memory", "inference_trt"),
)
OPEN = "<head>"
FOLDER = Path(str(resources.files(__package__)))


def head_of(structure: str) -> dict[str, Any]:
    """Values in which the bundle of a structure differs from the templates, its name among them.

    Args:
        structure: such as ``heart``.

    Raises:
        FileNotFoundError: it has no head.
    """
    path = FOLDER / "heads" / f"{structure}.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file. Write the head of the bundle there, see the others.")
    return {"structure": structure, **read_json(path)}


def with_head(template: Mapping[str, Any], head: Mapping[str, Any]) -> dict[str, Any]:
    """A template with the values of a head in the place of its own; keys that it does not have are left out.

    Args:
        template: a config.
        head: values by key.

    Raises:
        ValueError: the head lacks a value that the template leaves open.
    """
    config = {key: head.get(key, value) for key, value in template.items()}
    missing = [key for key, value in config.items() if value == OPEN]
    if missing:
        raise ValueError(f"head of {head.get('structure', 'the bundle')}: needs {', '.join(missing)}. Add them.")
    return config


def configs_of(head: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """All configs of a bundle, by name.

    Args:
        head: see :func:`head_of`.

    Raises:
        ValueError: the head lacks a value, or has one that no template knows.
    """
    templates = {name: read_json(FOLDER / "templates" / f"{name}.json") for name in NAMES}
    unknown = set(head).difference(*templates.values())
    if unknown:
        raise ValueError(f"head of {head.get('structure', 'the bundle')}: no config has {', '.join(sorted(unknown))}.")
    return {name: with_head(template, head) for name, template in templates.items()}


def channel_def(structure: str, parts: Sequence[str] = ()) -> dict[str, str]:
    """The channels of a bundle's network, as its metadata name them: background, structure, then its parts.

    Args:
        structure: such as ``ribs``.
        parts: names of the parts that the network tells apart, as in the bundle's ``inference.json``.
    """
    return {str(channel): name for channel, name in enumerate(("background", structure, *parts))}


def texts(bundle: Path) -> dict[Path, str]:
    """The configs of a bundle as they should be, by file.

    Args:
        bundle: folder of the bundle, ``STRUCTURE_attn_unet``.
    """
    head = head_of(bundle.resolve().name.removesuffix(BUNDLE_SUFFIX))
    return {bundle / "configs" / f"{name}.json": format_json(config) for name, config in configs_of(head).items()}
