"""How long a training step takes on this CPU, on one core, and what each measure against slowness is worth.

The bundles' networks with their shipped weights, which matter: the gradients of a network that is sure of most pixels
are denormal numbers, which some processors are slow with. Radiographs and masks are those of ``examples/rendered``.

python benchmarks/training_step.py --output docs/training_step.json
"""

from __future__ import annotations

import argparse
import platform
import sys
import time
from pathlib import Path
from statistics import median

import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose

from cxr_attn_unet.bundle import bundles_folder
from cxr_attn_unet.datasets import DatasetError, load_data
from cxr_attn_unet.files import write_json
from cxr_attn_unet.io import RadiographError
from cxr_attn_unet.networks import load_weights
from cxr_attn_unet.structures import REGISTRY
from cxr_attn_unet.training.precision import with_depthwise_in_float32

# what is added step by step: half precision, memory layout, float32 where half precision is slow, denormal numbers
# taken for zero
WAYS = {
    "float32": (False, False, False, False),
    "bfloat16": (True, False, False, False),
    "and channels last": (True, True, False, False),
    "and depthwise in float32": (True, True, True, False),
    "and denormals flushed": (True, True, True, True),
}


def batch_of(parser: ConfigParser, folder: Path, structure: str, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Radiographs ``(size, 1, side, side)`` and their masks, as ``train.json`` prepares them."""
    prepare = Compose(parser.get_parsed_content("train#deterministic_transforms"))
    items = [prepare(item) for item in load_data(str(folder), structure)["training"][:size]]
    return torch.stack([item["image"] for item in items]), torch.stack([item["label"] for item in items])


def seconds_an_image(
    bundle: Path, folder: Path, half: bool, last: bool, depthwise: bool, flush: bool, batch: int, steps: int
) -> float:
    """Median over the steps after the first, with the loss of the bundle."""
    torch.set_flush_denormal(flush)
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "train.json")
    parser["bundle_root"] = str(bundle)
    network = load_weights(parser.get_parsed_content("network_def"), bundle / "models" / "model.pt").train()
    network = network.to(memory_format=torch.channels_last if last else torch.contiguous_format)
    if depthwise:
        network = with_depthwise_in_float32(network)
    images, labels = batch_of(parser, folder, parser["structure"], batch)
    loss = parser.get_parsed_content("loss")
    optimizer = torch.optim.AdamW(network.parameters(), 0)
    times = []
    for _ in range(steps + 1):
        start = time.process_time()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
            logits = network(images)
        loss(logits.float(), labels).backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.process_time() - start)
    return median(times[1:]) / batch


def main() -> int:
    """Measure, print and write; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", type=Path, default=Path("examples/rendered"), help="radiographs with masks")
    parser.add_argument("--batch_size", type=int, default=2)
    parser.add_argument("--steps", type=int, default=3, help="after a first one, which warms up")
    parser.add_argument("--output", help="JSON file for the figures")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, dict[str, float]] = {}
    try:
        for structure in REGISTRY:
            bundle = bundles_folder() / f"{structure}_attn_unet"
            found[structure] = {}
            for name, way in WAYS.items():
                seconds = seconds_an_image(bundle, options.dataset_dir, *way, options.batch_size, options.steps)
                found[structure][name] = round(seconds, 4)
            print(structure, found[structure], flush=True)
    except (DatasetError, RadiographError) as error:
        print(error, file=sys.stderr)
        return 1
    cpu = torch.backends.cpu.get_cpu_capability()
    hardware = f"one core, {platform.machine()}, {cpu}, PyTorch {torch.__version__}"
    if options.output:
        write_json(options.output, {"seconds_an_image": found, "hardware": hardware})
    return 0


if __name__ == "__main__":
    sys.exit(main())
