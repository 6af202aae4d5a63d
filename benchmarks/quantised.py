"""What 8-bit networks cost in Dice and save in time: OpenVINO's, as they are and quantised by NNCF.

For each structure, NNCF measures the ranges of the network's values on training radiographs and rounds weights and
activations to eight bits, as the engine ``openvino-int8`` does. The first and the last convolution and the gates'
linear layers, which weight whole channels, stay in full precision: they take next to no time, and without them masks
are spoiled (``--all`` shows it). Validation radiographs are then segmented with both networks. Times are CPU seconds of
one radiograph on one thread; both networks take turns, and the median counts. NNCF is not among the packages that
"make setup" installs: pip install -e ".[openvino-int8]".

python benchmarks/quantised.py --dataset_dir DATA --output docs/quantised.json
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from cxr_attn_unet import Segmenter
from cxr_attn_unet.datasets import DatasetError
from cxr_attn_unet.inference.engines import EIGHT_BITS, check_engine, exported
from cxr_attn_unet.inference.quantised import quantised
from cxr_attn_unet.inference.segmenter import _reduced
from cxr_attn_unet.io import RadiographError, read_radiograph
from cxr_attn_unet.statistics import bootstrap_interval, mask_dice
from cxr_attn_unet.structures import REGISTRY
from cxr_attn_unet.system import processor
from cxr_attn_unet_dev.tools.by_structure import write_structure
from cxr_attn_unet_dev.tools.fit_quality import drawn
from cxr_attn_unet_dev.tools.references import dice_with_reference, items_by_dataset

MOST_LOST = 0.003  # of Dice: more is no price for speed
LEAST_GAIN = 0.8  # share of the time that an 8-bit network may take to count as clearly faster


class Timed:
    """A network that OpenVINO runs on one thread; counts the CPU time of its calls.

    Args:
        model: of OpenVINO.
    """

    def __init__(self, model: Any) -> None:
        import openvino

        # what is not quantised is computed in float32, as the engine of the package does
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": "1"}
        self.compiled = openvino.Core().compile_model(model, "CPU", settings)
        self.seconds = 0.0

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits ``(batch, classes + parts, rows, columns)``."""
        start = time.process_time()
        answers = [torch.from_numpy(self.compiled([one[None].numpy()])[0].copy()) for one in inputs.contiguous()]
        self.seconds += time.process_time() - start
        return torch.cat(answers)


def inputs_of(segmenter: Segmenter, items: Sequence[Mapping[str, Any]]) -> list[np.ndarray]:
    """What the network sees of radiographs, each ``(1, 1, rows, columns)`` float32."""
    (model,) = segmenter._models
    images = [segmenter._preprocessed(model, _reduced(read_radiograph(item["image"]))) for item in items]
    return [image.as_tensor()[None].contiguous().numpy() for image in images]


def segmenters(segmenter: Segmenter, examples: Sequence[np.ndarray], whole: bool) -> dict[str, Segmenter]:
    """A segmenter with the network in full precision, and one with it in eight bits.

    Args:
        segmenter: of one structure, with PyTorch's network.
        examples: training radiographs as the network sees them, on which NNCF measures ranges.
        whole: quantise all layers, rather than leave some out.
    """
    import openvino

    (model,) = segmenter._models
    path = exported(model.network, torch.from_numpy(examples[0]), model.identity)  # type: ignore[arg-type]
    full = openvino.Core().read_model(str(path))
    eight_bits = quantised(full, examples, whole)
    return {
        "full": Segmenter([replace(model, network=Timed(full))], segmenter.device),
        "8-bit": Segmenter([replace(model, network=Timed(eight_bits))], segmenter.device),
    }


def compared(ways: Mapping[str, Segmenter], structure: str, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Dice of both ways with the references of one data set, and of their masks with each other."""
    dice: dict[str, list[float]] = {name: [] for name in ways}
    between = []
    for item in tqdm(items, desc=structure, unit="radiograph"):
        found = {name: segmenter(item["image"]) for name, segmenter in ways.items()}
        for name, one in found.items():
            dice[name].append(dice_with_reference(one.upright(structure), item))
        between.append(mask_dice(*(one.masks[structure] for one in found.values())))
    lost = np.array(dice["full"]) - np.array(dice["8-bit"])
    return {
        "radiographs": len(items),
        "dice": {name: round(float(np.mean(values)), 4) for name, values in dice.items()},
        "lost": round(float(lost.mean()), 4),
        "interval_of_that": bootstrap_interval(lost, [str(item.get("patient", item["id"])) for item in items]),
        "lowest_dice_of_both_masks": round(min(between), 4),
    }


def times(ways: Mapping[str, Segmenter], path: str, repeats: int) -> dict[str, dict[str, float]]:
    """CPU seconds of one radiograph: those in the network, and all."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    radiograph = read_radiograph(path)
    for _ in range(repeats):
        for name, segmenter in ways.items():
            network: Any = segmenter._models[0].network
            before, start = network.seconds, time.process_time()
            segmenter(radiograph)
            taken[name].append((network.seconds - before, time.process_time() - start))
    return {
        "seconds_in_the_network": {name: round(median(one[0] for one in own), 4) for name, own in taken.items()},
        "seconds": {name: round(median(one[1] for one in own), 4) for name, own in taken.items()},
    }


def measured(structure: str, options: argparse.Namespace) -> dict[str, Any]:
    """All figures of one structure, and whether eight bits pay."""
    training = items_by_dataset(options.dataset_dir, structure, "training", options.calibrate, options.seed)
    validation = items_by_dataset(options.dataset_dir, structure, "validation", options.count, options.seed)
    segmenter = Segmenter.from_bundles([structure], device="cpu")
    everything = [item for items in training.values() for item in items]
    examples = drawn(everything, options.calibrate, options.seed)
    ways = segmenters(segmenter, inputs_of(segmenter, examples), options.all)
    datasets = {name: compared(ways, structure, items) for name, items in validation.items()}
    taken = times(ways, next(iter(validation.values()))[0]["image"], options.repeats)
    ratio = taken["seconds"]["8-bit"] / taken["seconds"]["full"]
    return {
        "version": segmenter.versions[structure],
        "calibrated_on": len(examples),
        "datasets": datasets,
        **taken,
        "pays": ratio <= LEAST_GAIN and max(one["lost"] for one in datasets.values()) < MOST_LOST,
    }


def hardware_here() -> str:
    """What this runs on, with the versions of the programs that run networks."""
    programs = f"OpenVINO {version('openvino')}, NNCF {version('nncf')}"
    return f"one thread, {processor()}, {platform.machine()}, {programs}"


def main() -> int:
    """Measure, print and write; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", required=True, nargs="+", help="data sets, or a folder that holds them")
    parser.add_argument("--structures", nargs="+", default=list(REGISTRY))
    parser.add_argument("--count", type=int, default=24, help="validation radiographs of each data set, at most")
    parser.add_argument("--calibrate", type=int, default=60, help="training radiographs that NNCF sees")
    parser.add_argument("--all", action="store_true", help="quantise all layers, for comparison")
    parser.add_argument("--repeats", type=int, default=9, help="of the radiograph that is timed")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    parser.add_argument("--output", help="JSON file for the figures; structures that it has and are not named stay")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.basicConfig(level=logging.ERROR)
    try:
        for structure in options.structures:
            items_by_dataset(options.dataset_dir, structure, "validation", options.count)
        check_engine(EIGHT_BITS, torch.device("cpu"))
        for structure in options.structures:
            found = measured(structure, options)
            print(structure, json.dumps(found, indent=1), flush=True)
            if options.output:
                about = {"seed": options.seed, "hardware": hardware_here()}
                write_structure(Path(options.output), structure, found, **about)
    except (DatasetError, RadiographError, ImportError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
