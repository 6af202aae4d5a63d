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

from .. import __version__
from ..analysis import quality
from ..analysis.measurements import measure
from ..bundle import bundles_folder, cause_of
from ..io import Radiograph, RadiographError, read_radiograph
from ..io.radiograph import check_pixels
from ..networks import load_weights
from ..output import Field, upright_field
from ..structures import BUNDLE_SUFFIX, in_registry_order
from ..transforms import LoadRadiographd, clean_field, to_meta_tensor
from .segmentation import Segmentation
from .test_time_augmentation import TestTimeAugmentationInferer

__all__ = ["Segmenter", "bundle_structures"]

LARGEST_SIDE = 6000  # above it a radiograph is halved until it fits, and its masks are enlarged again: bounded memory


@dataclass(frozen=True)
class _Model:
    """One bundle, ready to run.

    Attributes:
        structure: what it segments.
        version: of the bundle.
        preprocessing: what follows the reading of a file.
        network: with its weights, on the device.
        inferer: runs the network.
        postprocessing: what precedes the writing of a file.
        amp: whether the network runs in mixed precision.
        identity: changes with weights and config.
    """

    structure: str
    version: str
    preprocessing: Compose
    network: torch.nn.Module
    inferer: Callable
    postprocessing: Sequence[Callable]
    amp: bool
    identity: str


@dataclass(frozen=True)
class _Reduced:
    """A radiograph of bounded size.

    Attributes:
        radiograph: its pixels reduced by the factor.
        factor: 1 if it was small enough.
        size: (rows, columns) of the file.
        image: for MONAI's transforms.
    """

    radiograph: Radiograph
    factor: int
    size: tuple[int, int]
    image: MetaTensor

    def at_file_size(self, array: np.ndarray) -> np.ndarray:
        """An array over the reduced pixels, over those of the file."""
        if self.factor > 1:
            array = array.repeat(self.factor, 0).repeat(self.factor, 1)
        return np.ascontiguousarray(array[: self.size[0], : self.size[1]])


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
        identity: changes with weights, settings and version; equal identities give equal masks.
    """

    def __init__(
        self, models: Sequence[_Model], device: torch.device, threshold: float | None = None, tta: bool = False
    ) -> None:
        self._models = tuple(models)
        self.device = device
        self.threshold = threshold
        self.tta = tta
        self.structures = tuple(model.structure for model in models)
        self.versions = {model.structure: model.version for model in models}
        parts = (__version__, *(model.identity for model in models), str(threshold), str(tta))
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
        root = _bundles_root(bundles)
        wanted = bundle_structures(structures, root)
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if chosen.type == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"device is {chosen}, but this PyTorch sees no GPU; leave --device out, or give cpu")
        models = [_load(root / f"{name}{BUNDLE_SUFFIX}", chosen) for name in wanted]
        return cls(models, chosen, threshold, tta)

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
        reduced = [_reduced(radiograph) for radiograph in radiographs]
        found: list[dict[str, _Found]] = [{} for _ in radiographs]
        for model in self._models:
            for structures, one in zip(found, self._find(model, reduced), strict=True):
                structures[model.structure] = one
        return [self._collect(one.radiograph, structures) for one, structures in zip(reduced, found, strict=True)]

    def _find(self, model: _Model, radiographs: Sequence[_Reduced]) -> list[_Found]:
        """What one bundle finds in each radiograph of a batch."""
        items = []
        for one in radiographs:
            image = MetaTensor(one.image.as_tensor(), meta=dict(one.image.meta))
            items.append(model.preprocessing({"image": image}))
        logits, views = self._run(model, torch.stack([item["image"].as_tensor() for item in items]))
        found = []
        for index, (one, item) in enumerate(zip(radiographs, items, strict=True)):
            own_views = None if views is None else views[:, index]
            found.append(self._postprocess(model, one, item["image"], logits[index], own_views))
        return found

    def _run(self, model: _Model, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits ``(batch, classes, rows, columns)``, and with ``tta`` the probabilities of each view before them."""
        inputs = inputs.to(self.device)
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=model.amp):
            if not self.tta:
                return model.inferer(inputs, model.network).float(), None
            # the bundle's own views, such as mirrored ones, are among them
            own = getattr(model.inferer, "views", ())
            every_view = tuple(dict.fromkeys((*TestTimeAugmentationInferer().views, *own)))
            views = TestTimeAugmentationInferer(every_view).probabilities(inputs, model.network)
            return views.mean(0).clamp_min(1e-7).log(), views

    def _postprocess(
        self,
        model: _Model,
        radiograph: _Reduced,
        image: MetaTensor,
        logits: torch.Tensor,
        views: torch.Tensor | None,
    ) -> _Found:
        """From logits to a mask over the file's pixels.

        Args:
            model: the bundle.
            radiograph: as it was preprocessed.
            image: preprocessed, with the operations to invert.
            logits: ``(classes, rows, columns)`` at the network's size.
            views: probabilities of each view, ``(views, classes, rows, columns)``, with test-time augmentation.
        """
        probability = logits.softmax(0)[1:].sum(0)
        inside = (probability > self._limit).float()
        mask = self._restored(model, image, logits, discrete=True)[0].bool()

        def full_probability() -> np.ndarray:
            classes = self._restored(model, image, logits, discrete=False)
            return radiograph.at_file_size(_rows_columns(classes[1:].sum(0)))

        return _Found(
            mask=radiograph.at_file_size(_rows_columns(mask)),
            confidence=_dice(probability, inside),
            agreement=None if views is None else self._agreement(views, inside),
            probability=full_probability,
        )

    @property
    def _limit(self) -> float:
        return 0.5 if self.threshold is None else self.threshold

    def _agreement(self, views: torch.Tensor, inside: torch.Tensor) -> float:
        """Mean Dice between the mask and those of single views."""
        masks = [(view[1:].sum(0) > self._limit).float() for view in views]
        return float(np.mean([_dice(mask, inside) for mask in masks]))

    def _restored(self, model: _Model, image: MetaTensor, logits: torch.Tensor, discrete: bool) -> torch.Tensor:
        """The bundle's postprocessing of logits, over the reduced pixels, ``(channels, columns, rows)``.

        Args:
            model: the bundle.
            image: preprocessed, with the operations to invert.
            logits: ``(classes, rows, columns)``.
            discrete: all of the postprocessing, which gives the mask; else up to where probabilities become a mask.
        """
        data: dict[Any, Any] = {"image": image, "pred": logits.clone()}
        for step in model.postprocessing:
            if not isinstance(step, AsDiscreted):
                data = step(data)
            elif not discrete:
                break
            elif self.threshold is not None or len(data["pred"]) == 2:
                # for two classes the same as argmax, which takes torch ten times as long
                data["pred"] = data["pred"][1:].sum(0, keepdim=True) > self._limit
            else:
                data = step(data)
        return data["pred"]

    def _collect(self, radiograph: Radiograph, found: Mapping[str, _Found]) -> Segmentation:
        masks = {structure: one.mask for structure, one in found.items()}
        confidences = {structure: one.confidence for structure, one in found.items()}
        upright = {structure: radiograph.orientation.apply(mask) for structure, mask in masks.items()}
        spacing = radiograph.spacing
        if spacing is not None and radiograph.orientation.transpose:
            spacing = (spacing[1], spacing[0])
        pixels, box = clean_field(radiograph.pixels)
        field = Field(box, pixels)
        field_pixels, field_masks = upright_field(radiograph, masks, field)
        noticed = quality.check(field_pixels, field_masks, confidences)
        return Segmentation(
            radiograph=radiograph,
            masks=masks,
            confidences=confidences,
            agreements={structure: one.agreement for structure, one in found.items() if one.agreement is not None},
            measurements=measure(upright, spacing),
            warnings=[*radiograph.notes, *noticed],
            versions=self.versions,
            field=field,
            _restore={structure: one.probability for structure, one in found.items()},
        )


def bundle_structures(
    structures: Sequence[str] | None = None, bundles: str | os.PathLike | None = None
) -> tuple[str, ...]:
    """The structures that :meth:`Segmenter.from_bundles` would segment; no weights are loaded.

    Args:
        structures: those wanted; all in the folder if not given.
        bundles: folder that holds ``STRUCTURE_attn_unet``; :func:`bundles_folder` if not given.

    Raises:
        FileNotFoundError: no such folder or bundle.
    """
    root = _bundles_root(bundles)
    configs = root.glob(f"*{BUNDLE_SUFFIX}/configs/inference.json")
    known = in_registry_order(path.parents[1].name.removesuffix(BUNDLE_SUFFIX) for path in configs)
    missing = [name + BUNDLE_SUFFIX for name in structures or () if name not in known]
    if missing or not known:
        raise FileNotFoundError(
            f"no bundle {', '.join(missing) or '*' + BUNDLE_SUFFIX} in {root}; there are: {', '.join(known) or 'none'}"
        )
    if structures is None:
        return tuple(known)
    return tuple(dict.fromkeys(structures))


def _bundles_root(bundles: str | os.PathLike | None) -> Path:
    return bundles_folder() if bundles is None else Path(bundles)


def _load(root: Path, device: torch.device) -> _Model:
    parser = ConfigParser()
    parser.read_config(root / "configs" / "inference.json")
    parser.read_meta(root / "configs" / "metadata.json")
    parser["bundle_root"] = str(root)
    parser["device"] = device
    try:
        weights = Path(parser.get_parsed_content("checkpoint"))
        network = load_weights(parser.get_parsed_content("network"), weights).eval()
        preprocessing = parser.get_parsed_content("preprocessing")
        postprocessing = parser.get_parsed_content("postprocessing")
        inferer = parser.get_parsed_content("inferer")
        amp = bool(parser.get_parsed_content("amp"))
        structure = str(parser.get_parsed_content("structure"))
    except RuntimeError as error:
        raise cause_of(error) from error
    config = (root / "configs" / "inference.json").read_bytes()
    return _Model(
        structure=structure,
        version=str(parser["_meta_"]["version"]),
        preprocessing=_after_reading(preprocessing, root),
        network=network,
        inferer=inferer,
        postprocessing=_before_writing(postprocessing),
        amp=amp,
        identity=hashlib.sha256(weights.read_bytes() + config).hexdigest(),
    )


def _after_reading(preprocessing: Compose, root: Path) -> Compose:
    """The steps after the first, which reads a file.

    Raises:
        ValueError: the first one is another.
    """
    steps = list(preprocessing.transforms)
    if not isinstance(steps[0], LoadRadiographd):
        raise ValueError(f"{root}: preprocessing must start with LoadRadiographd, to read a radiograph once for all")
    return Compose(steps[1:])


def _before_writing(postprocessing: Compose) -> list[Callable]:
    """The steps before a file is written; what follows is for other programs."""
    steps: list[Callable] = []
    for step in postprocessing.transforms:
        if isinstance(step, SaveImaged):
            break
        steps.append(step)
    return steps


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
    if spacing is None:
        return radiograph
    row, column = spacing
    return replace(radiograph, spacing=(row, column), spacing_source="given")


def _reduced(radiograph: Radiograph) -> _Reduced:
    """A radiograph, halved until no side is longer than :data:`LARGEST_SIDE`."""
    rows, columns = radiograph.pixels.shape
    factor = 1
    while max(rows, columns) > LARGEST_SIDE * factor:
        factor *= 2
    if factor > 1:
        pixels = np.asarray(Image.fromarray(radiograph.pixels).reduce(factor))
        radiograph = replace(radiograph, pixels=pixels)
    return _Reduced(radiograph, factor, (rows, columns), to_meta_tensor(radiograph))


def _rows_columns(values: torch.Tensor) -> np.ndarray:
    """MONAI's ``(columns, rows)`` as ``(rows, columns)``."""
    return values.cpu().numpy().T


def _dice(first: torch.Tensor, second: torch.Tensor) -> float:
    """2 sum(a b) / (sum(a) + sum(b)); 0 where the second is empty."""
    total = float(first.sum() + second.sum())
    if not float(second.sum()):
        return 0.0
    return 2 * float((first * second).sum()) / total
