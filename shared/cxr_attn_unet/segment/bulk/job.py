"""One run over many radiographs: the plan, the shards that lack results, what failed, and what is said at the end."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from tqdm import tqdm

from ...io import describe_ignored
from ..job import INTERRUPTED, terminated_like_interrupted
from ..tables import write_csv
from .cluster import check_ray, connected, outcomes_of
from .plan import FAILURES, SEGMENTATIONS, Plan, Wanted, forget_attempts, make_plan
from .shards import FAILED, SKIPPED, Row, ShardOutcome, failures_of
from .store import Store

__all__ = ["conclude", "segment_in_bulk"]

FAILURES_SAID = 20


def segment_in_bulk(
    given: Iterable[str],
    output: str,
    wanted: Wanted,
    address: str,
    workers: int | None = None,
    device: str | None = None,
    batch_size: int = 1,
    overwrite: bool = False,
) -> int:
    """Segment any number of radiographs through Ray Data, into shards of measurements and masks.

    Args:
        given: files, folders and URLs, see :class:`.listing.Listing`; gone through once.
        output: folder, or URL of one, of the results.
        wanted: the settings.
        address: of Ray, see :func:`.cluster.connected`.
        workers: segmenters at work at a time, see :func:`.cluster.outcomes_of`.
        device: where the networks run.
        batch_size: radiographs per batch.
        overwrite: start over.

    Raises:
        ImportError: a package is missing.
        OSError: the output folder or Ray cannot be used.
        ValueError: options that do not go together, or there is nothing to segment.
        RuntimeError: no worker can start.

    Returns:
        exit status: 0, 1 if some failed, 130 if interrupted.
    """
    check_ray()
    store = Store(output)
    # the plan names weights and settings; the workers load their own
    plan = make_plan(store, given, wanted, wanted.segmenter("cpu"), overwrite)
    todo = plan.todo()
    if len(todo) < plan.shards:
        _say(f"{plan.shards - len(todo)} of {plan.shards} shards were finished before.")
    errors: dict[int, str] = {}
    interrupted = False
    if todo:
        forget_attempts(store)
        with connected(address, workers) as ray, terminated_like_interrupted():
            outcomes = outcomes_of(ray, plan, todo, workers, device, batch_size)
            try:
                errors = _collected(plan, todo, outcomes)
            except KeyboardInterrupt:
                interrupted = True
    store.remove_unfinished(SEGMENTATIONS)
    if interrupted:
        _say(f"Interrupted; the same command resumes from here: {output}")
        return INTERRUPTED
    return conclude(plan, errors)


def _collected(plan: Plan, todo: list[int], outcomes: Iterator[ShardOutcome]) -> dict[int, str]:
    """Wait for shards; returns why some have no results."""
    errors = dict.fromkeys(todo, "no worker has finished it")
    total = sum(plan.size(shard) for shard in todo)
    with tqdm(total=total, unit="radiograph", dynamic_ncols=True, disable=None) as progress:
        for outcome in outcomes:
            progress.update(plan.size(outcome.shard))
            if outcome.error:
                errors[outcome.shard] = outcome.error
            else:
                errors.pop(outcome.shard, None)
    there = plan.output.names(SEGMENTATIONS)
    for shard in todo:
        if shard not in errors and plan.file_name(shard) not in there:
            errors[shard] = (
                f"written where this machine does not see it; {plan.output} must be the same on all machines"
            )
    return errors


def conclude(plan: Plan, errors: dict[int, str]) -> int:
    """Write ``failures.csv`` where something failed, say what it was, and return the exit status.

    Args:
        plan: what was to do.
        errors: by shard without results, why.

    Raises:
        OSError: the output folder cannot be read or written.
    """
    failed = 0
    skipped = 0

    def counted() -> Iterator[Row]:
        nonlocal failed, skipped
        for row in _failures(plan, errors):
            failed += row["kind"] == FAILED
            skipped += row["kind"] == SKIPPED
            if row["kind"] == FAILED and failed <= FAILURES_SAID:
                _say(f"failed: {row['reason']}")
            yield row

    rows = counted()
    some = list(islice(rows, 1))
    if some:
        with plan.output.written("failures.csv") as temporary:
            write_csv(temporary, ["file", "kind", "reason"], chain(some, rows))
    else:
        plan.output.remove("failures.csv")
    if failed > FAILURES_SAID:
        _say(f"and {failed - FAILURES_SAID} more, see {plan.output}/failures.csv")
    if skipped:
        _say(f"Skipped {skipped} files that are no radiographs, see {plan.output}/failures.csv.")
    if plan.ignored:
        _say(f"{describe_ignored(plan.ignored)}.")
    segmented = plan.radiographs + len(plan.failures) - failed - skipped
    _say(f"Segmented {segmented} radiographs in {plan.shards} shards, {failed} failed: {plan.output}/{SEGMENTATIONS}")
    return int(failed > 0)


def _failures(plan: Plan, errors: dict[int, str]) -> Iterator[Row]:
    """All failures of the run, shard after shard."""
    for failure in plan.failures:
        yield {"file": failure.name, "kind": FAILED, "reason": failure.reason}
    done = plan.output.names(SEGMENTATIONS)
    failed = plan.output.names(FAILURES)
    for shard in range(plan.shards):
        name = plan.file_name(shard)
        if name not in done:
            for entry in plan.entries(shard):
                reason = (
                    f"{entry.file}: its shard {shard} has no results ({errors[shard]}). Run the same command again."
                )
                yield {"file": entry.file, "kind": FAILED, "reason": reason}
        elif name in failed:
            yield from failures_of(plan, shard)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
