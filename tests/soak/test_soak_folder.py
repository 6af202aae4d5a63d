"""20,000 small radiographs through the command, or CXR_SOAK_RADIOGRAPHS of the environment, with a small network.

Memory, open files, threads and speed are those of all processes of the run together; speed is in CPU time, which other
programs on the machine change little. What is found is kept in the folder that CXR_RELIABILITY names.
"""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from statistics import median

import pytest

from cxr_attn_unet.system import hardware, processor
from cxr_attn_unet_dev.tools.reliability import write_findings
from cxr_attn_unet_dev.tools.session import Look, look_at
from tiny_bundle import write_phantoms, write_tiny_bundle

NUMBER = int(os.environ.get("CXR_SOAK_RADIOGRAPHS", "20000"))
DIFFERENT = 200  # radiographs; the others are the same under other names
WORKERS = 2
SECONDS = 5.0  # from one look at the processes to the next
PARTS = 10  # of the run, of which the first is the warm-up
COMMAND = f"make soak ARGS=tests/soak/test_soak_folder.py CXR_SOAK_RADIOGRAPHS={NUMBER}"

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks at processes in /proc"),
]


def write_many(folder: Path, number: int) -> Path:
    paths = write_phantoms(folder, min(number, DIFFERENT))
    for index in range(len(paths), number):
        os.link(paths[index % len(paths)], folder / f"{index:05d}.png")
    return folder


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    return tmp_path_factory.mktemp("out")


@pytest.fixture(scope="module")
def looks(out, tmp_path_factory):
    """At a run, from its first radiograph to its last."""
    bundles = tmp_path_factory.mktemp("bundles")
    write_tiny_bundle(bundles)
    radiographs = write_many(tmp_path_factory.mktemp("radiographs"), NUMBER)
    command = [sys.executable, "-W", "ignore", "-m", "cxr_attn_unet", "segment", radiographs, "-o", out]
    command += ["--bundles", bundles, "--workers", WORKERS]
    process = subprocess.Popen([*map(str, command)], start_new_session=True, stderr=subprocess.PIPE, text=True)
    try:
        found = [*watched(process, out / ".segment" / "journal.jsonl")]
        printed = process.communicate()[1]
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, printed
    return found


def watched(process: subprocess.Popen, journal: Path) -> Iterator[tuple[int, Look]]:
    """Every now and then, how many radiographs are finished, and what the processes have."""
    finished = position = 0
    while process.poll() is None and finished < NUMBER:
        time.sleep(SECONDS)
        if journal.exists():
            with open(journal, "rb") as file:
                file.seek(position)
                lines = file.read()
            position += len(lines)
            finished += lines.count(b"\n")
        if 0 < finished < NUMBER:
            yield finished, look_at(process.pid)


@pytest.fixture(scope="module")
def parts(looks):
    """The looks at each tenth of the run."""
    parts: list[list[Look]] = [[] for _ in range(PARTS)]
    for finished, look in looks:
        parts[finished * PARTS // NUMBER].append(look)
    return parts


@pytest.fixture(scope="module")
def milliseconds(looks):
    """CPU time a radiograph in each tenth of the run."""
    times = []
    for part in range(PARTS):
        own = [(finished, look.seconds) for finished, look in looks if finished * PARTS // NUMBER == part]
        (first, start), (last, end) = own[0], own[-1]
        times.append(1000 * (end - start) / (last - first))
    return times


@pytest.fixture(scope="module", autouse=True)
def findings(parts, milliseconds):
    """Kept whatever the tests say."""
    folder = os.environ.get("CXR_RELIABILITY")
    if not folder:
        return
    rows = [
        {
            "part of the run": f"{100 * index // PARTS} to {100 * (index + 1) // PARTS} %",
            "memory, MB": round(median(look.memory for look in part)),
            "most memory, MB": round(max(look.memory for look in part)),
            "open files": round(median(look.files for look in part)),
            "threads": round(median(look.threads for look in part)),
            "CPU time a radiograph, ms": round(milliseconds[index], 1),
        }
        for index, part in enumerate(parts)
    ]
    setting = (
        f"{NUMBER:,} radiographs of 96 x 80 pixels, {DIFFERENT} of them different, one structure by a small network "
        f"with drawn weights, {WORKERS} processes, memory of all processes together; {hardware()}, {processor()}, "
        f"Python {sys.version.split()[0]}, {time.strftime('%Y-%m-%d')}, a machine that was shared"
    )
    write_findings(Path(folder) / "long_runs.json", "Long runs of segment", COMMAND, setting, rows)


def test_every_radiograph_is_segmented(out, looks):
    with open(out / "measurements.csv", newline="", encoding="utf-8") as file:
        assert len([*csv.DictReader(file)]) == NUMBER


def test_memory_stays_within_5_percent_after_the_warm_up(parts):
    early = median(look.memory for look in parts[1])
    assert [median(look.memory for look in part) for part in parts[1:]] == pytest.approx(
        [early] * (PARTS - 1), rel=0.05
    )


def test_open_files_do_not_grow(parts):
    assert median(look.files for look in parts[-1]) <= max(look.files for look in parts[1])


def test_threads_do_not_grow(parts):
    assert max(look.threads for look in parts[-1]) <= max(look.threads for look in parts[1])


def test_a_radiograph_takes_as_long_at_the_end_as_after_the_warm_up(milliseconds):
    assert milliseconds[-1] < 1.1 * milliseconds[1]
