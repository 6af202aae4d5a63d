"""Memory of a training step of each network, activations kept and computed again, and the batches that 8 GiB hold.

PyTorch's fake tensors go through a forward and backward pass without computing anything, and its memory tracker adds up
what would be alive, so this needs neither the memory nor the time. To what it finds come AdamW's two moments and the
average of the weights that train.json keeps. What libraries use as scratch space is not in it.

    python benchmarks/training_memory.py --output docs/training_memory.json
"""

from __future__ import annotations

import argparse
import sys

import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.distributed._tools.mem_tracker import MemTracker
from tqdm import tqdm

from cxr_attn_unet.files import write_json
from cxr_attn_unet.networks import NETWORKS, build_network
from cxr_attn_unet.training.recompute import recompute_activations

MOMENTS_AND_AVERAGE = 3  # of the size of the weights
GIBIBYTE = 2**30


def peak_bytes(name: str, width: int, image_size: int, batch_size: int, checkpointing: bool) -> int:
    """Most memory at any time of a training step in float32, in bytes.

    Args:
        name: of the network.
        width: its channels at the finest level.
        image_size: side of the square that it sees, in pixels.
        batch_size: number of radiographs.
        checkpointing: whether activations are computed again.
    """
    network = build_network(name, width=width).train()
    with FakeTensorMode() as mode:
        network._apply(mode.from_tensor)  # built of real numbers, for which some networks ask
        if checkpointing:
            recompute_activations(network)
        tracker = MemTracker()
        tracker.track_external(network)
        with tracker:
            image = torch.empty(batch_size, 1, image_size, image_size)
            label = torch.empty(batch_size, image_size, image_size, dtype=torch.long)
            F.cross_entropy(network(image), label).backward()
        found = tracker.get_tracker_snapshot("peak")
        step = max(int(of_device["Total"]) for of_device in found.values())
        weights = sum(weight.numel() * weight.element_size() for weight in network.parameters())
    return step + MOMENTS_AND_AVERAGE * weights


def measured(name: str, width: int, image_size: int, limit: float, checkpointing: bool) -> dict[str, float]:
    """GiB of a batch of one, and the largest batch within a limit: what is beyond the first radiograph adds up."""
    one, two = (peak_bytes(name, width, image_size, batch, checkpointing) / GIBIBYTE for batch in (1, 2))
    return {"gibibytes": round(one, 2), "largest_batch": max(0, int((limit - one) / (two - one)) + 1)}


def main() -> int:
    """Measure, print and write; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--image_size", type=int, default=512, help="in pixels")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS), metavar="NAME")
    parser.add_argument("--limit", type=float, default=8, help="GiB that the largest batch may take")
    parser.add_argument("--output", help="JSON file for the figures")
    options = parser.parse_args()
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in tqdm(options.networks, unit="network", disable=None):
        found[name] = {
            way: measured(name, options.width, options.image_size, options.limit, again)
            for way, again in (("kept", False), ("computed again", True))
        }
        print(name, found[name], flush=True)
    if options.output:
        write_json(
            options.output,
            {
                "networks": found,
                "width": options.width,
                "image_size": options.image_size,
                "limit": options.limit,
                "torch": torch.__version__,
            },
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
