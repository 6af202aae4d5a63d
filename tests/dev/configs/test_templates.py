"""Configs from templates and heads, for the shipped structures and for a new one."""

import json
import shutil

import pytest
import torch
from monai.bundle import create_workflow

from conftest import BUNDLES, write_folder
from cxr_attn_unet_dev.configs import OPEN, channel_def, configs_of, head_of, texts, with_head
from cxr_attn_unet_dev.configs.__main__ import main

TRACHEA = {
    "structure": "trachea",
    "network_name": "unet",
    "image_size": 32,
    "epochs": 1,
    "learning_rate": 0.002,
    "augmentation": 0.5,
    "components": 1,
}


@pytest.fixture
def copy(tmp_path):
    """A bundle that tests may write to."""
    source = BUNDLES[0]
    shutil.copytree(source / "configs", tmp_path / source.name / "configs")
    return tmp_path / source.name


def test_a_head_replaces_values_and_nothing_else():
    assert with_head({"width": OPEN, "seed": 0}, {"width": 8, "flip": 0.5}) == {"width": 8, "seed": 0}


def test_a_value_that_is_left_open_is_named():
    with pytest.raises(ValueError, match=r"head of trachea: needs epochs, components. Add them."):
        with_head({"epochs": OPEN, "seed": 0, "components": OPEN}, {"structure": "trachea"})


def test_a_value_that_no_config_has_is_named():
    with pytest.raises(ValueError, match=r"head of trachea: no config has heigth."):
        configs_of({**TRACHEA, "heigth": 3})


def test_a_structure_without_a_head_says_where_to_write_it():
    with pytest.raises(FileNotFoundError, match=r"trachea.json: no such file. Write the head"):
        head_of("trachea")


def test_configs_differ_only_in_what_heads_say():
    one, other = configs_of(head_of("heart")), configs_of(head_of("ribs"))
    own = {*head_of("heart"), *head_of("ribs")}
    for name, config in one.items():
        differ = {key for key, value in config.items() if other[name][key] != value}
        assert differ <= own


def test_channels_of_parts_follow_those_of_background_and_structure():
    assert channel_def("lungs", ["right_lung", "left_lung"]) == {
        "0": "background",
        "1": "lungs",
        "2": "right_lung",
        "3": "left_lung",
    }


def test_a_changed_config_is_noticed(copy, capsys):
    path = copy / "configs" / "train.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    assert main([str(copy), "--check"]) == 1
    assert f"{path}: differs from its template and head. Run make bundles." in capsys.readouterr().out


def test_a_changed_config_is_written_again(copy):
    path = copy / "configs" / "train.json"
    before = path.read_text()
    path.write_text("{}")
    assert main([str(copy)]) == 0
    assert path.read_text() == before == texts(copy)[path]


def test_a_new_structure_trains_by_its_head_alone(tmp_path):
    bundle = tmp_path / "trachea_attn_unet"
    (bundle / "configs").mkdir(parents=True)
    (bundle / "configs" / "metadata.json").write_text("{}")
    path = bundle / "configs" / "train.json"
    path.write_text(json.dumps(configs_of(TRACHEA)["train"]))
    workflow = create_workflow(
        config_file=str(path),
        workflow_type="train",
        bundle_root=str(bundle),
        dataset_dir=str(write_folder(tmp_path / "data", "trachea", 10)),
        width=4,
        device="cpu",
    )
    workflow.run()
    workflow.finalize()
    assert "head.weight" in torch.load(bundle / "models" / "model.pt", weights_only=True)
