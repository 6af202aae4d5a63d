"""Commands that are killed at random moments and started again, and what is in their folders afterwards.

They run in processes that are forked from one that has imported what takes long, so that a start takes little.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cxr_attn_unet.files import PART
from cxr_attn_unet.networks.checkpoint import read_checkpoint
from cxr_attn_unet.segment.processes import search_path_passed_on

EVENTS = "events.out.tfevents"
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["killed_commands"])


def start(command: Callable[..., int], arguments: Sequence[Any], log: Path, limit: int | None = None) -> BaseProcess:
    """Start a command of :mod:`killed_commands`.

    Args:
        command: returns its exit status.
        arguments: of the command.
        log: takes what it prints.
        limit: on the size of each file, in bytes, which stands for a disk that is full.
    """
    process = CONTEXT.Process(target=_run, args=(command, [*map(str, arguments)], str(log), limit))
    with search_path_passed_on():
        process.start()
    return process


def _run(command: Callable[..., int], arguments: list[str], log: str, limit: int | None) -> None:
    printed = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(printed, 1)
    os.dup2(printed, 2)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 # until the process ends
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    torch.set_num_threads(1)
    if limit is not None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    sys.exit(command(*arguments))


def finish(command: Callable[..., int], arguments: Sequence[Any], log: Path, limit: int | None = None) -> int:
    """Run a command to its end; its exit status. For the arguments see :func:`start`."""
    process = start(command, arguments, log, limit)
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def prepare(log: Path) -> None:
    """Import what takes long, so that it does not count to the time of the first command; see :func:`start`."""
    finish(_nothing, [], log)


def _nothing() -> int:
    return 0


def kill(
    command: Callable[..., int],
    arguments: Sequence[Any],
    log: Path,
    number: int,
    times: int,
    seconds: float,
    rng: np.random.Generator,
) -> int:
    """Start a command and kill it at a random moment, again and again; how often that came before its end.

    Args:
        command: of :mod:`killed_commands`.
        arguments: of the command.
        log: takes what it prints.
        number: of the signal.
        times: how often it is started.
        seconds: that it takes as a whole; half as much after each time that it came to its end.
        rng: for the moments.
    """
    hits = 0
    for _ in range(times):
        process = start(command, arguments, log)
        process.join(rng.uniform(0, seconds))
        if process.exitcode is None:
            os.kill(process.pid, number)
            hits += 1
        else:
            seconds /= 2
        process.join()
    return hits


def contents(folder: Path, without: Sequence[str] = (), keys: Sequence[str] = ()) -> dict[str, Any]:
    """What is in a folder, by path below it: tensors of PyTorch's files, values of JSON files, bytes of others.

    Logs for TensorBoard, which have the time in their names, are left out.

    Args:
        folder: any.
        without: ends of names that are left out.
        keys: of JSON files, those that are kept; all if there are none.
    """
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if not path.is_file() or name.endswith(tuple(without)) or path.name.startswith(EVENTS):
            continue
        if path.suffix == ".pt":
            found[name] = _listed(read_checkpoint(path))
        elif path.suffix == ".json" and keys:
            content = json.loads(path.read_text())
            found[name] = {key: content.get(key) for key in keys}
        else:
            found[name] = path.read_bytes()
    return found


def _listed(content: Any) -> Any:
    """Tensors as lists, which can be compared."""
    if isinstance(content, torch.Tensor):
        return content.tolist()
    if isinstance(content, dict):
        return {key: _listed(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_listed(value) for value in content]
    return content


def parts(folder: Path) -> list[str]:
    """Files that were being written when their writer was killed."""
    return [path.name for path in folder.rglob(f"{PART}*")]
