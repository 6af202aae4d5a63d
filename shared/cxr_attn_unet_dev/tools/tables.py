"""Write the figures of the result files into README, model cards, docs and metadata.

A figure stands in a text only between ``<!-- results -->`` and ``<!-- /results -->`` and the like, so that each comes
from a file that a command wrote (``make evaluate`` those of the bundles, ``benchmarks/`` the others), and none is typed
by hand.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from cxr_attn_unet.files import written

from ..benchmark.report import blocks
from ..json_style import format_json, read_json
from .reliability import FOLDER, findings_text
from .scale import scale_text

# files in docs/ that the programs in benchmarks/ and tools/ write
MEASURED = (
    "cardiothoracic_ratio",
    "clavicle_measures",
    "confidence",
    "federated",
    "network_time",
    "performance",
    "quality_control",
    "quantised",
    "readers_ratio",
    "same_masks",
    "scale_measured",
    "second_view",
    "training_epoch",
    "training_memory",
    "training_step",
)
COLUMNS = (
    "| structure | network | data | images | mean Dice (95 % interval) | worst Dice | HD95, mm | mean distance, mm |",
    "|---|---|---|---|---|---|---|---|",
)
FOOTNOTE = (
    "Masks at the size of their file; mean over radiographs, one per patient, with the 95 % bootstrap interval of the "
    "mean; HD95 and mean distance between the outlines where the pixel spacing is known."
)


def results_of(bundle: Path) -> list[dict[str, Any]]:
    """All results of a bundle, by file name."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(bundle.glob("docs/results_*.json"))]


def row(result: dict[str, Any]) -> str:
    """One line of the table."""
    run, summary = result["run"], result["summary"]
    dice = summary["val_mean_dice"]
    network = f"`{run['network']}`, width {run['width']}, {run['image_size']} x {run['image_size']}"
    # version 0.1.0 called it views; the results before it have neither
    views = run.get("test_time_augmentation", run.get("views", [[0, 1]]))
    if len(views) > 1:
        network += f", mean of {len(views)} views"
    cells = (
        run["structure"],
        network,
        f"{run['data']}, {run['section']}",
        str(dice["cases"]),
        _mean(dice, 3),
        f"{dice['min']:.3f}",
        _mean(summary.get("val_hd95_mm"), 1),
        _mean(summary.get("val_msd_mm"), 2),
    )
    return f"| {' | '.join(cells)} |"


def _mean(values: dict[str, Any] | None, digits: int) -> str:
    if values is None:
        return "unknown"
    text = f"{values['mean']:.{digits}f}"
    if values.get("interval"):
        text += " ({:.{d}f} to {:.{d}f})".format(*values["interval"], d=digits)
    return text


def table(bundles: list[Path]) -> str:
    """The table of all results of some bundles, with what they were measured on below it."""
    results = [result for bundle in bundles for result in results_of(bundle)]
    measured = sorted(
        {f"{r['run']['hardware']}, PyTorch {r['run']['torch']}, seed {r['run']['seed']}" for r in results}
    )
    lines = [*COLUMNS, *map(row, results), "", f"{FOOTNOTE} Measured on: {'; '.join(measured)}."]
    return "\n".join(lines) + "\n"


def ratio_text(result: dict[str, Any]) -> str:
    """What ``benchmarks/cardiothoracic_ratio.py`` found, in a sentence."""
    low, high = result["interval"]
    return (
        f"Against the ratio from manual masks, on {result['radiographs']} radiographs ({result['data']}):\n"
        f"mean absolute difference {result['mean_absolute_difference']:.4f} (95 % interval {low:.4f} to {high:.4f}), "
        f"mean difference {result['mean_difference']:+.4f},\nlargest {result['largest']:.3f}. Measured with "
        "`python benchmarks/cardiothoracic_ratio.py --dataset_dir JSRT`.\n"
    )


def readers_text(result: dict[str, Any]) -> str:
    """What ``tools/readers_ratio.py`` found, in a sentence and a picture."""
    low, high = result["interval"]
    least, most = result["limits_of_agreement"]
    weights = ", ".join(f"{name} {version}" for name, version in result["weights"].items())
    return (
        f"Against the ratio that readers measured, on {result['radiographs']} radiographs ({result['data']}):\n"
        f"mean absolute difference {result['mean_absolute_error']:.4f} (95 % interval {low:.4f} to {high:.4f}), "
        f"mean difference {result['mean_difference']:+.4f},\nlimits of agreement {least:+.3f} to {most:+.3f}, "
        f"largest {result['largest']:.3f}; {result['withheld']} more were withheld. Weights: {weights}. Measured with\n"
        "`python -m cxr_attn_unet_dev.tools.readers_ratio --dataset_dir WINGSPAN`.\n\n"
        "![Bland-Altman picture: differences between measured and readers' ratios](readers_ratio.png)\n"
    )


def confidence_text(result: dict[str, Any]) -> str:
    """What ``tools/calibrate.py`` found, as a table."""
    if not result["structures"]:
        return "The weights that come along are not calibrated; `confidence_...` is the network's own.\n"
    lines = []
    for structure, one in result["structures"].items():
        for name, kind in (("unspoiled", "as they are"), ("all", "with spoiled copies")):
            part = one[name]
            lines.append(
                f"| {structure} {one['version']} | {one['data']}, {kind} | {part['masks']} | {part['mean_dice']:.3f} | "
                f"{part['error_before']:.3f} | {part['error_after']:.3f} | {part['spearman']:.2f} |"
            )
    return "\n".join(
        [
            "| weights | validation radiographs | masks | mean Dice | error of the raw one | error of `confidence` | "
            "rank correlation |",
            "|---|---|---|---|---|---|---|",
            *lines,
            "",
            "Error: expected calibration error, the mean difference of confidence and Dice over ten groups of equal",
            "size.",
            "Rank correlation: Spearman's, of confidence and Dice. Measured with "
            "`python -m cxr_attn_unet_dev.tools.calibrate`.",
            "",
        ]
    )


def quality_text(result: dict[str, Any]) -> str:
    """What ``benchmarks/quality_control.py`` found, as a table."""
    lines = [f"| {kind} | {one['pictures']} | {one['flagged']} |" for kind, one in result["kinds"].items()]
    return "\n".join(
        [
            "| pictures | number | flagged |",
            "|---|---|---|",
            *lines,
            "",
            f"Of {result['spoiled']} spoiled pictures {100 * result['spoiled_flagged']:.1f} % were flagged, "
            f"of the good ones {100 * result['good_flagged']:.1f} %.",
            "Good ones are of the validation split of Montgomery, Shenzhen and JSRT, "
            f"spoiled ones their copies (seed {result['seed']});",
            "lateral views are rendered from one CT, abdomens are lower halves of DRRs. Measured with "
            "`python benchmarks/quality_control.py`.",
            "",
        ]
    )


def measures_text(result: dict[str, Any]) -> str:
    """What ``benchmarks/clavicle_measures.py`` found, as a table."""
    lines = [f"| {name} | {value:.3f} |" for name, value in result["mean"].items()]
    return "\n".join(
        [
            "| measure | mean |",
            "|---|---|",
            *lines,
            "",
            f"{result['radiographs']} radiographs ({result['data']}). Measured with "
            "`python benchmarks/clavicle_measures.py --dataset_dir JSRT`.",
            "",
        ]
    )


def steps_text(result: dict[str, Any]) -> str:
    """What ``benchmarks/training_step.py`` found, as a table."""
    ways = list(next(iter(result["seconds_an_image"].values())))
    lines = [
        f"| {structure} | {' | '.join(f'{times[way]:.2f}' for way in ways)} |"
        for structure, times in result["seconds_an_image"].items()
    ]
    return "\n".join(
        [
            f"| bundle | {' | '.join(ways)} |",
            "|---" * (1 + len(ways)) + "|",
            *lines,
            "",
            f"Seconds per image, forward and backward, at each bundle's own size. Measured on: {result['hardware']};",
            "with `python benchmarks/training_step.py`.",
            "",
        ]
    )


def performance_text(result: dict[str, Any]) -> str:
    """What ``benchmarks/segment_time.py`` found, as tables."""
    lines = []
    for name, way in result["ways"].items():
        share = way["networks"] / way["total"]
        lines.append(f"| {name} | {way['total']:.2f} | {share:.0%} | {way['lowest_dice']:.5f} |")
    starts = [f"| {name} | {ratio:.2f} |" for name, ratio in result["start"].items()]
    return "\n".join(
        [
            "| what runs the networks | CPU time | in the networks | lowest Dice with the first |",
            "|---|---|---|---|",
            *lines,
            "",
            f"CPU time of one radiograph of 2000 x 2000, {', '.join(result['structures'])}, as a share of the first "
            f"row's {result['seconds_of_the_first']:.2f} s. Dice of masks on {result['compared']}, the lowest of all "
            "structures.",
            "",
            "| start | CPU time |",
            "|---|---|",
            *starts,
            "",
            "CPU time of a process that segments the heart of one radiograph, as a share of the first row's "
            f"{result['seconds_of_the_slower_start']:.1f} s. Both measured on: {result['hardware']}; with "
            "`python benchmarks/segment_time.py`.",
            "",
        ]
    )


def epoch_text(result: dict[str, Any]) -> str:
    """What ``benchmarks/training_epoch.py`` found, as a table."""
    size = result["image_size"]
    lines = [
        f"| {name} | {seconds:.3f} | {_percent(result['overhead'].get(name))} |"
        for name, seconds in result["seconds_an_image"].items()
    ]
    return "\n".join(
        [
            "| an epoch of | CPU seconds per radiograph | more than the bare loop |",
            "|---|---|---|",
            *lines,
            "",
            f"`{result['network']}` at {size} x {size}, batch {result['batch_size']}. It "
            "is the fastest of the bundles' networks: with the others the same",
            "milliseconds are a smaller share. The bare loop is plain PyTorch on batches that are ready. Measured on: "
            f"{result['hardware']};",
            "with `python benchmarks/training_epoch.py`.",
            "",
        ]
    )


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:+.1f} %"


def memory_text(result: dict[str, Any]) -> str:
    """What ``benchmarks/training_memory.py`` found, as a table."""
    lines = []
    for name, ways in result["networks"].items():
        kept, again = ways["kept"], ways["computed again"]
        memory = f"{kept['gibibytes']:.2f} | {again['gibibytes']:.2f}"
        lines.append(f"| `{name}` | {memory} | {kept['largest_batch']} | {again['largest_batch']} |")
    limit = f"{result['limit']:g} GiB"
    return "\n".join(
        [
            f"| network | GiB, batch of 1 | with `checkpointing` | largest batch in {limit} | with `checkpointing` |",
            "|---|---|---|---|---|",
            *lines,
            "",
            f"Width {result['width']}, {result['image_size']} x {result['image_size']}, float32: weights, gradients, "
            "AdamW's moments, the average of the weights,",
            "activations; without what libraries use as scratch space. Counted by PyTorch "
            f"{result['torch']}'s memory tracker; with",
            "`python benchmarks/training_memory.py`.",
            "",
        ]
    )


def shared_text(result: dict[str, Any]) -> str:
    """What ``benchmarks/shared_machine.py`` found, as a table."""
    lines = [f"| {name} | {ratio:.2f} |" for name, ratio in result["cpu_time_ratio"].items()]
    return "\n".join(
        [
            "| threads | CPU time |",
            "|---|---|",
            *lines,
            "",
            f"CPU time of a radiograph ({', '.join(result['structures'])}; {result['radiographs']} of "
            f"{result['folder']}, at most 512 pixels), as a share of the second row. Measured on: "
            f"{result['hardware']}, on which other programs ran all the time; with "
            "`python benchmarks/shared_machine.py`.",
            "",
        ]
    )


def federated_text(result: dict[str, Any]) -> str:
    """What ``benchmarks/federated.py`` found, as a table."""
    names = {"federated": "both, federated", "pooled": "both, pooled in one place"}
    sites = list(result["radiographs"])
    lines = []
    for name, dice in result["dice"].items():
        cells = " | ".join(_mean(dice[site], 3) for site in sites)
        lines.append(f"| {names.get(name, f'{name} alone')} | {cells} |")
    numbers = "; ".join(
        f"{site} {one['training']} to train on, {one['validation']} to validate on"
        for site, one in result["radiographs"].items()
    )
    return "\n".join(
        [
            f"| trained on | {' | '.join(f'Dice on {site}' for site in sites)} |",
            "|---" * (1 + len(sites)) + "|",
            *lines,
            "",
            f"A demonstration at a small scale, not what the network can do: hearts at {result['image_size']} x "
            f"{result['image_size']},",
            f"{numbers};",
            f"{result['rounds']} rounds of {result['local_epochs']} epoch at each site, the others as many epochs of "
            f"their radiographs, batch {result['batch_size']}, all from {result['start']};",
            f"seed {result['seed']}; mean Dice at that size after the last epoch, with 95 % bootstrap intervals. "
            f"Measured on: {result['hardware']};",
            "with `python benchmarks/federated.py --dataset_dir DATA`.",
            "",
        ]
    )


def views_text(result: dict[str, Any]) -> str:
    """What ``benchmarks/second_view.py`` found, as a table."""
    lines = []
    for name, way in result["ways"].items():
        low, high = way["interval_of_that"]
        loss = f"{way['less_than_all_views']:.4f} ({low:.4f} to {high:.4f})"
        lines.append(f"| {name} | {way['second_views']:.0%} | {way['dice']:.4f} | {loss} |")
    return "\n".join(
        [
            f"| {result['structure']} | second views | mean Dice | less than with all views (95 % interval) |",
            "|---|---|---|---|",
            *lines,
            "",
            f"{result['radiographs']} radiographs of {result['data']}. Measured on: {result['hardware']}.",
            "",
        ]
    )


def quantised_text(result: dict[str, Any]) -> str:
    """What ``benchmarks/quantised.py`` found, as a table."""
    lines = []
    for structure, one in result["structures"].items():
        taken = one["seconds"]
        times = f"{taken['full']:.2f} | {taken['8-bit']:.2f}"
        for name, data in one["datasets"].items():
            dice = f"{data['dice']['full']:.4f} | {data['dice']['8-bit']:.4f}"
            lost = _mean({"mean": data["lost"], "interval": data["interval_of_that"]}, 4)
            lines.append(f"| {structure}, {data['radiographs']} of {name} | {dice} | {lost} | {times} |")
            times = " | "
    seen = ", ".join(f"{one['calibrated_on']} ({structure})" for structure, one in result["structures"].items())
    return "\n".join(
        [
            "| validation radiographs | Dice, float32 | Dice, 8-bit | less (95 % interval) | seconds, float32 "
            "| seconds, 8-bit |",
            "|---|---|---|---|---|---|",
            *lines,
            "",
            "CPU seconds of one radiograph with that structure alone, reading left out; calibrated on training "
            f"radiographs: {seen}. Measured on: {result['hardware']}; with "
            "`python benchmarks/quantised.py --dataset_dir DATA`.",
            "",
        ]
    )


def networks_text(result: dict[str, Any]) -> str:
    """What ``benchmarks/network_time.py`` found, as a table and a sentence."""
    lines = []
    for structure, one in result["networks"].items():
        cells = ["", "", ""]
        if "torch.compile" in one["seconds"]:
            after = one["pays_after"]
            cells = [
                f"{one['seconds']['torch.compile']:.3f}",
                f"{one['seconds_of_compilation']:.0f}",
                "never" if after is None else f"{after} radiographs",
            ]
        lines.append(f"| {structure} | {one['views']} | {one['seconds']['PyTorch']:.3f} | {' | '.join(cells)} |")
    box = result["box"]
    saves = " and ".join(f"{share:.0%} ({structure})" for structure, share in box["saves_at_most"].items())
    return "\n".join(
        [
            "| network | views | seconds | compiled | seconds of compilation | pays after |",
            "|---|---|---|---|---|---|",
            *lines,
            "",
            "CPU seconds of one radiograph, all views, batch normalisation folded. The box of the lungs with "
            f"{box['margin']:.0%} more on each side is {box['share_of_the_picture']:.0%} of the networks' picture "
            f"({box['radiographs']}): networks that see it alone could save at most {saves} of the time of all "
            f"networks. Measured on: {result['hardware']}; with `python benchmarks/network_time.py`.",
            "",
        ]
    )


def same_masks_text(result: dict[str, Any]) -> str:
    """What ``benchmarks/same_masks.py`` found, as a table: a row for each step."""
    columns = {
        f"{structure}, {data['radiographs']} of {name}": data["ways"]
        for structure, one in result["structures"].items()
        for name, data in one["datasets"].items()
    }
    steps = list(dict.fromkeys(step for ways in columns.values() for step in ways))
    lines = []
    for step in steps:
        own = [ways.get(step) for ways in columns.values()]
        lowest = [one["lowest_dice_of_both_masks"] for one in own if one and "lowest_dice_of_both_masks" in one]
        last = f"{min(lowest):.5f}" if lowest else ""
        lines.append(f"| {step} | {' | '.join(map(_dice_and_change, own))} | {last} |")
    return "\n".join(
        [
            f"| step | {' | '.join(columns)} | lowest Dice of two masks |",
            "|---" * (2 + len(columns)) + "|",
            *lines,
            "",
            "Mean Dice with the references of the validation split, and in brackets how far the step has changed it; "
            "the last column compares each mask with the one without the step. The first four rows add up; those "
            "after them each take the place of a part of the fourth. Measured on: "
            f"{result['hardware']}; with `python benchmarks/same_masks.py --dataset_dir DATA`.",
            "",
        ]
    )


def _dice_and_change(way: Mapping[str, float] | None) -> str:
    if way is None:
        return ""
    if "changed_by" not in way:
        return f"{way['dice']:.5f}"
    return f"{way['dice']:.5f} ({way['changed_by']:+.5f})"


def updated(root: Path) -> dict[Path, str]:
    """The texts that carry results, as they should be, by file."""
    bundles = sorted(path for path in (root / "bundles").iterdir() if path.is_dir())
    docs = root / "docs"
    measured = {name: read_json(docs / f"{name}.json") for name in MEASURED}
    wanted = {root / "README.md": _filled(root / "README.md", {"results": table(bundles)})}
    for bundle in bundles:
        card = bundle / "docs" / "README.md"
        wanted[card] = _filled(card, {"results": table([bundle])})
        metadata = bundle / "configs" / "metadata.json"
        wanted[metadata] = format_json({**read_json(metadata), "eval_metrics": metrics_of(bundle)})
    of_segment = {
        "cardiothoracic_ratio": ratio_text(measured["cardiothoracic_ratio"]),
        "quality_control": quality_text(measured["quality_control"]),
        "readers_ratio": readers_text(measured["readers_ratio"]),
        "confidence": confidence_text(measured["confidence"]),
    }
    wanted[docs / "segment.md"] = _filled(docs / "segment.md", of_segment)
    assumptions = read_json(docs / "scale_assumptions.json")
    of_scale = {"scale": scale_text(measured["scale_measured"], assumptions)}
    wanted[docs / "scale.md"] = _filled(docs / "scale.md", of_scale)
    of_performance = {
        "performance": performance_text(measured["performance"]),
        "second_view": views_text(measured["second_view"]),
        "quantised": quantised_text(measured["quantised"]),
        "network_time": networks_text(measured["network_time"]),
        "same_masks": same_masks_text(measured["same_masks"]),
    }
    shared = docs / "shared_machine.json"
    if shared.is_file():  # not measured for every release
        of_performance["shared_machine"] = shared_text(read_json(shared))
    wanted[docs / "performance.md"] = _filled(docs / "performance.md", of_performance)
    of_networks = {
        "training_step": steps_text(measured["training_step"]),
        "training_memory": memory_text(measured["training_memory"]),
    }
    wanted[docs / "networks.md"] = _filled(docs / "networks.md", of_networks)
    of_train = {"training_epoch": epoch_text(measured["training_epoch"])}
    wanted[docs / "train.md"] = _filled(docs / "train.md", of_train)
    of_federated = {"federated": federated_text(measured["federated"])}
    wanted[docs / "federated.md"] = _filled(docs / "federated.md", of_federated)
    of_results = {**blocks(root / "results"), "measures": measures_text(measured["clavicle_measures"])}
    wanted[docs / "results.md"] = _filled(docs / "results.md", of_results)
    wanted[docs / "reliability.md"] = _filled(docs / "reliability.md", {"findings": findings_text(root / FOLDER)})
    return wanted


def metrics_of(bundle: Path) -> dict[str, float]:
    """Means of all results of a bundle for its metadata, by data set, section and metric."""
    metrics = {}
    for result in results_of(bundle):
        where = f"{result['run']['data']}_{result['run']['section']}"
        for name, values in result["summary"].items():
            metrics[f"{where}_{name.removeprefix('val_')}"] = round(values["mean"], 4)
    return metrics


def _filled(path: Path, blocks_of_it: Mapping[str, str]) -> str:
    """A file's text with new content between its marks ``<!-- NAME -->`` and ``<!-- /NAME -->``."""
    text = path.read_text(encoding="utf-8")
    for name, content in blocks_of_it.items():
        block = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
        text = block.sub(partial(_between, content), text)
    return text


def _between(content: str, found: re.Match[str]) -> str:
    return found.group(1) + content + found.group(2)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m cxr_attn_unet_dev.tools.tables",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Example: python -m cxr_attn_unet_dev.tools.tables --check",
    )
    parser.add_argument("--root", default=".", help="folder of the repository (default: this one)")
    parser.add_argument("--check", action="store_true", help="change nothing, end with 1 if something would change")
    options = parser.parse_args(arguments)
    stale = 0
    for path, text in updated(Path(options.root)).items():
        if path.read_text(encoding="utf-8") == text:
            continue
        stale += 1
        if options.check:
            print(f"{path}: its figures are not those of the result files")
            continue
        with written(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        print(f"{path}: written")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
