"""The table of nine networks on four structures: each trained and validated through its bundle's own config.

Every finished cell is one JSON file under --results; a cell that has one is skipped, one that was interrupted resumes
from its last epoch. The same command may be started several times at once, on one machine or on many with a common
folder: each takes the cells that no other has in hand. So on two cores, or two GPUs:

  OMP_NUM_THREADS=1 python -m cxr_attn_unet_dev.benchmark --protocol small --dataset_dir DATA &   (twice)
  CUDA_VISIBLE_DEVICES=0 python -m cxr_attn_unet_dev.benchmark --protocol published --dataset_dir DATA &   (and with 1)

and with Slurm: sbatch --array=1-8 --gpus=1 --wrap "python -m cxr_attn_unet_dev.benchmark --protocol published ..."
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch

from cxr_attn_unet.bundle import setting
from cxr_attn_unet.files import write_json
from cxr_attn_unet.networks import COMPARED
from cxr_attn_unet.structures import REGISTRY
from cxr_attn_unet.system import hardware, processor

from .cells import Cell, cells_of, load_protocol, protocol_names
from .costs import measure_alone, measured_hours
from .run import BUSY, result_path, run_in_process

logger = logging.getLogger(__name__)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m cxr_attn_unet_dev.benchmark",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Examples:\n"
        "  python -m cxr_attn_unet_dev.benchmark --protocol small --dataset_dir DATA --dry-run\n"
        "  python -m cxr_attn_unet_dev.benchmark --protocol modern --structures heart --networks unet --seeds 0 1 2\n"
        "  python -m cxr_attn_unet_dev.benchmark --variant no_flip --set flip 0 --structures ribs",
    )
    parser.add_argument(
        "--protocol",
        default="small",
        help=f"{', '.join(protocol_names())}, or a JSON file (default: small); its former name --scale works too",
    )
    parser.add_argument("--scale", help=argparse.SUPPRESS)
    parser.add_argument("--networks", nargs="+", choices=list(COMPARED), default=list(COMPARED), metavar="NETWORK")
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
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        protocol = load_protocol(setting("protocol", options.protocol, scale=options.scale))
        changes = {key: json.loads(value) for key, value in options.set}
        own_data = dict(entry.split("=", 1) for entry in options.data)
    except ValueError as error:
        parser.error(str(error))
    cells = cells_of(protocol, options.networks, options.structures, options.seeds, options.variant, changes)
    folders: dict[str, str] = {}
    for structure in options.structures:
        name = protocol.data.get(structure, "")
        folders[structure] = own_data.get(structure) or os.path.join(options.dataset_dir or "", name)
        if not os.path.isdir(folders[structure]):
            parser.error(f"no data for {structure} at '{folders[structure]}': name it with --dataset_dir or --data")
    if options.dry_run:
        return _estimate(cells, folders, options.costs)
    return _run_all(cells, folders, options.results, options.runs)


def _run_all(cells: Sequence[Cell], folders: Mapping[str, str], results: Path, runs: Path) -> int:
    """Run what has no result yet, one cell after the other; returns the exit status."""
    failed: list[str] = []
    busy = 0
    for number, cell in enumerate(cells, 1):
        if result_path(results, cell).is_file():
            continue
        logger.info(f"{number} of {len(cells)}: {cell.name}")
        # a process of its own: its memory is the cell's alone, and is given back
        process = multiprocessing.get_context("spawn").Process(
            target=run_in_process, args=(cell, folders[cell.structure], results, runs)
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


def _estimate(cells: Sequence[Cell], folders: Mapping[str, str], target: Path | None) -> int:
    """Measure a few steps of each network and structure, say what all cells would take; returns the exit status."""
    total = 0.0
    measured: dict[tuple[str, str], list[dict[str, float]]] = {}
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
        rows = [
            {"structure": structure, "network": network, **stages[-1]}
            for (structure, network), stages in measured.items()
        ]
        machine = f"{hardware()}, {processor()}, PyTorch {torch.__version__}"
        write_json(target, {"protocol": cells[0].protocol.name, "hardware": machine, "costs": rows})
        print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
