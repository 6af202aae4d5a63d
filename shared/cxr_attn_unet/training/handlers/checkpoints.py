"""Best weights and the state to resume from."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from ...bundle import is_main_process
from ...files import claimed, remove_parts, sha256
from ...networks import save_weights
from ...networks.checkpoint import (
    copy_weights,
    finish_training,
    read_checkpoint,
    unfinished_training,
    write_checkpoint,
)

__all__ = ["Checkpoints", "how_to_begin", "read_last"]

logger = logging.getLogger(__name__)
# of the folders that this process writes to, by path
_claims: dict[Path, ExitStack] = {}
_OF_A_RUN = {"epoch", "iteration", "epochs", "iterations an epoch", "best"}
PREVIOUS, UNFINISHED = ".previous.pt", ".unfinished.pt"


def read_last(path: str | os.PathLike) -> dict[str, Any]:
    """The state after the last epoch, as :class:`Checkpoints` wrote it, with the run's own values under ``run``.

    Raises:
        ValueError: damaged, or of another kind; the message names the file and the remedy.
    """
    try:
        state = read_checkpoint(Path(path))
    except ValueError as error:
        raise ValueError(f"{path}: not a checkpoint to resume from: {error}. Delete it and start again.") from error
    run = state.get("run") if isinstance(state, dict) else None
    if not isinstance(run, dict) or not _OF_A_RUN.issubset(run):
        raise ValueError(
            f"{path}: not a checkpoint to resume from: it is of another program. Name the folder of the earlier run."
        )
    return state


def how_to_begin(weights_path: Path, last_path: Path, request: Callable[[Path], str]) -> tuple[Path, str, bool]:
    """How to train so that a training that was stopped, and is asked for again, gives what it would have given.

    Args:
        weights_path: of :class:`Checkpoints`; the training starts from these weights.
        last_path: of :class:`Checkpoints`.
        request: a text for all that a training depends on, if it starts from the weights in a file.

    Returns:
        the weights to start from, the request, and whether there is a state of this request to resume from. The
        weights are not those of ``weights_path`` where the training was stopped so early that there is no state of it,
        but has put its own weights there.
    """
    unfinished = unfinished_training(weights_path)
    begun = None if unfinished is None else unfinished["request"]
    start, asked = weights_path, request(weights_path)
    for earlier in (weights_path.with_suffix(PREVIOUS), weights_path.with_suffix(UNFINISHED)):
        if begun is not None and earlier.is_file() and request(earlier) == begun:
            start, asked = earlier, begun
    return start, asked, _is_to_resume(last_path, asked, asked == begun)


def _is_to_resume(last_path: Path, request: str, is_unfinished: bool) -> bool:
    if not last_path.is_file():
        return False
    try:
        run = read_last(last_path)["run"]
    except ValueError as error:
        logger.warning(f"{error} It is started again now.")
        return False
    has_more_to_do = run["epoch"] < run["epochs"] or run["best"] is None or is_unfinished
    return run.get("request") == request and has_more_to_do


class Checkpoints:
    """Save the best weights after each validation and the whole state after each epoch; resume from the latter.

    Both are written to a temporary name first, so an interrupted run never leaves half a file, which is why this is
    not MONAI's ``CheckpointSaver``. Weights that stood at ``weights_path`` before the run are kept beside it as
    ``*.previous.pt``, or, where they are those of a run that was stopped before its end, as ``*.unfinished.pt``: so the
    weights that stood there before that one stay. A run without any validation saves its weights when it ends. The
    state of a run before, at ``last_path``, is kept as ``*.previous.pt``, so that no run is resumed from it by mistake.

    The folders of both are this process's alone until the run has completed or the process has ended, see
    :func:`cxr_attn_unet.files.claimed`; a run in another process is refused. What a run that was killed was just
    writing there is removed.

    Args:
        weights_path: file of the best weights, a bare state dict: what all of MONAI reads without being told a key;
            a record of it lies beside it, see :mod:`cxr_attn_unet.networks.checkpoint`.
        last_path: file of the state after the last epoch.
        save_dict: objects with a state, by name, wrapped for distributed training or not.
        weights: the network to save as the best: the one that ``evaluator`` judges.
        evaluator: validation engine whose key metric decides what is best; more is better.
        resume: continue from ``last_path``.
        request: what is trained for, see :func:`how_to_begin`; it is kept with the state and the record of the weights.

    Raises:
        FileNotFoundError: ``resume`` without a file to resume from.
        BlockingIOError: another process trains into one of the folders.
        ValueError: the run to resume is not this one (another architecture, number of epochs or length of an epoch).
    """

    def __init__(
        self,
        weights_path: str | os.PathLike,
        last_path: str | os.PathLike,
        save_dict: Mapping[str, Any],
        weights: torch.nn.Module,
        evaluator: Engine | None = None,
        resume: bool = False,
        request: str | None = None,
    ) -> None:
        self.weights_path, self.last_path = Path(weights_path), Path(last_path)
        self.save_dict = {name: getattr(value, "module", value) for name, value in save_dict.items()}
        self.weights = getattr(weights, "module", weights)
        self.evaluator = evaluator
        self.resume = resume
        self.request = request
        self.best: float | None = None
        self._own_weights = False  # has this run written weights_path yet?
        self._previous: str | None = None  # SHA-256 of the weights that stood there before it
        self._has_begun = False
        self._trainer: Engine | None = None
        self._writes = is_main_process()
        if resume and not self.last_path.is_file():
            raise FileNotFoundError(
                f"{self.last_path}: nothing to resume from. Run without --resume first, or name the folder of the "
                "earlier run with --output_dir."
            )

    def attach(self, engine: Engine) -> None:
        """Register with an engine, as MONAI does with the handlers of a config."""
        engine.add_event_handler(Events.STARTED, self._begin)
        if self.resume:
            engine.add_event_handler(Events.STARTED, self._load)
        else:
            engine.add_event_handler(Events.STARTED, self._begin_average, engine)
        if self.evaluator is not None:
            self._trainer = engine
            if not self.resume:  # a validation before the first epoch would come before the above
                self.evaluator.add_event_handler(Events.STARTED, self._begin_average, engine)
            self.evaluator.add_event_handler(Events.EPOCH_COMPLETED, self._validated)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._save_last)
        engine.add_event_handler(Events.COMPLETED, self._completed)

    def _begin(self, engine: Engine) -> None:
        if not self._writes or self._has_begun:
            return
        self._claim()
        if not self.resume and self.last_path.is_file():
            os.replace(self.last_path, self.last_path.with_suffix(PREVIOUS))
        self._has_begun = True

    def _claim(self) -> None:
        for folder in self._folders() - set(_claims):
            claim = ExitStack()
            if not claim.enter_context(claimed(folder)):
                raise BlockingIOError(
                    f"{folder}: another training writes to this folder. Wait until it has ended, or name other folders "
                    "with --output_dir and --ckpt_dir."
                )
            _claims[folder] = claim
            remove_parts(folder)

    def _folders(self) -> set[Path]:
        return {self.weights_path.resolve().parent, self.last_path.resolve().parent}

    def _load(self, engine: Engine) -> None:
        state = read_last(self.last_path)
        run = state.pop("run")
        for name, value in (("epochs", engine.state.max_epochs), ("iterations an epoch", engine.state.epoch_length)):
            if run[name] != value:
                # the learning rate's schedule is laid out over the whole run
                raise ValueError(
                    f"{self.last_path} is from a run of {run[name]} {name}, this one has {value}. Resume with the same "
                    "data, --batch_size and --epochs, or start a new run from its weights with --initial_weights."
                )
        try:
            for name, target in self.save_dict.items():
                target.load_state_dict(state[name])
        except (KeyError, IndexError, RuntimeError, ValueError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{self.last_path} is of another network or optimiser ({str(error).splitlines()[0]}). Resume with the "
                "--network_name and --width of that run."
            ) from error
        if engine.scaler is not None and "scaler" in state:  # type: ignore[attr-defined]
            engine.scaler.load_state_dict(state["scaler"])  # type: ignore[attr-defined]
        engine.state.epoch, engine.state.iteration = run["epoch"], run["iteration"]
        self.best, self._own_weights = run["best"], run["best"] is not None
        self._previous = run.get("previous")
        logger.info(f"Resumed from {self.last_path} after epoch {run['epoch']}.")

    def _begin_average(self, engine: Engine) -> None:
        # the average starts where the training does, also where a handler before this one has loaded other weights
        model = self.save_dict.get("model")
        if engine.state.iteration == 0 and isinstance(model, torch.nn.Module) and model is not self.weights:
            self.weights.load_state_dict(model.state_dict())

    def _validated(self, evaluator: Engine) -> None:
        if self._trainer is None or self._trainer.state.dataloader is None:
            return  # nothing is trained: the evaluator was run by itself
        self._begin(self._trainer)  # a validation before the first epoch comes before all else
        metric = float(evaluator.state.metrics[evaluator.state.key_metric_name])  # type: ignore[attr-defined]
        if self.best is None or metric > self.best:
            self.best = metric
            self._save_weights()
            logger.info(f"Best so far: {evaluator.state.key_metric_name} {metric:.4f}.")  # type: ignore[attr-defined]

    def _save_weights(self) -> None:
        if self._writes:
            if not self._own_weights:
                self._keep_what_was_there()
            save_weights(self.weights, self.weights_path, {"previous": self._previous, "request": self.request})
        self._own_weights = True

    def _keep_what_was_there(self) -> None:
        if not self.weights_path.is_file():
            return
        unfinished = unfinished_training(self.weights_path)
        if unfinished is None:
            self._previous = sha256(self.weights_path)
            self._keep_as(PREVIOUS)
            return
        self._previous = unfinished["previous"]
        if self.request is None or self.request != unfinished["request"]:
            self._keep_as(UNFINISHED)

    def _keep_as(self, suffix: str) -> None:
        kept = self.weights_path.with_suffix(suffix)
        copy_weights(self.weights_path, kept)
        logger.info(f"Kept the weights from before this run as {kept}.")

    def _save_last(self, engine: Engine) -> None:
        if not self._writes:
            return
        state = {name: value.state_dict() for name, value in self.save_dict.items()}
        if engine.scaler is not None:  # type: ignore[attr-defined]
            state["scaler"] = engine.scaler.state_dict()  # type: ignore[attr-defined]
        state["run"] = {
            "epoch": engine.state.epoch,
            "iteration": engine.state.iteration,
            "epochs": engine.state.max_epochs,
            "iterations an epoch": engine.state.epoch_length,
            "best": self.best,
            "previous": self._previous,
            "request": self.request,
        }
        write_checkpoint(state, self.last_path)

    def _completed(self, engine: Engine) -> None:
        if not self._own_weights:
            self._save_weights()
        if self._writes:
            finish_training(self.weights_path)
        for folder in self._folders():
            if folder in _claims:
                _claims.pop(folder).close()
