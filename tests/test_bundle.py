"""What configs call around a run: checks, errors, processes, places."""

import subprocess
import sys

import pytest
import torch

from cxr_attn_unet import bundle, datasets

FAIL = """
from cxr_attn_unet.bundle import say_cause_last
{before}
try:
    raise ValueError("a.png: damaged")
except ValueError as error:
    raise RuntimeError("applying transform LoadRadiographd") from error
"""


def end_of(before):
    """The last line that a program prints which ends in an error that MONAI has wrapped."""
    done = subprocess.run([sys.executable, "-c", FAIL.format(before=before)], capture_output=True, text=True)
    return done.stderr.splitlines()[-1]


def test_the_cause_is_said_last():
    assert end_of("say_cause_last()") == "Caused by ValueError: a.png: damaged"


def test_the_cause_is_not_said_without_asking():
    assert end_of("pass") == "RuntimeError: applying transform LoadRadiographd"


def test_a_program_keeps_its_own_way_to_report_errors():
    own = "import sys; sys.excepthook = lambda kind, error, trace: print('mine', file=sys.stderr); say_cause_last()"
    assert end_of(own) == "mine"


def test_checking_the_folder_leaves_the_reporting_of_errors_alone(tmp_path):
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "metadata.json").write_text("{}")
    before = sys.excepthook
    bundle.check_bundle_root(tmp_path)
    assert sys.excepthook is before


def test_the_only_process_is_the_main_one():
    assert bundle.is_main_process()


def test_progress_is_not_shown_in_a_log(monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert not bundle.shows_progress()


def test_ending_processes_that_were_never_started_does_nothing():
    bundle.end_processes()


def test_processes_that_torchrun_did_not_start_are_refused(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with pytest.raises(RuntimeError, match=r"multi_gpu_\*.json needs one process per GPU. Start them with: torchrun"):
        bundle.start_processes()


@pytest.mark.parametrize(("device", "ids"), [("cpu", None), ("cuda:1", [torch.device("cuda", 1)])])
def test_ids_of_a_process_are_its_gpu(device, ids):
    assert bundle.process_device_ids(device) == ids


@pytest.mark.parametrize(("variable", "folder"), [("data", "data"), ("", "b/data"), (None, "b/data")])
def test_data_are_where_the_variable_says_or_in_the_bundle(monkeypatch, variable, folder):
    monkeypatch.delenv("CXR_DATA", raising=False)
    if variable is not None:
        monkeypatch.setenv("CXR_DATA", variable)
    assert datasets.data_folder("b") == folder


def test_names_of_data_sets_are_joined_in_their_order():
    items = [{"dataset": "jsrt"}, {}, {"dataset": "jsrt"}, {"dataset": "folder"}]
    assert datasets.names_of(items) == "jsrt_list_folder"
