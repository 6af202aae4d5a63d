"""Shards through Ray Data: one segmenter per worker, on this machine or on many."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from .plan import Plan
from .shards import ShardOutcome, ShardSegmenter

__all__ = ["LOCAL", "check_ray", "connected", "outcomes_of"]

LOCAL = "local"
OBJECT_STORE_BYTES = 200_000_000  # only numbers of shards and of radiographs go through it
LOCAL_SETTINGS = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # on any system: listen on the loopback only
    "RAY_agent_register_timeout_ms": "120000",  # a busy machine starts Ray slowly
    "RAY_worker_register_timeout_seconds": "300",
}
STARTS = 3  # of Ray on this machine, which waits for itself no longer than 30 s
MOST_TASKS = 10_000  # beyond it, a task has several shards


def check_ray() -> None:
    """Make sure that Ray is installed.

    Raises:
        ImportError: it is not.
    """
    if find_spec("ray") is None:
        raise ImportError("--ray needs Ray: pip install 'cxr-attn-unet[ray]'")


@contextmanager
def connected(address: str, workers: int | None = None) -> Iterator[Any]:
    """Ray, within the block.

    Args:
        address: of a cluster, as Ray takes it, or ``local``, which starts Ray on this machine for this block alone. It
            then listens on the loopback only, without a dashboard.
        workers: how many are wanted, for ``local``.

    Raises:
        ConnectionError: there is no cluster.
    """
    # read when Ray is imported or started; nothing is reported to anyone
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_DATA_LOG_LEVEL", "ERROR")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if address == LOCAL:
        for name, value in LOCAL_SETTINGS.items():
            os.environ.setdefault(name, value)
    import ray
    import ray.data

    _connect(ray, address, workers)
    try:
        yield ray
    finally:
        ray.shutdown()


def _connect(ray: Any, address: str, workers: int | None) -> None:
    """Start or find Ray.

    Raises:
        ConnectionError: that cannot be.
    """
    settings: dict[str, Any] = {"address": address}
    attempts = 1
    if address == LOCAL:
        settings |= {"object_store_memory": OBJECT_STORE_BYTES, "include_dashboard": False, "num_cpus": workers}
        attempts = STARTS
    for attempt in range(1, attempts + 1):
        try:
            ray.init(**settings, logging_level=logging.ERROR, log_to_driver=False)
            return
        except Exception as error:  # Ray raises bare ones, such as when a busy machine is slow to start it
            ray.shutdown()
            if attempt == attempts:
                raise ConnectionError(f"no Ray at {address} ({error}); give a cluster's address, or local") from error


def outcomes_of(
    ray: Any,
    plan: Plan,
    shards: Sequence[int],
    workers: int | None = None,
    device: str | None = None,
    batch_size: int = 1,
) -> Iterator[ShardOutcome]:
    """The outcomes of shards, as they are done.

    Args:
        ray: connected.
        plan: what is to do.
        shards: their numbers.
        workers: how many at a time; one per GPU, or where there are none per core, if ``None``.
        device: see :class:`ShardSegmenter`.
        batch_size: radiographs per batch.

    Raises:
        RuntimeError: no worker can start.
    """
    with_gpu = _with_gpu(ray, device)
    units = ray.cluster_resources().get("GPU" if with_gpu else "CPU", 1)
    workers = min(workers or int(units), len(shards))
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1  # a shard that is lost does not stop the others
    numbers = ray.data.from_items(
        [{"shard": shard} for shard in shards], override_num_blocks=min(len(shards), MOST_TASKS)
    )
    done = numbers.map_batches(
        ShardSegmenter,
        fn_constructor_args=(plan, "cuda" if with_gpu else device, batch_size),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(
            size=workers, max_tasks_in_flight_per_actor=1, max_concurrent_calls_per_actor=1
        ),
        num_cpus=1,
        num_gpus=1 if with_gpu else 0,
    )
    try:
        for row in done.iter_rows():
            yield ShardOutcome(**row)
    except (ray.exceptions.RayError, SystemError) as error:
        # the last line of a traceback in a worker
        raise RuntimeError(f"the workers cannot go on: {str(error).strip().splitlines()[-1]}") from error


def _with_gpu(ray: Any, device: str | None) -> bool:
    """Whether workers have a GPU each: if one was asked for, or nothing else and there are some."""
    if device is not None:
        return device.startswith("cuda")
    return ray.cluster_resources().get("GPU", 0) > 0
