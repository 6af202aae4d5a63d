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
import json
import logging
import os
import pickle
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from monai.transforms import (
    AsDiscreted,
    Compose,
    Invertd,
    MapTransform,
    SaveImaged,
    ScaleIntensityRange,
    ScaleIntensityRangePercentilesd,
)
from PIL import Image
from skimage.measure import label

from .. import __version__
from ..analysis import quality
from ..analysis.calibration import Curve, curve_of
from ..analysis.measurements import measure, withheld
from ..analysis.parts import (
    PartMasks,
    divided,
    is_pair,
    measure_parts,
    numbering_doubts,
    sides_by_place,
    without_specks,
)
from ..analysis.posterior_ribs import with_one_number_each
from ..bundle import bundles_folder, cause_of
from ..files import sha256
from ..io import Radiograph, RadiographError, read_radiograph
from ..io.limits import check_max_pixels
from ..io.radiograph import check_pixels
from ..networks import SegmentationNetwork, fold_batch_norm, load_weights
from ..output import Field, upright_field
from ..statistics import mask_dice
from ..structures import BUNDLE_SUFFIX, REGISTRY, Part, in_registry_order, parts_named, parts_of
from ..transforms import LoadRadiographd, ResizeLongestd, clean_field, to_meta_tensor
from ..trust import check_trusted
from .engines import EIGHT_BITS, TORCH, EngineNetwork, check_engine, with_engine
from .quantised import Calibration, check_calibration, quantised_networks
from .restoration import Restoration
from .segmentation import Segmentation
from .test_time_augmentation import VIEWS, TestTimeAugmentationInferer

__all__ = ["Segmenter", "bundle_structures"]

logger = logging.getLogger(__name__)
RIBS = "ribs"
PART_LIMIT = 0.5  # probability from which a pixel belongs to a part, as in training
LEAST_OF_PART = 0.1  # from which it does if it belongs to no other; with it, the Dice of single ribs is .03 higher
SIDE_OF_DOUBTS = 512  # pixels: ribs are compared on masks of about this size
SECOND_LOOK = "heart taken from a second look: the first one had a shape or place that no heart has"
LARGEST_SIDE = 6000  # above it a radiograph is halved until it fits, and its masks are enlarged again: bounded memory


@dataclass(frozen=True)
class _Model:
    """One bundle, ready to run.

    Attributes:
        structure: what it segments.
        parts: what the network tells apart, in the order of its last channels.
        sides: the right and the left organ of a pair that the network does not tell apart; their place does.
        version: of the bundle.
        preprocessing: what follows the reading of a file.
        network: with its weights, on the device.
        inferer: runs the network.
        postprocessing: what precedes the writing of a file.
        amp: whether the network runs in mixed precision.
        identity: changes with weights and config.
        restoration: gives the masks of the postprocessing sooner; ``None`` where it has steps of another kind.
        checksum: SHA-256 of the weights' file, in hexadecimal digits.
        curve: from the network's confidence to the Dice to expect; ``None`` for weights that were not calibrated.
    """

    structure: str
    parts: tuple[Part, ...]
    sides: tuple[Part, ...]
    version: str
    preprocessing: Compose
    network: torch.nn.Module | EngineNetwork
    inferer: Callable
    postprocessing: Sequence[Callable]
    amp: bool
    identity: str
    restoration: Restoration | None = None
    checksum: str = ""
    curve: Curve | None = None

    @property
    def told_apart(self) -> tuple[Part, ...]:
        """The parts that are told apart, by the network or by their place."""
        return self.parts or self.sides


@dataclass(frozen=True)
class _Reduced:
    """A radiograph of bounded size.

    Attributes:
        radiograph: its pixels reduced by the factor.
        factor: 1 if it was small enough.
        size: (rows, columns) of the file.
        image: for MONAI's transforms.
        prepared: by the steps that were taken, what they made of ``image``.
    """

    radiograph: Radiograph
    factor: int
    size: tuple[int, int]
    image: MetaTensor
    prepared: dict[tuple[int, ...], MetaTensor] = field(default_factory=dict, repr=False)

    def at_file_size(self, array: np.ndarray) -> np.ndarray:
        """An array over the reduced pixels, over those of the file."""
        if self.factor > 1:
            array = array.repeat(self.factor, 0).repeat(self.factor, 1)
        return np.ascontiguousarray(array[: self.size[0], : self.size[1]])


@dataclass(frozen=True)
class _FoundParts:
    """The parts of one structure in one radiograph.

    Attributes:
        masks: by name.
        probabilities: of each part that was found, the mean over its pixels at the network's size.
        doubts: why their names are uncertain, in words.
    """

    masks: PartMasks
    probabilities: Mapping[str, float]
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Found:
    """One structure in one radiograph: see :class:`Segmentation`.

    Attributes:
        mask: over the file's own pixels.
        confidence: the network's own, 0 to 1.
        expected: the Dice to expect, 0 to 1; the confidence where the weights were not calibrated.
        kept: share of what the network found that lies in as many components as the structure has.
        agreement: of the views, 0 to 1; ``None`` without them.
        probability: makes the probabilities over the file's own pixels.
        note: what was odd, in words; empty if nothing.
    """

    mask: np.ndarray
    confidence: float
    expected: float
    kept: float
    agreement: float | None
    probability: Callable[[], np.ndarray]
    parts: _FoundParts | None = None
    note: str = ""


class Segmenter:
    """Segments radiographs with several bundles; each says in its ``inference.json`` how.

    Network, preprocessing, inferer, postprocessing and weights are the bundle's; only what writes files is left out.
    The radiograph is read once for all. Use :meth:`from_bundles`.

    Attributes:
        structures: those segmented.
        versions: by structure, the version of the bundle.
        parts: by structure, the names of the parts that are told apart; empty unless asked for.
        checksums: by structure, the SHA-256 of the weights' file in hexadecimal digits.
        identity: changes with weights, settings and version; equal identities give equal masks.
        max_pixels: the most pixels that a file may have, see :func:`cxr_attn_unet.io.read_radiograph`.
    """

    def __init__(
        self,
        models: Sequence[_Model],
        device: torch.device,
        threshold: float | None = None,
        tta: bool = False,
        parts: bool = False,
        max_pixels: int | None = None,
    ) -> None:
        self._models = tuple(models)
        ways = [[id(step) for step in model.preprocessing.transforms] for model in models]
        self._common = sum(1 for _ in takewhile(lambda same: len(set(same)) == 1, zip(*ways, strict=False)))
        self.device = device
        self.threshold = threshold
        self.tta = tta
        self.max_pixels = max_pixels
        self.structures = tuple(model.structure for model in models)
        self.versions = {model.structure: model.version for model in models}
        self.checksums = {model.structure: model.checksum for model in models if model.checksum}
        self.parts: dict[str, tuple[str, ...]] = {}
        if parts:
            self.parts = {
                model.structure: tuple(part.name for part in model.told_apart) for model in models if model.told_apart
            }
        curves = [str(model.curve) for model in models]
        settings = [__version__, *(model.identity for model in models), *curves, str(threshold), str(tta)]
        if self.parts:
            settings.append("parts")
        self.identity = hashlib.sha256("\n".join(settings).encode()).hexdigest()[:16]

    @classmethod
    def from_bundles(
        cls,
        structures: Sequence[str] | None = None,
        bundles: str | os.PathLike | None = None,
        device: str | torch.device | None = None,
        threshold: float | None = None,
        tta: bool = False,
        parts: bool = False,
        max_pixels: int | None = None,
        trust: bool = False,
        engine: str = TORCH,
        calibration: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
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
            parts: tell parts apart, such as ribs by number where a bundle's network can, lungs and clavicles by side;
                see :attr:`Segmentation.parts`.
            max_pixels: the most pixels that a file may have, see :func:`cxr_attn_unet.io.read_radiograph`.
            trust: run bundles of any content. A config of MONAI can run code; without this, only those are run that
                came with this package or were trusted before, see :mod:`cxr_attn_unet.trust`.
            engine: what runs the networks: ``torch``, ``openvino``, ``onnxruntime``, ``tensorrt``, or ``auto`` for the
                fastest of those that are installed, see :mod:`cxr_attn_unet.inference.engines`; or ``openvino-int8``,
                which is faster and changes masks a little.
            calibration: for ``openvino-int8``: a folder of radiographs, or their paths, on which the ranges of the
                networks' values are measured once, see :mod:`cxr_attn_unet.inference.quantised`.

        Raises:
            FileNotFoundError: no such folder, bundle or weights.
            UntrustedBundleError: a bundle that is not known.
            ImportError: an engine that is not installed.
            ValueError: weights that do not fit, a threshold outside 0 to 1, a limit on pixels below 1, a device that is
                not there, an engine that does not run on it, radiographs for calibration that are missing, needless or
                cannot be read, or parts that none of the bundles tells apart.
        """
        if threshold is not None and not 0 < threshold < 1:
            raise ValueError(f"threshold is {threshold}, must lie between 0 and 1")
        if max_pixels is not None:
            check_max_pixels(max_pixels)
        root = _bundles_root(bundles)
        wanted = bundle_structures(structures, root)
        chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if chosen.type == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"device is {chosen}, but this PyTorch sees no GPU; leave --device out, or give cpu")
        to_calibrate = check_calibration(engine, calibration, max_pixels)
        check_engine(engine, chosen)
        folders = [root / f"{name}{BUNDLE_SUFFIX}" for name in wanted]
        if not trust:
            check_trusted(folders)
        steps: dict[bytes, Callable] = {}
        # a network that is quantised first is PyTorch's
        loaded_for = engine if to_calibrate is None else TORCH
        models = [_load(folder, chosen, loaded_for, steps, parts) for folder in folders]
        if parts:
            _check_parts(models)
        if to_calibrate is not None:
            models = cls(models, chosen)._in_eight_bits(to_calibrate)
        return cls(models, chosen, threshold, tta, parts, max_pixels)

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
        return self.segment([_as_radiograph(radiograph, spacing, self.max_pixels)])[0]

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
        for radiograph, structures in zip(reduced, found, strict=True):
            self._look_again(radiograph, structures)
        return [self._collect(one.radiograph, structures) for one, structures in zip(reduced, found, strict=True)]

    def _find(self, model: _Model, radiographs: Sequence[_Reduced]) -> list[_Found]:
        """What one bundle finds in each radiograph of a batch."""
        images = [self._preprocessed(model, one) for one in radiographs]
        logits, views = self._run(model, torch.stack([image.as_tensor() for image in images]))
        found = []
        for index, (one, image) in enumerate(zip(radiographs, images, strict=True)):
            own_views = None if views is None else views[:, index]
            found.append(self._postprocess(model, one, image, logits[index], own_views))
        return found

    def _preprocessed(self, model: _Model, radiograph: _Reduced) -> MetaTensor:
        """What a bundle's network sees, ``(1, rows, columns)``; what other bundles do too is done once."""
        steps = model.preprocessing.transforms
        # frames and hot pixels are looked for on the CPU, the rest is the device's
        first = min(self._common, _before_resizing(steps))
        shared = _on_device(_after(steps[:first], radiograph.image, radiograph), self.device, radiograph)
        return _after(steps[first:], shared, radiograph)

    def _in_eight_bits(self, calibration: Calibration) -> list[_Model]:
        """The bundles with their networks in eight bits, which their identity then names."""

        def seen(radiograph: Radiograph) -> dict[str, torch.Tensor]:
            reduced = _reduced(radiograph)
            return {model.structure: self._preprocessed(model, reduced).as_tensor()[None] for model in self._models}

        networks = {model.structure: (cast(torch.nn.Module, model.network), model.identity) for model in self._models}
        found = quantised_networks(networks, calibration, seen)
        models = []
        for model in self._models:
            network = found[model.structure]
            identity = f"{model.identity} {EIGHT_BITS} {network.checksum}"
            models.append(replace(model, network=network, identity=identity))
        return models

    def _run(self, model: _Model, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Logits ``(batch, classes + parts, rows, columns)``, and with ``tta`` the probabilities of each view."""
        inputs = inputs.to(self.device)
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=model.amp):
            if not self.tta:
                return model.inferer(inputs, model.network).float(), None
            # the bundle's own views, such as mirrored ones, are among them
            own = getattr(model.inferer, "views", ())
            every_view = tuple(dict.fromkeys((*TestTimeAugmentationInferer().views, *own)))
            inferer = TestTimeAugmentationInferer(every_view, [part.name for part in model.parts])
            views = inferer.probabilities(inputs, model.network)
            return inferer.logits_of_mean(views), views

    def _look_again(self, radiograph: _Reduced, found: dict[str, _Found]) -> None:
        """Replace a heart that no heart can be by one of other views of the radiograph, if one of them can be a heart.

        Of the mean of all views and the single ones, those that can be a heart count; the one that agrees best with all
        of them is taken.

        Args:
            radiograph: as the networks see it.
            found: by structure, what was found; the heart is replaced.
        """
        if "heart" not in _implausible(radiograph, found):
            return
        model = next(model for model in self._models if model.structure == "heart")
        looks = self._looks(model, radiograph)
        plausible = [look for look in looks if "heart" not in _implausible(radiograph, {**found, "heart": look})]
        if plausible:
            best = max(plausible, key=lambda look: np.mean([mask_dice(look.mask, other.mask) for other in looks]))
            found["heart"] = replace(best, agreement=found["heart"].agreement, note=SECOND_LOOK)

    def _looks(self, model: _Model, radiograph: _Reduced) -> list[_Found]:
        """What a bundle finds by the mean of all views, and by each of them; views of which it finds nothing left out.

        Args:
            model: the bundle.
            radiograph: as the networks see it.
        """
        image = self._preprocessed(model, radiograph)
        inputs = image.as_tensor()[None].to(self.device)
        with torch.inference_mode(), torch.autocast(self.device.type, enabled=model.amp):
            views = TestTimeAugmentationInferer(VIEWS).probabilities(inputs, model.network)[:, 0]
        looks = []
        for probabilities in (views.mean(0), *views):
            logits = probabilities.clamp_min(1e-7).log()
            looks.append(self._postprocess(model, radiograph, image, logits, None))
        return [look for look in looks if look.mask.any()]

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
            logits: ``(classes + parts, rows, columns)`` at the network's size.
            views: probabilities of each view, ``(views, classes + parts, rows, columns)``, with test-time augmentation.
        """
        classes = len(logits) - len(model.parts)
        probability = logits[:classes].softmax(0)[1:].sum(0)
        inside = (probability > self._limit).float()
        mask = self._mask(model, radiograph, image, logits, probability)

        def full_probability() -> np.ndarray:
            restored = self._restored(model, image, logits, discrete=False)
            return radiograph.at_file_size(_rows_columns(restored[1:].sum(0)))

        parts = None
        if model.structure in self.parts:
            probabilities, doubts = _of_parts(model, logits[classes:], probability)
            parts = _find_parts(model, radiograph, image, probabilities, mask)
            parts = replace(parts, doubts=doubts)

        confidence = _dice(probability, inside)
        expected = confidence
        if model.curve is not None and self.threshold is None:
            expected = model.curve(confidence)
        return _Found(
            mask=radiograph.at_file_size(mask),
            confidence=confidence,
            expected=expected,
            kept=_kept(inside, model.structure),
            agreement=None if views is None else self._agreement(views[:, :classes], inside),
            probability=full_probability,
            parts=parts,
        )

    def _mask(
        self,
        model: _Model,
        radiograph: _Reduced,
        image: MetaTensor,
        logits: torch.Tensor,
        probability: torch.Tensor,
    ) -> np.ndarray:
        """The mask ``(rows, columns)`` over the reduced pixels, see :meth:`_postprocess`."""
        two_classes = len(logits) - len(model.parts) == 2
        if model.restoration is not None and (two_classes or self.threshold is not None):
            orientation = radiograph.radiograph.orientation
            return model.restoration.mask(image, probability, self._limit, orientation)
        return _rows_columns(self._restored(model, image, logits, discrete=True)[0].bool())

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
            logits: ``(classes + parts, rows, columns)``.
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
        expected = {structure: one.expected for structure, one in found.items()}
        kept = {structure: one.kept for structure, one in found.items()}
        notes = [one.note for one in found.values() if one.note]
        upright = {structure: radiograph.orientation.apply(mask) for structure, mask in masks.items()}
        spacing = radiograph.spacing
        if spacing is not None and radiograph.orientation.transpose:
            spacing = (spacing[1], spacing[0])
        pixels, box = clean_field(radiograph.pixels)
        shown = Field(box, pixels)
        field_pixels, field_masks = upright_field(radiograph, masks, shown)
        noticed = quality.assess(field_pixels, field_masks, confidences, expected, kept)
        warnings = [*radiograph.notes, *notes, *noticed.warnings]
        parts = {structure: one.parts for structure, one in found.items() if one.parts is not None}
        measurements = withheld(measure(upright, spacing), noticed.unreliable)
        if parts:
            doubts = _rib_doubts(radiograph, shown, field_masks, parts)
            if doubts:
                warnings.append(f"ribs: numbers uncertain ({', '.join(doubts)})")
            measurements |= measure_parts({name: one.masks for name, one in parts.items()}, doubts, spacing)
        return Segmentation(
            radiograph=radiograph,
            masks=masks,
            confidences=expected,
            raw_confidences=confidences,
            agreements={structure: one.agreement for structure, one in found.items() if one.agreement is not None},
            measurements=measurements,
            warnings=warnings,
            unreliable=noticed.unreliable,
            versions=self.versions,
            field=shown,
            parts={structure: one.masks for structure, one in parts.items()},
            checksums=self.checksums,
            identity=self.identity,
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


def _load(root: Path, device: torch.device, engine: str, known: dict[bytes, Callable], with_parts: bool) -> _Model:
    """A bundle, ready to run.

    Args:
        root: its folder.
        device: where its network runs.
        engine: what runs it.
        known: steps of preprocessing that bundles loaded before have; those of this one are added.
        with_parts: whether parts are told apart; otherwise the network does not make them.
    """
    parser = _read_configs(root)
    parser["bundle_root"] = str(root)
    parser["device"] = device
    try:
        weights = Path(parser.get_parsed_content("checkpoint"))
        network = load_weights(parser.get_parsed_content("network"), weights).eval()
        if not with_parts:
            network = _without_parts(network, parser)
        network = fold_batch_norm(network)
        preprocessing = parser.get_parsed_content("preprocessing")
        postprocessing = parser.get_parsed_content("postprocessing")
        inferer = parser.get_parsed_content("inferer")
        amp = bool(parser.get_parsed_content("amp"))
        structure = str(parser.get_parsed_content("structure"))
        parts = _parts_of(parser)
        sides = parts_of(structure) if not parts and is_pair(parts_of(structure)) else ()
        version = str(parser["_meta_"]["version"])
    except (RuntimeError, KeyError) as error:
        cause = cause_of(error)
        if isinstance(cause, KeyError):
            raise ValueError(
                f"{root / 'configs'}: lacks {cause}, so this is no bundle of this package, or damaged. Get it again."
            ) from error
        raise cause from error
    config = (root / "configs" / "inference.json").read_bytes()
    checksum = sha256(weights)
    identity = hashlib.sha256(checksum.encode() + config).hexdigest()
    steps = _after_reading(preprocessing, root, known)
    before_writing = _before_writing(postprocessing)
    return _Model(
        structure=structure,
        parts=parts,
        sides=sides,
        version=version,
        preprocessing=steps,
        network=with_engine(network, engine, identity),
        inferer=inferer,
        postprocessing=before_writing,
        amp=amp,
        identity=identity if engine == TORCH else f"{identity} {engine}",
        restoration=Restoration.of(steps, before_writing),
        checksum=checksum,
        curve=curve_of(structure, checksum),
    )


def _without_parts(network: torch.nn.Module, parser: ConfigParser) -> torch.nn.Module:
    """The network that makes background and structure alone, if that saves something; the configs are told."""
    if not isinstance(network, SegmentationNetwork):
        return network
    alone = network.without_parts()
    if alone is not network:
        parser["parts"] = []
    return alone


def _read_configs(root: Path) -> ConfigParser:
    """The bundle's ``inference.json`` and ``metadata.json``.

    Raises:
        ValueError: one is no JSON object; the message names it.
        OSError: one cannot be read.
    """
    parser = ConfigParser()
    for name, read in (("inference.json", parser.read_config), ("metadata.json", parser.read_meta)):
        path = root / "configs" / name
        try:
            is_object = isinstance(json.loads(path.read_text(encoding="utf-8")), dict)
        except ValueError as error:
            raise ValueError(f"{path}: no JSON, or cut off ({error}). Get the bundle again.") from error
        if not is_object:
            raise ValueError(f"{path}: no JSON object, so it is no config. Get the bundle again.")
        read(path)
    return parser


def _parts_of(parser: ConfigParser) -> tuple[Part, ...]:
    """The parts that a bundle's network tells apart; none in bundles of version 0.1.0, which do not say."""
    if "parts" not in parser:
        return ()
    return parts_named(parser.get_parsed_content("parts"))


def _check_parts(models: Sequence[_Model]) -> None:
    """Make sure that parts are told apart of a structure at least, and say of which ones not although they have parts.

    Raises:
        ValueError: of none.
    """
    without = [model for model in models if not model.told_apart]
    names = [f"{model.structure}{BUNDLE_SUFFIX}" for model in without]
    if len(without) == len(models):
        raise ValueError(
            f"{', '.join(names)}: no parts, such as numbered ribs, are told apart by these weights. Leave --parts "
            "out, or name bundles that have them with --structures or --bundles."
        )
    for name, model in zip(names, without, strict=True):
        if parts_of(model.structure):
            logger.warning(f"{name}: its weights tell no parts apart; it gives its mask alone.")


def _find_parts(
    model: _Model, radiograph: _Reduced, image: MetaTensor, probabilities: torch.Tensor, union: np.ndarray
) -> _FoundParts:
    """The parts of a structure within its mask.

    Args:
        model: the bundle.
        radiograph: as it was preprocessed.
        image: preprocessed, with the operations to invert.
        probabilities: ``(parts, rows, columns)`` at the network's size.
        union: mask ``(rows, columns)`` of the structure over the reduced pixels.
    """
    masks = PartMasks(radiograph.size, radiograph.factor)
    if is_pair(model.told_apart):
        first, second = (_inverted(model, image, one) for one in probabilities)
        for part, mask in zip(model.told_apart, divided(first, second, union), strict=True):
            masks.add(part.name, mask)
    else:
        found = _overlapping(partial(_inverted, model, image), probabilities, union)
        for part, mask in zip(model.told_apart, found, strict=True):
            masks.add(part.name, without_specks(mask))
    means = {}
    for part, probability in zip(model.told_apart, probabilities, strict=True):
        inside = probability[probability >= PART_LIMIT]
        means[part.name] = float(inside.mean()) if inside.numel() else 0.0
    return _FoundParts(masks, {name: means[name] for name in masks.found})


def _of_parts(model: _Model, logits: torch.Tensor, of_structure: torch.Tensor) -> tuple[torch.Tensor, tuple[str, ...]]:
    """Probabilities of the parts, and why they are uncertain, in words; each posterior rib with one number.

    Args:
        model: the bundle.
        logits: of the parts, ``(parts, rows, columns)`` at the network's size; none where their place tells them.
        of_structure: probabilities of the structure, ``(rows, columns)``.
    """
    structure = of_structure.float().cpu().numpy()
    if not model.parts:
        return torch.from_numpy(sides_by_place(structure > PART_LIMIT)).float(), ()
    probabilities = logits.sigmoid()
    if model.parts != parts_of(RIBS):
        return probabilities, ()
    numbering = with_one_number_each(probabilities.float().cpu().numpy(), structure)
    return torch.from_numpy(numbering.parts), numbering.doubts


def _overlapping(
    at_file: Callable[[torch.Tensor], np.ndarray], probabilities: torch.Tensor, union: np.ndarray
) -> Iterator[np.ndarray]:
    """Masks ``(rows, columns)`` of parts that may overlap others, in their order.

    What is probably a part belongs to it. Any other pixel of the structure is of the most probable part, unless all are
    improbable there.

    Args:
        at_file: brings probabilities ``(rows, columns)`` from the network's size to that of the mask.
        probabilities: ``(parts, rows, columns)`` at the network's size.
        union: mask ``(rows, columns)`` of the structure.
    """
    # interpolation does not exceed its values, so a part that is improbable everywhere need not be brought to the size
    found = [number for number, one in enumerate(probabilities) if float(one.max()) >= PART_LIMIT]
    highest = np.full(union.shape, LEAST_OF_PART, np.float32)
    owner = np.full(union.shape, -1, np.int8)
    probable = PartMasks(union.shape)
    for number in found:
        values = at_file(probabilities[number])
        higher = union & (values > highest)
        highest[higher] = values[higher]
        owner[higher] = number
        probable.add(str(number), union & (values >= PART_LIMIT))
    for number in range(len(probabilities)):
        if number in found:
            yield probable[str(number)] | (owner == number)
        else:
            yield np.zeros_like(union)


def _inverted(model: _Model, image: MetaTensor, values: torch.Tensor) -> np.ndarray:
    """Values ``(rows, columns)`` at the network's size, over the reduced pixels, by the bundle's own inversion."""
    # Invertd leaves plain tensors as they are
    data: dict[Any, Any] = {"image": image, "pred": MetaTensor(values[None].clone())}
    for step in model.postprocessing:
        if isinstance(step, Invertd):
            data = step(data)
    return _rows_columns(data["pred"][0])


def _rib_doubts(
    radiograph: Radiograph, shown: Field, field_masks: Mapping[str, np.ndarray], parts: Mapping[str, _FoundParts]
) -> list[str]:
    """Why the ribs' numbers are uncertain, looked at on small upright masks; none without parts of ribs."""
    if RIBS not in parts:
        return []
    union = field_masks[RIBS]
    step = max(1, max(union.shape) // SIDE_OF_DOUBTS)
    ribs = {}
    for name in parts[RIBS].masks.found:
        _, whole = upright_field(radiograph, {name: parts[RIBS].masks[name]}, shown)
        small = whole[name][::step, ::step]
        if small.any():
            ribs[name] = small.copy()
    return [*parts[RIBS].doubts, *numbering_doubts(ribs, union[::step, ::step], parts[RIBS].probabilities)]


def _after_reading(preprocessing: Compose, root: Path, known: dict[bytes, Callable]) -> Compose:
    """The steps after the first, which reads a file; in place of one that does what a known one does, the known one.

    Raises:
        ValueError: the first one is another.
    """
    first, *others = preprocessing.transforms
    if not isinstance(first, LoadRadiographd):
        raise ValueError(f"{root}: preprocessing must start with LoadRadiographd, to read a radiograph once for all")
    steps = [_known_or_new(_quick(step), known) for step in others]
    # in the bundle's own list too, for what inverts a step must be that step
    preprocessing.transforms = (first, *steps)
    return Compose(steps)


def _known_or_new(step: Callable, known: dict[bytes, Callable]) -> Callable:
    """A step that was seen before and does the same, or this one, which is known from now on."""
    try:
        content = pickle.dumps(step)
    except (pickle.PicklingError, AttributeError, TypeError):
        return step  # a function that a config wrote down
    return known.setdefault(content, step)


def _quick(step: Callable) -> Callable:
    if type(step) is not ScaleIntensityRangePercentilesd or step.scaler.relative or step.scaler.channel_wise:
        return step
    return _QuickPercentilesd(step)


class _QuickPercentilesd(MapTransform):
    """MONAI's ``ScaleIntensityRangePercentilesd`` with percentiles by NumPy, which takes a tenth of PyTorch's time.

    Args:
        step: MONAI's.
    """

    def __init__(self, step: ScaleIntensityRangePercentilesd) -> None:
        super().__init__(step.keys, step.allow_missing_keys)
        self.settings = step.scaler

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A copy of the item with the keys transformed."""
        d = dict(data)
        wanted = self.settings
        for key in self.key_iterator(d):
            low, high = np.percentile(d[key].cpu().numpy(), (wanted.lower, wanted.upper))
            scaled = ScaleIntensityRange(float(low), float(high), wanted.b_min, wanted.b_max, wanted.clip, wanted.dtype)
            d[key] = scaled(d[key])
        return d


def _before_writing(postprocessing: Compose) -> list[Callable]:
    """The steps before a file is written; what follows is for other programs."""
    steps: list[Callable] = []
    for step in postprocessing.transforms:
        if isinstance(step, SaveImaged):
            break
        steps.append(step)
    return steps


def _as_radiograph(
    radiograph: str | os.PathLike | np.ndarray | Radiograph,
    spacing: tuple[float, float] | None,
    max_pixels: int | None,
) -> Radiograph:
    if isinstance(radiograph, np.ndarray):
        if radiograph.ndim != 2:
            raise RadiographError(f"array: has shape {radiograph.shape}. Give one radiograph as (rows, columns).")
        check_pixels(radiograph, "array")
        radiograph = Radiograph(radiograph.astype(np.float32), "array")
    elif not isinstance(radiograph, Radiograph):
        radiograph = read_radiograph(radiograph, max_pixels)
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


def _after(steps: Sequence[Callable], image: MetaTensor, radiograph: _Reduced) -> MetaTensor:
    """A picture after some steps of a bundle's preprocessing, remembered with its radiograph."""
    if not steps:
        return image
    key = (id(image), *(id(step) for step in steps))
    if key not in radiograph.prepared:
        own = MetaTensor(image.as_tensor(), meta=dict(image.meta), applied_operations=list(image.applied_operations))
        radiograph.prepared[key] = Compose(steps)({"image": own})["image"]
    return radiograph.prepared[key]


def _before_resizing(steps: Sequence[Callable]) -> int:
    """How many steps precede the one that resizes; all where none does."""
    return next((place for place, step in enumerate(steps) if isinstance(step, ResizeLongestd)), len(steps))


def _on_device(image: MetaTensor, device: torch.device, radiograph: _Reduced) -> MetaTensor:
    """A picture on the device, remembered with its radiograph."""
    if image.device.type == device.type:
        return image
    key = (id(image),)
    if key not in radiograph.prepared:
        # pinned memory is copied to a GPU while the next radiograph is prepared
        on_gpu = device.type == "cuda"
        pinned = image.pin_memory() if on_gpu else image
        radiograph.prepared[key] = cast(MetaTensor, pinned.to(device, non_blocking=on_gpu))
    return radiograph.prepared[key]


def _implausible(radiograph: _Reduced, found: Mapping[str, _Found]) -> dict[str, str]:
    """Which of heart and lungs cannot be as they were found, see :func:`cxr_attn_unet.analysis.quality.implausible`."""
    apply = radiograph.radiograph.orientation.apply
    masks = {name: apply(one.mask) for name, one in found.items() if name in ("heart", "lungs")}
    kept = {name: one.kept for name, one in found.items()}
    expected = {name: one.expected for name, one in found.items()}
    return quality.implausible(masks, kept, expected)


def _kept(inside: torch.Tensor, structure: str) -> float:
    """Share of a mask that lies in as many components as the structure has; 1 where they are not limited."""
    known = REGISTRY.get(structure)
    if known is None or not known.components:
        return 1.0
    areas = np.bincount(label(inside.cpu().numpy() > 0, connectivity=2).ravel())[1:]
    if not areas.size:
        return 0.0
    return float(np.sort(areas)[-known.components :].sum() / areas.sum())


def _rows_columns(values: torch.Tensor) -> np.ndarray:
    """MONAI's ``(columns, rows)`` as ``(rows, columns)``."""
    return values.cpu().numpy().T


def _dice(first: torch.Tensor, second: torch.Tensor) -> float:
    """2 sum(a b) / (sum(a) + sum(b)); 0 where the second is empty."""
    total = float(first.sum() + second.sum())
    if not float(second.sum()):
        return 0.0
    return 2 * float((first * second).sum()) / total
