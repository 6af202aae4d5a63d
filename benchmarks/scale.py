"""What one radiograph takes of one core, step by step, and how large its results are: the figures behind docs/scale.md.

Time is that of the processor in this process with one thread, so that other programs on the machine count little.

python benchmarks/scale.py --dataset_dir examples/open_radiographs --side 2048 --output docs/scale_measured.json
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from cxr_attn_unet import Segmenter
from cxr_attn_unet.files import write_json
from cxr_attn_unet.io import RadiographError, list_radiographs, read_radiograph
from cxr_attn_unet.segment.inputs import Input
from cxr_attn_unet.segment.record import file_state, make_record
from cxr_attn_unet.segment.settings import Settings
from cxr_attn_unet.segment.tables import write_mask_table
from cxr_attn_unet.system import processor


class NetworkClock:
    """Processor seconds within networks, while it is entered."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._depth = 0
        self._start = 0.0
        self._hooks = ExitStack()

    def __enter__(self) -> NetworkClock:
        for hook in (register_module_forward_pre_hook(self._begin), register_module_forward_hook(self._end)):
            self._hooks.callback(hook.remove)
        return self

    def __exit__(self, *error: object) -> None:
        self._hooks.close()

    def _begin(self, *_: Any) -> None:
        if not self._depth:
            self._start = time.process_time()
        self._depth += 1

    def _end(self, *_: Any) -> None:
        self._depth -= 1
        if not self._depth:
            self.seconds += time.process_time() - self._start


@contextmanager
def timed(seconds: Counter[str], step: str) -> Iterator[None]:
    """Add the processor seconds of the block to those of a step."""
    start = time.process_time()
    yield
    seconds[step] += time.process_time() - start


def enlarged(paths: list[str], side: int, folder: Path) -> list[str]:
    """Copies of radiographs as uncompressed TIFF of 16 bits.

    Args:
        paths: radiographs.
        side: the copies' longest, in pixels.
        folder: for the copies.

    Raises:
        RadiographError: one cannot be read.
    """
    copies = []
    for path in paths:
        pixels = read_radiograph(path).pixels
        factor = side / max(pixels.shape)
        rows, columns = (round(factor * length) for length in pixels.shape)
        picture = Image.fromarray(pixels).resize((columns, rows), Image.Resampling.BICUBIC)
        values = np.asarray(picture)
        values = (values - values.min()) / np.ptp(values) * 65535
        copies.append(str(folder / f"{Path(path).stem}.tif"))
        Image.fromarray(values.astype(np.uint16)).save(copies[-1])
    return copies


def measure(segmenter: Segmenter, paths: list[str], folder: Path) -> dict[str, Any]:
    """Means over radiographs, after a first one that warms up.

    Args:
        segmenter: the bundles.
        paths: radiographs.
        folder: for their table.

    Raises:
        RadiographError: one cannot be read.
    """
    settings = Settings.of(segmenter, folder, ["parquet"], report=False)
    with FlopCounterMode(display=False) as operations:
        segmenter(paths[0])
    seconds: Counter[str] = Counter()
    finished = []
    pixels = 0
    with NetworkClock() as networks:
        for path in tqdm(paths, unit="radiograph"):
            entry = Input(path, Path(path).stem, path)
            with timed(seconds, "read"):
                radiograph = read_radiograph(path)
            with timed(seconds, "segment"):
                found = segmenter.segment([radiograph])[0]
            with timed(seconds, "encode"):
                record = make_record(entry, file_state(path), segmenter.identity, found, [], [], with_rle=True)
            finished.append((entry, record))
            pixels += radiograph.pixels.size
    with timed(seconds, "encode"):
        write_mask_table(folder / "table.parquet", settings, finished)
    seconds["around the networks"] = seconds.pop("segment") - networks.seconds
    seconds["networks"] = networks.seconds
    count = len(paths)
    return {
        "radiographs": count,
        "megapixels": round(pixels / count / 1e6, 2),
        "structures": list(segmenter.structures),
        "core_seconds": {step: round(value / count, 3) for step, value in seconds.items()},
        "operations": operations.get_total_flops(),
        "bytes_of_file": round(sum(os.path.getsize(path) for path in paths) / count),
        "bytes_of_results": round((folder / "table.parquet").stat().st_size / count),
    }


def main() -> int:
    """Measure, print and write; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", default="examples/open_radiographs", help="folder of radiographs")
    parser.add_argument("--side", type=int, help="enlarge them to this longest side, in pixels")
    parser.add_argument("--output", help="JSON file for the figures")
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        paths = list_radiographs(options.dataset_dir)
        segmenter = Segmenter.from_bundles(device="cpu")
        with tempfile.TemporaryDirectory() as folder:
            if options.side:
                paths = enlarged(paths, options.side, Path(folder))
            found = measure(segmenter, paths, Path(folder))
    except RadiographError as error:
        print(error, file=sys.stderr)
        return 1
    found["data"] = options.dataset_dir
    found["command"] = "python benchmarks/scale.py"
    if options.side:
        found["command"] += f" --side {options.side}"
        found["data"] += f", enlarged to {options.side} pixels and 16 bits, uncompressed"
    found["hardware"] = (
        f"one core of {processor()}, {torch.backends.cpu.get_cpu_capability()}, PyTorch {torch.__version__}"
    )
    print(found)
    if options.output:
        write_json(options.output, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
