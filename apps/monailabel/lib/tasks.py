"""Segmentation and training by MONAI Label's own tasks, with what they get wrong for radiographs put right."""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType
from monailabel.tasks.infer.bundle import BundleInferTask
from monailabel.tasks.train.bundle import BundleTrainTask
from PIL import Image

from cxr_attn_unet import __version__
from cxr_attn_unet.files import sha256, written
from cxr_attn_unet.inference import Segmenter
from cxr_attn_unet.io import RadiographError, read_labels
from cxr_attn_unet.output import label_map
from cxr_attn_unet.structures import label_values
from cxr_attn_unet.training.handlers.checkpoints import how_to_begin

from .archive import ArchiveDatastore
from .labels import write_label

__all__ = ["AllStructures", "BundleInfer", "BundleTrainer", "CurrentSegmenter"]

FINE_TUNING_RATE = 4e-4  # of one-cycle AdamW, a fifth of what the bundles were trained with: few labels, good weights

logger = logging.getLogger(__name__)


class BundleInfer(BundleInferTask):
    """A bundle, by its ``inference.json``."""

    def __init__(self, path: str, conf: dict[str, str]) -> None:
        # what the bundle's postprocessing ends with lies over the file's pixels already
        super().__init__(path, conf, add_post_restore=False, load_strict=True)
        if self.is_valid():
            # MONAI Label takes each channel of the network for a label, also those of parts, such as single ribs
            structure = json.loads(Path(self.bundle_config_path).read_text(encoding="utf-8"))["structure"]
            self.labels = {structure: 1}

    def writer(self, data: dict[str, Any], extension: str | None = None, dtype: Any = None) -> tuple[str, dict]:
        """Write the labels; returns their file and what is said of them."""
        labels = np.asarray(data[self.output_label_key]).T
        path = write_label(labels, data["image_path"], extension or data.get("result_extension"))
        return path, data.get(self.output_json_key, {})


class CurrentSegmenter:
    """A :class:`~cxr_attn_unet.inference.Segmenter` of bundles whose weights may change; loads them again when they do.

    Args:
        bundles: their folder.
        structures: those wanted.
    """

    def __init__(self, bundles: Path, structures: Sequence[str]) -> None:
        self._bundles = bundles
        self._structures = list(structures)
        self._state: Any = None
        self._segmenter: Segmenter | None = None
        self._lock = threading.Lock()

    def __call__(self) -> Segmenter:
        """The segmenter of the weights as they are now."""
        with self._lock:
            state = [(path, path.stat().st_mtime_ns) for path in sorted(self._bundles.glob("*/models/model.pt"))]
            if self._segmenter is None or state != self._state:
                # its own copies, which were checked when it started, and what it has trained since
                self._segmenter = Segmenter.from_bundles(self._structures, self._bundles, trust=True)
                self._state = state
            return self._segmenter


class AllStructures(InferTask):
    """All structures as one label map: 1 lungs, 2 heart, 3 ribs, 4 clavicles; where they overlap, the higher one.

    Args:
        bundles: folder of the bundles.
        structures: those wanted.
    """

    def __init__(self, bundles: Path, structures: Sequence[str]) -> None:
        labels = label_values(structures)
        super().__init__(
            type=InferType.SEGMENTATION,
            labels=labels,
            dimension=2,
            description=f"All structures in one label map: {', '.join(f'{v} {n}' for n, v in labels.items())}; "
            "where they overlap, the one further down this list is what is seen",
        )
        self._current = CurrentSegmenter(bundles, list(labels))

    def is_valid(self) -> bool:
        """Whether it can run: always, for the weights come along."""
        return True

    def __call__(self, request: dict[str, Any], callbacks: Any = None) -> tuple[str, dict[str, Any]]:
        """The label's file, and what is said of it."""
        begin = time.perf_counter()
        path = request["image"]
        found = self._current()(path)
        file = write_label(label_map(found.masks), path, request.get("result_extension"))
        return file, {
            "label_names": self.labels,
            "latencies": {"total": round(time.perf_counter() - begin, 2)},
            "confidences": {name: round(value, 4) for name, value in found.confidences.items()},
            "warnings": list(found.warnings),
        }


class BundleTrainer(BundleTrainTask):
    """Training of a bundle on the final labels, which keeps the weights unless training makes them better.

    They are validated before the first epoch; only better ones replace them (and those from before stay beside them,
    as ``model.previous.pt``). Label maps of several structures are split: the bundle learns from its own structure.

    A training that was stopped, and is asked for again with the same labels, goes on after its last whole epoch and
    ends as it would have ended. With other labels it begins anew, from the best weights so far.
    """

    def __init__(self, path: str, conf: dict[str, str]) -> None:
        super().__init__(path, conf)
        self.structure = json.loads(Path(self.bundle_config_path).read_text(encoding="utf-8"))["structure"]

    def _fetch_datalist(self, request: dict[str, Any], datastore: Any) -> list[dict[str, str]]:
        if isinstance(datastore, ArchiveDatastore):
            return self._fetch_archived(datastore)
        items = []
        problems = []
        for item in super()._fetch_datalist(request, datastore):
            try:
                items.append({**item, "label": self._own_label(item)})
            except RadiographError as error:
                problems.append(str(error))
        for problem in problems:
            logger.warning(f"Not trained on: {problem}")
        if not items:
            raise ValueError(
                f"no final label of the {self.structure} to train on. Submit some first, made with the model of the "
                f"{self.structure} or of all structures. {' '.join(problems)}"
            )
        return _in_order(items)

    def _fetch_archived(self, datastore: ArchiveDatastore) -> list[dict[str, str]]:
        items = datastore.masks_of(self.structure)
        if not items:
            raise ValueError(f"the archive has no final label of the {self.structure} to train on. Submit some first.")
        return _in_order(items)

    def _own_label(self, item: dict[str, str]) -> str:
        """The label, or for a map of several structures a file of this bundle's structure alone."""
        values = read_labels(item["label"])
        found = set(np.unique(values)) - {0}
        if not found:
            raise RadiographError(f"{item['label']}: empty. Draw the {self.structure}, or remove the label.")
        if len(found) == 1:
            return item["label"]
        known = {**label_values(), **label_values([self.structure])}
        mine = values == known[self.structure]
        if not found <= set(known.values()) or not mine.any():
            raise RadiographError(
                f"{item['label']}: has the values {sorted(map(int, found))}; expected one, or those of a label map: "
                f"{', '.join(f'{value} {name}' for name, value in known.items())}."
            )
        folder = Path(self.bundle_path) / "eval" / "labels"
        target = folder / f"{Path(item['label']).name.split('.')[0]}.png"
        with written(target) as temporary:
            Image.fromarray(mine.astype(np.uint8) * 255).save(temporary)
        return str(target)

    def _update_overrides(self, overrides: dict[str, Any]) -> dict[str, Any]:
        handlers = copy.deepcopy(overrides["train#handlers"])
        if overrides.get("validate#dataset#data") == []:
            # nothing to validate on: the weights of the last epoch are saved
            handlers = [handler for handler in handlers if handler["_target_"] != "ValidationHandler"]
        overrides["learning_rate"] = FINE_TUNING_RATE
        overrides["batch_size"] = max(1, min(8, len(overrides["train#dataset#data"])))

        by_name = {handler["_target_"].rpartition(".")[2]: handler for handler in handlers}
        loader, checkpoints = by_name.get("CheckpointLoader"), by_name["Checkpoints"]
        weights, last = Path(self.bundle_path) / "models" / "model.pt", Path(self.bundle_path) / "eval" / "last.pt"
        overrides["resume"] = False
        if loader is not None and Path(loader["load_path"]) == weights:
            start, checkpoints["request"], overrides["resume"] = how_to_begin(
                weights, last, lambda path: self._request(overrides, path)
            )
            loader["load_path"] = str(start)
        if "ValidationHandler" in by_name:
            # the weights that a training is resumed with were validated when it began
            by_name["ValidationHandler"]["exec_at_start"] = not overrides["resume"]
        overrides["train#handlers"] = handlers
        return overrides

    def _request(self, overrides: dict[str, Any], weights: Path) -> str:
        """All that a training depends on, as the SHA-256 of a text.

        Args:
            overrides: of the config.
            weights: that it starts from.
        """
        listed = {}
        for purpose in ("train", "validate"):
            # -1 asks for the data of the bundle itself, and overrides nothing
            listed[purpose] = [_identity_of(item) for item in overrides.get(f"{purpose}#dataset#data") or ()]
        left_out = ("bundle_root", "resume", "train#dataset#data", "validate#dataset#data", "train#handlers")
        content = {
            "data": listed,
            "overrides": {key: value for key, value in overrides.items() if key not in left_out},
            "config": sha256(self.bundle_config_path),
            "package": __version__,
            "weights": sha256(weights),
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _in_order(items: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    """By name, so that the same labels are trained and validated on when the same training is asked for again."""
    return sorted(items, key=lambda item: (item["image"], item["label"]))


def _identity_of(item: dict[str, str]) -> list[Any]:
    """What changes when a radiograph or its label does: the radiograph may be large, and the label may be corrected."""
    radiograph = os.stat(item["image"])
    return [item["image"], radiograph.st_size, radiograph.st_mtime_ns, sha256(item["label"])]
