"""Recipes: whose, on which data, from which weights, by which configs."""

import json

import pytest
import torch

from conftest import BUNDLES, head, write_folder
from cxr_attn_unet.training.recipe import main

SMALL = {"width": 4, "batch_size": 1, "num_workers": 0, "device": "cpu"}
STAGE = {"epochs": 1, "image_size": 64, "patch": [1.0, 1.0]}

pytestmark = pytest.mark.parametrize("bundle", BUNDLES[:1], ids=lambda path: path.name, indirect=True)


@pytest.fixture
def data(bundle, tmp_path):
    return str(write_folder(tmp_path / "data", head(bundle)["structure"], 10))


def write_recipe(path, **values):
    path.write_text(json.dumps({"stages": [STAGE], **values}), encoding="utf-8")
    return str(path)


def train(bundle, output, *options, **values):
    arguments = [str(bundle), "--output", str(output), *options]
    for key, value in {**SMALL, **values}.items():
        arguments += ["--set", key, json.dumps(value)]
    return main(arguments)


def test_several_data_sets_are_trained_on_together(bundle, data, tmp_path):
    other = write_folder(tmp_path / "other", head(bundle)["structure"], 20)
    for path in other.rglob("case_0*.png"):
        path.unlink()  # the same radiographs as in the first
    mine = write_recipe(tmp_path / "mine.json")
    train(bundle, tmp_path / "runs", "--recipe", mine, "--dataset_dir", data, "--dataset_dir", str(other))
    state = torch.load(tmp_path / "runs" / "stage_1" / "last.pt", weights_only=True)
    # nine of each ten radiographs, one by one
    assert state["lr_scheduler"]["last_epoch"] == 18


def test_configs_of_a_recipe_are_read_over_train_json(bundle, data, tmp_path):
    (bundle / "configs" / "faster.json").write_text(json.dumps({"optimizer#lr": 0.02, "lr_scheduler#max_lr": 0.02}))
    mine = write_recipe(tmp_path / "mine.json", configs=["train", "faster"])
    train(bundle, tmp_path / "runs", "--recipe", mine, "--dataset_dir", data)
    state = torch.load(tmp_path / "runs" / "stage_1" / "last.pt", weights_only=True)
    assert state["lr_scheduler"]["base_lrs"] == [pytest.approx(0.02 / 25)]  # where one-cycle starts


def test_a_stage_may_show_a_data_set_several_times_an_epoch(bundle, data, tmp_path):
    shown = "$cxr_attn_unet.datasets.repeated(@data['training'], {'folder': 2})"
    mine = write_recipe(tmp_path / "mine.json", stages=[{**STAGE, "train#dataset#data": shown}])
    train(bundle, tmp_path / "runs", "--recipe", mine, "--dataset_dir", data)
    state = torch.load(tmp_path / "runs" / "stage_1" / "last.pt", weights_only=True)
    assert state["lr_scheduler"]["last_epoch"] == 2 * 9


def test_the_first_stage_starts_from_the_weights_given(bundle, data, tmp_path):
    mine = write_recipe(tmp_path / "mine.json")
    train(bundle, tmp_path / "before", "--recipe", mine, "--dataset_dir", data)
    weights = tmp_path / "before" / "stage_1" / "model.pt"
    options = ("--recipe", mine, "--dataset_dir", data, "--initial_weights", str(weights))
    train(bundle, tmp_path / "after", *options, learning_rate=0, seed=1)
    before, after = (
        torch.load(tmp_path / run / "stage_1" / "model.pt", weights_only=True) for run in ("before", "after")
    )
    assert torch.equal(before["head.weight"], after["head.weight"])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"configs": ["train", "absent"]}, "no config 'absent' in"),
        ({"configs": ["train_strong"]}, "configs needs 'train', which the others are read over"),
        ({"stages": [{}]}, "each stage needs its epochs"),
    ],
)
def test_a_recipe_that_cannot_be_followed_is_refused(bundle, tmp_path, capsys, values, message):
    mine = write_recipe(tmp_path / "mine.json", **values)
    train(bundle, tmp_path / "runs", "--recipe", mine, "--dataset_dir", str(tmp_path))
    assert f"{mine}: {message}" in capsys.readouterr().err


def test_a_recipe_that_cannot_be_followed_ends_with_1(bundle, tmp_path):
    mine = write_recipe(tmp_path / "mine.json", configs=["train", "absent"])
    assert train(bundle, tmp_path / "runs", "--recipe", mine, "--dataset_dir", str(tmp_path)) == 1
