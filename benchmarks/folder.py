"""How ``segment`` does a folder: where the cores' time goes, and whether memory stays flat, by number of processes.

Radiographs are copies of those of a folder in mixed sizes and formats (512 x 512 to 2500 x 2048; PNG of 8 and 16 bits,
JPEG). CPU time is that of all processes of the command, from its first finished radiograph to its last, without the
start. The networks' part is measured apart, on one thread, on the same radiographs. Other programs on the machine
change CPU times little, and wall times much. Linux only.

python benchmarks/folder.py --dataset_dir examples/open_radiographs --output docs/performance_folder.json
"""

from __future__ import annotations

import argparse
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from PIL import Image

from cxr_attn_unet import Segmenter
from cxr_attn_unet.files import write_json
from cxr_attn_unet.io import RadiographError, list_radiographs, read_radiograph
from cxr_attn_unet.system import hardware, processor, usable_cores
from cxr_attn_unet_dev.tools.session import Look, look_at

SIZES = ((512, 512), (1024, 1024), (2000, 2000), (2500, 2048))  # rows, columns
KINDS = ("8 bits", "16 bits", "jpeg")
SECONDS = 0.5  # from one look at the processes to the next


def write_radiographs(sources: list[str], folder: Path, count: int) -> list[Path]:
    """Copies of radiographs in mixed sizes and formats."""
    paths = []
    ways = itertools.cycle(itertools.product(SIZES, KINDS))
    for index, source, (size, kind) in zip(range(count), itertools.cycle(sources), ways, strict=False):
        pixels = read_radiograph(source).upright()
        grey = np.interp(pixels, (pixels.min(), pixels.max()), (0, 255)).astype(np.uint8)
        picture = Image.fromarray(grey).resize((size[1], size[0]))
        path = folder / f"{index:04d}.{'jpg' if kind == 'jpeg' else 'png'}"
        if kind == "16 bits":
            picture = Image.fromarray(np.asarray(picture).astype(np.uint16) * 257)
        picture.save(path)
        paths.append(path)
    return paths


def seconds_in_networks(paths: list[Path]) -> float:
    """CPU time a radiograph in all networks, on one thread."""
    torch.set_num_threads(1)
    segmenter = Segmenter.from_bundles(device="cpu")
    starts: list[float] = []
    times: list[float] = []
    for module in {id(model.network): model.network for model in segmenter._models}.values():
        module.register_forward_pre_hook(lambda *_: starts.append(time.process_time()))
        module.register_forward_hook(lambda *_: times.append(time.process_time() - starts.pop()))
    segmenter(paths[0])
    times.clear()
    for path in paths:
        segmenter(path)
    return sum(times) / len(paths)


def run(folder: Path, workers: int | None, count: int) -> dict[str, float | int | str]:
    """Segment a folder by the command.

    Args:
        folder: of the radiographs.
        workers: as ``--workers``; ``None`` leaves it to the command.
        count: of the radiographs.
    """
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary)
        command = [sys.executable, "-W", "ignore", "-m", "cxr_attn_unet", "segment", str(folder), "-o", str(out)]
        if workers is not None:
            command += ["--workers", str(workers)]
        started = time.monotonic()
        process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.PIPE, text=True)
        looks: list[tuple[int, float, Look]] = []
        journal = out / ".segment" / "journal.jsonl"
        while process.poll() is None:
            time.sleep(SECONDS)
            finished = journal.read_bytes().count(b"\n") if journal.exists() else 0
            look = look_at(process.pid)
            if finished and look.processes and (not looks or finished > looks[-1][0]):
                looks.append((finished, time.monotonic() - started, look))
        printed = process.communicate()[1]
        if process.returncode:
            raise RadiographError(printed)
    # the CPU time of a process that has ended is no longer to be seen
    most = max(look.processes for _, _, look in looks)
    looks = [seen for seen in looks if seen[2].processes == most]
    (first, start, before), (last, end, after) = looks[0], looks[-1]
    middle = [look.memory for finished, _, look in looks if count / 4 < finished <= count / 2]
    late = [look.memory for finished, _, look in looks if finished > 3 * count / 4]
    return {
        "workers": "by itself" if workers is None else workers,
        "processes": most,
        "cpu_seconds_a_radiograph": round((after.seconds - before.seconds) / (last - first), 3),
        "seconds_a_radiograph": round((end - start) / (last - first), 3),
        "memory_mb_in_the_second_quarter": round(median(middle)),
        "memory_mb_in_the_last_quarter": round(median(late)),
    }


def main() -> int:
    """Measure, print and write; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", type=Path, default=Path("examples/open_radiographs"))
    parser.add_argument("--count", type=int, default=200, help="radiographs (default: 200)")
    parser.add_argument("--output", help="JSON file for the figures")
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp())
    try:
        paths = write_radiographs(list_radiographs(options.dataset_dir), scratch, options.count)
        in_networks = seconds_in_networks(paths[: len(SIZES) * len(KINDS)])
        print(f"networks: {in_networks:.3f} s of CPU a radiograph", flush=True)
        rows = []
        for workers in (1, None):
            row = run(scratch, workers, options.count)
            row["share_in_networks"] = round(in_networks / float(row["cpu_seconds_a_radiograph"]), 3)
            rows.append(row)
            print(row, flush=True)
    except RadiographError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        shutil.rmtree(scratch)
    if options.output:
        content = {
            "radiographs": options.count,
            "network_cpu_seconds_a_radiograph": round(in_networks, 3),
            "load_average": [round(value, 1) for value in os.getloadavg()],
            "hardware": f"{usable_cores()} usable of {hardware()}, {processor()}, PyTorch {torch.__version__}",
            "date": time.strftime("%Y-%m-%d"),
            "command": f"python benchmarks/folder.py --count {options.count} --output docs/performance_folder.json",
            "rows": rows,
        }
        write_json(options.output, content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
