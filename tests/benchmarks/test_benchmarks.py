"""The scripts that measure what the documentation says."""

import runpy
import sys

import pytest

from conftest import REPOSITORY

SCRIPTS = sorted((REPOSITORY / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_a_wrong_folder_is_named(script, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", [script.name, "--dataset_dir", str(tmp_path / "nowhere")])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(script), run_name="__main__")
    assert (caught.value.code, "nowhere" in capsys.readouterr().err) == (1, True)
