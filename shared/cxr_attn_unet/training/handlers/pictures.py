"""Look at the worst cases after each validation."""

from __future__ import annotations

import heapq
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.metrics import compute_dice

from ...bundle import is_main_process
from ...figures import contact_sheet, overlay
from ...io import read_radiograph

__all__ = ["WorstCases"]


class WorstCases:
    """Write a picture of the cases of lowest Dice, and perhaps the median one, outlined, after each validation.

    The reference is outlined in the first of :data:`~cxr_attn_unet.figures.COLOURS`, the prediction in the second.

    Works on the engine's decollated output after postprocessing: one-hot ``pred`` and ``label`` of shape
    ``(2, columns, rows)`` in the radiograph's own layout. Pixels that are 0 in both channels of ``label`` say nothing:
    they are shown at half their brightness, and nothing is outlined there.

    Args:
        folder: pictures go to ``folder/worst_0001.png``, numbered by the epoch.
        number: how many cases.
        median: add the case of median Dice at the end; all masks are kept until then, at one bit per pixel.
    """

    def __init__(self, folder: str | os.PathLike, number: int = 6, median: bool = False) -> None:
        self.folder = Path(folder)
        self.number = number
        self.median = median
        self._worst: list[tuple[float, int, str, tuple[_Packed, _Packed, _Packed]]] = []
        self._seen = 0

    def attach(self, engine: Engine) -> None:
        """Register with an engine, as MONAI does with the handlers of a config."""
        if not is_main_process():
            return
        engine.add_event_handler(Events.EPOCH_STARTED, self._started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._draw)

    def _started(self, engine: Engine) -> None:
        self._worst = []
        self._seen = 0

    def _collect(self, engine: Engine) -> None:
        cases: Any = engine.state.output
        for case in cases:
            prediction, reference = case["pred"], case["label"]
            dice = float(compute_dice(prediction[None], reference[None], include_background=False))
            path = case["label"].meta["radiograph"]
            ignored = reference.sum(0) == 0
            masks = (_pack(reference[1]), _pack(prediction[1]), _pack(ignored))
            self._seen += 1  # settles ties, arrays cannot be compared
            entry = (-dice, self._seen, path, masks)
            # a heap of the negative Dice: its head is the best of the worst
            if self.median or len(self._worst) < self.number:
                heapq.heappush(self._worst, entry)
            else:
                heapq.heappushpop(self._worst, entry)

    def _draw(self, engine: Engine) -> None:
        tiles = []
        cases = sorted(self._worst, key=lambda entry: -entry[0])
        shown = [(entry, "") for entry in cases[: self.number]]
        if self.median and cases:
            shown.append((cases[len(cases) // 2], "median: "))
        for (minus_dice, _, path, packed), remark in shown:
            radiograph = read_radiograph(path)
            reference, prediction, ignored = (radiograph.orientation.apply(_unpack(mask)) for mask in packed)
            title = f"{remark}{Path(path).name}  Dice {-minus_dice:.3f}"
            tiles.append(overlay(radiograph.upright(), [reference, prediction], title, ignored=ignored))
        if tiles:
            contact_sheet(tiles, self.folder / f"worst_{engine.state.epoch:04d}.png")


_Packed = tuple[np.ndarray, tuple[int, ...]]


def _pack(channel: torch.Tensor) -> _Packed:
    """The mask ``(rows, columns)`` of a channel ``(columns, rows)``, at one bit per pixel."""
    mask = channel.cpu().numpy().T
    return np.packbits(mask.astype(bool)), mask.shape


def _unpack(packed: _Packed) -> np.ndarray:
    bits, shape = packed
    return np.unpackbits(bits, count=int(np.prod(shape))).reshape(shape).astype(bool)
