"""Bundles whose networks tell parts apart, with weights that are set rather than trained, and pictures for them.

The network is the package's U-Net. Its weights make it a table of grey values: of 28 steps from black to white, each of
the first ones is a part.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch

from conftest import REPOSITORY
from cxr_attn_unet.networks import build_network
from cxr_attn_unet.structures import part_names
from cxr_attn_unet.trust import remember
from cxr_attn_unet_dev.configs import configs_of
from cxr_attn_unet_dev.json_style import format_json
from cxr_attn_unet_dev.tools.release_weights import release

SIDE = 160
STEPS = 27
GREY = 9  # of a step, of 255
STEEP = 40.0  # logits run from -20 to 20
RIBS = tuple(f"{letter}{number}" for letter in "RL" for number in range(1, 13))


def grey_network(parts: int) -> torch.nn.Module:
    """A U-Net that sees the part k where the picture has k steps of grey, and the structure where there is a part."""
    network = build_network("unet", out_channels=2 + parts, width=STEPS + 1)
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
        # first block: one channel a step, the grey value above it
        block = network.encoder[0]
        block.conv1.weight[:, 0, 1, 1] = 1
        block.bn1.weight.fill_(1)
        block.bn1.bias.copy_(-(torch.arange(STEPS + 1) - 1) / STEPS)
        _pass_on(block.conv2, block.bn2)
        # last block: what the first one gave
        _pass_on(network.decoder[-1].conv.conv1, network.decoder[-1].conv.bn1)
        _pass_on(network.decoder[-1].conv.conv2, network.decoder[-1].conv.bn2)
        for part in range(1, parts + 1):
            # a hat: 1 at the step, 0 at its neighbours
            hat = STEEP * STEPS * torch.tensor([1.0, -2.0, 1.0])
            for channel in (1, 1 + part):
                network.head.weight[channel, part : part + 3, 0, 0] += hat
            network.head.bias[1 + part] = -STEEP / 2
        network.head.bias[1] = -STEEP / 2
    return network.eval()


def _pass_on(convolution: torch.nn.Conv2d, normalisation: torch.nn.BatchNorm2d) -> None:
    """Let a convolution give its first channels as they are."""
    for channel in range(STEPS + 1):
        convolution.weight[channel, channel, 1, 1] = 1
    normalisation.weight.fill_(1)


def write_bundle(folder: Path, structure: str = "ribs", with_parts: bool = True) -> Path:
    """``STRUCTURE_attn_unet`` in a folder, with all parts of the registry or none; trusted from here on."""
    bundle = folder / f"{structure}_attn_unet"
    shutil.copytree(
        REPOSITORY / "bundles" / bundle.name / "configs", bundle / "configs", ignore=shutil.ignore_patterns("*.conf")
    )
    parts = part_names(structure) if with_parts else []
    head = {
        "structure": structure,
        "network_name": "unet",
        "width": STEPS + 1,
        "image_size": SIDE,
        "epochs": 1,
        "learning_rate": 0.001,
        "augmentation": 0,
        "components": 0,
        "parts": parts,
        "test_time_augmentation": [[0, 1]],
    }
    (bundle / "configs" / "inference.json").write_text(format_json(configs_of(head)["inference"]))
    metadata = bundle / "configs" / "metadata.json"
    about = json.loads(metadata.read_text(encoding="utf-8"))
    for kind, name in (("inputs", "image"), ("outputs", "pred")):
        about["network_data_format"][kind][name]["spatial_shape"] = [SIDE, SIDE]
    metadata.write_text(json.dumps(about))
    release(grey_network(len(parts)).state_dict(), bundle)
    remember([bundle])  # within the tests' own configuration, see conftest.py
    return bundle


def picture_of(masks: dict[str, np.ndarray], names: Collection[str]) -> np.ndarray:
    """8-bit ``(SIDE, SIDE)`` in which the network finds these masks; ``names`` are all parts, in their order."""
    # brighter than all parts, and uneven, so that it is no frame; the black bar is the other end of the scale
    darkest = (len(names) + 2) * GREY
    slope = np.linspace(darkest, STEPS * GREY - 2, SIDE)[None]
    pixels = (slope + np.random.default_rng(0).integers(0, 3, (SIDE, SIDE))).astype(np.uint8)
    pixels[130:156, 4:-4] = 0
    for step, name in enumerate(names, 1):
        if name in masks:
            pixels[masks[name]] = step * GREY
    return pixels


def rib_masks(missing: Collection[str] = (), drop: dict[str, int] | None = None) -> dict[str, np.ndarray]:
    """Level bars as ribs, 10 pixels apart.

    Args:
        missing: names of ribs that are not there.
        drop: pixels by which ribs lie lower, by name.
    """
    masks = {}
    for name in RIBS:
        if name in missing:
            continue
        top = 6 + 10 * (int(name[1:]) - 1) + (drop or {}).get(name, 0)
        left = 20 if name[0] == "R" else 90
        masks[name] = np.zeros((SIDE, SIDE), bool)
        masks[name][top : top + 4, left : left + 50] = True
    return masks


def lung_masks() -> dict[str, np.ndarray]:
    """Two rectangles, the right one larger."""
    masks = {name: np.zeros((SIDE, SIDE), bool) for name in ("right_lung", "left_lung")}
    masks["right_lung"][20:110, 20:70] = True
    masks["left_lung"][20:100, 90:130] = True
    return masks
