"""Training with the same seed on the same machine: the same losses and weights, to the last bit."""

import os
import shutil
import time
from pathlib import Path

import pytest
import torch
from ignite.engine import Events
from monai.bundle import create_workflow
from test_workflows import TRAIN, config

from conftest import REPOSITORY, write_folder
from cxr_attn_unet.system import hardware, processor
from cxr_attn_unet_dev.tools.reliability import write_findings

Weights = dict[str, torch.Tensor]

COMMAND = "make test ARGS=tests/bundles/test_same_seed.py CXR_RELIABILITY=docs/reliability"


def train(folder: Path, seed: int, num_workers: int = 0) -> tuple[list[float], Weights]:
    """Train two epochs on ten radiographs; the loss of each step, and the weights."""
    bundle = folder / "heart_attn_unet"
    shutil.copytree(
        REPOSITORY / "bundles" / bundle.name, bundle, ignore=shutil.ignore_patterns("eval", "data", "models")
    )
    data = write_folder(folder / "data", "heart", 10)
    workflow = create_workflow(
        config_file=config(bundle, "train"),
        workflow_type="train",
        run_id="training",
        bundle_root=str(bundle),
        dataset_dir=str(data),
        output_dir=str(folder / "out"),
        ckpt_dir=str(folder / "out"),
        **{**TRAIN, "seed": seed, "num_workers": num_workers},
    )
    losses: list[float] = []
    trainer = workflow.parser.get_parsed_content("train#trainer")
    trainer.add_event_handler(
        # each radiograph of a batch carries the loss of all of it
        Events.ITERATION_COMPLETED,
        lambda engine: losses.append(float(engine.state.output[0]["loss"])),
    )
    workflow.run()
    workflow.finalize()
    return losses, torch.load(folder / "out" / "model.pt", weights_only=True)


def are_same(one: Weights, other: Weights) -> bool:
    """To the last bit."""
    return all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Losses and weights by what is special about a run."""
    runs = {
        "the first": {"seed": 0},
        "the same again": {"seed": 0},
        "two processes read": {"seed": 0, "num_workers": 2},
        "two processes read, again": {"seed": 0, "num_workers": 2},
        "another seed": {"seed": 1},
    }
    return {name: train(tmp_path_factory.mktemp("run"), **options) for name, options in runs.items()}


@pytest.fixture(scope="module", autouse=True)
def findings(runs):
    """Kept where CXR_RELIABILITY names a folder, whatever the tests say."""
    folder = os.environ.get("CXR_RELIABILITY")
    if not folder:
        return
    rows = []
    for name, other in (
        ("the same again", "the first"),
        ("two processes read, again", "two processes read"),
        ("two processes read", "the first"),
        ("another seed", "the first"),
    ):
        (losses, weights), (expected, others) = runs[name], runs[other]
        rows.append(
            {
                "run": name,
                "compared with": other,
                "steps": len(losses),
                "losses that differ": sum(one != two for one, two in zip(losses, expected, strict=True)),
                "weights": "the same" if are_same(weights, others) else "others",
            }
        )
    setting = (
        f"the heart's bundle at width 4 on 32 x 32 pixels, two epochs of nine generated radiographs; {hardware()}, "
        f"{processor()}, one thread, PyTorch {torch.__version__}, {time.strftime('%Y-%m-%d')}"
    )
    write_findings(Path(folder) / "same_seed.json", "The same training again", COMMAND, setting, rows)


PAIRS = [("the same again", "the first"), ("two processes read, again", "two processes read")]


def test_a_run_has_a_loss_for_each_step(runs):
    assert len(runs["the first"][0]) == 4


@pytest.mark.parametrize(("run", "other"), PAIRS)
def test_the_same_seed_gives_the_same_losses(runs, run, other):
    assert runs[run][0] == runs[other][0]


@pytest.mark.parametrize(("run", "other"), PAIRS)
def test_the_same_seed_gives_the_same_weights(runs, run, other):
    assert are_same(runs[run][1], runs[other][1])


def test_another_seed_gives_other_losses(runs):
    assert runs["another seed"][0] != runs["the first"][0]
