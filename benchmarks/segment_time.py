"""CPU time of one radiograph of 2000 x 2000 with all structures, by what runs the networks; and that of the start.

All ways take turns in one process on one core, so that a busy machine slows all of them alike; the median counts. The
first way takes each step of the bundles as it stands in their configs; its masks are what those of the others are
compared with, on all radiographs of a folder. Engines that are not installed are left out.

python benchmarks/segment_time.py --output docs/performance.json --picture docs/performance.png
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from PIL import Image

from cxr_attn_unet import Segmenter
from cxr_attn_unet.files import write_json, written
from cxr_attn_unet.inference.engines import ENGINES
from cxr_attn_unet.io import Radiograph, RadiographError, find_radiographs, read_radiograph
from cxr_attn_unet.statistics import mask_dice
from cxr_attn_unet.system import processor

SIDE = 2000
STEP_BY_STEP = "PyTorch, the bundles' own steps"
QUICK = "PyTorch"
# the command in a process of its own, as any program imports it, and as it starts
IMPORT = "import sys; from cxr_attn_unet.__main__ import main; "
STARTS = {
    "all that MONAI imports": IMPORT + "main({arguments!r})",
    "as the command starts": IMPORT + "sys.argv[1:] = {arguments!r}; main()",
}


class Timed:
    """Counts the CPU time of a network's calls."""

    def __init__(self, network: Callable) -> None:
        self.network = network
        self.seconds = 0.0

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """What the network gives."""
        start = time.process_time()
        try:
            return self.network(inputs)
        finally:
            self.seconds += time.process_time() - start


class Way:
    """A way to segment, with the times that it took."""

    def __init__(self, segmenter: Segmenter, own_steps: bool = False) -> None:
        self.networks = [Timed(model.network) for model in segmenter._models]
        models = [replace(model, network=timed) for model, timed in zip(segmenter._models, self.networks, strict=True)]
        if own_steps:
            models = [replace(model, restoration=None) for model in models]
        self.segmenter = Segmenter(models, segmenter.device)
        self.total: list[float] = []
        self.in_networks: list[float] = []

    def run(self, radiograph: Radiograph) -> None:
        """Segment a radiograph, and note the time."""
        before = self._seconds_in_networks()
        start = time.process_time()
        self.segmenter(radiograph)
        self.total.append(time.process_time() - start)
        self.in_networks.append(self._seconds_in_networks() - before)

    def _seconds_in_networks(self) -> float:
        return sum(network.seconds for network in self.networks)


def enlarged(radiograph: Radiograph) -> Radiograph:
    """A radiograph of 2000 x 2000 pixels."""
    pixels = np.asarray(Image.fromarray(radiograph.pixels).resize((SIDE, SIDE), Image.Resampling.BICUBIC))
    return Radiograph(pixels, radiograph.path)


def ways_here(structures: Sequence[str] | None) -> dict[str, Way]:
    """All ways for which what they need is installed, by name."""
    segmenter = Segmenter.from_bundles(structures, device="cpu")
    ways = {STEP_BY_STEP: Way(segmenter, own_steps=True), QUICK: Way(segmenter)}
    for name, engine in ENGINES.items():
        if engine.same_masks and engine.device == "cpu" and not engine.missing():
            ways[name] = Way(Segmenter.from_bundles(structures, device="cpu", engine=name))
    return ways


def agreement(ways: dict[str, Way], radiographs: Sequence[Radiograph]) -> dict[str, float]:
    """By way, the lowest Dice of its masks with those of the first way."""
    lowest = dict.fromkeys(ways, 1.0)
    for radiograph in radiographs:
        masks = {name: way.segmenter(radiograph).masks for name, way in ways.items()}
        for name, found in masks.items():
            for structure, expected in masks[STEP_BY_STEP].items():
                if expected.any() or found[structure].any():
                    lowest[name] = min(lowest[name], mask_dice(expected, found[structure]))
    return lowest


def start_times(path: str, repeats: int) -> dict[str, float]:
    """CPU seconds of a process that segments the heart of one small radiograph, by how it starts."""
    taken: dict[str, list[float]] = {name: [] for name in STARTS}
    for _ in range(repeats):
        for name, program in STARTS.items():
            with tempfile.TemporaryDirectory() as output:
                arguments = ["segment", path, "-o", output, "--structures", "heart", "--no-report"]
                before = os.times()
                subprocess.run(
                    [sys.executable, "-c", program.format(arguments=arguments)], check=True, capture_output=True
                )
                after = os.times()
            user, system = after.children_user - before.children_user, after.children_system - before.children_system
            taken[name].append(user + system)
    return {name: median(times) for name, times in taken.items()}


def draw(rows: dict[str, dict[str, Any]], output: str) -> None:
    """A bar for each way: networks, and all else."""
    from matplotlib.figure import Figure

    names = list(rows)[::-1]
    networks = [rows[name]["networks"] for name in names]
    others = [rows[name]["total"] - rows[name]["networks"] for name in names]
    figure = Figure(figsize=(7, 0.6 * len(names) + 1.2), layout="constrained")
    axes = figure.subplots()
    axes.barh(names, networks, color="#0072b2", label="networks")
    axes.barh(names, others, left=networks, color="#e69f00", label="all else")
    axes.set_xlabel("CPU time of one core, the bundles' own steps = 1")
    axes.legend()
    with written(output) as temporary:
        figure.savefig(temporary, dpi=120)


def main() -> int:
    """Measure, print and write; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", default="examples/open_radiographs", help="folder of radiographs")
    parser.add_argument("--structures", nargs="+", help="default: all")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--most", type=int, default=6, help="radiographs on which masks are compared")
    parser.add_argument("--output", help="JSON file for the figures")
    parser.add_argument("--picture", help="PNG file for the bars")
    options = parser.parse_args()
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        paths = find_radiographs(options.dataset_dir).radiographs[: options.most]
        radiographs = [read_radiograph(path) for path in paths]
    except (RadiographError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    ways = ways_here(options.structures)
    large = enlarged(radiographs[0])
    for way in ways.values():
        way.segmenter(large)
    for _ in range(options.repeats):
        for way in ways.values():
            way.run(large)
    lowest = agreement(ways, radiographs)
    whole = median(ways[STEP_BY_STEP].total)
    rows = {
        name: {
            "total": round(median(way.total) / whole, 3),
            "networks": round(median(way.in_networks) / whole, 3),
            "lowest_dice": round(lowest[name], 5),
        }
        for name, way in ways.items()
    }
    starts = start_times(paths[0], max(1, options.repeats // 2))
    slowest = max(starts.values())
    result = {
        "ways": rows,
        "seconds_of_the_first": round(whole, 3),
        "start": {name: round(seconds / slowest, 3) for name, seconds in starts.items()},
        "seconds_of_the_slower_start": round(slowest, 2),
        "structures": list(ways[QUICK].segmenter.structures),
        "versions": dict(ways[QUICK].segmenter.versions),
        "compared": f"{len(radiographs)} radiographs of {Path(options.dataset_dir).name}",
        "hardware": f"one core, {processor()}, {platform.machine()}, PyTorch {torch.__version__}",
    }
    print(result)
    if options.output:
        write_json(options.output, result)
    if options.picture:
        draw(rows, options.picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
