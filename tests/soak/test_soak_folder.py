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
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pytest

from cxr_attn_unet.system import hardware, processor
from cxr_attn_unet_dev.tools.reliability import write_findings
from tiny_bundle import write_phantoms, write_tiny_bundle

NUMBER = int(os.environ.get("CXR_SOAK_RADIOGRAPHS", "20000"))
DIFFERENT = 200  # radiographs; the others are the same under other names
WORKERS = 2
SECONDS = 2.0  # from one look at the processes to the next
PARTS = 10  # of the run, of which the first is the warm-up
TICKS = os.sysconf("SC_CLK_TCK")
COMMAND = f"make soak ARGS=tests/soak/test_soak_folder.py CXR_SOAK_RADIOGRAPHS={NUMBER}"

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks at processes in /proc"),
]


@dataclass(frozen=True)
class Look:
    """What the processes of the run had at a time.

    Attributes:
        radiographs: that were finished.
        memory: in MB; what processes share counts once.
        files: that were open.
        threads: of all processes.
        seconds: of CPU time since the start.
    """

    radiographs: int
    memory: float
    files: int
    threads: int
    seconds: float


def look_at(session: int, finished: int) -> Look:
    memory = files = threads = ticks = 0
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            stat = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(stat[3]) != session:
                continue
            lines = (entry / "smaps_rollup").read_text().splitlines()
            memory += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
            files += len([*(entry / "fd").iterdir()])
        except (OSError, ValueError, StopIteration):
            continue  # it has ended
        threads += int(stat[17])
        ticks += int(stat[11]) + int(stat[12])
    return Look(finished, memory / 1024, files, threads, ticks / TICKS)


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


def watched(process: subprocess.Popen, journal: Path) -> Iterator[Look]:
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
            yield look_at(process.pid, finished)


@pytest.fixture(scope="module")
def parts(looks):
    """The looks at each tenth of the run."""
    width = NUMBER / PARTS
    return [[look for look in looks if part * width <= look.radiographs < (part + 1) * width] for part in range(PARTS)]


def milliseconds(part: list[Look]) -> float:
    """CPU time a radiograph."""
    return 1000 * (part[-1].seconds - part[0].seconds) / (part[-1].radiographs - part[0].radiographs)


@pytest.fixture(scope="module", autouse=True)
def findings(parts):
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
            "CPU time a radiograph, ms": round(milliseconds(part), 1),
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


def test_a_radiograph_takes_as_long_at_the_end_as_after_the_warm_up(parts):
    assert milliseconds(parts[-1]) < 1.1 * milliseconds(parts[1])
