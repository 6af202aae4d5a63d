"""Figures of an evaluation, in a file that tables and cards are made from."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.utils import string_list_all_gather

from ... import __version__
from ...bundle import is_main_process
from ...files import radiograph_stem, written
from ...statistics import bootstrap_interval
from ...system import hardware

__all__ = ["SaveResults"]


class SaveResults:
    """Write every metric of every case, with mean, 95 % interval, worst and best, as JSON when an evaluation ends.

    The interval is that of the mean over patients, by :func:`bootstrap_interval`; patients are told apart by
    ``patient`` in the label's metadata, and by the radiograph where there is none.

    Args:
        path: file to write.
        run: what was evaluated and how, copied into the file.
    """

    def __init__(self, path: str | os.PathLike, run: Mapping[str, Any] | None = None) -> None:
        self.path = Path(path)
        self.run = dict(run or {})
        self._names: list[str] = []
        self._patients: list[str] = []

    def attach(self, engine: Engine) -> None:
        """Register with an engine, as MONAI does with the handlers of a config."""
        engine.add_event_handler(Events.STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._collect)
        engine.add_event_handler(Events.COMPLETED, self._write)

    def _start(self, engine: Engine) -> None:
        self._names = []
        self._patients = []

    def _collect(self, engine: Engine) -> None:
        cases: Any = engine.state.output
        for case in cases:
            meta = case["label"].meta
            self._names.append(radiograph_stem(meta["radiograph"]))
            self._patients.append(str(meta.get("patient") or self._names[-1]))

    def _write(self, engine: Engine) -> None:
        names = string_list_all_gather(self._names)
        patients = string_list_all_gather(self._patients)
        if not is_main_process():
            return
        details: dict[str, torch.Tensor] = engine.state.metric_details  # type: ignore[attr-defined]
        cases = {
            name: {metric: _number(values[index]) for metric, values in details.items()}
            for index, name in enumerate(names)
        }
        summary = {}
        for metric, values in details.items():
            values = values.reshape(len(names)).cpu()
            known = values[torch.isfinite(values)]
            if len(known):
                summary[metric] = {
                    "mean": _number(known.mean()),
                    "interval": bootstrap_interval(values.numpy(), patients),
                    "min": _number(known.min()),
                    "max": _number(known.max()),
                    "cases": len(known),
                }
        document = {
            "run": {**self.run, "version": __version__, "torch": torch.__version__, "hardware": hardware()},
            "summary": summary,
            "cases": dict(sorted(cases.items())),
        }
        with written(self.path) as path:
            path.write_text(json.dumps(document, indent=1), encoding="utf-8")


def _number(value: torch.Tensor) -> float | None:
    number = float(value)
    return round(number, 5) if math.isfinite(number) else None
