"""Label radiographs that nobody has drawn masks for with a trained bundle, to train it further on them.

Self-training (Xie et al., Self-training with Noisy Student, CVPR 2020): the network sees each radiograph in several
tones, its probabilities are averaged, and where the tones disagree the radiograph is left out. What it writes is masks
and a data list, which joins others: ``--dataset_dir "['JSRT','OUTPUT/list.json']"``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.transforms import Invertd
from PIL import Image
from scipy import ndimage
from skimage import measure, morphology
from tqdm import tqdm

from ..bundle import cause_of
from ..datasets import DatasetError, find_items
from ..files import radiograph_stem, written
from ..io import RadiographError, list_radiographs, read_mask
from ..networks import load_weights

GAMMAS = (0.7, 1.0, 1.5)
SHARPENINGS = (0.0, 1.0)


def tones(image: torch.Tensor) -> torch.Tensor:
    """A network input ``(1, rows, columns)`` in [0, 1] in six tones, ``(6, 1, rows, columns)``."""
    picture = image[0].numpy()
    variants = []
    for gamma in GAMMAS:
        for alpha in SHARPENINGS:
            bent = picture**gamma
            if alpha:
                bent = bent + alpha * (bent - ndimage.gaussian_filter(bent, max(bent.shape) / 16))
                low, high = np.percentile(bent, (1, 99))
                bent = np.clip((bent - low) / max(high - low, 1e-6), 0, 1)
            variants.append(bent)
    return torch.tensor(np.stack(variants), dtype=torch.float32)[:, None]


def agreement(probabilities: np.ndarray) -> float:
    """Mean Dice of each of ``(variants, rows, columns)`` with the mask of their mean; 0 if that is empty."""
    mask = probabilities.mean(0) > 0.5
    if not mask.any():
        return 0.0
    single = probabilities > 0.5
    return float(np.mean([2 * (one & mask).sum() / (one.sum() + mask.sum()) for one in single]))


def surroundings(lungs: np.ndarray, margin: float) -> np.ndarray:
    """The convex hull of each lung, widened.

    Args:
        lungs: mask ``(rows, columns)``.
        margin: in heights of the mask's bounding box.
    """
    parts = sorted(measure.regionprops(measure.label(lungs)), key=lambda part: part.area)[-2:]
    hull = np.zeros_like(lungs)
    for part in parts:
        top, left, bottom, right = part.bbox
        hull[top:bottom, left:right] |= morphology.convex_hull_image(part.image)
    reach = margin * np.ptp(np.flatnonzero(lungs.any(1)))
    return ndimage.distance_transform_edt(~hull) <= reach


class Labeller:
    """A bundle's network between its own preprocessing and the way back to the file's pixels.

    Args:
        bundle_root: folder of the bundle.
        overrides: values for the head of ``inference.json``.
    """

    def __init__(self, bundle_root: Path, overrides: dict[str, Any]) -> None:
        parser = ConfigParser(ConfigParser.load_config_file(str(bundle_root / "configs" / "inference.json")))
        parser.update({"bundle_root": str(bundle_root), **overrides})
        self.structure = parser.get_parsed_content("structure")
        self.preprocessing = parser.get_parsed_content("preprocessing")
        self.network = load_weights(parser.get_parsed_content("network_def"), parser.get_parsed_content("checkpoint"))
        self.network.eval()
        self.invert = Invertd("pred", transform=self.preprocessing, orig_keys="image", nearest_interp=False)

    @torch.no_grad()
    def __call__(self, path: str) -> tuple[np.ndarray, float]:
        """Mask ``(rows, columns)`` over the file's own pixels, and the agreement of the tones."""
        item = self.preprocessing({"image": path})
        every = self.network(tones(item["image"].as_tensor())).softmax(1)[:, 1:]
        item["pred"] = item["image"].clone()
        item["pred"].set_array(every.mean(0))
        mask = self.invert(item)["pred"][0] > 0.5
        return mask.numpy().T, agreement(every[:, 0].numpy())


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m cxr_attn_unet.tools.pseudo_labels",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Example: python -m cxr_attn_unet.tools.pseudo_labels --bundle bundles/ribs_attn_unet --images NLM "
        "--inside lungs --output ribs_of_nlm",
    )
    parser.add_argument("--bundle", type=Path, required=True, help="the bundle that labels")
    parser.add_argument("--images", required=True, help="folder of radiographs")
    parser.add_argument("--output", type=Path, required=True, help="folder for masks/ and list.json")
    parser.add_argument("--checkpoint", help="its weights (default: models/model.pt of the bundle)")
    parser.add_argument("--image_size", type=int, help="if the weights are of another size than the bundle's")
    parser.add_argument("--agreement", type=float, default=0.9, help="least mean Dice between tones (default: 0.9)")
    parser.add_argument("--inside", help="keep what lies in or near the masks of this structure, which the images have")
    parser.add_argument("--margin", type=float, default=0.04, help="how near, in heights of that mask (default: 0.04)")
    options = parser.parse_args(arguments)
    overrides = {key: value for key in ("checkpoint", "image_size") if (value := getattr(options, key)) is not None}
    failures, kept, doubtful = [], [], 0
    try:
        label = Labeller(options.bundle, overrides)
        items = (
            find_items(options.images, options.inside)[0]
            if options.inside
            else [{"image": path} for path in list_radiographs(options.images)]
        )
    except (DatasetError, RadiographError, FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    for item in tqdm(items, "labelling", unit="radiograph", disable=None):
        try:
            mask, agreed = label(item["image"])
            if options.inside:
                field = surroundings(read_mask(item["label"]), options.margin)
                mask &= np.asarray(Image.fromarray(field).resize(mask.shape[::-1]))
        except Exception as error:
            cause = cause_of(error)  # MONAI wraps what a transform raises
            if not isinstance(cause, RadiographError):
                raise
            failures.append(str(cause))
            continue
        if agreed < options.agreement or not mask.any():
            doubtful += 1
            continue
        path = options.output / "masks" / label.structure / f"{radiograph_stem(item['image'])}.png"
        with written(path) as temporary:
            Image.fromarray(mask.astype(np.uint8) * 255).save(temporary, format="PNG")
        image = os.path.abspath(item["image"])
        kept.append({"image": image, "label": str(path.absolute()), "id": radiograph_stem(image), "dataset": "pseudo"})
    with written(options.output / "list.json") as temporary:
        temporary.write_text(json.dumps({"training": kept, "validation": []}, indent=1), encoding="utf-8")
    print(f"{options.output / 'list.json'}: {len(kept)} labelled, {doubtful} left out as doubtful.")
    for failure in failures:
        print(failure, file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
