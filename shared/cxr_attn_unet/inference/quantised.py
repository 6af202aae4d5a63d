"""Networks in eight bits: NNCF measures the ranges of their values on radiographs, and rounds by them.

A quantised network is made once and kept in the cache of this user, under a checksum of the network, the versions of
the programs and the contents of the radiographs. It saves time and changes masks a little, see ``docs/performance.md``.
"""

from __future__ import annotations

import hashlib
import io
import logging
import os
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import __version__
from ..files import sha256
from ..io import Radiograph, RadiographError, find_radiographs, read_radiograph
from ..io.limits import max_pixels as limit_in_force
from .engines import EIGHT_BITS, EngineNetwork, Run, exported, keep, kept, key_of, run_by_openvino

__all__ = ["MOST", "Calibration", "check_calibration", "evenly", "kept_in_full", "quantised", "quantised_networks"]

logger = logging.getLogger(__name__)

MOST = 60  # radiographs on which ranges are measured
SUFFIX = ".zip"
MODEL = "network.xml"
WEIGHTS = "network.bin"
Given = str | os.PathLike | Sequence[str | os.PathLike]
# of a radiograph, by name of the network what it sees, (1, channels, rows, columns)
Seen = Callable[[Radiograph], Mapping[str, torch.Tensor]]


class Calibration:
    """Radiographs on which the ranges of networks' values are measured; no masks are needed.

    Of more than :data:`MOST`, as many are taken, evenly spaced in sorted order. One that cannot be read is warned of
    and passed over.

    Args:
        given: their folder, or their paths.
        max_pixels: the most pixels that one may have, see :func:`cxr_attn_unet.io.read_radiograph`.

    Attributes:
        paths: of those that are taken.
        checksum: changes with their contents, and with the limit on pixels, by which some may be passed over.

    Raises:
        ValueError: no such folder, or no radiographs in it.
    """

    def __init__(self, given: Given, max_pixels: int | None = None) -> None:
        self._max_pixels = max_pixels
        self._warned: set[str] = set()
        self._name = str(given) if isinstance(given, (str, os.PathLike)) else "calibration"
        self.paths = evenly(_paths_of(given), MOST)
        if not self.paths:
            raise ValueError(f"{self._name}: no radiographs here. Name a folder that has some with --calibration.")
        digests = [str(limit_in_force() if max_pixels is None else max_pixels)]
        for path in self.paths:
            try:
                digests.append(sha256(path))
            except OSError as error:
                self._warn(path, error)
        self.checksum = hashlib.sha256("\n".join(digests).encode()).hexdigest()

    def radiographs(self) -> Iterator[Radiograph]:
        """Those that can be read, one at a time.

        Raises:
            ValueError: none can be.
        """
        some = False
        reason: Exception | None = None
        for path in self.paths:
            try:
                radiograph = read_radiograph(path, self._max_pixels)
            except (RadiographError, OSError) as error:
                reason = reason or error
                self._warn(path, error)
                continue
            some = True
            yield radiograph
        if not some:
            raise ValueError(
                f"{self._name}: none of {len(self.paths)} radiographs can be read, the first because of: {reason} "
                "Name another folder with --calibration."
            )

    def _warn(self, path: str, error: Exception) -> None:
        if path not in self._warned:
            logger.warning(f"left out of the calibration: {error}")
            self._warned.add(path)


def check_calibration(engine: str, given: Given | None, max_pixels: int | None = None) -> Calibration | None:
    """The radiographs for an engine, of which one at least can be read; ``None`` for engines that need none.

    Args:
        engine: its name.
        given: folder or paths of the radiographs, if any.
        max_pixels: see :class:`Calibration`.

    Returns:
        the radiographs, or ``None``.

    Raises:
        ValueError: they are missing, needless or cannot be used.
    """
    if engine != EIGHT_BITS:
        if given is not None:
            raise ValueError(f"--calibration is for --engine {EIGHT_BITS}, the engine is {engine}; leave it out")
        return None
    if given is None:
        raise ValueError(
            f"engine {EIGHT_BITS} needs --calibration FOLDER, with radiographs like those to segment (no masks)"
        )
    calibration = Calibration(given, max_pixels)
    next(calibration.radiographs())
    return calibration


def _paths_of(given: Given) -> list[str]:
    if not isinstance(given, (str, os.PathLike)):
        return sorted(os.fspath(path) for path in given)
    if not os.path.isdir(given):
        raise ValueError(f"{given}: no such folder. Name a folder of radiographs with --calibration.")
    return find_radiographs(given).radiographs


def evenly(paths: Sequence[str], most: int) -> tuple[str, ...]:
    """So many of a list at most, evenly spaced, the first one first."""
    count = min(most, len(paths))
    return tuple(paths[place * len(paths) // count] for place in range(count))


def kept_in_full(model: Any) -> list[str]:
    """Names of the layers that stay in full precision: the first and the last convolution, and all linear layers.

    They take next to no time, and in eight bits they spoil masks.

    Args:
        model: of OpenVINO.

    Returns:
        the names, which NNCF knows them by.
    """
    names: dict[str, list[str]] = {"Convolution": [], "MatMul": []}
    for operation in model.get_ordered_ops():
        if operation.get_type_name() in names:
            names[operation.get_type_name()].append(operation.get_friendly_name())
    convolutions = names["Convolution"]
    return [*convolutions[:1], *convolutions[-1:], *names["MatMul"]]


def quantised(model: Any, examples: Sequence[np.ndarray], everything: bool = False) -> Any:
    """A network of which weights and activations are rounded to eight bits.

    Args:
        model: of OpenVINO, in full precision.
        examples: what the network sees of radiographs, each ``(1, channels, rows, columns)`` float32.
        everything: round all layers, those of :func:`kept_in_full` too.

    Returns:
        the model of OpenVINO in eight bits; the given one stays as it is.

    Raises:
        ImportError: NNCF is not installed.
    """
    nncf = _nncf()
    # its progress is for terminals, and standard output is not the place
    shown = sys.stderr if sys.stderr.isatty() else io.StringIO()
    with redirect_stdout(shown):
        return nncf.quantize(
            model,
            nncf.Dataset(examples),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(examples),
            ignored_scope=None if everything else nncf.IgnoredScope(names=kept_in_full(model)),
        )


def _nncf() -> Any:
    # without this, NNCF tells its makers over the network each time that it is used
    os.environ.setdefault("NNCF_CI", "1")
    import nncf

    nncf.set_log_level(logging.ERROR)
    return nncf


def quantised_networks(
    networks: Mapping[str, tuple[torch.nn.Module, str]], calibration: Calibration, seen: Seen
) -> dict[str, EngineNetwork]:
    """Networks that OpenVINO runs in eight bits; those that are not kept from before are quantised and kept.

    Args:
        networks: by name, a network in evaluation mode and a checksum that changes with weights and config.
        calibration: radiographs on which ranges are measured.
        seen: gives what each network sees of a radiograph.

    Returns:
        them by name; their ``checksum`` changes with all that they depend on.

    Raises:
        ImportError: a package is not installed.
        OSError: the cache cannot be written to.
        ValueError: no radiograph can be read.
    """
    first = seen(next(calibration.radiographs()))
    keys = {}
    for name, (network, checksum) in networks.items():
        programs = (__version__, torch.__version__, *(f"{one} {version(one)}" for one in ("openvino", "nncf")))
        keys[name] = key_of(network, first[name], checksum, *programs, calibration.checksum)
    models = {name: _model_kept(key) for name, key in keys.items()}
    missing = [name for name, model in models.items() if model is None]
    if missing:
        examples = _examples(calibration, seen, {name: first[name].shape for name in missing})
        for name in missing:
            logger.info(f"{name}: quantised by {len(examples[name])} radiographs")
            network, checksum = networks[name]
            path = exported(network, first[name], checksum)
            models[name] = quantised(_core().read_model(str(path)), examples[name])
            keep(keys[name], SUFFIX, _packed(models[name]))
    return {
        name: EngineNetwork(network, EIGHT_BITS, keys[name], _load_of(models[name]))
        for name, (network, _) in networks.items()
    }


def _examples(
    calibration: Calibration, seen: Seen, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, list[np.ndarray]]:
    """By name, what networks see of all radiographs, as far as it has the size that is quantised for."""
    examples: dict[str, list[np.ndarray]] = {name: [] for name in shapes}
    # a radiograph is read once for all networks, and not kept: sixty large ones would fill the memory
    for radiograph in calibration.radiographs():
        pictures = seen(radiograph)
        for name, shape in shapes.items():
            if pictures[name].shape == shape:
                examples[name].append(pictures[name].contiguous().numpy())
    return examples


def _load_of(model: Any) -> Callable[[torch.nn.Module, torch.Tensor, str], Run]:
    """What compiles a quantised network when it is first used: a process that segments nothing need not."""

    def load(network: torch.nn.Module, example: torch.Tensor, checksum: str) -> Run:
        size = tuple(model.input(0).shape)
        if size != tuple(example.shape):
            raise ValueError(
                f"the network was quantised for pictures of {size[2]} x {size[3]}, this one has "
                f"{example.shape[2]} x {example.shape[3]}. Use --engine openvino."
            )
        return run_by_openvino(model)

    return load


def _model_kept(key: str) -> Any | None:
    path = kept(key, SUFFIX)
    if path is None:
        return None
    with zipfile.ZipFile(path) as archive:
        return _core().read_model(archive.read(MODEL), archive.read(WEIGHTS))


def _packed(model: Any) -> bytes:
    """A model of OpenVINO as one file: its two would come apart."""
    import openvino

    packed = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(packed, "w") as archive:
        openvino.save_model(model, Path(folder) / MODEL, compress_to_fp16=False)
        for name in (MODEL, WEIGHTS):
            archive.write(Path(folder) / name, name)
    return packed.getvalue()


def _core() -> Any:
    import openvino

    return openvino.Core()
