"""The table of nine networks on four structures: each trained and validated through its bundle's own config.

Every finished cell is one JSON file under --results; a cell that has one is skipped, one that was interrupted goes on
from its last epoch. The same command may be started several times at once, on one machine or on many with a common
folder: each takes the cells that no other has in hand. So on two cores, or two GPUs:

  OMP_NUM_THREADS=1 python -m cxr_attn_unet_dev.benchmark --scale small --dataset_dir DATA &   (twice)
  CUDA_VISIBLE_DEVICES=0 python -m cxr_attn_unet_dev.benchmark --scale published --dataset_dir DATA &   (and with 1)

and with Slurm: sbatch --array=1-8 --gpus=1 --wrap "python -m cxr_attn_unet_dev.benchmark --scale published ..."
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from cxr_attn_unet.files import write_json
from cxr_attn_unet.networks import NETWORKS
from cxr_attn_unet.structures import REGISTRY
from cxr_attn_unet.system import hardware, processor

from .cells import Cell, cells_of, load_scale, scale_names
from .measure import measure_alone, measured_hours
from .run import BUSY, result_path, run_in_process

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m cxr_attn_unet_dev.benchmark",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Examples:\n"
        "  python -m cxr_attn_unet_dev.benchmark --scale small --dataset_dir DATA --dry-run\n"
        "  python -m cxr_attn_unet_dev.benchmark --scale modern --structures heart --networks unet --seeds 0 1 2\n"
        "  python -m cxr_attn_unet_dev.benchmark --variant no_flip --set flip 0 --structures ribs",
    )
    parser.add_argument("--scale", default="small", help=f"{', '.join(scale_names())}, or a JSON file (default: small)")
    parser.add_argument("--networks", nargs="+", choices=list(NETWORKS), default=list(NETWORKS), metavar="NETWORK")
    parser.add_argument("--structures", nargs="+", choices=list(REGISTRY), default=list(REGISTRY), metavar="STRUCTURE")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="SEED")
    parser.add_argument(
        "--dataset_dir", default=os.environ.get("CXR_DATA"), help="folder of the data sets (default: CXR_DATA)"
    )
    parser.add_argument(
        "--data", nargs="+", default=[], metavar="STRUCTURE=FOLDER", help="a structure's own data, such as ribs=VINDR"
    )
    parser.add_argument("--set", nargs=2, action="append", default=[], metavar=("KEY", "JSON"), help="a config's value")
    parser.add_argument("--variant", default="", help="name of what --set changes, part of the results' names")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of results (default: results)")
    parser.add_argument("--runs", type=Path, default=Path("runs/benchmark"), help="folder of checkpoints and logs")
    parser.add_argument("--dry-run", action="store_true", help="only measure a few steps of each cell and add up")
    parser.add_argument("--costs", type=Path, metavar="JSON", help="with --dry-run: a file for what was measured")
    options = parser.parse_args(arguments)
    if options.costs and not options.dry_run:
        parser.error("--costs is what --dry-run measures: give both")
    if bool(options.set) != bool(options.variant):
        parser.error("--set and --variant need each other, so that no result passes for what it is not")
    try:
        scale = load_scale(options.scale)
        changes = {key: json.loads(value) for key, value in options.set}
        own_data = dict(entry.split("=", 1) for entry in options.data)
    except ValueError as error:
        parser.error(str(error))
    cells = cells_of(scale, options.networks, options.structures, options.seeds, options.variant, changes)
    folders = {}
    for structure in options.structures:
        name = scale.data.get(structure, "")
        folders[structure] = own_data.get(structure) or os.path.join(options.dataset_dir or "", name)
        if not os.path.isdir(folders[structure]):
            parser.error(f"no data for {structure} at '{folders[structure]}': name it with --dataset_dir or --data")
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    if options.dry_run:
        return _estimate(cells, folders, options.costs)

    failed, busy = [], 0
    for number, cell in enumerate(cells, 1):
        if result_path(options.results, cell).is_file():
            continue
        logger.info(f"{number} of {len(cells)}: {cell.name}")
        # a process of its own: its memory is the cell's alone, and is given back
        process = multiprocessing.get_context("spawn").Process(
            target=run_in_process, args=(cell, folders[cell.structure], options.results, options.runs)
        )
        process.start()
        process.join()
        if process.exitcode == BUSY:
            busy += 1
        elif process.exitcode:
            failed.append(cell.name)
    if busy:
        logger.info(f"{busy} cells are in the hands of other processes.")
    if failed:
        print(f"{len(failed)} of {len(cells)} cells failed: {', '.join(failed)}. See above why.", file=sys.stderr)
    return 1 if failed else 0


def _estimate(cells: Sequence[Cell], folders: dict[str, str], target: Path | None) -> int:
    total, measured = 0.0, {}
    print(f"{'cell':<52} {'parameters':>11} {'s/image':>8} {'images':>7} {'hours':>6}")
    for cell in cells:
        key = (cell.structure, cell.network)
        if key not in measured:
            measured[key] = measure_alone(cell, folders[cell.structure])
        stages = measured[key]
        hours = measured_hours(stages)
        images = sum(stage["training_images"] for stage in stages)
        total += hours
        print(
            f"{cell.name:<52} {stages[-1]['parameters']:>11,} {stages[-1]['training']:>8.3f} {images:>7} {hours:>6.2f}",
            flush=True,
        )
    print(f"{len(cells)} cells, {total:.1f} hours of one core or GPU")
    if target:
        rows = [{"structure": s, "network": n, **stages[-1]} for (s, n), stages in measured.items()]
        machine = f"{hardware()}, {processor()}, PyTorch {torch.__version__}"
        write_json(target, {"scale": cells[0].scale.name, "hardware": machine, "costs": rows})
        print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
