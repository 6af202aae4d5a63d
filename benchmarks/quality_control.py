"""How many spoiled radiographs quality control flags, and how many good ones wrongly.

Good ones are validation radiographs with lung masks; spoiled ones are their copies turned by 90, 180 or 270 degrees,
inverted, or cropped by 30 to 50 % on one side; lower halves of DRRs (abdomens), pictures of other things
(scikit-image's), and lateral views where given (rendered by ``cxr_attn_unet_dev.tools.render_examples --turned 90``).

    python benchmarks/quality_control.py --dataset_dir DATA --lateral LATERAL/images --output docs/quality_control.json
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
import skimage.data
from tqdm import tqdm

from cxr_attn_unet import Segmenter
from cxr_attn_unet.datasets import DatasetError, load_data
from cxr_attn_unet.files import write_json
from cxr_attn_unet.io import RadiographError, list_radiographs, read_radiograph

OTHERS = ("camera", "coins", "text", "moon", "page", "clock", "brick", "grass", "gravel", "cell")


def cropped(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Without 30 to 50 % of a random side."""
    rows, columns = pixels.shape
    share = rng.uniform(0.3, 0.5)
    side = rng.integers(4)
    top = int(share * rows)
    left = int(share * columns)
    return (pixels[top:], pixels[: rows - top], pixels[:, left:], pixels[:, : columns - left])[side]


def spoiled(pixels: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Copies of an upright radiograph ``(rows, columns)``, each with one thing amiss."""
    return {
        "rotated by 90 degrees": np.rot90(pixels),
        "rotated by 180 degrees": np.rot90(pixels, 2),
        "rotated by 270 degrees": np.rot90(pixels, 3),
        "inverted": pixels.max() - pixels,
        "cropped": cropped(pixels, rng),
    }


def pictures(options: argparse.Namespace, rng: np.random.Generator) -> Iterator[tuple[str, np.ndarray]]:
    """Kind and pixels ``(rows, columns)`` of everything that is looked at."""
    items = load_data(options.dataset_dir, "lungs")["validation"]
    drawn = sorted(rng.permutation(len(items))[: options.count])
    for index in tqdm(drawn, unit="radiograph"):
        pixels = read_radiograph(items[index]["image"]).upright()
        yield "good", pixels
        yield from spoiled(pixels, rng).items()
    for kind, folders in (("lateral", options.lateral), ("good, other hospitals", options.good)):
        for folder in folders:
            for path in list_radiographs(folder):
                yield kind, read_radiograph(path).upright()
    if options.abdomens:
        for path in list_radiographs(options.abdomens)[::20]:
            pixels = read_radiograph(path).upright()
            yield "abdomen", pixels[len(pixels) // 2 :]
    for name in OTHERS:
        yield "no chest", getattr(skimage.data, name)().astype(np.float32)
    yield "no chest", rng.normal(size=(256, 256)).astype(np.float32)


def main() -> int:
    """Measure, print and write; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset_dir", required=True, help="data sets with lung masks, as for training")
    parser.add_argument("--abdomens", help="folder of whole-trunk DRRs, whose lower halves are no chests")
    parser.add_argument("--lateral", nargs="*", default=[], help="folders of lateral views")
    parser.add_argument("--good", nargs="*", default=[], help="folders of further good radiographs")
    parser.add_argument("--output", help="JSON file for the figures")
    parser.add_argument("--count", type=int, help="most validation radiographs, drawn at random (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of crops and draws (default: 0)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    rng = np.random.default_rng(options.seed)
    flagged: dict[str, list[bool]] = defaultdict(list)
    reasons: dict[str, list[list[str]]] = defaultdict(list)
    try:
        segmenter = Segmenter.from_bundles()
        for kind, pixels in pictures(options, rng):
            warnings = list(segmenter(np.ascontiguousarray(pixels)).warnings)
            flagged[kind].append(bool(warnings))
            reasons[kind].append(warnings)
    except (DatasetError, RadiographError) as error:
        print(error, file=sys.stderr)
        return 1
    bad = [flag for kind, flags in flagged.items() if not kind.startswith("good") for flag in flags]
    result = {
        "spoiled": len(bad),
        "spoiled_flagged": round(float(np.mean(bad)), 4),
        "good_flagged": round(float(np.mean(flagged["good"])), 4),
        "kinds": {kind: {"pictures": len(flags), "flagged": sum(flags)} for kind, flags in flagged.items()},
        "seed": options.seed,
        "weights": dict(segmenter.versions),
    }
    print(json.dumps(result, indent=1))
    wrongly = [one for kind in flagged if kind.startswith("good") for one in reasons[kind] if one]
    print("Wrongly flagged because of:", *wrongly, sep="\n  ")
    if options.output:
        write_json(options.output, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
