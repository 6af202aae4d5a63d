"""Labels of parts."""

import numpy as np
import pytest
import torch
from PIL import Image

from cxr_attn_unet.io import UNKNOWN
from cxr_attn_unet.structures import part_names
from cxr_attn_unet.transforms import (
    LabelSidesd,
    LoadMaskd,
    LoadRadiographd,
    OneHotMaskd,
    RandMirrord,
    ResizeMaskd,
)

RIBS = part_names("ribs")


def two_organs():
    label = torch.zeros(2, 20, 40)
    label[0, 5:15, 3:12] = 1
    label[0, 5:15, 25:38] = 1
    label[1] = UNKNOWN
    return label


def bits_of(*names):
    return float(sum(1 << RIBS.index(name) for name in names))


@pytest.fixture
def item(tmp_path):
    bits = np.zeros((40, 60), np.int32)
    bits[5:8, 5:20] = bits_of("R1", "R2")
    Image.fromarray(bits).save(tmp_path / "parts.tif")
    Image.fromarray((bits > 0).astype(np.uint8)).save(tmp_path / "mask.png")
    Image.fromarray(np.arange(2400, dtype=np.uint16).reshape(40, 60)).save(tmp_path / "image.png")
    return {
        "image": str(tmp_path / "image.png"),
        "label": str(tmp_path / "mask.png"),
        "parts": str(tmp_path / "parts.tif"),
    }


def load(item, parts):
    return LoadMaskd("label", parts=parts)(LoadRadiographd("image")(item))["label"]


def test_the_bits_of_an_items_parts_are_the_second_channel(item):
    assert load(item, RIBS)[1, 10, 6] == bits_of("R1", "R2")


def test_without_a_file_the_parts_are_unknown(item):
    del item["parts"]
    assert (load(item, RIBS)[1] == UNKNOWN).all()


def test_without_wanted_parts_there_is_one_channel(item):
    assert load(item, ()).shape == (1, 60, 40)


def test_a_label_is_resized_with_the_bits_of_its_parts(item):
    label = ResizeMaskd("label", 30)({"label": load(item, RIBS)})["label"]
    assert label[1].unique().tolist() == [0, bits_of("R1", "R2")]


def test_sides_are_told_apart_where_no_file_says_so():
    bits = LabelSidesd("label", "lungs")({"label": two_organs()})["label"][1]
    assert (bits[10, 5], bits[10, 30], bits[0, 0]) == (1, 2, 0)


def test_sides_that_a_file_says_are_kept():
    label = two_organs()
    label[1] = 2
    assert (LabelSidesd("label", "lungs")({"label": label})["label"][1] == 2).all()


@pytest.mark.parametrize("structure", ["heart", "ribs"])
def test_what_is_no_pair_gets_no_sides(structure):
    assert (LabelSidesd("label", structure)({"label": two_organs()})["label"][1] == UNKNOWN).all()


def mirrored(label, structure):
    return RandMirrord(["image", "label"], structure, prob=1.0)({"image": label[:1].clone(), "label": label.clone()})


def test_the_mirrored_right_rib_is_a_left_one():
    label = torch.zeros(2, 4, 6)
    label[1, 1, 0] = bits_of("R3", "L12")
    assert mirrored(label, "ribs")["label"][1, 1, 5] == bits_of("L3", "R12")


def test_unknown_parts_stay_unknown_when_mirrored():
    assert (mirrored(two_organs(), "lungs")["label"][1] == UNKNOWN).all()


def test_image_and_mask_are_mirrored_alike():
    found = mirrored(two_organs(), "lungs")
    assert torch.equal(found["image"][0], found["label"][0])


def test_a_label_of_one_channel_is_mirrored():
    assert torch.equal(mirrored(two_organs()[:1], "heart")["label"], two_organs()[:1].flip(-1))


def test_one_hot_references_leave_the_bits_out():
    label = two_organs()
    assert OneHotMaskd("label")({"label": label})["label"].shape == (2, 20, 40)
