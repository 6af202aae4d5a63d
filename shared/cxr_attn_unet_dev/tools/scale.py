"""Hours and cost of many radiographs, from what was measured on one core and from stated assumptions.

Measured are the seconds of one core, the networks' operations and the bytes of the results, in
``docs/scale_measured.json``, which ``benchmarks/scale.py`` writes. Prices, bandwidths and everything about GPUs are
assumptions, each with its reason, in ``docs/scale_assumptions.json``. A GPU's rate is its operations per second, times
the share that is used of them, over those of the networks.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..json_style import read_json

__all__ = ["Machine", "Work", "machines_of", "scale_text", "work_of"]

SIZES = {"1 million": 10**6, "1 billion": 10**9}
NAMES_PER_LISTING = 1000  # the most that object stores answer at once
REQUESTS_PER_SHARD = 10  # manifest aside: list, marks, results, failures
SHARD_SIZE = 1000


@dataclass(frozen=True)
class Machine:
    """A core machine, or a GPU with its share of a machine.

    Attributes:
        name: for the table.
        hour: price in USD.
        rates: by what sets the pace, radiographs per second that it allows.
    """

    name: str
    hour: float
    rates: Mapping[str, float]

    @property
    def slowest(self) -> str:
        """What sets the pace."""
        return min(self.rates, key=lambda name: self.rates[name])

    @property
    def rate(self) -> float:
        """Radiographs per second."""
        return self.rates[self.slowest]


@dataclass(frozen=True)
class Work:
    """A number of radiographs on one kind of machine.

    Attributes:
        machine_hours: of one machine.
        cost: of the machines in USD.
        hours_on: by number of machines.
    """

    machine_hours: float
    cost: float
    hours_on: Mapping[int, float]


def machines_of(measured: Mapping[str, Any], assumed: Mapping[str, float]) -> list[Machine]:
    """The kinds of machine that are compared.

    Args:
        measured: what ``benchmarks/scale.py`` wrote.
        assumed: values by name, see ``docs/scale_assumptions.json``.
    """
    seconds = measured["core_seconds"]
    network = assumed["network_per_machine"] / 8 / (assumed["bytes_of_radiograph"] + measured["bytes_of_results"])
    around = sum(value for step, value in seconds.items() if step != "networks")
    cores = assumed["cores_per_machine"]
    machines = [
        Machine(
            f"{cores:.0f} cores",
            cores * assumed["core_hour"],
            {"cores": cores / sum(seconds.values()), "network": network},
        )
    ]
    for share in (assumed["gpu_utilisation_low"], assumed["gpu_utilisation_high"]):
        rates = {
            "GPU": assumed["gpu_operations_per_second"] * share / measured["operations"],
            "cores beside the GPU": assumed["cores_per_gpu"] / around,
            "network": network,
        }
        machines.append(Machine(f"GPU used at {100 * share:.0f} %", assumed["gpu_hour"], rates))
    return machines


def work_of(machine: Machine, radiographs: int, assumed: Mapping[str, float], counts: tuple[int, ...]) -> Work:
    """Hours and cost.

    Args:
        machine: the kind.
        radiographs: how many.
        assumed: values by name.
        counts: numbers of machines for which the hours are wanted.
    """
    hours = radiographs / machine.rate / 3600 / assumed["time_at_work"]
    return Work(hours, hours * machine.hour, {count: hours / count for count in counts})


def scale_text(measured: Mapping[str, Any], assumptions: Mapping[str, Mapping[str, Any]]) -> str:
    """Everything as tables."""
    assumed = {name: float(one["value"]) for name, one in assumptions.items()}
    machines = machines_of(measured, assumed)
    parts = [
        _measured(measured),
        _rates(machines),
        _hours(machines, assumed),
        _around(measured, assumed),
        _assumptions(assumptions),
    ]
    return "\n\n".join("\n".join(lines) for lines in parts) + "\n"


def _measured(measured: Mapping[str, Any]) -> list[str]:
    seconds = measured["core_seconds"]
    total = sum(seconds.values())
    lines = ["| step, one radiograph | seconds of one core | share |", "|---|---|---|"]
    for step in ("read", "networks", "around the networks", "encode"):
        lines.append(f"| {step} | {seconds[step]:.2f} | {100 * seconds[step] / total:.0f} % |")
    lines.append(f"| all | {total:.2f} | 100 % |")
    return [
        *lines,
        "",
        f"Mean of {measured['radiographs']} radiographs of {measured['megapixels']} megapixels and "
        f"{measured['bytes_of_file'] / 1e6:.1f} MB ({measured['data']}), {', '.join(measured['structures'])}:",
        f"{measured['operations'] / 1e9:.0f} billion operations of the networks, "
        f"{measured['bytes_of_results'] / 1e3:.0f} KB of results. Measured on: {measured['hardware']};",
        f"with `{measured['command']}`. Processor time, on a machine that others used too.",
    ]


def _rates(machines: list[Machine]) -> list[str]:
    names = ("cores", "cores beside the GPU", "GPU", "network")
    lines = [f"| radiographs per second | {' | '.join(names)} | what sets the pace |", "|---|---|---|---|---|---|"]
    for machine in machines:
        cells = [f"{machine.rates[name]:.0f}" if name in machine.rates else "" for name in names]
        lines.append(f"| {machine.name} | {' | '.join(cells)} | {machine.slowest} |")
    return lines


def _hours(machines: list[Machine], assumed: Mapping[str, float]) -> list[str]:
    lines = ["| radiographs | on | machine hours | USD | on 10 machines | on 100 |", "|---|---|---|---|---|---|"]
    for name, radiographs in SIZES.items():
        for machine in [*machines, *_unhindered(machines)]:
            work = work_of(machine, radiographs, assumed, (10, 100))
            waits = " | ".join(_duration(hours) for hours in work.hours_on.values())
            lines.append(f"| {name} | {machine.name} | {_short(work.machine_hours)} | {_short(work.cost)} | {waits} |")
    return lines


def _unhindered(machines: list[Machine]) -> list[Machine]:
    """GPUs that wait for nothing but the network: as if their cores had nothing to do."""
    unhindered = []
    for machine in machines:
        if "GPU" in machine.rates:
            rates = {name: rate for name, rate in machine.rates.items() if name != "cores beside the GPU"}
            unhindered.append(Machine(f"{machine.name}, all else on it or beside it for nothing", machine.hour, rates))
    return unhindered


def _around(measured: Mapping[str, Any], assumed: Mapping[str, float]) -> list[str]:
    names = ("radiographs", "read, TB", "results, TB", "listing, hours", "shards of 1000", "requests, USD")
    heads = [*names, "results, USD a month"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, radiographs in SIZES.items():
        listings = radiographs / NAMES_PER_LISTING
        shards = radiographs / SHARD_SIZE
        results = radiographs * measured["bytes_of_results"]
        requests = radiographs * assumed["get_request"]
        requests += (listings + shards * REQUESTS_PER_SHARD) * assumed["put_request"]
        cells = (
            radiographs * assumed["bytes_of_radiograph"] / 1e12,
            results / 1e12,
            listings * assumed["list_request_seconds"] / 3600,
            shards,
            requests,
            results * assumed["storage_month"],
        )
        lines.append(f"| {name} | {' | '.join(map(_short, cells))} |")
    return lines


def _assumptions(assumptions: Mapping[str, Mapping[str, Any]]) -> list[str]:
    lines = ["| assumption | value | why |", "|---|---|---|"]
    for name, one in assumptions.items():
        lines.append(f"| `{name}` | {one['value']:g} {one['unit']} | {one['why']} |")
    return lines


def _short(value: float) -> str:
    """Two digits that count, for figures that are no better than that."""
    if value >= 10:
        digits = len(str(int(value))) - 2
        return f"{round(value / 10**digits) * 10**digits:,}"
    return f"{value:.2g}"


def _duration(hours: float) -> str:
    if hours < 1:
        return f"{_short(60 * hours)} min"
    return f"{_short(hours)} h" if hours < 48 else f"{_short(hours / 24)} days"


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m cxr_attn_unet_dev.tools.scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Example: python -m cxr_attn_unet_dev.tools.scale --set gpu_hour=2 --set bytes_of_radiograph=3e6",
    )
    parser.add_argument("--measured", default="docs/scale_measured.json", help="what benchmarks/scale.py wrote")
    parser.add_argument("--assumptions", default="docs/scale_assumptions.json", help="prices and the like")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", dest="changes", help="another value; repeatable"
    )
    options = parser.parse_args(arguments)
    try:
        assumptions = read_json(Path(options.assumptions))
        for change in options.changes:
            name, _, value = change.partition("=")
            if name not in assumptions:
                raise ValueError(f"--set {change}: no such assumption; there are: {', '.join(assumptions)}")
            assumptions[name]["value"] = float(value)
        print(scale_text(read_json(Path(options.measured)), assumptions), end="")
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
