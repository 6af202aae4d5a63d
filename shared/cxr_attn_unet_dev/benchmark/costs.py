"""What a step of a network costs here, and the hours that follow from it."""

from __future__ import annotations

import logging
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from statistics import median
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigWorkflow, create_workflow

from cxr_attn_unet.system import peak_memory

from .cells import Cell

__all__ = [
    "Stopwatch",
    "inference_seconds",
    "measure",
    "measure_alone",
    "measured_hours",
    "seconds",
    "stopwatches",
]


def seconds() -> float:
    """A clock: seconds of the GPU's wall, or of all CPU cores together, which other programs do not disturb."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


class Stopwatch:
    """Time of each step of an engine, from fetching its batch to its end."""

    def __init__(self, engine: Engine) -> None:
        self.times: list[float] = []
        self._start = 0.0
        engine.add_event_handler(Events.GET_BATCH_STARTED, self._begin)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._end)

    def _begin(self) -> None:
        self._start = seconds()

    def _end(self) -> None:
        self.times.append(seconds() - self._start)

    @property
    def typical(self) -> float:
        """Median; the first step, which warms up, counts only if it is the only one."""
        return median(self.times[1:] or self.times or [0.0])


def measure(cell: Cell, dataset_dir: str, steps: int = 2) -> list[dict[str, float]]:
    """Take a few real steps of a cell, stage by stage, through its config.

    Args:
        cell: what to measure.
        dataset_dir: its data.
        steps: of training and of validation, after the first of each.

    Returns:
        one per stage: ``training`` and ``validation`` (seconds per image, see :func:`seconds`), the ``images`` of both
        that the whole stage shows, ``hours``, ``parameters``, ``inference`` (seconds per image, forward pass alone) and
        ``memory_bytes``, the most that this process has had so far.
    """
    return [_measure_stage(cell, stage, dataset_dir, steps) for stage in cell.stages()]


def measure_alone(cell: Cell, dataset_dir: str) -> list[dict[str, float]]:
    """:func:`measure` in a process of its own, so that the memory is the cell's alone."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(_measure_quietly, cell, dataset_dir).result()


def _measure_quietly(cell: Cell, dataset_dir: str) -> list[dict[str, float]]:
    logging.disable(logging.WARNING)
    return measure(cell, dataset_dir)


def _measure_stage(cell: Cell, stage: dict[str, Any], dataset_dir: str, steps: int) -> dict[str, float]:
    train_json = str(cell.bundle_root / "configs" / "train.json")
    with tempfile.TemporaryDirectory() as folder:
        workflow = create_workflow(
            config_file=train_json,
            workflow_type="train",
            bundle_root=str(cell.bundle_root),
            dataset_dir=dataset_dir,
            output_dir=folder,
            ckpt_dir=folder,
            **{
                **stage,
                "val_interval": 1,
                "train#dataset#data": f"$@data['training'][:{steps + 1} * @batch_size]",
                "validate#dataset#data": f"$@data['validation'][:{steps + 1}]",
                "train#trainer#max_epochs": 1,
            },
        )
        trainer, evaluator = stopwatches(workflow)
        workflow.run()
        workflow.finalize()
        content = workflow.parser.get_parsed_content
        sections, batch, epochs = content("data"), content("batch_size"), content("epochs")
        result = {
            "training": trainer.typical / batch,
            "validation": evaluator.typical,
            "training_images": epochs * (len(sections["training"]) // batch or 1) * batch,
            "validation_images": epochs // stage.get("val_interval", 1) * len(sections["validation"]),
            "parameters": sum(p.numel() for p in content("network").parameters()),
            "image_size": content("image_size"),
            "memory_bytes": peak_memory(),
            "inference": inference_seconds(content("network"), content("image_size"), content("device")),
        }
    result["hours"] = (
        result["training"] * result["training_images"] + result["validation"] * result["validation_images"]
    ) / 3600
    return result


@torch.inference_mode()
def inference_seconds(network: torch.nn.Module, size: int, device: torch.device) -> float:
    """Median of five forward passes of one image of ``size`` x ``size``, in full precision."""
    network.eval()
    image, times = torch.rand(1, 1, size, size, device=device), []
    for _ in range(6):
        start = seconds()
        network(image)
        times.append(seconds() - start)
    return median(times[1:])


def stopwatches(workflow: ConfigWorkflow) -> tuple[Stopwatch, Stopwatch]:
    """Put one on the trainer of a workflow and one on its evaluator."""
    content = workflow.parser.get_parsed_content
    return Stopwatch(content("train#trainer")), Stopwatch(content("validate#evaluator"))


def measured_hours(measured: Sequence[dict[str, float]]) -> float:
    """Hours of a cell, of one core where there is no GPU."""
    return sum(stage["hours"] for stage in measured)
