"""All structures of a radiograph in one call, by the bundles' own ``inference.json``.

>>> from cxr_attn_unet import Segmenter
>>> segmenter = Segmenter.from_bundles()
>>> found = segmenter("examples/open_radiographs/00cfd1c1.png")
>>> found.masks["heart"].shape
(1024, 1024)
>>> [path.name for path in found.save("masks", formats=["png", "overlay"])][-2:]
['00cfd1c1_ribs.png', '00cfd1c1_overlay.jpg']
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import AsDiscreted, Compose, SaveImaged
from PIL import Image

from ..analysis import quality
from ..analysis.measurements import measure
from ..bundle import bundles_folder, cause_of
from ..io import Radiograph, RadiographError, read_radiograph
from ..io.radiograph import check_pixels
from ..networks import load_weights
from ..structures import BUNDLE_SUFFIX, in_registry_order
from ..transforms import LoadRadiographd, to_meta_tensor
from .segmentation import Segmentation
from .test_time_augmentation import TestTimeAugmentationInferer

__all__ = ["Segmenter"]

LARGEST_SIDE = 6000  # above it a radiograph is halved until it fits, and its masks are enlarged again: bounded memory


@dataclass(frozen=True)
class _Model:
    """One bundle, ready to run."""

    structure: str
    version: str
    prepare: Compose
    network: torch.nn.Module
    inferer: Callable
    finish: Sequence[Callable]
    amp: bool
    identity: str


@dataclass(frozen=True)
class _Found:
    """One structure in one radiograph: see :class:`Segmentation`."""

    mask: np.ndarray
    confidence: float
    agreement: float | None
    probability: Callable[[], np.ndarray]


class Segmenter:
    """Segments radiographs with several bundles; each says in its ``inference.json`` how.

    Network, preprocessing, inferer, postprocessing and weights are the bundle's; only what writes files is left out.
    The radiograph is read once for all. Use :meth:`from_bundles`.

    Attributes:
        structures: those segmented.
        versions: by structure, the version of the bundle.
        identity: changes with weights and settings; equal identities give equal masks.
    """

    def __init__(
        self, models: Sequence[_Model], device: torch.device, threshold: float | None = None, tta: bool = False
    ) -> None:
        self._models, self.device, self.threshold, self.tta = tuple(models), device, threshold, tta
        self.structures = tuple(model.structure for model in models)
        self.versions = {model.structure: model.version for model in models}
        parts = (*(model.identity for model in models), str(threshold), str(tta))
        self.identity = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    @classmethod
    def from_bundles(
        cls,
        structures: Sequence[str] | None = None,
        bundles: str | os.PathLike | None = None,
        device: str | torch.device | None = None,
        threshold: float | None = None,
        tta: bool = False,
    ) -> Segmenter:
        """Load bundles with their weights.

        Args:
            structures: those wanted; all in the folder if not given.
            bundles: folder that holds ``STRUCTURE_attn_unet``; :func:`bundles_folder` if not given.
            device: such as ``cuda:1``; a GPU where there is one if not given.
            threshold: probability from which a pixel belongs to a structure; the bundle's own rule (0.5) if not given.
            tta: average the probabilities of several views
                (:class:`~cxr_attn_unet.inference.TestTimeAugmentationInferer`); takes five times as long, and gives the
                views' agreement.

        Raises:
            FileNotFoundError: no such folder, bundle or weights.
            ValueError: weights that do not fit, a threshold outside 0 to 1, or a device that is not there.
        """
        if threshold is not None and not 0 < threshold < 1:
            raise ValueError(f"threshold is {threshold}, must lie between 0 and 1")
        root = Path(bundles) if bundles is not None else bundles_folder()
        configs = root.glob(f"*{BUNDLE_SUFFIX}/configs/inference.json")
        known = in_registry_order(path.parents[1].name.removesuffix(BUNDLE_SUFFIX) for path in configs)
        missing = [name + BUNDLE_SUFFIX for name in structures or () if name not in known]
        if missing or not known:
            raise FileNotFoundError(
                f"no bundle {', '.join(missing) or '*' + BUNDLE_SUFFIX} in {root}; "
                f"there are: {', '.join(known) or 'none'}"
            )
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if chosen.type == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"device is {chosen}, but this PyTorch sees no GPU; leave --device out, or give cpu")
        wanted = known if structures is None else list(dict.fromkeys(structures))
        return cls([_load(root / f"{name}{BUNDLE_SUFFIX}", chosen) for name in wanted], chosen, threshold, tta)

    def __call__(
        self, radiograph: str | os.PathLike | np.ndarray | Radiograph, spacing: tuple[float, float] | None = None
    ) -> Segmentation:
        """Segment one radiograph.

        Args:
            radiograph: a file of any format that :func:`cxr_attn_unet.io.read_radiograph` reads, one read by it, or
                an array ``(rows, columns)``, upright, bone bright, on any scale.
            spacing: (row, column) distance of pixels in mm; takes precedence over what the file says.

        Raises:
            RadiographError: it cannot be used; the message names file and remedy.
        """
        return self.segment([_as_radiograph(radiograph, spacing)])[0]

    def segment(self, radiographs: Sequence[Radiograph]) -> list[Segmentation]:
        """Segment several radiographs that were read before in one batch.

        Args:
            radiographs: see :func:`cxr_attn_unet.io.read_radiograph`.
        """
        sizes = [radiograph.pixels.shape for radiograph in radiographs]
        radiographs = [_halved(radiograph) for radiograph in radiographs]
        images = [to_meta_tensor(radiograph) for radiograph in radiographs]
        found: list[dict[str, _Found]] = [{} for _ in radiographs]
        for model in self._models:
            items = [model.prepare({"image": MetaTensor(image.as_tensor(), meta=dict(image.meta))}) for image in images]
            logits, views = self._run(model, torch.stack([item["image"].as_tensor() for item in items]))
            for index, (item, logit) in enumerate(zip(items, logits, strict=True)):
                views_of_it = None if views is None else views[:, index]
                found[index][model.structure] = self._finish(model, item, logit, views_of_it, sizes[index])
        return [self._collect(*pair) for pair in zip(radiographs, found, strict=True)]

    def _run(self, model: _Model, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits ``(batch, classes, rows, columns)``, and with ``tta`` the probabilities of each view before them."""
        inputs = inputs.to(self.device)
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=model.amp):
            if not self.tta:
                return model.inferer(inputs, model.network).float(), None
            # the bundle's own views, such as mirrored ones, are among them
            own = getattr(model.inferer, "views", ())
            wanted = tuple(dict.fromkeys((*TestTimeAugmentationInferer().views, *own)))
            views = TestTimeAugmentationInferer(wanted).probabilities(inputs, model.network)
            return views.mean(0).clamp_min(1e-7).log(), views

    def _finish(
        self, model: _Model, item: dict[str, Any], logit: torch.Tensor, views: torch.Tensor | None, size: Sequence[int]
    ) -> _Found:
        limit = 0.5 if self.threshold is None else self.threshold
        small = logit.softmax(0)[1:].sum(0)
        inside = (small > limit).float()
        agreement = None
        if views is not None:
            agreement = float(np.mean([_dice((view[1:].sum(0) > limit).float(), inside) for view in views]))

        def restored(discrete: bool) -> torch.Tensor:
            data = {"image": item["image"], "pred": logit.clone()}
            for step in model.finish:
                if isinstance(step, AsDiscreted):
                    if not discrete:
                        break
                    if self.threshold is not None or len(data["pred"]) == 2:
                        # for two classes the same as argmax, which takes torch ten times as long
                        data["pred"] = data["pred"][1:].sum(0, keepdim=True) > limit
                        continue
                data = step(data)
            return data["pred"]

        def probability() -> np.ndarray:
            return _enlarged(restored(discrete=False)[1:].sum(0).cpu().numpy().T, size)

        mask = _enlarged(restored(discrete=True)[0].bool().cpu().numpy().T, size)
        return _Found(mask, _dice(small, inside), agreement, probability)

    def _collect(self, radiograph: Radiograph, found: Mapping[str, _Found]) -> Segmentation:
        upright = {structure: radiograph.orientation.apply(one.mask) for structure, one in found.items()}
        confidences = {structure: one.confidence for structure, one in found.items()}
        spacing = radiograph.spacing
        if spacing and radiograph.orientation.transpose:
            spacing = spacing[::-1]
        return Segmentation(
            radiograph,
            {structure: one.mask for structure, one in found.items()},
            confidences,
            {structure: one.agreement for structure, one in found.items() if one.agreement is not None},
            measure(upright, spacing),
            quality.check(radiograph.upright(), upright, confidences),
            self.versions,
            {structure: one.probability for structure, one in found.items()},
        )


def _load(root: Path, device: torch.device) -> _Model:
    parser = ConfigParser()
    parser.read_config(root / "configs" / "inference.json")
    parser.read_meta(root / "configs" / "metadata.json")
    parser["bundle_root"], parser["device"] = str(root), device
    try:
        weights = Path(parser.get_parsed_content("checkpoint"))
        network = load_weights(parser.get_parsed_content("network"), weights).eval()
        prepare = parser.get_parsed_content("preprocessing")
        finish = parser.get_parsed_content("postprocessing")
        inferer, amp = parser.get_parsed_content("inferer"), bool(parser.get_parsed_content("amp"))
    except RuntimeError as error:
        raise cause_of(error) from error
    steps = list(prepare.transforms)
    if not isinstance(steps[0], LoadRadiographd):
        raise ValueError(f"{root}: preprocessing must start with LoadRadiographd, to read a radiograph once for all")
    # all that follows the writing of files is for other programs
    kept: list[Callable] = []
    for step in finish.transforms:
        if isinstance(step, SaveImaged):
            break
        kept.append(step)
    identity = hashlib.sha256(weights.read_bytes() + (root / "configs" / "inference.json").read_bytes()).hexdigest()
    structure = str(parser.get_parsed_content("structure"))
    return _Model(
        structure, str(parser["_meta_"]["version"]), Compose(steps[1:]), network, inferer, kept, amp, identity
    )


def _as_radiograph(
    radiograph: str | os.PathLike | np.ndarray | Radiograph, spacing: tuple[float, float] | None
) -> Radiograph:
    if isinstance(radiograph, np.ndarray):
        if radiograph.ndim != 2:
            raise RadiographError(f"array: has shape {radiograph.shape}. Give one radiograph as (rows, columns).")
        check_pixels(radiograph, "array")
        radiograph = Radiograph(radiograph.astype(np.float32), "array")
    elif not isinstance(radiograph, Radiograph):
        radiograph = read_radiograph(radiograph)
    return replace(radiograph, spacing=tuple(spacing)) if spacing else radiograph


def _halved(radiograph: Radiograph) -> Radiograph:
    factor = 1
    while max(radiograph.pixels.shape) > LARGEST_SIDE * factor:
        factor *= 2
    if factor == 1:
        return radiograph
    return replace(radiograph, pixels=np.asarray(Image.fromarray(radiograph.pixels).reduce(factor)))


def _enlarged(array: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Back to the file's size what :func:`_halved` made smaller."""
    factor = -(-size[0] // array.shape[0])
    if factor > 1:
        array = array.repeat(factor, 0).repeat(factor, 1)
    return np.ascontiguousarray(array[: size[0], : size[1]])


def _dice(first: torch.Tensor, second: torch.Tensor) -> float:
    total = float(first.sum() + second.sum())
    return 2 * float((first * second).sum()) / total if float(second.sum()) else 0.0
