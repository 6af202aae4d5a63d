"""Two processes of ``torchrun`` on Gloo train as one does, and end together."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from monai.bundle import create_workflow
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from conftest import REPOSITORY, write_folder

pytestmark = pytest.mark.slow
BUNDLE = REPOSITORY / "bundles" / "heart_attn_unet"
TRAIN = {
    "network_name": "unet",
    "width": 4,
    "image_size": 32,
    "epochs": 3,
    "num_workers": 0,
    "amp": False,
    # each process draws its own augmentation
    "train#random_transforms": [],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """27 radiographs to train on and 3 to validate on: two processes share out neither evenly."""
    return str(write_folder(tmp_path_factory.mktemp("data"), "heart", 30))


def config(*names):
    return [str(BUNDLE / "configs" / f"{name}.json") for name in names]


def start(folder, names=("train", "multi_gpu_train"), **options):
    """Two processes with a batch of two each, on this machine's CPU."""
    options = {**TRAIN, "batch_size": 2, "bundle_root": BUNDLE, "output_dir": folder, "ckpt_dir": folder, **options}
    flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "monai.bundle", "run"]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", *launcher, "--config_file", str(config(*names)), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )


def finish(process):
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors[-3000:]


def scalars(folder: Path) -> dict[str, list[float]]:
    """The curves that TensorBoard shows, by name."""
    found = {}
    for path in sorted(folder.glob("events*")):
        events = EventAccumulator(str(path)).Reload()
        for tag in events.Tags()["scalars"]:
            found[tag] = [event.value for event in events.Scalars(tag)]
    return found


def last(folder: Path) -> dict:
    return torch.load(folder / "last.pt", weights_only=True)


@pytest.fixture(scope="module")
def one(data, tmp_path_factory):
    """Where one process with a batch of four has written."""
    folder = tmp_path_factory.mktemp("one")
    workflow = create_workflow(
        config_file=config("train"),
        workflow_type="train",
        bundle_root=str(BUNDLE),
        dataset_dir=data,
        output_dir=str(folder),
        ckpt_dir=str(folder),
        batch_size=4,
        device="cpu",
        **TRAIN,
    )
    workflow.run()
    workflow.finalize()
    return folder


@pytest.fixture(scope="module")
def two(data, tmp_path_factory):
    """Where two processes with a batch of two each have written."""
    folder = tmp_path_factory.mktemp("two")
    finish(start(folder, dataset_dir=data))
    return folder


def test_two_processes_give_the_loss_of_one_in_every_step(one, two):
    (name,) = (tag for tag in scalars(one) if tag.startswith("train_loss"))
    expected, found = scalars(one)[name], scalars(two)[name]
    assert len(expected) == 3 * 6
    assert expected[-1] < expected[0]
    assert found == pytest.approx(expected, rel=1e-3)


def test_two_processes_give_the_weights_of_one(one, two):
    expected, found = last(one)["model"], last(two)["model"]
    for key, value in expected.items():
        torch.testing.assert_close(found[key], value, rtol=0.01, atol=1e-3, msg=key)


def test_metrics_of_two_processes_count_each_radiograph_once(one, two, data, tmp_path):
    """The same weights, so that a radiograph that counted twice would show."""
    finish(
        start(
            tmp_path,
            names=("train", "evaluate", "multi_gpu_evaluate"),
            dataset_dir=data,
            checkpoint=one / "model.pt",
        )
    )
    results = json.loads((tmp_path / "results_folder_validation.json").read_text())
    dice = [case["val_mean_dice"] for case in results["cases"].values()]
    assert len(dice) == 3
    assert results["summary"]["val_mean_dice"]["mean"] == pytest.approx(sum(dice) / 3, abs=1e-5)
    best = max(scalars(one)["val_mean_dice"])
    assert results["summary"]["val_mean_dice"]["mean"] == pytest.approx(best, abs=1e-4)


def test_two_processes_resume_as_they_would_have_continued(two, data, tmp_path):
    cut = start(tmp_path, dataset_dir=data)
    while not (tmp_path / "last.pt").is_file():
        assert cut.poll() is None, cut.communicate()[1][-3000:]
        time.sleep(0.01)
    cut.terminate()
    cut.communicate()
    assert last(tmp_path)["run"]["epoch"] < 3
    finish(start(tmp_path, dataset_dir=data, resume=True))
    whole, resumed = last(two), last(tmp_path)
    assert resumed["run"] == whole["run"]
    for key, value in whole["model"].items():
        assert torch.equal(resumed["model"][key], value), key


def test_a_killed_process_ends_the_run_with_a_clear_error(data, tmp_path):
    run = start(tmp_path, dataset_dir=data, epochs=1000)
    while not (tmp_path / "last.pt").is_file():
        assert run.poll() is None, run.communicate()[1][-3000:]
        time.sleep(0.01)
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    os.kill(int(children[-1]), signal.SIGKILL)
    _, errors = run.communicate(timeout=120)
    assert run.returncode != 0
    assert "Signal 9 (SIGKILL)" in errors  # of torchrun, which names the process
    assert "Another process of this run has ended" in errors  # of the one that was left
