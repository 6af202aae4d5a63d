"""The benchmark's result files as tables, tests and a plot for docs/results.md.

The tables are put into the text by ``python -m cxr_attn_unet_dev.tools.tables``; this draws the plot:
``python -m cxr_attn_unet_dev.benchmark.report --results results --output docs/results.png``.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr, wilcoxon

from cxr_attn_unet.bundle import setting
from cxr_attn_unet.files import written
from cxr_attn_unet.networks import COMPARED

from .cells import PUBLISHED

__all__ = ["blocks", "draw", "read_results"]

ORDER = ("lungs", "ribs", "heart", "clavicles")
PLAIN = "unet"


def read_results(folder: Path, protocol: str) -> list[dict[str, Any]]:
    """The results of a protocol, with each structure's networks in their published order, then by seed.

    Args:
        folder: such as ``results``.
        protocol: name of a subfolder of it.
    """
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((folder / protocol).glob("*.json"))]
    order = {key: number for number, key in enumerate(product(ORDER, COMPARED))}
    return sorted(found, key=lambda r: (order[r["structure"], r["network"]], r["variant"], r["seed"]))


def blocks(folder: Path) -> dict[str, str]:
    """What ``docs/results.md`` says of the results, by the name of the block.

    Args:
        folder: such as ``results``.
    """
    small = read_results(folder, "small")
    plain = [result for result in small if not result["variant"]]
    return {
        "cells": cells_table(plain),
        "costs": costs_table(folder / "small_costs.json"),
        "tests": tests_table(plain),
        "ranking": ranking_text(plain),
        "variants": variants_table(small),
        "settings": settings_table(read_results(folder, "published")),
        "measured": measured_text(plain),
    }


def _group(results: Iterable[dict[str, Any]], *keys: str) -> dict[tuple, list[dict[str, Any]]]:
    groups: dict[tuple, list[dict[str, Any]]] = {}
    for result in results:
        groups.setdefault(tuple(result[key] for key in keys), []).append(result)
    return groups


def patients(runs: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Dice of every validation image, the mean over seeds."""
    return {name: float(np.mean([run["images"][name] for run in runs])) for name in runs[0]["images"]}


def interval(values: npt.ArrayLike, seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of the mean over patients."""
    array = np.asarray(values)
    means = np.random.default_rng(seed).choice(array, (2000, len(array))).mean(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def cells_table(results: Sequence[dict[str, Any]]) -> str:
    """Mean Dice, its interval and the published value of every cell."""
    groups = _group(results, "structure", "network")
    lines = ["| network | " + " | ".join(ORDER) + " |", "|---|" + "---|" * len(ORDER)]
    for network in COMPARED:
        row = [f"`{network}`"]
        for structure in ORDER:
            runs = groups.get((structure, network))
            published = f"{PUBLISHED[network][structure]:.3f}"
            if not runs:
                row.append(f"not run yet / {published}")
                continue
            dice = patients(runs)
            low, high = interval(list(dice.values()))
            seeds = f", {len(runs)} seeds" if len(runs) > 1 else ""
            remark = runs[0].get("remark") or runs[0].get("mark")  # mark in results of version 0.1.0
            said = f" ({remark})" if remark else ""
            row.append(f"{np.mean(list(dice.values())):.3f} ({low:.3f} to {high:.3f}{seeds}){said} / {published}")
        lines.append(f"| {' | '.join(row)} |")
    done = len(groups)
    passed = sum(
        np.mean(list(patients(runs).values())) > PUBLISHED[network][structure]
        for (structure, network), runs in groups.items()
    )
    total = len(COMPARED) * len(ORDER)
    return (
        "\n".join([*lines, "", f"{done} of {total} cells were run; {passed} of them pass the published value."]) + "\n"
    )


def costs_table(path: Path) -> str:
    """Parameters, times and memory of every network.

    Args:
        path: what ``--dry-run --costs`` wrote: all networks one after the other on one machine, which the cells'
            own times are not.
    """
    measured, machine = read_costs(path)
    if not measured:
        return "Not measured yet.\n"
    structures = [name for name in ORDER if any(structure == name for structure, _ in measured)]
    sizes = {structure: f"{cost['image_size']} x {cost['image_size']}" for (structure, _), cost in measured.items()}
    lines = [
        "| network | parameters | " + " | ".join(f"{name}, {sizes[name]}" for name in structures) + " | memory, GB |",
        "|---|---|" + "---|" * len(structures) + "---|",
    ]
    for network in COMPARED:
        costs = {name: measured[name, network] for name in structures if (name, network) in measured}
        if costs:
            times = [_seconds(costs.get(structure)) for structure in structures]
            most = max(cost["memory_bytes"] for cost in costs.values()) / 1e9
            parameters = next(iter(costs.values()))["parameters"]
            lines.append(f"| `{network}` | {parameters:,} | {' | '.join(times)} | {most:.1f} |")
    note = (
        "Seconds per image, to train on / to segment, one after the other on one core or GPU; memory to train, at most."
    )
    return "\n".join([*lines, "", f"{note} Measured on: {machine}."]) + "\n"


def _seconds(cost: Mapping[str, Any] | None) -> str:
    return "" if cost is None else f"{cost['training']:.3f} / {cost['inference']:.3f}"


def read_costs(path: Path) -> tuple[dict[tuple[str, str], dict[str, Any]], str]:
    """What was measured of each structure and network, and on what; nothing if there is no such file."""
    if not path.is_file():
        return {}, ""
    document = json.loads(path.read_text(encoding="utf-8"))
    return {(row["structure"], row["network"]): row for row in document["costs"]}, document["hardware"]


@dataclass(frozen=True)
class Difference:
    """Dice of some runs minus that of others on the same patients and seeds."""

    mean: float
    low: float
    high: float
    better: int
    patients: int
    p: float

    def cells(self) -> str:
        """Two cells of a table: the mean with its 95 % interval, and in how many patients it is above 0."""
        return f"{self.mean:+.4f} ({self.low:+.4f} to {self.high:+.4f}) | {self.better} of {self.patients}"


def with_common_seeds(groups: Sequence[Sequence[dict[str, Any]]]) -> list[list[dict[str, Any]]]:
    """The same groups of runs, only with the seeds that all of them have."""
    seeds = [{run["seed"] for run in runs} for runs in groups]
    return [[run for run in runs if all(run["seed"] in own for own in seeds)] for runs in groups]


def compared(runs: Sequence[dict[str, Any]], base: Sequence[dict[str, Any]]) -> Difference | None:
    """Wilcoxon's signed-rank test over patients, of the mean over the seeds that both have; None without any."""
    shared = with_common_seeds([runs, base])
    if not all(shared):
        return None
    one, two = map(patients, shared)
    differences = np.array([one[name] - two[name] for name in sorted(set(one) & set(two))])
    p = float(wilcoxon(differences).pvalue) if differences.any() else 1.0
    return Difference(
        float(differences.mean()), *interval(differences), int((differences > 0).sum()), len(differences), p
    )


def holm(values: Sequence[float]) -> list[float]:
    """Values of p corrected for their number (Holm 1979)."""
    corrected, worst = [1.0] * len(values), 0.0
    for rank, index in enumerate(sorted(range(len(values)), key=values.__getitem__)):
        worst = max(worst, min(1.0, values[index] * (len(values) - rank)))
        corrected[index] = worst
    return corrected


def tests_table(results: Sequence[dict[str, Any]]) -> str:
    """Each network against the plain U-Net, see :func:`compared`, with Holm's correction over all rows."""
    groups = _group(results, "structure", "network")
    found = []
    for structure, network in product(ORDER, COMPARED):
        runs, base = groups.get((structure, network)), groups.get((structure, PLAIN))
        if network != PLAIN and runs and base and (difference := compared(runs, base)):
            found.append((structure, network, difference))
    if not found:
        return "Not run yet.\n"
    lines = [
        "| structure | network | Dice minus that of U-Net (95 % interval) | better in | p | p, corrected |",
        "|---|---|---|---|---|---|",
    ]
    corrected = holm([difference.p for *_, difference in found])
    for (structure, network, difference), p in zip(found, corrected, strict=True):
        lines.append(f"| {structure} | `{network}` | {difference.cells()} | {difference.p:.3g} | {p:.3g} |")
    return "\n".join(lines) + "\n"


def ranking_text(results: Sequence[dict[str, Any]]) -> str:
    """Rank correlation of the networks' Dice with the published one, by structure, over the seeds that all have."""
    groups = _group(results, "structure", "network")
    lines = ["| structure | networks | rank correlation with the published Dice | best here | best as published |"]
    lines.append("|---|---|---|---|---|")
    for structure in ORDER:
        found = {name: runs for (s, name), runs in groups.items() if s == structure}
        shared = with_common_seeds(list(found.values()))
        if len(found) < 3 or not all(shared):
            continue
        here = {name: np.mean(list(patients(runs).values())) for name, runs in zip(found, shared, strict=True)}
        there = {name: PUBLISHED[name][structure] for name in here}
        correlation = spearmanr(list(here.values()), list(there.values())).statistic
        lines.append(
            f"| {structure} | {len(here)} | {correlation:+.2f} | `{max(here, key=here.__getitem__)}` "
            f"| `{max(there, key=there.__getitem__)}` |"
        )
    return "\n".join(lines) + "\n"


def _table(lines: Sequence[str]) -> str:
    """Heading and rows of a table as text, or that there are no rows."""
    return "\n".join(lines) + "\n" if len(lines) > 2 else "None run yet.\n"


def variants_table(results: Sequence[dict[str, Any]]) -> str:
    """Runs with one thing changed, beside the same without the change."""
    groups = _group(results, "structure", "network", "variant")
    lines = [
        "| structure | network | change | Dice (95 % interval) | difference (95 % interval) | better in | p |",
        "|---|---|---|---|---|---|---|",
    ]
    for (structure, network, variant), runs in groups.items():
        if not variant:
            continue
        values = list(patients(runs).values())
        low, high = interval(values)
        difference = compared(runs, groups.get((structure, network, ""), []))
        beside = f"{difference.cells()} | {difference.p:.3g}" if difference else "unchanged not run | | "
        lines.append(
            f"| {structure} | `{network}` | {variant.replace('_', ' ')} | {np.mean(values):.3f} "
            f"({low:.3f} to {high:.3f}) | {beside} |"
        )
    return _table(lines)


def settings_table(results: Sequence[dict[str, Any]]) -> str:
    """Runs with the published settings, whole or with the fewer pixels and filters that their variant is for."""
    lines = [
        "| structure | network | pixels | width | epochs | Dice of each seed | lowest of a patient | as published |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (structure, network, _), runs in _group(results, "structure", "network", "variant").items():
        head = runs[0]["configuration"]["head"]
        cells = (
            structure,
            f"`{network}`",
            f"{head['image_size']} x {head['image_size']}",
            f"{head['width']}",
            f"{head['epochs']}",
            ", ".join(f"{run['dice']:.3f}" for run in runs),
            f"{min(run['worst'] for run in runs):.3f}",
            f"{PUBLISHED[network][structure]:.3f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return _table(lines)


def measured_text(results: Sequence[dict[str, Any]]) -> str:
    """Where and on what."""
    if not results:
        return "Not run yet.\n"
    hardware = sorted({f"{r['hardware']}, PyTorch {r['versions']['torch']}" for r in results})
    shown = {r["structure"]: (r["data"]["name"], r["configuration"]["head"], len(r["images"])) for r in results}
    sizes = "; ".join(
        f"{structure}: {name}, {head['image_size']} pixels, {head['epochs']} epochs, {number} held out"
        for structure, (name, head, number) in shown.items()
    )
    hours = sum(result["training_seconds"] for result in results) / 3600
    return f"{sizes}. Measured on: {'; '.join(hardware)}; {hours:.1f} hours of training in all, timed on one core.\n"


def draw(folder: Path, target: Path, protocol: str = "small") -> None:
    """Dice against the time to train on an image, a panel per structure.

    Args:
        folder: of the results; the times are those of ``--costs``, where they were measured.
        target: the picture.
        protocol: which results.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker

    groups = _group([r for r in read_results(folder, protocol) if not r["variant"]], "structure", "network")
    costs, _ = read_costs(folder / f"{protocol}_costs.json")
    figure, panels = pyplot.subplots(2, 2, figsize=(10, 8), constrained_layout=True)
    for panel, structure in zip(panels.flat, ORDER, strict=True):
        for number, network in enumerate(COMPARED):
            runs = groups.get((structure, network))
            if runs:
                values = list(patients(runs).values())
                low, high = interval(values)
                cost = costs.get((structure, network))
                x = cost["training"] if cost else runs[0]["training_seconds_per_image"]
                y = float(np.mean(values))
                panel.errorbar(x, y, [[y - low], [high - y]], fmt="o", color=f"C{number}", label=network, capsize=3)
        panel.set(title=structure, xscale="log", xlabel="training, s/image (one core)", ylabel="Dice")
        panel.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter("{x:g}")
        panel.xaxis.set_minor_formatter("")
        panel.grid(alpha=0.3)
    handles = {name: dot for panel in panels.flat for dot, name in zip(*panel.get_legend_handles_labels(), strict=True)}
    if handles:
        figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    with written(target) as path:
        figure.savefig(path, dpi=110)
    pyplot.close(figure)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m cxr_attn_unet_dev.benchmark.report",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the results")
    parser.add_argument("--protocol", default="small", help="whose results to draw (default: small)")
    parser.add_argument("--scale", help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=Path("docs/results.png"), help="the plot")
    options = parser.parse_args(arguments)
    draw(options.results, options.output, setting("protocol", options.protocol, scale=options.scale))
    print(options.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
