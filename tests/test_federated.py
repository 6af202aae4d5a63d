"""Federated training of a bundle as it is: the job's folder, and a run of two sites in NVIDIA FLARE's simulator."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from conftest import REPOSITORY, write_folder
from cxr_attn_unet.networks import build_network, save_weights

BUNDLE = REPOSITORY / "bundles" / "heart_attn_unet"
SCRIPT = REPOSITORY / "apps" / "nvflare" / "job.py"
SMALL = {"image_size": 32, "batch_size": 4, "num_workers": 0, "device": "cpu", "amp": False}


def make_job(*arguments):
    return runpy.run_path(str(SCRIPT))["main"]([str(argument) for argument in arguments])


@pytest.fixture
def job(tmp_path):
    """A job of two sites: one says where its data are, the other has them in ``CXR_DATA``."""
    values = [part for key, value in SMALL.items() for part in ("--set", key, json.dumps(value))]
    folder = tmp_path / "job"
    arguments = [BUNDLE, folder, "--rounds", 3, "--local_epochs", 2, "--site", "north=data", "--site", "south"]
    assert make_job(*arguments, *values) == 0
    return folder


def client(job, site):
    config = json.loads((job / f"app_{site}" / "config" / "config_fed_client.json").read_text())
    return config["components"][0]["args"]


@pytest.mark.parametrize("app", ["server", "north", "south"])
def test_the_bundle_goes_along_unchanged(job, app):
    configs = job / f"app_{app}" / "config" / BUNDLE.name / "configs"
    for name in ("train.json", "evaluate.json", "metadata.json"):
        assert (configs / name).read_bytes() == (BUNDLE / "configs" / name).read_bytes()


def test_each_site_has_its_own_data(job):
    assert client(job, "north")["train_kwargs"]["dataset_dir"] == str(Path("data").resolve())
    assert "dataset_dir" not in client(job, "south")["train_kwargs"]


def test_every_site_gets_its_app(job):
    deploy = json.loads((job / "meta.json").read_text())["deploy_map"]
    assert deploy == {"app_server": ["server"], "app_north": ["north"], "app_south": ["south"]}


def test_the_schedule_spans_all_rounds(job):
    arguments = client(job, "north")
    assert (arguments["local_epochs"], arguments["train_kwargs"]["epochs"]) == (2, 6)


def test_what_is_not_a_bundle_is_named(tmp_path, capsys):
    assert make_job(tmp_path, tmp_path / "job", "--site", "north") == 1
    assert f"{tmp_path}/configs/train.json: no such file" in capsys.readouterr().err


def test_a_job_is_not_written_over_another(job, capsys):
    assert make_job(BUNDLE, job, "--site", "north") == 1
    assert str(job) in capsys.readouterr().err


@pytest.mark.slow
def test_two_sites_train_one_network(tmp_path):
    pytest.importorskip("monai_nvflare", reason="pip install -e '.[federated]'")
    start = tmp_path / "start.pt"
    torch.manual_seed(0)
    save_weights(build_network("efficientnet_attention_unet", width=16), start)
    arguments = [BUNDLE, tmp_path / "job", "--rounds", 2, "--initial_weights", start]
    for site in ("north", "south"):
        arguments += ["--site", f"{site}={write_folder(tmp_path / site, 'heart', 10)}"]
    for key, value in SMALL.items():
        arguments += ["--set", key, json.dumps(value)]
    assert make_job(*arguments) == 0
    workspace = tmp_path / "workspace"
    simulator = [sys.executable, "-W", "ignore", "-m", "nvflare.cli", "simulator", str(tmp_path / "job")]
    result = subprocess.run(
        [*simulator, "-w", str(workspace), "-c", "north,south", "-t", "2"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    (path,) = workspace.rglob("FL_global_model.pt")
    found = torch.load(path, weights_only=True)["model"]
    before = torch.load(start, weights_only=True)
    assert set(found) == set(before)
    assert any(not torch.equal(found[key], before[key]) for key in before)
    for site in ("north", "south"):
        (results,) = (workspace / site).rglob("results_folder_validation.json")
        assert len(json.loads(results.read_text())["cases"]) == 1
