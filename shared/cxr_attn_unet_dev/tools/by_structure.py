"""Files of figures by structure, of which a program may measure some again while the others stay."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cxr_attn_unet.files import write_json
from cxr_attn_unet.structures import in_registry_order

__all__ = ["with_structure", "write_structure"]


def with_structure(known: Mapping[str, Any], structure: str, figures: Any) -> dict[str, Any]:
    """Figures by structure, in the order of the registry, with those of one structure put in or replaced."""
    together = {**known, structure: figures}
    return {name: together[name] for name in in_registry_order(together)}


def write_structure(path: Path, structure: str, figures: Mapping[str, Any], **about: Any) -> None:
    """Put the figures of one structure into a file, under ``structures``; those of others that it has stay.

    Args:
        path: JSON file; made if missing.
        structure: such as ``heart``.
        figures: of it.
        about: what else the file says, such as the hardware; replaces what it said.
    """
    known = json.loads(path.read_text(encoding="utf-8"))["structures"] if path.is_file() else {}
    write_json(path, {"structures": with_structure(known, structure, figures), **about})
