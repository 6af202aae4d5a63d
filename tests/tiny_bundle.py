"""A bundle of one structure whose network is small and untrained: for tests of all that is around a network."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from conftest import REPOSITORY, phantom
from cxr_attn_unet.networks import build_network
from cxr_attn_unet.trust import remember
from cxr_attn_unet_dev.configs import configs_of
from cxr_attn_unet_dev.json_style import format_json
from cxr_attn_unet_dev.tools.release_weights import release

STRUCTURE = "lungs"
WIDTH = 4
SIDE = 64  # of what the network sees, in pixels


def write_tiny_bundle(folder: Path) -> Path:
    """The bundle's folder; trusted from here on."""
    bundle = folder / f"{STRUCTURE}_attn_unet"
    source = REPOSITORY / "bundles" / bundle.name / "configs"
    shutil.copytree(source, bundle / "configs", ignore=shutil.ignore_patterns("*.conf"))
    head = {
        "structure": STRUCTURE,
        "network_name": "unet",
        "width": WIDTH,
        "image_size": SIDE,
        "epochs": 1,
        "learning_rate": 0.001,
        "augmentation": 0,
        "components": 0,
        "parts": [],
        "test_time_augmentation": [[0, 1]],
    }
    for name, config in configs_of(head).items():
        (bundle / "configs" / f"{name}.json").write_text(format_json(config))
    metadata = bundle / "configs" / "metadata.json"
    about = json.loads(metadata.read_text(encoding="utf-8"))
    for kind, name in (("inputs", "image"), ("outputs", "pred")):
        about["network_data_format"][kind][name]["spatial_shape"] = [SIDE, SIDE]
    metadata.write_text(json.dumps(about))
    release(network().state_dict(), bundle)
    remember([bundle])  # within the tests' own configuration, see conftest.py
    return bundle


def network() -> torch.nn.Module:
    """Weights that were drawn; a threshold that a third of the pixels exceed."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = build_network("unet", out_channels=2, width=WIDTH).eval()
    with torch.inference_mode():
        grey = torch.from_numpy(phantom(0, SIDE, SIDE)[0]).float()[None, None] / 255
        logits = drawn(grey)[0]
        drawn.head.bias[0] += (logits[1] - logits[0]).quantile(2 / 3)
    return drawn


def write_phantoms(folder: Path, count: int, rows: int = 96, columns: int = 80) -> list[Path]:
    """Small radiographs, no two the same."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index in range(count):
        path = folder / f"{index:05d}.png"
        Image.fromarray(phantom(index, rows, columns)[0]).save(path)
        paths.append(path)
    return paths


def write_wide(path: Path) -> Path:
    """A radiograph twice as wide as high."""
    pixels = phantom(0)[0]
    Image.fromarray(np.hstack([pixels, pixels])).save(path)
    return path
