"""Masks and label maps as pictures."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping

import numpy as np

from ..structures import label_values, part_values

__all__ = ["label_map", "one_bit_png", "part_label_map"]

EFFORT = 8  # of zlib: 9 takes three times as long, and makes files 3 % smaller


def label_map(masks: Mapping[str, np.ndarray]) -> np.ndarray:
    """One picture of all structures; where they overlap, the higher value is what is seen.

    Args:
        masks: by structure, ``(rows, columns)`` bool of one size.

    Returns:
        ``(rows, columns)`` uint8, 0 background, see :func:`cxr_attn_unet.structures.label_values`.
    """
    labels = np.zeros(next(iter(masks.values())).shape, np.uint8)
    for name, value in label_values(masks).items():
        labels[masks[name]] = value
    return labels


def part_label_map(structure: str, masks: Mapping[str, np.ndarray]) -> np.ndarray:
    """One picture of the parts of a structure; where they overlap, the higher value is what is seen.

    Args:
        structure: such as ``ribs``.
        masks: by part, ``(rows, columns)`` bool of one size.

    Returns:
        ``(rows, columns)`` uint8, 0 background, see :func:`cxr_attn_unet.structures.part_values`.

    Raises:
        ValueError: no mask of a part that the registry has.
    """
    labels: np.ndarray | None = None
    for part, value in part_values(structure).items():
        if part not in masks:
            continue
        mask = masks[part]
        if labels is None:
            labels = np.zeros(mask.shape, np.uint8)
        labels[mask] = value
    if labels is None:
        raise ValueError(f"{structure}: none of its parts was given.")
    return labels


def one_bit_png(mask: np.ndarray) -> bytes:
    """A PNG of one bit per pixel. Pillow filters rows, which makes a mask's file a fifth larger (PNG, 9.1 and 12.8).

    Args:
        mask: ``(rows, columns)`` bool.
    """
    rows = np.packbits(mask, axis=1)
    unfiltered = np.pad(rows, ((0, 0), (1, 0))).tobytes()  # each row starts with its filter: 0, none
    head = struct.pack(">IIBBBBB", mask.shape[1], mask.shape[0], 1, 0, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", head), (b"IDAT", zlib.compress(unfiltered, EFFORT)), (b"IEND", b"")):
        png += struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    return png
