"""Every bundle on radiographs whose masks say nothing about some pixels."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from test_workflows import SMALL, TRAIN, run

from conftest import head, write_folder
from cxr_attn_unet.io import IGNORED

IGNORE = 7


def with_ignored_part(root, structure, ignored):
    """Give the pixels of a part of each mask of a folder the value that says nothing.

    ``ignored``: index into masks ``(rows, columns)``.
    """
    for path in (root / "masks" / structure).iterdir():
        values = np.array(Image.open(path))
        values[ignored] = IGNORE
        Image.fromarray(values).save(path)
    (root / "mask_values.json").write_text(json.dumps({"ignore": IGNORE}), encoding="utf-8")


@pytest.fixture
def partly_labelled(bundle, tmp_path):
    """A bundle and ten radiographs of which the upper half is not labelled."""
    structure = head(bundle)["structure"]
    root = write_folder(tmp_path / "data", structure, 10)
    with_ignored_part(root, structure, np.s_[:48])
    return bundle, str(root)


@pytest.fixture
def trained(partly_labelled, tmp_path):
    bundle, data = partly_labelled
    folder = str(tmp_path / "out")
    return run(bundle, "train", dataset_dir=data, output_dir=folder, ckpt_dir=folder, **TRAIN)


def test_the_loss_of_partly_labelled_radiographs_is_finite(trained):
    assert math.isfinite(trained.trainer.state.output[0]["loss"])


def test_ignored_pixels_reach_the_loss_as_such(trained):
    batch = next(iter(trained.parser.get_parsed_content("train#dataloader")))
    assert set(batch["label"].unique().tolist()) == {IGNORED, 0, 1}


def test_weights_trained_on_partly_labelled_radiographs_are_finite(trained, tmp_path):
    state = torch.load(tmp_path / "out" / "last.pt", weights_only=True)
    assert all(torch.isfinite(value).all() for value in state["model"].values())


def evaluated(bundle, data, output):
    workflow = run(
        bundle,
        "train",
        "evaluate",
        run_id="evaluating",
        dataset_dir=str(data),
        output_dir=str(output),
        checkpoint=str(bundle / "models" / "model.pt"),
        **{**SMALL, "width": head(bundle)["width"], "image_size": 64},
    )
    return workflow.evaluator.state


def test_evaluation_leaves_ignored_pixels_out(bundle, tmp_path):
    structure = head(bundle)["structure"]
    root = write_folder(tmp_path / "data", structure, 2)
    case = evaluated(bundle, root, tmp_path / "before").output[0]
    prediction, truth = (case[key][1].numpy().T.astype(bool) for key in ("pred", "label"))
    labelled = np.zeros(truth.shape, bool)
    labelled[40:, :50] = True
    both = (prediction & truth)[labelled].sum()
    expected = 2 * both / (prediction[labelled].sum() + truth[labelled].sum())
    with_ignored_part(root, structure, ~labelled)
    assert evaluated(bundle, root, tmp_path / "after").metrics["val_mean_dice"] == pytest.approx(expected)
