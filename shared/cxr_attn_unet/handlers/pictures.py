"""Look at the worst cases after each validation."""

from __future__ import annotations

import heapq
import os
from pathlib import Path

import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.metrics import compute_dice

from ..figures import contact_sheet, overlay
from ..io import read_radiograph

__all__ = ["WorstCases"]


class WorstCases:
    """Write a picture of the cases of lowest Dice, reference and prediction outlined, after each validation.

    Works on the engine's decollated output after postprocessing: one-hot ``pred`` and ``label`` of shape
    ``(2, columns, rows)`` in the radiograph's own layout.

    Args:
        folder: pictures go to ``folder/worst_0001.png``, numbered by the epoch.
        number: how many cases.
    """

    def __init__(self, folder: str | os.PathLike, number: int = 6) -> None:
        self.folder, self.number = Path(folder), number
        self._worst: list[tuple[float, int, str, np.ndarray, np.ndarray]] = []
        self._seen = 0

    def attach(self, engine: Engine) -> None:
        if torch.distributed.is_initialized() and torch.distributed.get_rank() > 0:
            return
        engine.add_event_handler(Events.EPOCH_STARTED, self._started)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._draw)

    def _started(self, engine: Engine) -> None:
        self._worst, self._seen = [], 0

    def _collect(self, engine: Engine) -> None:
        for case in engine.state.output:
            prediction, reference = case["pred"], case["label"]
            dice = float(compute_dice(prediction[None], reference[None], include_background=False))
            path = case["label"].meta["radiograph"]
            masks = (np.asarray(mask[1].cpu().numpy(), bool).T for mask in (reference, prediction))
            self._seen += 1  # settles ties, arrays cannot be compared
            entry = (-dice, self._seen, path, *masks)
            # a heap of the negative Dice: its head is the best of the worst
            (heapq.heappush if len(self._worst) < self.number else heapq.heappushpop)(self._worst, entry)

    def _draw(self, engine: Engine) -> None:
        tiles = []
        for minus_dice, _, path, reference, prediction in sorted(self._worst, key=lambda entry: -entry[0]):
            radiograph = read_radiograph(path)
            masks = [radiograph.orientation.apply(mask) for mask in (reference, prediction)]
            tiles.append(overlay(radiograph.upright(), masks, f"{Path(path).name}  Dice {-minus_dice:.3f}"))
        if tiles:
            contact_sheet(tiles, self.folder / f"worst_{engine.state.epoch:04d}.png")
