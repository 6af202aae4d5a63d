"""What each speed-up that changes numbers does to the masks: their Dice with the references, with it and without it.

The first way is MONAI's own engine, which runs a bundle's ``inference.json`` as it stands. Each further one adds a step
to one of those before it: the steps of :class:`cxr_attn_unet.Segmenter`, engines in place of PyTorch, and the second
view only where the first is unsure. Engines that are not installed are left out.

python benchmarks/same_masks.py --dataset_dir DATA --output docs/same_masks.json
"""

from __future__ import annotations

import argparse
import json
import logging
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from tqdm import tqdm

from cxr_attn_unet import Segmenter
from cxr_attn_unet.bundle import bundles_folder
from cxr_attn_unet.datasets import DatasetError
from cxr_attn_unet.files import radiograph_stem
from cxr_attn_unet.inference import TestTimeAugmentationInferer
from cxr_attn_unet.inference.engines import ENGINES, with_engine
from cxr_attn_unet.inference.segmenter import _reduced
from cxr_attn_unet.io import Radiograph, RadiographError, read_mask, read_radiograph
from cxr_attn_unet.networks import load_weights
from cxr_attn_unet.statistics import mask_dice
from cxr_attn_unet.structures import BUNDLE_SUFFIX, REGISTRY
from cxr_attn_unet.system import processor
from cxr_attn_unet_dev.tools.by_structure import write_structure
from cxr_attn_unet_dev.tools.references import dice_with_reference, items_by_dataset

UNSURE_BELOW = 0.98  # of the second view, see benchmarks/second_view.py
MONAI = "MONAI's engine, the bundle's own steps"
PREPARED = "radiographs prepared once for all bundles, percentiles by NumPy"
FOLDED = "batch normalisation folded"
BOXED = "components and holes in the mask's own box"
SECOND_VIEW = f"second view below {UNSURE_BELOW}"
# by way, the one that it adds a step to; engines add theirs to BOXED, which is what runs by default
WITHOUT = {PREPARED: MONAI, FOLDED: PREPARED, BOXED: FOLDED}


def masks_of_monai(structure: str, items: Sequence[Mapping[str, Any]]) -> list[np.ndarray]:
    """Masks of radiographs by the bundle's ``inference.json``, as ``python -m monai.bundle run`` runs it.

    Args:
        structure: of the bundle.
        items: of one data set, with names that differ.

    Returns:
        for each radiograph ``(rows, columns)`` bool over the file's own pixels.
    """
    root = bundles_folder() / f"{structure}{BUNDLE_SUFFIX}"
    parser = ConfigParser()
    parser.read_config(root / "configs" / "inference.json")
    with tempfile.TemporaryDirectory() as folder:
        parser["bundle_root"] = str(root)
        # masks of radiographs that lie elsewhere are not put into subfolders
        parser["dataset_dir"] = parser["output_dir"] = folder
        parser["device"] = torch.device("cpu")
        parser["dataset#data"] = [{"image": item["image"]} for item in items]
        for stage in ("initialize", "run", "finalize"):
            parser.get_parsed_content(stage)
        files = [Path(folder) / f"{radiograph_stem(item['image'])}_{structure}.png" for item in items]
        return [read_mask(file) for file in files]


class Ways:
    """All ways but MONAI's engine to find one structure.

    Args:
        structure: which.

    Attributes:
        without: by way, the one that it adds a step to.
    """

    def __init__(self, structure: str) -> None:
        self.segmenter = Segmenter.from_bundles([structure], device="cpu")
        (model,) = self.segmenter._models
        own_steps = replace(model, restoration=None)
        self._models = {
            # the network as it was trained
            PREPARED: replace(own_steps, network=_unfolded(structure)),
            FOLDED: own_steps,
            BOXED: model,
        }
        self.without = dict(WITHOUT)
        for name, engine in ENGINES.items():
            if engine.same_masks and engine.device == "cpu" and not engine.missing():
                way = f"{name} in place of PyTorch"
                self._models[way] = replace(model, network=with_engine(model.network, name, model.identity))
                self.without[way] = BOXED
        inferer: Any = model.inferer
        if len(inferer.views) > 1:
            limited = TestTimeAugmentationInferer(inferer.views, inferer.parts, UNSURE_BELOW)
            self._models[SECOND_VIEW] = replace(model, inferer=limited)
            self.without[SECOND_VIEW] = BOXED

    def __call__(self, radiograph: Radiograph) -> dict[str, np.ndarray]:
        """By way, the mask ``(rows, columns)`` bool over the file's own pixels; no second look is taken at hearts."""
        reduced = _reduced(radiograph)
        return {way: self.segmenter._find(model, [reduced])[0].mask for way, model in self._models.items()}


def _unfolded(structure: str) -> torch.nn.Module:
    """What ``segment`` runs of a bundle's network without ``--parts``, with batch normalisation."""
    root = bundles_folder() / f"{structure}{BUNDLE_SUFFIX}"
    parser = ConfigParser()
    parser.read_config(root / "configs" / "inference.json")
    parser["bundle_root"] = str(root)
    parser["device"] = torch.device("cpu")
    weights = Path(parser.get_parsed_content("checkpoint"))
    return load_weights(parser.get_parsed_content("network"), weights).eval().without_parts()


def compared(
    masks: Mapping[str, Sequence[np.ndarray]], items: Sequence[Mapping[str, Any]], without: Mapping[str, str]
) -> dict[str, dict[str, float]]:
    """By way, mean Dice with the references, and of its masks with those of the way that it adds a step to.

    Args:
        masks: by way, of each radiograph, upright.
        items: with the references.
        without: by way, the one that it adds a step to.
    """
    dice = {
        way: [dice_with_reference(mask, item) for mask, item in zip(found, items, strict=True)]
        for way, found in masks.items()
    }
    result = {}
    for way, values in dice.items():
        result[way] = {"dice": round(float(np.mean(values)), 6)}
        if way in without:
            before = without[way]
            both = [mask_dice(one, other) for one, other in zip(masks[way], masks[before], strict=True)]
            result[way] |= {
                "changed_by": round(float(np.mean(values) - np.mean(dice[before])), 6),
                "lowest_dice_of_both_masks": round(min(both), 6),
                "mean_dice_of_both_masks": round(float(np.mean(both)), 6),
            }
    return result


def measured(structure: str, datasets: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """All figures of one structure, by data set and way."""
    ways = Ways(structure)
    result = {}
    for name, items in datasets.items():
        radiographs = [read_radiograph(item["image"]) for item in items]
        masks: dict[str, list[np.ndarray]] = {MONAI: masks_of_monai(structure, items)}
        for radiograph in tqdm(radiographs, desc=f"{structure}, {name}", unit="radiograph"):
            for way, mask in ways(radiograph).items():
                masks.setdefault(way, []).append(mask)
        upright = {
            way: [one.orientation.apply(mask) for one, mask in zip(radiographs, found, strict=True)]
            for way, found in masks.items()
        }
        result[name] = {"radiographs": len(items), "ways": compared(upright, items, ways.without)}
    return {"version": ways.segmenter.versions[structure], "datasets": result}


def hardware_here() -> str:
    """What this runs on, with the versions of the programs that run networks."""
    installed = [
        f"{name} {version(engine.packages[0])}"
        for name, engine in ENGINES.items()
        if engine.same_masks and engine.device == "cpu" and not engine.missing()
    ]
    programs = ", ".join([f"PyTorch {torch.__version__}", *installed])
    return f"one thread, {processor()}, {platform.machine()}, {programs}"


def main() -> int:
    """Measure, print and write; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", required=True, nargs="+", help="data sets, or a folder that holds them")
    parser.add_argument("--structures", nargs="+", default=list(REGISTRY))
    parser.add_argument("--count", type=int, default=24, help="validation radiographs of each data set, at most")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--output", help="JSON file for the figures; structures that it has and are not named stay")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.basicConfig(level=logging.ERROR)
    try:
        for structure in options.structures:
            datasets = items_by_dataset(options.dataset_dir, structure, "validation", options.count, options.seed)
            found = measured(structure, datasets)
            print(structure, json.dumps(found, indent=1), flush=True)
            if options.output:
                about = {"seed": options.seed, "hardware": hardware_here()}
                write_structure(Path(options.output), structure, found, **about)
    except (DatasetError, RadiographError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
