"""``inference_in_memory.json``: the bundle for programs that hand pictures over, as MONAI Deploy's operator does."""

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor
from PIL import Image

from conftest import phantom

ROWS, COLUMNS = 96, 80
PICTURE, _ = phantom(0, ROWS, COLUMNS)


@pytest.fixture
def parser(bundle):
    """Both configs, read as the operator reads them."""
    read = ConfigParser()
    read.read_meta(str(bundle / "configs" / "metadata.json"))
    read.read_config([str(bundle / "configs" / f"{name}.json") for name in ("inference", "inference_in_memory")])
    read.update({"bundle_root": str(bundle), "device": "cpu", "parts": []})
    return read


def test_the_network_sees_what_it_sees_of_a_file(parser, bundle, tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    alone = ConfigParser(ConfigParser.load_config_file(bundle / "configs" / "inference.json"))
    of_file = alone.get_parsed_content("preprocessing")({"image": str(tmp_path / "a.png")})["image"]
    # MONAI Deploy: columns, rows, one slice
    handed_over = MetaTensor(torch.from_numpy(PICTURE.T.copy())[..., None])
    of_memory = parser.get_parsed_content("preprocessing")({"image": handed_over})["image"]
    assert torch.equal(of_memory.as_tensor(), of_file.as_tensor())


def test_the_mask_has_the_rows_and_columns_of_the_picture(parser):
    preprocessing = parser.get_parsed_content("preprocessing")
    image = preprocessing({"image": MetaTensor(torch.from_numpy(PICTURE.T.copy())[..., None])})["image"]
    logits = torch.full((2, *image.shape[1:]), -5.0)
    # the structure is where the picture is bright
    logits[1] = 20 * (image[0] - 0.75)
    logits[0] = 0
    mask = parser.get_parsed_content("postprocessing")({"image": image, "pred": logits})["pred"]
    assert (tuple(mask.shape), mask.dtype) == ((1, ROWS, COLUMNS), torch.uint8)
    low, high = np.percentile(PICTURE, (1, 99))
    bright = (PICTURE - low) / (high - low) > 0.75
    overlap = 2 * (np.asarray(mask[0], bool) & bright).sum() / (np.asarray(mask[0], bool).sum() + bright.sum())
    assert overlap > 0.8


def test_nothing_is_written(parser):
    kinds = [type(step).__name__ for step in parser.get_parsed_content("postprocessing").transforms]
    assert "SaveImaged" not in kinds
