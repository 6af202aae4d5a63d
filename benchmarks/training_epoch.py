"""What an epoch of train.json costs beside a bare PyTorch loop: same network, loss, optimiser, batches, one core.

The bare loop has its batches decoded, augmented and collated before; it takes steps and nothing else. train.json's
epoch reads from its cache, collates, averages the weights, measures Dice on the training batches and logs. Validation
and saving, which come once an epoch, are left out. The ways take turns, and CPU time counts, so that other programs on
the machine matter little.

    python benchmarks/training_epoch.py --output docs/training_epoch.json      # pip install -e ".[batched]" for all
"""

from __future__ import annotations

import argparse
import logging
import platform
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import torch
from monai.bundle import ConfigParser

from cxr_attn_unet.bundle import bundles_folder
from cxr_attn_unet.datasets import DatasetError, load_data
from cxr_attn_unet.files import write_json
from cxr_attn_unet.io import RadiographError

# what each way changes in train.json
WAYS: dict[str, dict[str, Any]] = {
    "train.json without augmentation": {"train#random_transforms": []},
    "train.json": {},
}
BATCHED = {"train.json, `batch_augmentation`": {"batch_augmentation": True}}  # with kornia
BARE = "bare loop"
ONCE_AN_EPOCH = ("ValidationHandler", "Checkpoints")


def parser_of(bundle: Path, options: argparse.Namespace, output: Path, way: dict[str, Any]) -> ConfigParser:
    """``train.json`` with as many radiographs as an epoch shall have."""
    radiographs = options.radiographs
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "train.json")
    values = {
        "bundle_root": str(bundle),
        "dataset_dir": str(options.dataset_dir),
        "output_dir": str(output),
        "device": "$torch.device('cpu')",
        "num_workers": 0,
        "epochs": options.turns + 1,
        "batch_size": options.batch_size,
        "train#dataset#data": f"$(@data['training'] * {radiographs})[:{radiographs}]",
        "train#dataset#progress": False,
        **way,
    }
    parser.update(values)
    handlers = parser["train#handlers"]
    parser["train#handlers"] = [one for one in handlers if not one["_target_"].endswith(ONCE_AN_EPOCH)]
    return parser


def epoch_of(parser: ConfigParser) -> Callable[[], None]:
    """A function that runs the next epoch of ``train.json``."""
    trainer = parser.get_parsed_content("train#trainer")
    parser.get_parsed_content("averaging").attach(trainer)
    trainer.state.max_epochs = 0

    def run() -> None:
        trainer.state.max_epochs += 1
        trainer.run()

    return run


def bare_epoch(parser: ConfigParser) -> Callable[[], None]:
    """A function that takes the same steps on batches that are ready."""
    network, loss, optimizer, schedule, inferer = (
        parser.get_parsed_content(name) for name in ("network", "loss", "optimizer", "lr_scheduler", "train#inferer")
    )
    batches = [(batch["image"], batch["label"]) for batch in parser.get_parsed_content("train#dataloader")]

    def run() -> None:
        network.train()
        for image, label in batches:
            optimizer.zero_grad()
            loss(inferer(image, network), label).backward()
            optimizer.step()
            schedule.step()

    return run


def cpu_seconds(function: Callable[[], None]) -> float:
    """CPU time of a call, of all threads."""
    start = time.process_time()
    function()
    return time.process_time() - start


def main() -> int:
    """Measure, print and write; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", type=Path, default=Path("examples/rendered"), help="radiographs with masks")
    parser.add_argument("--structure", default="heart", help="whose bundle is taken")
    parser.add_argument("--radiographs", type=int, default=16, help="in an epoch")
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--turns", type=int, default=5, help="epochs of each way, after a first that warms up")
    parser.add_argument("--output", help="JSON file for the figures")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_flush_denormal(True)
    logging.disable(logging.INFO)
    ways = {**WAYS, **(BATCHED if find_spec("kornia") else {})}
    bundle = bundles_folder() / f"{options.structure}_attn_unet"
    with TemporaryDirectory() as temporary:
        try:
            load_data(str(options.dataset_dir), options.structure)
        except (DatasetError, RadiographError) as error:
            print(error, file=sys.stderr)
            return 1
        parsers = {name: parser_of(bundle, options, Path(temporary), ways.get(name, {})) for name in (BARE, *ways)}
        run = {name: (bare_epoch if name == BARE else epoch_of)(one) for name, one in parsers.items()}
        times: dict[str, list[float]] = {name: [] for name in run}
        for _ in range(options.turns + 1):
            for name, epoch in run.items():
                times[name].append(cpu_seconds(epoch))
    seconds = {name: median(of_turns[1:]) / options.radiographs for name, of_turns in times.items()}
    overhead = {
        name: median(one / bare for one, bare in zip(times[name][1:], times[BARE][1:], strict=True)) - 1
        for name in ways
    }
    for name, one in seconds.items():
        print(f"{name}: {one:.4f} s an image, {100 * overhead.get(name, 0):+.1f} %")
    if options.output:
        head = parsers[BARE]
        write_json(
            options.output,
            {
                "seconds_an_image": {name: round(one, 4) for name, one in seconds.items()},
                "overhead": {name: round(one, 4) for name, one in overhead.items()},
                "network": head["network_name"],
                "image_size": head["image_size"],
                "batch_size": head["batch_size"],
                "hardware": f"one core, {platform.machine()}, {torch.backends.cpu.get_cpu_capability()}, "
                f"PyTorch {torch.__version__}",
            },
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
