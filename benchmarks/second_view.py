"""What the second view of test-time augmentation is worth: Dice with it, without it, and where the first is unsure.

A bundle that averages two views sees each radiograph twice. Here the second view counts only where the confidence of
the first (2 sum(p m) / (sum(p) + sum(m))) is below a limit; the others keep the first view's mask.

python benchmarks/second_view.py --structure clavicles --dataset_dir JSRT --output docs/second_view.json
"""

from __future__ import annotations

import argparse
import json
import platform
import sys

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from cxr_attn_unet import Segmenter
from cxr_attn_unet.datasets import DatasetError, load_data
from cxr_attn_unet.files import write_json
from cxr_attn_unet.inference.segmenter import _reduced
from cxr_attn_unet.io import Radiograph, RadiographError, read_mask, read_radiograph
from cxr_attn_unet.statistics import bootstrap_interval, mask_dice

LIMITS = (0.8, 0.9, 0.94, 0.96, 0.98)


class Views:
    """A bundle's masks by its first view, and by the mean of all."""

    def __init__(self, structure: str) -> None:
        self.segmenter = Segmenter.from_bundles([structure], device="cpu")
        (self.model,) = self.segmenter._models

    def __call__(self, radiograph: Radiograph) -> tuple[np.ndarray, np.ndarray, float]:
        """Both masks ``(rows, columns)``, and the first view's confidence."""
        reduced = _reduced(radiograph)
        image = self.segmenter._preprocessed(self.model, reduced)
        with torch.inference_mode():
            views = self.model.inferer.probabilities(image.as_tensor()[None], self.model.network)[:, 0]  # type: ignore[attr-defined]
        found = [
            self.segmenter._postprocess(self.model, reduced, image, probabilities.clamp_min(1e-7).log(), None)
            for probabilities in (views[0], views.mean(0))
        ]
        return found[0].mask, found[1].mask, found[0].confidence


def main() -> int:
    """Measure, print and write; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--structure", default="clavicles")
    parser.add_argument("--dataset_dir", required=True, help="folder of a data set")
    parser.add_argument("--section", default="validation", help="of its split (default: validation)")
    parser.add_argument("--output", help="JSON file for the figures")
    options = parser.parse_args()
    torch.set_num_threads(1)
    try:
        items = load_data(options.dataset_dir, options.structure, check=False)[options.section]
    except (DatasetError, RadiographError) as error:
        print(error, file=sys.stderr)
        return 1
    views = Views(options.structure)
    first, both, confidences = [], [], []
    for item in tqdm(items, unit="radiograph"):
        alone, mean, confidence = views(read_radiograph(item["image"]))
        # a mask may be drawn at another resolution than its radiograph
        drawn = Image.fromarray(read_mask(item["label"]).astype(np.uint8))
        truth = np.asarray(drawn.resize(alone.shape[::-1], Image.Resampling.NEAREST)) > 0
        first.append(mask_dice(alone, truth))
        both.append(mask_dice(mean, truth))
        confidences.append(confidence)
    sure = np.array(confidences)
    dice = {"first view": np.array(first), "all views": np.array(both)}
    shares = {"first view": 0.0, "all views": 1.0}
    for limit in LIMITS:
        name = f"second view below {limit}"
        dice[name] = np.where(sure < limit, both, first)
        shares[name] = float((sure < limit).mean())
    patients = [str(item.get("patient", item["id"])) for item in items]
    result = {
        "structure": options.structure,
        "data": f"{options.dataset_dir.rstrip('/').split('/')[-1]}, {options.section}",
        "radiographs": len(items),
        "ways": {
            name: {
                "dice": round(float(values.mean()), 4),
                "less_than_all_views": round(float((dice["all views"] - values).mean()), 4),
                "interval_of_that": bootstrap_interval(dice["all views"] - values, patients),
                "second_views": round(shares[name], 3),
            }
            for name, values in dice.items()
        },
        "weights": dict(views.segmenter.versions),
        "hardware": f"{platform.machine()}, PyTorch {torch.__version__}",
    }
    print(json.dumps(result, indent=1))
    if options.output:
        write_json(options.output, result)
    return 0


if __name__ == "__main__":
    sys.exit(main())
