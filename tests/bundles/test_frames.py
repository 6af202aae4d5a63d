"""Every bundle sees a radiograph in a frame as it sees the radiograph alone, and lays its mask over the whole file."""

import json

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from conftest import BUNDLES
from samples import picture, write_picture

TRUTH = picture(256, 192)
FRAME = ((40, 30), (20, 60))  # rows above and below, columns left and right
CROP = "cxr_attn_unet.transforms.CropToFieldd"
ORIENT = "cxr_attn_unet.transforms.OrientUprightd"


@pytest.fixture(scope="module", params=BUNDLES, ids=lambda path: path.name)
def inference(request):
    """Preprocessing, and postprocessing without the writer, of a bundle's inference config."""
    config = ConfigParser.load_config_file(request.param / "configs" / "inference.json")
    steps = config["postprocessing"]["transforms"]
    config["postprocessing"]["transforms"] = [step for step in steps if step["_target_"] != "SaveImaged"]
    parser = ConfigParser(config)
    parser["components"] = 0
    parser["parts"] = []
    return parser.get_parsed_content("preprocessing"), parser.get_parsed_content("postprocessing")


@pytest.fixture(params=[0, 255, 128])
def framed(request, tmp_path):
    return str(write_picture(tmp_path / "framed.png", np.pad(TRUTH, FRAME, constant_values=request.param)))


def test_the_network_sees_the_radiograph_without_its_frame(inference, framed, tmp_path):
    preprocess, _ = inference
    alone = str(write_picture(tmp_path / "alone.png", TRUTH))
    images = [preprocess({"image": path})["image"].as_tensor() for path in (framed, alone)]
    torch.testing.assert_close(*images)


def test_the_mask_lies_over_the_pixels_of_the_file(inference, framed):
    preprocess, postprocess = inference
    data = preprocess({"image": framed})
    everywhere = torch.full_like(data["image"].as_tensor(), 9.0)
    data["pred"] = torch.cat([-everywhere, everywhere])
    wanted = np.pad(np.ones_like(TRUTH), FRAME)
    np.testing.assert_array_equal(np.asarray(postprocess(data)["pred"]).T, wanted)


def chains(config):
    """All lists of transforms in a config."""
    if isinstance(config, dict):
        for value in config.values():
            yield from chains(value)
    elif isinstance(config, list):
        names = [step.get("_target_") for step in config if isinstance(step, dict)]
        if ORIENT in names:
            yield config


def test_training_and_validation_crop_images_and_masks_after_they_are_upright(bundle):
    train = json.loads((bundle / "configs" / "train.json").read_text(encoding="utf-8"))
    found = list(chains(train))
    assert len(found) == 2
    for steps in found:
        names = [step["_target_"] if isinstance(step, dict) else step for step in steps]
        at = names.index(ORIENT)
        assert (names[at + 1], steps[at + 1]["keys"]) == (CROP, steps[at]["keys"])
