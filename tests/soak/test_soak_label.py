"""1,000 requests of 8 clients to MONAI Label's server, or CXR_SOAK_REQUESTS of the environment, one in five bad."""

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from conftest import REPOSITORY
from cxr_attn_unet.system import hardware, processor
from cxr_attn_unet_dev.tools.reliability import write_findings

REQUESTS = int(os.environ.get("CXR_SOAK_REQUESTS", "1000"))
CLIENTS = 8
FILES = ("truncated", "text", "missing")  # bad requests that name a bad file, see label_load.py
CALLS = ("model", "params")  # and those that are wrong in themselves
# the environment of "make label"
PYTHON = REPOSITORY / ".venv-label" / "bin" / "python"
COMMAND = f"make soak ARGS=tests/soak/test_soak_label.py CXR_SOAK_REQUESTS={REQUESTS}"

pytestmark = [
    pytest.mark.soak,
    pytest.mark.skipif(not PYTHON.exists(), reason="needs the environment that make .venv-label/.ready sets up"),
]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What came of all requests."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY / "apps" / "monailabel" / "site")}
    command = [PYTHON, "-W", "ignore", REPOSITORY / "tests" / "acceptance" / "label_load.py"]
    command += [tmp_path_factory.mktemp("log"), "--requests", REQUESTS, "--clients", CLIENTS]
    done = subprocess.run([*map(str, command)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module", autouse=True)
def findings(found):
    """Kept where CXR_RELIABILITY names a folder, whatever the tests say."""
    folder = os.environ.get("CXR_RELIABILITY")
    if not folder:
        return
    row = {
        "requests": REQUESTS,
        "that can be answered": sum(found["good"].values()),
        "answered rightly": found["good"].get("right", 0),
        "that cannot": sum(found["bad"].values()),
        "refused with 422": with_status(found, FILES, 422),
        "refused with 500": with_status(found, CALLS, 500),
        **{f"seconds, {name} %": round(value, 2) for name, value in found["seconds"].items()},
        "memory after a fifth, MB": round(found["memory"][0]),
        "memory at the end, MB": round(found["memory"][1]),
        "open files": " to ".join(map(str, found["files"])),
        "threads": " to ".join(map(str, found["threads"])),
    }
    setting = (
        f"{CLIENTS} clients side by side, each waiting for its answer; radiographs of 256 x 256 pixels; heart, lungs, "
        "and all structures in turn; one request in five is for a truncated file, a text, a missing file, an unknown "
        f"model, or has no valid parameters; {hardware()}, {processor()}, {time.strftime('%Y-%m-%d')}, a machine that "
        "was shared"
    )
    write_findings(Path(folder) / "label_server.json", "The label server under load", COMMAND, setting, [row])


def with_status(found: dict, kinds: tuple[str, ...], status: int) -> int:
    """How many bad requests of some kinds were answered with a status."""
    return sum(found["bad"].get(f"{kind}: {status}", 0) for kind in kinds)


def test_every_request_that_can_be_answered_is_answered_rightly(found):
    assert found["good"] == {"right": sum(found["good"].values())}


def test_every_file_that_is_no_radiograph_is_refused_as_such(found):
    asked = sum(count for outcome, count in found["bad"].items() if outcome.startswith(FILES))
    assert with_status(found, FILES, 422) == asked


def test_every_call_that_makes_no_sense_is_refused(found):
    # MONAI Label says 500 where a client named an unknown model, or sent parameters that are no JSON
    assert {outcome for outcome in found["bad"] if outcome.startswith(CALLS)} <= {"model: 500", "params: 500"}


def test_the_server_is_there_at_the_end(found):
    assert found["alive"]


def test_memory_stays_within_a_tenth_after_the_warm_up(found):
    before, after = found["memory"]
    assert after < 1.1 * before


def test_open_files_do_not_grow(found):
    before, after = found["files"]
    assert after <= before + CLIENTS


def test_threads_do_not_grow_beyond_the_servers_pool(found):
    assert found["threads"][1] <= found["threads"][0] + 40  # of the threads that its framework may start
