"""Radiographs that are segmented in several processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import FrameType

import pytest
from test_segment import rows, segment

from cxr_attn_unet import Segmenter
from cxr_attn_unet.segment import find_inputs, processes
from cxr_attn_unet.segment.journal import Journal
from cxr_attn_unet.segment.processes import NoProcessError, ProcessPipeline, _processes
from cxr_attn_unet.segment.settings import Settings
from cxr_attn_unet_dev.tools.session import look_at
from tiny_bundle import STRUCTURE, write_phantoms, write_tiny_bundle, write_wide

GIGABYTE = 2**30
GOOD = 6


@pytest.mark.parametrize(
    ("cores", "expected"),
    [(1, 1), (2, 2), (16, 16), (64, 50)],  # of the last, each has four of the radiographs
)
def test_every_core_has_a_process(cores, expected):
    assert _processes(200, "cpu", cores, 256 * GIGABYTE) == expected


def test_many_radiographs_use_64_cores():
    assert _processes(2000, "cpu", 64, 256 * GIGABYTE) == 64


def test_no_more_processes_than_the_memory_holds():
    assert _processes(2000, "cpu", 64, 16 * GIGABYTE) == 10


def test_unknown_memory_is_no_limit():
    assert _processes(2000, "cpu", 64, None) == 64


def test_few_radiographs_are_not_worth_a_process():
    assert _processes(15, "cpu", 64, 256 * GIGABYTE) == 1


@pytest.mark.parametrize(("cores", "expected"), [(2, 2), (16, 16), (64, 16)])
def test_processes_share_a_gpu(cores, expected):
    assert _processes(2000, "cuda", cores, 256 * GIGABYTE, 80 * GIGABYTE) == expected


def test_no_more_processes_than_the_gpu_holds():
    assert _processes(2000, "cuda", 64, 256 * GIGABYTE, 12 * GIGABYTE) == 4


def test_other_devices_are_not_shared():
    assert _processes(2000, "mps", 64, 256 * GIGABYTE) == 1


ASK = """
import sys
sys.path[:] = {path!r}
from cxr_attn_unet.segment import processes
process = processes._context().Process(target=exec, args=("import sys; print('{name}' in sys.modules)",))
with processes.search_path_passed_on():
    process.start()
process.join()
"""


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere processes are not forked")
def test_a_process_has_all_modules_when_it_begins_also_those_that_the_program_looks_for_elsewhere():
    without = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    script = ASK.format(path=sys.path, name=processes.__name__)
    # -S: packages are where the script says, and nowhere else
    done = subprocess.run([sys.executable, "-S", "-c", script], env=without, capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """A network that is quick, and whose preprocessing ends the process where a radiograph is twice as wide as high."""
    folder = tmp_path_factory.mktemp("bundles")
    config = write_tiny_bundle(folder) / "configs" / "inference.json"
    content = json.loads(config.read_text())
    step = {
        "_target_": "Lambdad",
        "keys": "image",
        "func": "$lambda x: x if max(x.shape) < 1.5 * min(x.shape[1:]) else __import__('os')._exit(9)",
    }
    content["preprocessing"]["transforms"].insert(1, step)
    config.write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def radiographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("radiographs")
    write_phantoms(folder, GOOD)
    write_wide(folder / "deadly.png")
    (folder / "00000a.png").write_text("no picture")
    return folder


@pytest.fixture(scope="module")
def run(bundles, radiographs, tmp_path_factory):
    """Exit status and folder of a run in two processes, batches of two."""
    out = tmp_path_factory.mktemp("out")
    status = segment(radiographs, "-o", out, "--bundles", bundles, "--trust", "--workers", 2, "--batch-size", 2)
    return status, out


@pytest.fixture(scope="module")
def alone(bundles, radiographs, tmp_path_factory):
    """Results of the same radiographs in this process alone, without the one that would end it."""
    out = tmp_path_factory.mktemp("alone")
    good = sorted(path for path in radiographs.iterdir() if path.name != "deadly.png")
    segment(*good, "-o", out, "--bundles", bundles, "--trust", "--workers", 1)
    return out


def test_masks_are_those_of_one_process(run, alone):
    names = [f"{index:05d}_{STRUCTURE}.png" for index in range(GOOD)]
    assert [(run[1] / name).read_bytes() for name in names] == [(alone / name).read_bytes() for name in names]


def test_the_table_is_that_of_one_process(run, alone):
    one, other = ([row | {"file": ""} for row in rows(out / "measurements.csv")] for out in (run[1], alone))
    assert one == other


def test_what_failed_is_listed_in_the_order_of_the_radiographs(run):
    assert [row["file"] for row in rows(run[1] / "failures.csv")] == ["00000a.png", "deadly.png"]


def test_a_radiograph_that_ends_its_process_is_named(run):
    reason = rows(run[1] / "failures.csv")[1]["reason"]
    assert reason.startswith("deadly.png: the process that worked on it ended with status 9")


def test_the_status_says_that_some_failed(run):
    assert run[0] == 1


def pipeline(bundles: Path, out: Path, identity: str = "", processes: int = 1, **options) -> ProcessPipeline:
    load = partial(Segmenter.from_bundles, bundles=bundles, device="cpu", trust=True, **options)
    segmenter = Segmenter.from_bundles(bundles=bundles, device="cpu", trust=True)
    settings = Settings.of(segmenter, out, ["png"], report=False)
    return ProcessPipeline(load, identity or segmenter.identity, settings, Journal(out / "journal.jsonl"), processes)


def test_other_weights_than_those_of_the_run_are_refused(bundles, radiographs, tmp_path):
    found = find_inputs([radiographs], tmp_path)
    with pytest.raises(NoProcessError, match="the bundles were changed"):
        list(pipeline(bundles, tmp_path, identity="others").run(found.inputs))


def test_bundles_that_no_process_can_load_end_the_run(bundles, radiographs, tmp_path):
    found = find_inputs([radiographs], tmp_path)
    with pytest.raises(NoProcessError, match=r"threshold is 7.*Give --workers 1"):
        list(pipeline(bundles, tmp_path, processes=2, threshold=7).run(found.inputs))


def start_and_signal(number: int, radiographs: Path, out: Path, bundles: Path) -> tuple[int, int]:
    """Start a run in two processes, send the first one a signal after the first record; exit status and session."""
    command = [sys.executable, "-W", "ignore", "-m", "cxr_attn_unet", "segment", radiographs, "-o", out, "--no-report"]
    command += ["--bundles", bundles, "--workers", "2", "--overwrite"]
    process = subprocess.Popen([*map(str, command)], start_new_session=True, stderr=subprocess.DEVNULL)
    journal = out / ".segment" / "journal.jsonl"
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None and not (journal.exists() and journal.stat().st_size):
        time.sleep(0.005)
    process.send_signal(number)
    return process.wait(200), process.pid


def lines_reached(outcomes: Iterator, interrupt_at: int | None = None) -> list[str]:
    """Go through outcomes, and note in which function each line of the pipeline is that this reaches.

    Args:
        outcomes: of a pipeline.
        interrupt_at: number of the line at which Ctrl-C is pressed, from 1 on.
    """
    reached: list[str] = []

    def trace(frame: FrameType, event: str, argument: object) -> object:
        if frame.f_code.co_filename != processes.__file__:
            return None
        if event == "line":
            reached.append(frame.f_code.co_name)
            if len(reached) == interrupt_at:
                sys.settrace(None)
                signal.raise_signal(signal.SIGINT)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for _ in outcomes:
            pass
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    return reached


def hangs(number: int, frame: FrameType | None) -> None:
    pytest.fail("hangs")  # which no "except Exception" takes


@pytest.fixture
def no_hang():
    """Ends a test that hangs."""
    former = signal.signal(signal.SIGALRM, hangs)
    signal.alarm(240)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, former)


def test_a_run_that_is_interrupted_at_any_line_records_what_is_written(bundles, radiographs, tmp_path, no_hang):
    """Whatever has a mask is in the journal, and nothing else; and no line waits for an answer that never comes."""
    inputs = find_inputs([radiographs / "00000.png"], tmp_path).inputs
    whole = lines_reached(pipeline(bundles, tmp_path / "whole").run(inputs))
    given = whole.index("give")  # what comes before is the start of a process
    for number in range(given, len(whole)):
        out = tmp_path / str(number)
        lines_reached(pipeline(bundles, out).run(inputs), interrupt_at=number)
        recorded = [record.stem for record in Journal(out / "journal.jsonl").records(["00000"])]
        assert [f"{stem}_{STRUCTURE}.png" for stem in recorded] == [path.name for path in out.glob("*.png")]


MANY = 300

needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for processes in /proc")


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    folder = tmp_path_factory.mktemp("many")
    (first,) = write_phantoms(folder, 1)
    for index in range(1, MANY):
        shutil.copy(first, folder / f"{index:05d}.png")
    return folder


@pytest.fixture(scope="module")
def stopped(many, bundles, tmp_path_factory):
    """Exit status, session and results of a run that SIGTERM has stopped."""
    out = tmp_path_factory.mktemp("stopped")
    return *start_and_signal(signal.SIGTERM, many, out, bundles), out


def test_a_run_that_is_stopped_says_so(stopped):
    assert stopped[0] == 130


def test_what_was_in_hand_when_it_was_stopped_is_in_the_table(stopped):
    names = [row["name"] for row in rows(stopped[2] / "measurements.csv")]
    assert 0 < len(names) < MANY
    assert {path.name for path in stopped[2].glob("*.png")} == {f"{name}_{STRUCTURE}.png" for name in names}


@needs_proc
def test_no_process_stays_when_a_run_is_stopped(stopped):
    assert vanished(stopped[1])


@needs_proc
def test_no_process_stays_when_the_first_one_is_killed(many, bundles, tmp_path):
    _, session = start_and_signal(signal.SIGKILL, many, tmp_path / "out", bundles)
    assert vanished(session)


def vanished(session: int) -> bool:
    deadline = time.monotonic() + 60
    while look_at(session).processes and time.monotonic() < deadline:
        time.sleep(0.05)
    return not look_at(session).processes
