"""Other programs that run a network: OpenVINO and ONNX Runtime on CPUs, TensorRT on NVIDIA's GPUs.

A network is exported once to ONNX; the file is kept in the cache of this user under a checksum of all that it depends
on. ``auto`` measures what is installed on this machine once for each network, and remembers what was fastest.
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

__all__ = ["AUTO", "ENGINES", "TORCH", "EngineNetwork", "cache_folder", "check_engine", "fastest", "with_engine"]

logger = logging.getLogger(__name__)

TORCH = "torch"
AUTO = "auto"
GAIN = 0.95  # share of PyTorch's time that another engine may take at most for auto to take it
RUNS = 3  # of each engine, of which the quickest counts; one before them warms up
Run = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class _Engine:
    """A program that runs networks.

    Attributes:
        packages: modules that it needs, the one whose version counts first.
        device: kind of device that it runs on.
        load: takes a network, an input ``(1, channels, rows, columns)`` and what the weights are known by.
    """

    packages: tuple[str, ...]
    device: str
    load: Callable[[torch.nn.Module, torch.Tensor, str], Run]

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
    """A network that another engine than PyTorch runs, with the same answers up to about 1e-4 in probability.

    Args:
        network: in evaluation mode.
        name: of the engine, or ``auto``.
        checksum: changes with weights and architecture.

    Attributes:
        name: of the engine; ``auto`` until the first radiograph was seen.
    """

    def __init__(self, network: torch.nn.Module, name: str, checksum: str) -> None:
        self.name = name
        self._network = network
        self._checksum = checksum
        self._runs: dict[tuple[int, ...], Run] = {}

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits ``(batch, classes + parts, rows, columns)`` of ``(batch, channels, rows, columns)``."""
        shape = tuple(inputs.shape[1:])
        example = inputs[:1]
        if self.name == AUTO:
            self.name = fastest(self._network, example, self._checksum)
        if self.name == TORCH:
            return self._network(inputs)
        if shape not in self._runs:
            self._runs[shape] = ENGINES[self.name].load(self._network, example, self._checksum)
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
        name for name, engine in ENGINES.items() if engine.device == example.device.type and not engine.missing()
    ]
    if not installed:
        return TORCH
    versions = [f"{name} {version(ENGINES[name].packages[0])}" for name in installed]
    key = _key(network, example, checksum, processor(), str(torch.get_num_threads()), *versions)
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


def _key(network: torch.nn.Module, example: torch.Tensor, checksum: str, *more: str) -> str:
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


def exported(network: torch.nn.Module, example: torch.Tensor, checksum: str) -> Path:
    """The network as ONNX for inputs of one size; written whole at first, found in the cache later.

    Args:
        network: in evaluation mode.
        example: ``(1, channels, rows, columns)``.
        checksum: changes with weights and architecture.
    """
    path = cache_folder() / f"{_key(network, example, checksum, __version__, torch.__version__)}.onnx"
    if not path.is_file():
        with written(path) as temporary, _quiet_export():
            torch.onnx.export(
                network,
                (example,),
                temporary,
                input_names=["image"],
                output_names=["logits"],
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    return path


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


def _load_openvino(network: torch.nn.Module, example: torch.Tensor, checksum: str) -> Run:
    import openvino

    # on some CPUs it would compute in bfloat16, which changes masks
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": str(torch.get_num_threads())}
    core = openvino.Core()
    compiled = core.compile_model(str(exported(network, example, checksum)), "CPU", settings)

    def run(image: torch.Tensor) -> torch.Tensor:
        # a copy, for the next run writes over its output
        return torch.from_numpy(compiled([image.contiguous().numpy()])[0].copy())

    return run


def _load_tensorrt(network: torch.nn.Module, example: torch.Tensor, checksum: str) -> Run:
    import torch_tensorrt

    precisions = {torch.float32, torch.float16}
    return torch_tensorrt.compile(network, ir="dynamo", inputs=[example], enabled_precisions=precisions)


ENGINES: dict[str, _Engine] = {
    "openvino": _Engine(("openvino", "onnx", "onnxscript"), "cpu", _load_openvino),
    "onnxruntime": _Engine(("onnxruntime", "onnx", "onnxscript"), "cpu", _load_onnxruntime),
    "tensorrt": _Engine(("torch_tensorrt",), "cuda", _load_tensorrt),
}
