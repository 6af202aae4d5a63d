"""What :mod:`killed` runs: the commands that work for long, with small inputs; they return exit statuses."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import cxr_attn_unet.datasets.__main__
import cxr_attn_unet.training.recipe
from conftest import REPOSITORY, write_folder
from cxr_attn_unet.__main__ import main
from cxr_attn_unet.bundle import cause_of
from cxr_attn_unet.networks.checkpoint import unfinished_training
from cxr_attn_unet.structures import part_names
from cxr_attn_unet.training.handlers.checkpoints import read_last
from cxr_attn_unet_dev.benchmark.cells import Cell, Protocol
from cxr_attn_unet_dev.benchmark.run import run_in_process
from part_bundles import lung_masks, picture_of, write_bundle
from tiny_bundle import STRUCTURE, write_tiny_bundle

# it has an environment of its own: make test-label
HAS_MONAI_LABEL = importlib.util.find_spec("monailabel") is not None
if HAS_MONAI_LABEL:
    sys.path.insert(0, str(REPOSITORY / "apps" / "monailabel"))
    import lib.tasks


def segment(*arguments: str) -> int:
    return main(["segment", *arguments])


def check_data(*arguments: str) -> int:
    return cxr_attn_unet.datasets.__main__.main([*arguments])


def train(*arguments: str) -> int:
    return cxr_attn_unet.training.recipe.main(arguments)


def benchmark(data: str, results: str, runs: str) -> int:
    """A small cell, as each process of the benchmark runs one."""
    tiny = {"width": 4, "image_size": 32, "epochs": 3, "batch_size": 4, "num_workers": 0}
    run_in_process(Cell(Protocol("tiny", "", tiny), "unet", "heart"), data, Path(results), Path(runs))
    return 0  # it ends the process itself


EPOCHS = 3  # of the label app's training


class FinalLabels:
    """All that a training asks of MONAI Label's datastore."""

    def __init__(self, data: Path) -> None:
        self._data = data

    def datalist(self) -> list[dict[str, str]]:
        labels = sorted((self._data / "masks" / STRUCTURE).iterdir())
        return [{"image": str(self._data / "images" / path.name), "label": str(path)} for path in labels]


def train_in_label_app(bundle: str, data: str, made: str) -> int:
    """Train the label app's own copy of a bundle, as its server does for a request."""
    own = Path(made) / "model" / Path(bundle).name
    try:
        if not own.is_dir():
            copy = own.with_name(".new")
            shutil.rmtree(copy, ignore_errors=True)
            shutil.copytree(bundle, copy)
            copy.rename(own)
        if _has_trained(own):
            return 0  # asked for once more, it would train these weights further
        request = {"model": own.name, "max_epochs": EPOCHS, "val_split": 0.3, "device": "cpu", "multi_gpu": False}
        lib.tasks.FINE_TUNING_RATE = 0.02  # at its own rate, so few steps make no better weights
        lib.tasks.BundleTrainer(str(own), {})(request, FinalLabels(Path(data)))
    except Exception as error:
        print(cause_of(error), file=sys.stderr)
        return 1
    return 0


def _has_trained(bundle: Path) -> bool:
    last = bundle / "eval" / "last.pt"
    if not last.is_file() or read_last(last)["run"]["epoch"] < EPOCHS:
        return False
    return unfinished_training(bundle / "models" / "model.pt") is None


# weights of an interrupted run are kept beside the new ones
WITHOUT = ("lock", ".unfinished.pt", ".unfinished.json")


@dataclass(frozen=True)
class Case:
    """A command with small inputs.

    Attributes:
        command: one of those above.
        arguments: for results in a folder.
        without: ends of names of files that say when they were written.
        keys: of JSON files, those that are compared, for the others say what it took; all if there are none.
        limit: size of a file in bytes that some of its results exceed, and what it prints does not.
    """

    command: Callable[..., int]
    arguments: Callable[[Path], list[Any]]
    without: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()
    limit: int = 4000


def case_of_segment(folder: Path) -> Case:
    bundle = write_bundle(folder / "bundles", "lungs")
    radiographs = folder / "radiographs"
    radiographs.mkdir()
    pixels = picture_of(lung_masks(), part_names("lungs"))
    for index in range(6):
        Image.fromarray(np.roll(pixels, index, 1)).save(radiographs / f"{index}.png")
    given = [radiographs, "--bundles", bundle.parent, "--trust", "--parts", "--format", "png", "overlay", "coco"]
    return Case(segment, lambda out: [*given, "-o", out / "made"], ("journal.jsonl", "lock", "manifest.json"))


def case_of_data(folder: Path) -> Case:
    data = write_folder(folder / "data", "heart", 10)
    given = ["--dataset_dir", data, "--structure", "heart"]
    return Case(check_data, lambda out: [*given, "--output", out / "made" / "list.json", "--sheet", out / "sheet.png"])


def case_of_training(folder: Path) -> Case:
    bundle = folder / "heart_attn_unet"
    shutil.copytree(REPOSITORY / "bundles" / "heart_attn_unet" / "configs", bundle / "configs")
    recipe = folder / "recipe.json"
    stages = [{"epochs": epochs, "image_size": 32, "network_name": "unet"} for epochs in (2, 1)]
    recipe.write_text(json.dumps({"stages": stages}))
    given = [bundle, "--recipe", recipe, "--dataset_dir", write_folder(folder / "data", "heart", 10)]
    for key, value in {"width": 4, "batch_size": 4, "num_workers": 0, "device": "cpu"}.items():
        given += ["--set", key, json.dumps(value)]
    return Case(train, lambda out: [*given, "--output", out / "made"], WITHOUT, ("network",), 20_000)


def case_of_benchmark(folder: Path) -> Case:
    data = write_folder(folder / "data", "heart", 10)
    keys = ("dice", "images", "configuration")
    return Case(benchmark, lambda out: [data, out / "made" / "results", out / "made" / "runs"], WITHOUT, keys, 20_000)


def case_of_label_app(folder: Path) -> Case:
    bundle = write_tiny_bundle(folder / "bundles")
    data = write_folder(folder / "data", STRUCTURE, 10)
    # the state names what was asked for by paths and times
    without = (*WITHOUT, "last.pt")
    return Case(train_in_label_app, lambda out: [bundle, data, out / "made"], without, ("network",), 1_000_000)


CASES = {
    "segment": case_of_segment,
    "data": case_of_data,
    "training": case_of_training,
    "benchmark": case_of_benchmark,
    **({"label_app": case_of_label_app} if HAS_MONAI_LABEL else {}),
}
