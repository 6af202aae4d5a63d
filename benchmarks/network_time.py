"""CPU time of each structure's network, what torch.compile makes of it, and what the lungs' box could save.

The networks see a radiograph on one thread, as many times as their bundle has views; batch normalisation is folded, as
in ``segment``. Compiled ones (Inductor, which needs a C++ compiler) take turns with those that are not; the compilation
is timed apart, with an empty cache. The box is that of the lungs' mask with a margin: a network that sees nothing else
at the same scale saves at most the share of the picture outside it.

python benchmarks/network_time.py --output docs/network_time.json
"""

from __future__ import annotations

import argparse
import atexit
import json
import math
import os
import platform
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np
import torch
import torch._inductor.config

from cxr_attn_unet import Segmenter
from cxr_attn_unet.files import write_json
from cxr_attn_unet.inference.segmenter import _reduced
from cxr_attn_unet.io import Radiograph, RadiographError, find_radiographs, read_radiograph
from cxr_attn_unet.system import processor
from cxr_attn_unet_dev.tools.by_structure import with_structure

MARGIN = 0.1  # of the lungs' box on each side, in its own sides: clavicles and heart reach beyond the lungs
IN_THE_BOX = ("heart", "clavicles")


def seconds(runs: Mapping[str, Callable], inputs: torch.Tensor, views: int, repeats: int) -> dict[str, float]:
    """CPU seconds of a radiograph by each way to run a network: the median of runs that take turns."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    with torch.inference_mode():
        for _ in range(repeats):
            for name, run in runs.items():
                start = time.process_time()
                for _ in range(views):
                    run(inputs)
                taken[name].append(time.process_time() - start)
    return {name: round(median(times), 4) for name, times in taken.items()}


def compiled(network: torch.nn.Module, inputs: torch.Tensor) -> tuple[Callable, float]:
    """A network that Inductor compiled, and the CPU seconds that this took, those of the C++ compiler included."""
    torch.compiler.reset()
    run = torch.compile(network)
    before = _seconds_so_far()
    with torch.inference_mode():
        run(inputs)
    return run, round(_seconds_so_far() - before, 1)


def _seconds_so_far() -> float:
    """CPU seconds of this process and of those that it has started and that have ended."""
    return sum(os.times()[:4])


def times(
    segmenter: Segmenter, structure: str, radiograph: Radiograph, with_compiled: bool, repeats: int
) -> dict[str, Any]:
    """CPU seconds of one structure's network by each way to run it, and what its compilation took."""
    model = next(model for model in segmenter._models if model.structure == structure)
    network: Any = model.network
    inputs = segmenter._preprocessed(model, _reduced(radiograph)).as_tensor()[None]
    views = len(getattr(model.inferer, "views", (None,)))
    runs: dict[str, Callable] = {"PyTorch": network}
    row: dict[str, Any] = {"version": model.version, "views": views}
    if with_compiled:
        runs["torch.compile"], row["seconds_of_compilation"] = compiled(network, inputs)
    seconds(runs, inputs, 1, 1)  # warms up
    row["seconds"] = seconds(runs, inputs, views, repeats)
    if with_compiled:
        saved = row["seconds"]["PyTorch"] - row["seconds"]["torch.compile"]
        # of radiographs, from which on the compilation has paid; None: never
        row["pays_after"] = math.ceil(row["seconds_of_compilation"] / saved) if saved > 0 else None
    return row


def box_share(segmenter: Segmenter, radiographs: Sequence[Radiograph]) -> float:
    """Mean share of the networks' square picture in the box of the lungs' mask with its margin."""
    shares = []
    for radiograph in radiographs:
        lungs = segmenter(radiograph).upright("lungs")
        sides = []
        for axis in (0, 1):
            where = np.flatnonzero(lungs.any(1 - axis))
            if not where.size:
                break
            extent = where[-1] + 1 - where[0]
            low = max(0, where[0] - MARGIN * extent)
            high = min(lungs.shape[axis], where[-1] + 1 + MARGIN * extent)
            sides.append((high - low) / max(lungs.shape))
        # without lungs there is no box, and the network sees all
        shares.append(sides[0] * sides[1] if len(sides) == 2 else 1.0)
    return mean(shares)


def main() -> int:
    """Measure, print and write; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", default="examples/open_radiographs", help="folder of radiographs")
    parser.add_argument("--structures", nargs="+", help="default: all")
    parser.add_argument("--compiled", nargs="*", default=["heart", "clavicles"], help="structures that are compiled")
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--most", type=int, default=6, help="radiographs in which the lungs' box is measured")
    parser.add_argument("--output", help="JSON file for the figures; structures that it has and are not named stay")
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        paths = find_radiographs(options.dataset_dir).radiographs[: options.most]
        radiographs = [read_radiograph(path) for path in paths]
    except (RadiographError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    segmenter = Segmenter.from_bundles(options.structures, device="cpu")
    known = Path(options.output) if options.output else None
    result: dict[str, Any] = {"networks": {}}
    if known is not None and known.is_file():
        result = json.loads(known.read_text(encoding="utf-8"))
    result["hardware"] = f"one thread, {processor()}, {platform.machine()}, PyTorch {torch.__version__}"
    cache = tempfile.mkdtemp()
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
    atexit.register(shutil.rmtree, cache, ignore_errors=True)
    # the C++ compiler is then a child of this process, so that its time counts
    torch._inductor.config.compile_threads = 1
    for structure in segmenter.structures:
        row = times(segmenter, structure, radiographs[0], structure in options.compiled, options.repeats)
        print(structure, row, flush=True)
        result["networks"] = with_structure(result["networks"], structure, row)
        if known is not None:
            write_json(known, result)
    share = box_share(Segmenter.from_bundles(["lungs"], device="cpu"), radiographs)
    plain = {name: row["seconds"]["PyTorch"] for name, row in result["networks"].items()}
    saved = {name: (1 - share) * plain[name] / sum(plain.values()) for name in IN_THE_BOX if name in plain}
    result["box"] = {
        "margin": MARGIN,
        "share_of_the_picture": round(share, 3),
        "radiographs": f"{len(radiographs)} of {Path(options.dataset_dir).name}",
        "saves_at_most": {name: round(one, 3) for name, one in saved.items()},
    }
    print(json.dumps(result, indent=1))
    if known is not None:
        write_json(known, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
