"""Settings of a process of the command."""

import logging
import os
import warnings

import pytest

from cxr_attn_unet.process import prepare_process, quieten


@pytest.fixture(autouse=True)
def put_back(monkeypatch):
    """What these settings change, as it was."""
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    levels = {name: logging.getLogger(name).level for name in ("pydicom", "highdicom")}
    with warnings.catch_warnings():
        yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def test_waiting_threads_sleep():
    prepare_process()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


def test_what_the_user_has_set_stays(monkeypatch):
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")
    prepare_process()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


def test_warnings_of_libraries_are_not_shown(recwarn):
    quieten()
    warnings.warn("a value that breaks the standard", UserWarning, stacklevel=1)
    assert not recwarn.list


@pytest.mark.parametrize("name", ["pydicom", "highdicom"])
def test_only_errors_of_libraries_are_logged(name):
    quieten()
    assert logging.getLogger(name).level == logging.ERROR
