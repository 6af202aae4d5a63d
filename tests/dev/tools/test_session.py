"""What all processes of a program have together."""

import os
import subprocess
import sys

import pytest

from cxr_attn_unet_dev.tools.session import look_at

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks at processes in /proc")

# a process that starts another one; both say that they are there, and wait
PAIR = (
    "import subprocess, sys; held = bytearray(50 << 20); held[::4096] = b'x' * len(held[::4096]);"
    "child = subprocess.Popen([sys.executable, '-c', 'print(1, flush=True); input()']); input()"
)


@pytest.fixture(scope="module")
def look():
    process = subprocess.Popen(
        [sys.executable, "-c", PAIR], start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    process.stdout.readline()
    found = look_at(process.pid)
    process.communicate(b"\n\n")
    return found


def test_processes_that_a_process_starts_count(look):
    assert look.processes == 2


def test_memory_is_in_megabytes(look):
    assert 50 < look.memory < 200


def test_each_has_a_thread(look):
    assert look.threads == 2


def test_open_files_are_counted(look):
    assert look.files >= 6


def test_cpu_time_is_in_seconds(look):
    assert 0 <= look.seconds < 60


def test_a_session_that_has_ended_has_nothing():
    process = subprocess.Popen([sys.executable, "-c", ""], start_new_session=True)
    process.wait()
    assert look_at(process.pid).processes == 0
