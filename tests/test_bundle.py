"""What configs call around a run: checks, errors, processes, places."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from conftest import REPOSITORY
from cxr_attn_unet import bundle, datasets
from cxr_attn_unet.bundle import BUNDLES_VARIABLE, bundles_folder, cause_of, check_bundle_root

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


def raised(action) -> Exception:
    try:
        action()
    except Exception as error:
        return error
    raise AssertionError("nothing was raised")


def wrapped(outside: Exception, inside: Exception) -> Exception:
    def fail():
        raise outside from inside

    return raised(fail)


def test_the_bundles_are_those_of_the_repository(monkeypatch):
    monkeypatch.delenv(BUNDLES_VARIABLE, raising=False)
    assert bundles_folder() == REPOSITORY / "bundles"


def test_a_variable_names_other_bundles(monkeypatch, tmp_path):
    monkeypatch.setenv(BUNDLES_VARIABLE, str(tmp_path))
    assert bundles_folder() == tmp_path


def test_a_folder_that_is_not_there_is_named_with_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setenv(BUNDLES_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match=f"nowhere; name the folder .* {BUNDLES_VARIABLE}"):
        bundles_folder()


@pytest.mark.parametrize("message", ["Failed to evaluate ConfigExpression: '$x'", "applying transform <X>"])
def test_the_cause_is_the_error_inside_monais(message):
    cause = ValueError("the real one")
    assert cause_of(wrapped(RuntimeError(message), cause)) is cause


def test_an_error_of_ones_own_is_its_own_cause():
    error = wrapped(RuntimeError("the real one"), ValueError("a detail"))
    assert cause_of(error) is error


def test_a_bundle_is_accepted(bundle):
    check_bundle_root(bundle)


def test_a_folder_that_is_no_bundle_is_refused_with_the_remedy(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is not a bundle: .* --bundle_root"):
        check_bundle_root(tmp_path)


def test_nothing_is_written_where_there_is_no_bundle(tmp_path):
    raised(lambda: check_bundle_root(tmp_path))
    assert list(Path(tmp_path).iterdir()) == []
