"""The test that goes to the model zoo's ``ci/unit_tests``, run as the zoo runs it."""

import os
import shutil
import subprocess
import sys

import pytest

from conftest import BUNDLES
from cxr_attn_unet_dev.packaging.package import write_unit_test


@pytest.fixture
def zoo(bundle, tmp_path):
    """A folder laid out as the model zoo, with a bundle and its test: its path, and the test's."""
    folder = tmp_path / "zoo"
    (folder / "models").mkdir(parents=True)
    shutil.copytree(bundle, folder / "models" / bundle.name)
    test = write_unit_test(bundle, tmp_path / "dist")
    (folder / "ci").mkdir()
    shutil.copytree(test.parent, folder / "ci" / "unit_tests")
    return folder, folder / "ci" / "unit_tests" / test.name


@pytest.mark.parametrize("path", BUNDLES, ids=lambda path: path.name)
def test_its_name_is_what_the_runner_looks_for(path, tmp_path):
    assert write_unit_test(path, tmp_path).relative_to(tmp_path).as_posix() == f"unit_tests/test_{path.name}.py"


@pytest.mark.slow
def test_every_bundle_passes_it(zoo):
    folder, test = zoo
    before = (folder / "models" / test.stem.removeprefix("test_") / "models" / "model.pt").read_bytes()
    environment = {**os.environ, "PYTHONPATH": str(test.parent)}
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "unittest", test.stem],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=540,
    )
    assert process.returncode == 0, process.stderr
    assert "Ran 2 tests" in process.stderr
    after = (folder / "models" / test.stem.removeprefix("test_") / "models" / "model.pt").read_bytes()
    assert after == before
