"""What a bundle's weights see in radiographs that nobody has labelled, and files of it to train on: self-training."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose
from tqdm import tqdm

from cxr_attn_unet.bundle import cause_of
from cxr_attn_unet.files import write_json
from cxr_attn_unet.inference import TestTimeAugmentationInferer
from cxr_attn_unet.networks import fold_batch_norm
from cxr_attn_unet.networks.checkpoint import read_state_dict

__all__ = ["PART_LIMIT", "SURE_LIMITS", "ByWeights", "Seen", "finish"]

PART_LIMIT = 0.5
SURE_LIMITS = (0.2, 0.8)  # of the mean probability of the views: between them a pixel is left open


@dataclass(frozen=True)
class Seen:
    """A radiograph, over the square that the network sees.

    Attributes:
        image: ``(rows, columns)`` float, 0 to 1, upright.
        label: 0, 1 and IGNORED, ``(rows, columns)``, of the item's own mask, whatever it shows.
        views: ``(views, classes + parts, rows, columns)`` probabilities.
    """

    image: np.ndarray
    label: np.ndarray
    views: np.ndarray


class ByWeights:
    """A bundle's network with its weights and the steps of its training that are not random.

    Args:
        bundle: folder of the bundle.
        views: (degrees, zoom, mirrored) in which each radiograph is seen.
        parts: names of the parts that the network tells apart.
    """

    def __init__(self, bundle: Path, views: Sequence[tuple[float, float, bool]], parts: Sequence[str] = ()) -> None:
        train = ConfigParser(ConfigParser.load_config_file(bundle / "configs" / "train.json"))
        train["bundle_root"] = str(bundle)
        self._steps = Compose(train.get_parsed_content("train#deterministic_transforms"))
        network = train.get_parsed_content("network_def")
        network.load_state_dict(read_state_dict(bundle / "models" / "model.pt"))
        self._network = fold_batch_norm(network.eval()).to(memory_format=torch.channels_last)
        self._inferer = TestTimeAugmentationInferer(views, parts)

    def __call__(self, item: Mapping[str, Any]) -> Seen:
        """See a radiograph.

        Raises:
            RadiographError: it or its mask cannot be read.
        """
        data = self._steps(dict(item))
        with torch.inference_mode():
            views = self._inferer.probabilities(data["image"][None].float(), self._network)[:, 0]
        return Seen(data["image"][0].numpy(), data["label"][0].numpy(), views.numpy())

    def each(self, items: Sequence[Mapping[str, Any]], failures: list[str]) -> Iterator[tuple[Mapping[str, Any], Seen]]:
        """See all radiographs, with a progress bar; of one that cannot be seen, the reason goes to ``failures``."""
        for item in tqdm(items, unit="radiograph"):
            try:
                seen = self(item)
            except Exception as error:  # the others go on
                failures.append(f"{item['image']}: {cause_of(error)}")
                continue
            yield item, seen


def finish(folder: Path, failures: Sequence[str]) -> int:
    """Let a folder's radiographs all be for training, and say which were left out; returns the exit status."""
    write_json(folder / "split.json", {"validation": []})
    if failures:
        print("\n".join(["Left out:", *failures]), file=sys.stderr)
    return int(bool(failures))
