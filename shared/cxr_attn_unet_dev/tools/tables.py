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
from pathlib import Path
from typing import Any

from cxr_attn_unet.files import written

from ..benchmark.report import blocks

BLOCK = re.compile(r"(<!-- results -->\n).*?(<!-- /results -->)", re.DOTALL)
COLUMNS = (
    "| structure | network | data | images | mean Dice (95 % interval) | worst Dice | HD95, mm | mean distance, mm |",
    "|---|---|---|---|---|---|---|---|",
)
FOOTNOTE = (
    "Masks at their native size; mean over radiographs, one a patient, with the 95 % bootstrap interval of the mean; "
    "HD95 and mean distance between the outlines where the pixel spacing is known."
)


def results_of(bundle: Path) -> list[dict[str, Any]]:
    """All results of a bundle, by file name."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(bundle.glob("docs/results_*.json"))]


def row(result: dict[str, Any]) -> str:
    """One line of the table."""
    run, summary = result["run"], result["summary"]
    dice = summary["val_mean_dice"]
    size = f"{run['image_size']} x {run['image_size']}"
    views = len(run.get("views", [0]))
    cells = (
        run["structure"],
        f"`{run['network']}`, width {run['width']}, {size}" + (f", mean of {views} views" if views > 1 else ""),
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
            f"Seconds an image, forward and backward, at each bundle's own size. Measured on: {result['hardware']};",
            "with `python benchmarks/training_step.py`.",
            "",
        ]
    )


def updated(root: Path) -> dict[Path, str]:
    """The texts that carry results, as they should be, by file."""
    bundles = sorted(path for path in (root / "bundles").iterdir() if path.is_dir())
    texts = {root / "README.md": bundles} | {bundle / "docs" / "README.md": [bundle] for bundle in bundles}
    wanted = {}
    for path, which in texts.items():
        content = table(which).replace("\\", r"\\")
        wanted[path] = BLOCK.sub(rf"\g<1>{content}\g<2>", path.read_text(encoding="utf-8"))
    path = root / "docs" / "segment.md"
    wanted[path] = path.read_text(encoding="utf-8")
    for name, write in (("cardiothoracic_ratio", ratio_text), ("quality_control", quality_text)):
        content = write(json.loads((root / "docs" / f"{name}.json").read_text(encoding="utf-8")))
        wanted[path] = _filled(wanted[path], name, content)
    path = root / "docs" / "networks.md"
    steps = json.loads((root / "docs" / "training_step.json").read_text(encoding="utf-8"))
    wanted[path] = _filled(path.read_text(encoding="utf-8"), "training_step", steps_text(steps))
    path = root / "docs" / "results.md"
    wanted[path] = path.read_text(encoding="utf-8")
    measures = json.loads((root / "docs" / "clavicle_measures.json").read_text(encoding="utf-8"))
    for name, content in {**blocks(root / "results"), "measures": measures_text(measures)}.items():
        wanted[path] = _filled(wanted[path], name, content)
    for bundle in bundles:
        path = bundle / "configs" / "metadata.json"
        metadata = json.loads(path.read_text(encoding="utf-8"))
        metrics = {}
        for result in results_of(bundle):
            key = f"{result['run']['data']}_{result['run']['section']}"
            for name, values in result["summary"].items():
                metrics[f"{key}_{name.removeprefix('val_')}"] = round(values["mean"], 4)
        text = path.read_text(encoding="utf-8")
        block = json.dumps(metrics, indent=8).replace("\n}", "\n    }") if metrics else "{}"
        text = re.sub(r'("eval_metrics": )\{[^}]*\}', lambda found, b=block: found.group(1) + b, text)
        assert json.loads(text) == {**metadata, "eval_metrics": metrics}
        wanted[path] = text
    return wanted


def _filled(text: str, name: str, content: str) -> str:
    block = re.compile(rf"(<!-- {name} -->\n).*?(<!-- /{name} -->)", re.DOTALL)
    return block.sub(lambda found: found.group(1) + content + found.group(2), text)


def main(arguments: list[str] | None = None) -> int:
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
        print(f"{path}: {'its figures are not those of the result files' if options.check else 'written'}")
        if not options.check:
            with written(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
