"""Options of ``train.json`` for memory and speed: what they change, and what they leave as it is."""

import pytest
import torch
from monai.bundle import create_workflow

from conftest import REPOSITORY, write_folder

BUNDLE = REPOSITORY / "bundles" / "heart_attn_unet"
SMALL = {"width": 4, "image_size": 32, "batch_size": 4, "num_workers": 0, "device": "cpu", "amp": False, "epochs": 1}
# without batch normalisation, which sees a batch at a time
PLAIN = {
    "network_def": {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 2, "kernel_size": 3, "padding": 1},
    "optimizer#_target_": "torch.optim.SGD",
    "lr_scheduler": "$torch.optim.lr_scheduler.ConstantLR(@optimizer, 1.0)",
    "train#random_transforms": [],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Eight radiographs to train on and one to validate on."""
    return str(write_folder(tmp_path_factory.mktemp("data"), "heart", 9))


def train(data, folder, **options):
    """The weights after a training."""
    workflow = create_workflow(
        config_file=[str(BUNDLE / "configs" / "train.json")],
        workflow_type="train",
        bundle_root=str(BUNDLE),
        dataset_dir=data,
        output_dir=str(folder),
        ckpt_dir=str(folder),
        **{**SMALL, **options},
    )
    workflow.run()
    workflow.finalize()
    return torch.load(folder / "last.pt", weights_only=True)["model"]


def assert_same(found, expected):
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


@pytest.fixture(scope="module")
def usual(data, tmp_path_factory):
    """The weights without any of the options."""
    return train(data, tmp_path_factory.mktemp("usual"))


def test_activations_computed_again_give_the_same_weights(data, usual, tmp_path):
    assert_same(train(data, tmp_path, checkpointing=True), usual)


def test_radiographs_from_files_give_the_same_weights(data, usual, tmp_path):
    for run in ("written", "read"):
        assert_same(train(data, tmp_path / run, cache_dir=str(tmp_path / "kept")), usual)
    assert len(list((tmp_path / "kept").iterdir())) == 9


def test_batches_that_are_added_up_give_the_step_of_a_larger_one(data, tmp_path):
    larger = train(data, tmp_path / "larger", **PLAIN)
    added = train(data, tmp_path / "added", **PLAIN, **{"batch_size": 2, "accumulation": 2})
    for name, value in larger.items():
        torch.testing.assert_close(added[name], value, msg=name)


def test_augmentation_of_batches_trains_reproducibly(data, usual, tmp_path):
    pytest.importorskip("kornia", reason="pip install -e '.[batched]'")
    once, again = (train(data, tmp_path / name, batch_augmentation=True) for name in ("once", "again"))
    assert_same(again, once)
    assert any(not torch.equal(once[name], value) for name, value in usual.items())
