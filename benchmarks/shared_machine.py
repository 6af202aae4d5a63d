"""CPU time of a radiograph when other programs run beside: what threads that wait by spinning cost.

A process of its own segments the radiographs for each way: with one thread, and with two whose waiting threads sleep
(``OMP_WAIT_POLICY=PASSIVE``, as the command sets it) or spin (as PyTorch does by itself), alone and beside busy
processes. Threads that sleep need about the CPU time of one thread, however busy the machine is.

python benchmarks/shared_machine.py --output docs/shared_machine.json
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import torch

from cxr_attn_unet import Segmenter
from cxr_attn_unet.files import write_json
from cxr_attn_unet.io import Radiograph, RadiographError, find_radiographs, read_radiograph

SIDE = 512
# threads, how they wait, busy processes beside them
WAYS = {
    "one thread, alone": (1, "PASSIVE", 0),
    "two threads that sleep, alone": (2, "PASSIVE", 0),
    "two threads that spin, alone": (2, "ACTIVE", 0),
    "two threads that sleep, beside others": (2, "PASSIVE", 2),
    "two threads that spin, beside others": (2, "ACTIVE", 2),
}


def radiographs_in(folder: str, most: int) -> list[Radiograph]:
    """The first ones of a folder, at most 512 pixels on the longer side.

    Raises:
        RadiographError: there are none.
    """
    paths = find_radiographs(folder).radiographs[:most]
    if not paths:
        raise RadiographError(f"{folder}: no radiographs here")
    found = []
    for path in paths:
        pixels = read_radiograph(path).pixels
        step = max(1, -(-max(pixels.shape) // SIDE))
        found.append(Radiograph(np.ascontiguousarray(pixels[::step, ::step]), str(path)))
    return found


def work(folder: str, structures: list[str], most: int) -> None:
    """Segment the radiographs of a folder, and print the CPU seconds of one."""
    radiographs = radiographs_in(folder, most)
    segmenter = Segmenter.from_bundles(structures, device="cpu")
    segmenter(radiographs[0])
    start = time.process_time()
    for radiograph in radiographs:
        segmenter(radiograph)
    print((time.process_time() - start) / len(radiographs))


def seconds(options: argparse.Namespace, threads: int, policy: str, busy: int) -> float:
    """CPU seconds of one radiograph in a process of its own."""
    given = ["--dataset_dir", options.dataset_dir, "--most", str(options.most), "--structures", *options.structures]
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        done = subprocess.run(
            [sys.executable, __file__, "--worker", *given],
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": policy},
            capture_output=True,
            text=True,
            check=True,
        )
    finally:
        for other in others:
            other.kill()
            other.wait()
    return float(done.stdout.split()[-1])


def main() -> int:
    """Measure, print and write; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", default="examples/open_radiographs", help="folder of radiographs")
    parser.add_argument("--structures", nargs="+", default=["lungs", "heart"])
    parser.add_argument("--most", type=int, default=20, help="radiographs that are segmented")
    parser.add_argument("--output", help="JSON file for the figures")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        if options.worker:
            work(options.dataset_dir, options.structures, options.most)
            return 0
        count = len(radiographs_in(options.dataset_dir, options.most))
    except (RadiographError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    found = {name: seconds(options, *way) for name, way in WAYS.items()}
    reference = found["two threads that sleep, alone"]
    ratios = {name: round(value / reference, 2) for name, value in found.items()}
    for name, ratio in ratios.items():
        print(f"{name}: {ratio}")
    if options.output:
        load = [round(value, 1) for value in os.getloadavg()]
        write_json(
            options.output,
            {
                "cpu_time_ratio": ratios,
                "cpu_seconds_of_one_thread": round(found["one thread, alone"], 3),
                "radiographs": count,
                "folder": Path(options.dataset_dir).name,
                "structures": options.structures,
                "hardware": f"{os.cpu_count()} CPU cores, {platform.machine()}, PyTorch {torch.__version__}",
                "load_of_the_machine_at_the_end": load,
            },
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
