"""Train, validate and write the result of one cell."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import platform
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigWorkflow, create_workflow

from cxr_attn_unet import __version__
from cxr_attn_unet.bundle import cause_of
from cxr_attn_unet.datasets import load_data
from cxr_attn_unet.files import write_json
from cxr_attn_unet.system import hardware, peak_memory, processor
from cxr_attn_unet.training.recipe import train_stage

from .cells import PUBLISHED, Cell
from .measure import inference_seconds, stopwatches

__all__ = ["BUSY", "data_hash", "result_path", "run_cell", "run_in_process"]

logger = logging.getLogger(__name__)
BUSY = 75  # EX_TEMPFAIL: another process has this cell in hand


def result_path(results: Path, cell: Cell) -> Path:
    """Where the result of a cell is written."""
    return results / f"{cell.name}.json"


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Whether a cell's folder is ours alone, until the block or the process ends, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


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


def _train_and_validate(cell: Cell, dataset_dir: str, folder: Path) -> dict[str, Any]:
    costs: dict[str, Any] = {}
    watches = {}

    def watch(workflow: ConfigWorkflow) -> None:
        watches["training"], watches["validation"] = stopwatches(workflow)
        watches["workflow"] = workflow

    weights, shown, training = None, 0, 0.0
    stages = cell.stages()
    for number, stage in enumerate(stages, 1):
        place = folder / f"stage_{number}"
        weights = train_stage(cell.bundle_root, {**stage, "dataset_dir": dataset_dir}, place, weights, watch)
        cost_file = place / "cost.json"
        if watches:
            content = watches["workflow"].parser.get_parsed_content
            batch, trainer = content("batch_size"), content("train#trainer")
            an_image = watches["training"].typical / batch
            images = trainer.state.iteration * batch
            cost = {
                "training_seconds_per_image": an_image,
                "training_images": images,
                "parameters": sum(p.numel() for p in content("network").parameters()),
                "memory_bytes": peak_memory(),
                "half_precision": bool(content("amp")),
            }
            write_json(cost_file, cost)
            watches.clear()
        costs = json.loads(cost_file.read_text(encoding="utf-8"))
        shown += costs["training_images"]
        training += costs["training_images"] * costs["training_seconds_per_image"]

    root = cell.bundle_root / "configs"
    evaluation = create_workflow(
        config_file=[str(root / "train.json"), str(root / "evaluate.json")],
        workflow_type="train",
        bundle_root=str(cell.bundle_root),
        dataset_dir=dataset_dir,
        output_dir=str(folder),
        ckpt_dir=str(folder),
        checkpoint=str(weights),
        # those that evaluate.json has write the results
        **{key: value for key, value in stages[-1].items() if not key.startswith("validate#handlers")},
    )
    content = evaluation.parser.get_parsed_content
    inference = inference_seconds(content("network"), content("image_size"), content("device"))
    evaluation.run()
    evaluation.finalize()
    (written_results,) = folder.glob("results_*_validation.json")
    measured = json.loads(written_results.read_text(encoding="utf-8"))
    train_json = (root / "train.json").read_bytes()
    head = {key: value for key, value in json.loads(train_json).items() if not isinstance(value, (dict, list))}
    dice = measured["summary"]["val_mean_dice"]
    return {
        "network": cell.network,
        "structure": cell.structure,
        "scale": cell.scale.name,
        "variant": cell.variant,
        "seed": cell.seed,
        "dice": dice["mean"],
        "interval": dice["interval"],
        "worst": dice["min"],
        "published": PUBLISHED.get(cell.network, {}).get(cell.structure),
        "mark": cell.scale.marks.get(cell.network),
        "images": {name: case["val_mean_dice"] for name, case in measured["cases"].items()},
        "summary": measured["summary"],
        "data": {"name": measured["run"]["data"], "sha256": data_hash(dataset_dir, cell.structure)},
        "configuration": {
            "stages": stages,
            "head": {**head, **{key: value for key, value in stages[-1].items() if "#" not in key}},
            "train_json_sha256": hashlib.sha256(train_json).hexdigest(),
        },
        "parameters": costs["parameters"],
        "training_images": shown,
        "training_seconds": round(training, 1),
        "training_seconds_per_image": round(costs["training_seconds_per_image"], 5),
        "inference_seconds_per_image": round(inference, 5),
        "memory_bytes": costs["memory_bytes"],
        "half_precision": costs["half_precision"],
        "clock": "wall, GPU" if torch.cuda.is_available() else "CPU time, one core",
        "hardware": f"{hardware()}, {processor()}",
        "versions": {"cxr_attn_unet": __version__, "torch": torch.__version__, "python": platform.python_version()},
    }
