"""Every bundle with train_strong.json added to train.json."""

import pytest
import torch
from monai.bundle import ConfigParser
from test_workflows import SMALL, TRAIN, config, data_for, run

STRONG = ["RandMoveStructured", "RandTiltd", "RandFilmCurved", "RandDevicesd", "RandPacemakerd"]


def steps(bundle, data, *names):
    parser = ConfigParser()
    parser.read_config(config(bundle, *names))
    parser.update({"dataset_dir": data, **SMALL})
    return [type(step).__name__ for step in parser.get_parsed_content("train#preprocessing").transforms]


def test_strong_augmentation_comes_after_what_is_cached_and_before_the_other_augmentation(bundle, tmp_path):
    data = data_for(bundle, tmp_path)
    usual = steps(bundle, data, "train")
    cached = usual.index("RandMirrord")
    assert steps(bundle, data, "train", "train_strong") == [*usual[:cached], *STRONG, *usual[cached:]]


@pytest.fixture
def trained(bundle, tmp_path):
    folder = str(tmp_path / "out")
    data = data_for(bundle, tmp_path / "data")
    run(bundle, "train", "train_strong", dataset_dir=data, output_dir=folder, ckpt_dir=folder, **TRAIN)
    return torch.load(tmp_path / "out" / "model.pt", weights_only=True)


def test_weights_trained_with_strong_augmentation_are_finite(trained):
    assert all(torch.isfinite(value).all() for value in trained.values())
