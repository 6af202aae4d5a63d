"""Other programs that run a network: OpenVINO and ONNX Runtime on CPUs, TensorRT on NVIDIA's GPUs.

A network is exported once to ONNX; the file is kept in the cache of this user under a checksum of all that it depends
on. ``auto`` measures what is installed on this machine once for each network, and remembers what was fastest. It never
takes eight bits (:mod:`.quantised`), which change masks.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..files import write_json, written
from ..system import processor

__all__ = [
    "AUTO",
    "EIGHT_BITS",
    "ENGINES",
    "TORCH",
    "EngineNetwork",
    "cache_folder",
    "check_engine",
    "exported",
    "fastest",
    "keep",
    "kept",
    "key_of",
    "run_by_openvino",
    "with_engine",
]

logger = logging.getLogger(__name__)

TORCH = "torch"
AUTO = "auto"
EIGHT_BITS = "openvino-int8"
GAIN = 0.95  # share of PyTorch's time that another engine may take at most for auto to take it
RUNS = 3  # of each engine, of which the quickest counts; one before them warms up
Run = Callable[[torch.Tensor], torch.Tensor]
Load = Callable[[torch.nn.Module, torch.Tensor, str], Run]


@dataclass(frozen=True)
class _Engine:
    """A program that runs networks.

    Attributes:
        packages: modules that it needs, the one whose version counts first.
        device: kind of device that it runs on.
        load: takes a network, an input ``(1, channels, rows, columns)`` and what the weights are known by.
        same_masks: whether masks are those of PyTorch but for rounding.
    """

    packages: tuple[str, ...]
    device: str
    load: Load
    same_masks: bool = True

    def missing(self) -> list[str]:
        """Those of its packages that are not installed."""
        return [name for name in self.packages if find_spec(name) is None]


def check_engine(name: str, device: torch.device) -> None:
    """Make sure that an engine can run here.

    Raises:
        ValueError: no engine of that name, or it does not run on that kind of device.
        ImportError: it is not installed; the message names the remedy.
    """
    if name in (TORCH, AUTO):
        return
    if name not in ENGINES:
        raise ValueError(f"engine is {name}, must be one of {', '.join((TORCH, *ENGINES, AUTO))}")
    engine = ENGINES[name]
    if engine.device != device.type:
        raise ValueError(f"engine {name} runs on {engine.device}, the device is {device}; leave --engine out")
    missing = engine.missing()
    if missing:
        raise ImportError(
            f"engine {name} needs {', '.join(missing)}: pip install 'cxr-attn-unet[{name}]', or leave --engine out"
        )


def with_engine(network: torch.nn.Module, name: str, checksum: str) -> torch.nn.Module | EngineNetwork:
    """A network that an engine runs; PyTorch's own is the network itself.

    Args:
        network: in evaluation mode.
        name: see :func:`check_engine`; one that was checked.
        checksum: changes with weights and architecture.
    """
    return network if name == TORCH else EngineNetwork(network, name, checksum)


class EngineNetwork:
    """A network that another engine than PyTorch runs.

    The answers are PyTorch's up to about 1e-4 in probability, but for eight bits.

    Args:
        network: in evaluation mode.
        name: of the engine, or ``auto``.
        checksum: changes with weights and architecture.
        load: takes the place of what the engine loads networks by.

    Attributes:
        name: of the engine; ``auto`` until the first radiograph was seen.
        checksum: as given.
    """

    def __init__(self, network: torch.nn.Module, name: str, checksum: str, load: Load | None = None) -> None:
        self.name = name
        self.checksum = checksum
        self._network = network
        self._load = load
        self._runs: dict[tuple[int, ...], Run] = {}

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits ``(batch, classes + parts, rows, columns)`` of ``(batch, channels, rows, columns)``."""
        shape = tuple(inputs.shape[1:])
        example = inputs[:1]
        if self.name == AUTO:
            self.name = fastest(self._network, example, self.checksum)
        if self.name == TORCH:
            return self._network(inputs)
        if shape not in self._runs:
            load = self._load or ENGINES[self.name].load
            self._runs[shape] = load(self._network, example, self.checksum)
        run = self._runs[shape]
        return torch.cat([run(one[None]) for one in inputs])


def fastest(network: torch.nn.Module, example: torch.Tensor, checksum: str) -> str:
    """The engine that takes least time here, measured once for each network, size, machine and number of threads.

    Args:
        network: in evaluation mode.
        example: ``(1, channels, rows, columns)``.
        checksum: changes with weights and architecture.
    """
    installed = [
        name
        for name, engine in ENGINES.items()
        if engine.same_masks and engine.device == example.device.type and not engine.missing()
    ]
    if not installed:
        return TORCH
    versions = [f"{name} {version(ENGINES[name].packages[0])}" for name in installed]
    key = key_of(network, example, checksum, processor(), str(torch.get_num_threads()), *versions)
    remembered = cache_folder() / "fastest.json"
    choices = _read(remembered)
    if choices.get(key) in (TORCH, *installed):
        return choices[key]
    taken = {TORCH: _seconds(network, example)}
    for name in installed:
        taken[name] = _seconds(ENGINES[name].load(network, example, checksum), example)
    best = min(taken, key=lambda name: taken[name])
    choice = best if taken[best] <= GAIN * taken[TORCH] else TORCH
    logger.info(f"engines for {tuple(example.shape)}: {taken}; {choice} is taken")
    write_json(remembered, {**_read(remembered), key: choice})
    return choice


def _seconds(run: Callable[[torch.Tensor], Any], example: torch.Tensor) -> float:
    """Time of one run, the quickest of some: what else the machine does makes the others longer."""
    run(example)
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        run(example)
        times.append(time.perf_counter() - start)
    return min(times)


def cache_folder() -> Path:
    """Where exported networks are kept: ``$XDG_CACHE_HOME/cxr-attn-unet/engines``."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "cxr-attn-unet" / "engines"


def key_of(network: torch.nn.Module, example: torch.Tensor, checksum: str, *more: str) -> str:
    """What a network is known by in the cache, 32 hexadecimal digits.

    Args:
        network: in evaluation mode.
        example: ``(1, channels, rows, columns)``.
        checksum: changes with weights and architecture.
        *more: what else counts, such as versions.
    """
    # of the same weights, a network may make all outputs or only some of them
    outputs = str(getattr(network, "out_channels", ""))
    known_by = (checksum, outputs, str(tuple(example.shape)), *more)
    return hashlib.sha256("\n".join(known_by).encode()).hexdigest()[:32]


def _read(path: Path) -> dict[str, Any]:
    """A JSON object; an empty one where the file is missing or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def kept(key: str, suffix: str) -> Path | None:
    """A file of the cache, as it was written; one that was damaged since is removed.

    Args:
        key: see :func:`key_of`.
        suffix: of the file, such as ``.onnx``.

    Returns:
        its path, or ``None`` if there is none.
    """
    for path in sorted(cache_folder().glob(f"{key}-*{suffix}")):
        try:
            content = path.read_bytes()
        except OSError:
            continue  # another process has just removed it
        if path == _path_of(key, suffix, content):
            return path
        logger.warning(f"{path}: damaged, it is made again")
        path.unlink(missing_ok=True)
    return None


def keep(key: str, suffix: str, content: bytes) -> Path:
    """Write a file of the cache, whole or not at all.

    Args:
        key: see :func:`key_of`.
        suffix: of the file, such as ``.onnx``.
        content: all of it.

    Returns:
        its path.

    Raises:
        OSError: it cannot be written.
    """
    path = _path_of(key, suffix, content)
    with written(path) as temporary:
        temporary.write_bytes(content)
    return path


def _path_of(key: str, suffix: str, content: bytes) -> Path:
    # the name tells what the content must be, so that file and checksum cannot come apart
    return cache_folder() / f"{key}-{hashlib.sha256(content).hexdigest()[:32]}{suffix}"


def exported(network: torch.nn.Module, example: torch.Tensor, checksum: str) -> Path:
    """The network as ONNX for inputs of one size; written whole at first, found in the cache later.

    Args:
        network: in evaluation mode.
        example: ``(1, channels, rows, columns)``.
        checksum: changes with weights and architecture.
    """
    key = key_of(network, example, checksum, __version__, torch.__version__)
    path = kept(key, ".onnx")
    if path is not None:
        return path
    with _quiet_export():
        program: Any = torch.onnx.export(
            network, (example,), input_names=["image"], output_names=["logits"], dynamo=True, verbose=False
        )
    return keep(key, ".onnx", program.model_proto.SerializeToString())


@contextmanager
def _quiet_export() -> Iterator[None]:
    """Without what PyTorch's exporter says of packages that the networks do not need."""
    exporter = logging.getLogger("torch.onnx")
    level = exporter.level
    exporter.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        exporter.setLevel(level)


def _load_onnxruntime(network: torch.nn.Module, example: torch.Tensor, checksum: str) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # threads that wait for work sleep, see cxr_attn_unet.__main__
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    path = exported(network, example, checksum)
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(image: torch.Tensor) -> torch.Tensor:
        return torch.from_numpy(session.run(None, {"image": image.contiguous().numpy()})[0])

    return run


def run_by_openvino(model: Any) -> Run:
    """What runs a model of OpenVINO on this CPU, with PyTorch's number of threads.

    Args:
        model: of OpenVINO, or the path of an ONNX file.
    """
    import openvino

    # on some CPUs it would compute in bfloat16, which changes masks
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": str(torch.get_num_threads())}
    compiled = openvino.Core().compile_model(model, "CPU", settings)

    def run(image: torch.Tensor) -> torch.Tensor:
        # a copy, for the next run writes over its output
        return torch.from_numpy(compiled([image.contiguous().numpy()])[0].copy())

    return run


def _load_openvino(network: torch.nn.Module, example: torch.Tensor, checksum: str) -> Run:
    return run_by_openvino(str(exported(network, example, checksum)))


def _not_calibrated(network: torch.nn.Module, example: torch.Tensor, checksum: str) -> Run:
    raise ValueError(f"engine {EIGHT_BITS} needs radiographs to measure; give Segmenter.from_bundles calibration=")


def _load_tensorrt(network: torch.nn.Module, example: torch.Tensor, checksum: str) -> Run:
    import torch_tensorrt

    precisions = {torch.float32, torch.float16}
    return torch_tensorrt.compile(network, ir="dynamo", inputs=[example], enabled_precisions=precisions)


ENGINES: dict[str, _Engine] = {
    "openvino": _Engine(("openvino", "onnx", "onnxscript"), "cpu", _load_openvino),
    "onnxruntime": _Engine(("onnxruntime", "onnx", "onnxscript"), "cpu", _load_onnxruntime),
    EIGHT_BITS: _Engine(("openvino", "nncf", "onnx", "onnxscript"), "cpu", _not_calibrated, same_masks=False),
    "tensorrt": _Engine(("torch_tensorrt",), "cuda", _load_tensorrt),
}
