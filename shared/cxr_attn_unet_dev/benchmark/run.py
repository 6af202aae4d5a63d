"""Train, validate and write the result of one cell."""

from __future__ import annotations

import hashlib
import json
import logging
import platform
import sys
import traceback
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.bundle import ConfigWorkflow, create_workflow

from cxr_attn_unet import __version__
from cxr_attn_unet.bundle import cause_of
from cxr_attn_unet.datasets import load_data
from cxr_attn_unet.files import claimed, remove_parts, write_json
from cxr_attn_unet.system import hardware, peak_memory, processor
from cxr_attn_unet.training.recipe import train_stage

from .cells import PUBLISHED, Cell
from .costs import Stopwatch, inference_seconds, stopwatches

__all__ = ["BUSY", "data_hash", "result_path", "run_cell", "run_in_process"]

logger = logging.getLogger(__name__)
BUSY = 75  # EX_TEMPFAIL: another process has this cell in hand


def result_path(results: Path, cell: Cell) -> Path:
    """Where the result of a cell is written."""
    return results / f"{cell.name}.json"


def data_hash(dataset_dir: str, structure: str) -> str:
    """SHA-256 over every radiograph and mask with its name and section: equal where the data and the split are."""
    digest = hashlib.sha256()
    for section, items in sorted(load_data(dataset_dir, structure).items()):
        for item in sorted(items, key=lambda item: item["id"]):
            digest.update(f"{section} {item['id']}\n".encode())
            labels = item["label"] if isinstance(item["label"], list) else [item["label"]]
            for path in (item["image"], *labels):
                digest.update(hashlib.sha256(Path(path).read_bytes()).digest())
    return digest.hexdigest()


def run_cell(cell: Cell, dataset_dir: str, results: Path, runs: Path) -> bool:
    """Train a cell, or the rest of it, validate its best weights and write its result, unless that is there.

    Args:
        cell: what to run.
        dataset_dir: its data.
        results: folder of the results.
        runs: folder of the checkpoints and logs.

    Returns:
        False if another process has it in hand.
    """
    target, folder = result_path(results, cell), runs / cell.name
    if target.is_file():
        return True
    with claimed(folder) as ours:
        if not ours:
            return False
        remove_parts(folder)
        if not target.is_file():
            document = _train_and_validate(cell, dataset_dir, folder)
            write_json(target, document)
    return True


def run_in_process(cell: Cell, dataset_dir: str, results: Path, runs: Path) -> None:
    """:func:`run_cell` as the whole of a process, which ends with 0, 1 after an error, or ``BUSY``."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        done = run_cell(cell, dataset_dir, results, runs)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        traceback.print_exc()
        print(f"{cell.name}: {cause_of(error)}", file=sys.stderr)
        sys.exit(1)
    sys.exit(0 if done else BUSY)


@dataclass(frozen=True)
class Costs:
    """What the training of a stage, or of a whole cell, took.

    Attributes:
        training_images: shown to the network, each as often as it was shown.
        training_seconds: for all of them, see :func:`~.costs.seconds`.
        training_seconds_per_image: in the last stage.
        parameters: of the network.
        memory_bytes: the most that the process had.
        half_precision: whether it was trained in it.
    """

    training_images: int
    training_seconds: float
    training_seconds_per_image: float
    parameters: int
    memory_bytes: int
    half_precision: bool

    def after(self, before: Costs | None) -> Costs:
        """Costs of the stages before this one and of this one."""
        if before is None:
            return self
        return replace(
            self,
            training_images=before.training_images + self.training_images,
            training_seconds=before.training_seconds + self.training_seconds,
        )


def _train_and_validate(cell: Cell, dataset_dir: str, folder: Path) -> dict[str, Any]:
    """The result of a cell, as its file has it."""
    weights: Path | None = None
    costs: Costs | None = None
    stages = cell.stages()
    for number, stage in enumerate(stages, 1):
        place = folder / f"stage_{number}"
        weights, cost = _train(cell, {**stage, "dataset_dir": dataset_dir}, place, weights)
        costs = cost.after(costs)
    measured, inference = _validate(cell, {**stages[-1], "dataset_dir": dataset_dir}, folder, weights)
    dice = measured["summary"]["val_mean_dice"]
    return {
        "network": cell.network,
        "structure": cell.structure,
        "protocol": cell.protocol.name,
        "variant": cell.variant,
        "seed": cell.seed,
        "dice": dice["mean"],
        "interval": dice["interval"],
        "worst": dice["min"],
        "published": PUBLISHED.get(cell.network, {}).get(cell.structure),
        "remark": cell.protocol.remarks.get(cell.network),
        "images": {name: case["val_mean_dice"] for name, case in measured["cases"].items()},
        "summary": measured["summary"],
        "data": {"name": measured["run"]["data"], "sha256": data_hash(dataset_dir, cell.structure)},
        "configuration": _configuration(cell, stages),
        **({} if costs is None else _rounded(costs)),
        "inference_seconds_per_image": round(inference, 5),
        "clock": "wall, GPU" if torch.cuda.is_available() else "CPU time, one core",
        "hardware": f"{hardware()}, {processor()}",
        "versions": {"cxr_attn_unet": __version__, "torch": torch.__version__, "python": platform.python_version()},
    }


def _rounded(costs: Costs) -> dict[str, Any]:
    return {
        **asdict(costs),
        "training_seconds": round(costs.training_seconds, 1),
        "training_seconds_per_image": round(costs.training_seconds_per_image, 5),
    }


def _train(cell: Cell, overrides: dict[str, Any], place: Path, start: Path | None) -> tuple[Path, Costs]:
    """Train one stage, or the rest of it; its best weights and costs.

    A stage that was finished before is not trained again; its costs are in ``cost.json``, which is written before the
    state after its last epoch is.
    """
    cost_file = place / "cost.json"

    def watch(workflow: ConfigWorkflow) -> None:
        stopwatch, _ = stopwatches(workflow)
        trainer = workflow.parser.get_parsed_content("train#trainer")

        def note(engine: Engine) -> None:
            of_an_epoch = engine.state.epoch_length or 0
            if engine.state.iteration == of_an_epoch * overrides["epochs"]:
                write_json(cost_file, asdict(_costs_of(workflow, stopwatch)))

        trainer.add_event_handler(Events.ITERATION_COMPLETED, note)

    weights = train_stage(cell.bundle_root, overrides, place, start, watch)
    try:
        return weights, Costs(**json.loads(cost_file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ValueError(
            f"{cost_file}: no costs of a stage ({error}). Remove its folder; it is trained again."
        ) from error


def _costs_of(workflow: ConfigWorkflow, stopwatch: Stopwatch) -> Costs:
    """Costs of a workflow that has run."""
    content = workflow.parser.get_parsed_content
    batch = content("batch_size")
    images = content("train#trainer").state.iteration * batch
    seconds_per_image = stopwatch.typical / batch
    return Costs(
        training_images=images,
        training_seconds=images * seconds_per_image,
        training_seconds_per_image=seconds_per_image,
        parameters=sum(p.numel() for p in content("network").parameters()),
        memory_bytes=peak_memory(),
        half_precision=bool(content("amp")),
    )


def _validate(
    cell: Cell, overrides: dict[str, Any], folder: Path, weights: Path | None
) -> tuple[dict[str, Any], float]:
    """What ``evaluate.json`` writes of weights, and the seconds that a forward pass of one image takes."""
    root = cell.bundle_root / "configs"
    # the validation's handlers are those of evaluate.json, which write the results
    kept = {key: value for key, value in overrides.items() if not key.startswith("validate#handlers")}
    evaluation = create_workflow(
        config_file=[str(root / "train.json"), str(root / "evaluate.json")],
        workflow_type="train",
        bundle_root=str(cell.bundle_root),
        output_dir=str(folder),
        ckpt_dir=str(folder),
        checkpoint=str(weights),
        **kept,
    )
    content = evaluation.parser.get_parsed_content
    inference = inference_seconds(content("network"), content("image_size"), content("device"))
    evaluation.run()
    evaluation.finalize()
    (results,) = folder.glob("results_*_validation.json")
    return json.loads(results.read_text(encoding="utf-8")), inference


def _configuration(cell: Cell, stages: list[dict[str, Any]]) -> dict[str, Any]:
    """What the cell was trained with: the overrides of its stages, and the plain values at the head of its config."""
    text = (cell.bundle_root / "configs" / "train.json").read_bytes()
    head = {
        key: value
        for key, value in json.loads(text).items()
        if not isinstance(value, (dict, list)) and not key.startswith("_desc_")
    }
    head.update({key: value for key, value in stages[-1].items() if "#" not in key})
    return {"stages": stages, "head": head, "train_json_sha256": hashlib.sha256(text).hexdigest()}
