"""Commands killed at random moments: the same command again gives what an uninterrupted run gives."""

import csv
import signal
import time

import numpy as np
import pytest

from cxr_attn_unet.files import claimed
from killed import contents, finish, kill, parts, prepare
from killed_commands import CASES

SEED = 0


# trainings take longer
SLOW = ("training", "benchmark", "label_app")
NAMES = [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in CASES]


@pytest.fixture(scope="module", params=NAMES)
def case(request, tmp_path_factory):
    return CASES[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def uninterrupted(case, tmp_path_factory):
    """What an uninterrupted run makes, and the seconds that it takes."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    prepare(folder / "log")
    begin = time.monotonic()
    assert finish(case.command, case.arguments(folder), folder / "log") == 0, (folder / "log").read_text()
    return contents(folder / "made", case.without, case.keys), time.monotonic() - begin


@pytest.fixture(scope="module")
def expected(uninterrupted):
    return uninterrupted[0]


@pytest.fixture(scope="module")
def survived(case, uninterrupted, tmp_path_factory):
    """The folder of a command that was killed up to three times and then let go on; "make soak" has SIGTERM too."""
    folder = tmp_path_factory.mktemp("killed")
    rng = np.random.default_rng(SEED)
    assert kill(case.command, case.arguments(folder), folder / "log", signal.SIGKILL, 3, uninterrupted[1], rng) > 0
    assert finish(case.command, case.arguments(folder), folder / "log") == 0, (folder / "log").read_text()
    return folder / "made"


def test_results_are_those_of_an_uninterrupted_run(case, expected, survived):
    found = contents(survived, case.without, case.keys)
    assert found.keys() == expected.keys()
    assert [name for name in expected if found[name] != expected[name]] == []


def test_nothing_half_written_stays(survived):
    assert parts(survived) == []


def test_each_input_is_in_the_table_once(case, survived):
    if not (survived / "measurements.csv").exists():
        pytest.skip("makes no table")
    with open(survived / "measurements.csv", newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == [f"{index}.png" for index in range(6)]


def test_a_full_disk_is_an_error_that_names_the_file(case, tmp_path):
    assert finish(case.command, case.arguments(tmp_path), tmp_path / "log", case.limit) not in (0, None)
    assert str(tmp_path) in (tmp_path / "log").read_text().splitlines()[-1]
    assert parts(tmp_path) == []


def test_a_folder_that_cannot_be_written_to_is_named(case, tmp_path):
    (tmp_path / "made").write_text("a file where a folder is to be")
    assert finish(case.command, case.arguments(tmp_path), tmp_path / "log") != 0
    last = (tmp_path / "log").read_text().splitlines()[-1]
    assert str(tmp_path / "made") in last


@pytest.mark.parametrize("name", ["segment", pytest.param("training", marks=pytest.mark.slow)])
def test_a_second_process_does_not_write_to_the_same_folder(name, tmp_path):
    case = CASES[name](tmp_path)
    with claimed(tmp_path / "made" / {"segment": ".segment", "training": "stage_1"}[name]):
        assert finish(case.command, case.arguments(tmp_path), tmp_path / "log") != 0
    assert "writes to this folder. Wait until it has ended" in (tmp_path / "log").read_text()
