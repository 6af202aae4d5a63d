"""Masks that say nothing about some pixels, resized and one-hot."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.metrics import compute_dice
from monai.transforms import AsDiscreted, Compose, RandCropByPosNegLabeld
from PIL import Image

from conftest import phantom
from cxr_attn_unet.io import IGNORED
from cxr_attn_unet.transforms import (
    CropToFieldd,
    LoadMaskd,
    LoadRadiographd,
    OneHotMaskd,
    RandCropLabelledd,
    RandFadeStructured,
    ResizeLongestd,
    ResizeMaskd,
)


def test_loader_marks_pixels_of_the_items_ignore_value(tmp_path):
    image, mask = phantom(0)
    values = mask.astype(np.uint8) * 255
    values[:40] = 128
    Image.fromarray(image).save(tmp_path / "image.png")
    Image.fromarray(values).save(tmp_path / "mask.png")
    item = {"image": str(tmp_path / "image.png"), "label": str(tmp_path / "mask.png"), "ignore_value": 128}
    label = Compose([LoadRadiographd("image"), LoadMaskd("label")])(item)["label"]
    expected = mask.astype(int)
    expected[:40] = IGNORED
    np.testing.assert_array_equal(label[0].T, expected)


def test_ignored_pixels_stay_where_they_are_when_a_frame_is_left_out():
    image, mask = phantom(0)
    label = torch.from_numpy(mask).float()[None]
    label[:, :40] = IGNORED
    framed = {
        "image": torch.from_numpy(np.pad(image, 20)).float()[None],
        "label": torch.nn.functional.pad(label, (20, 20, 20, 20)),
    }
    cropped = CropToFieldd(["image", "label"])(framed)
    assert torch.equal(cropped["label"], label)


def test_without_ignored_pixels_a_mask_is_resized_as_by_threshold():
    mask = torch.from_numpy(phantom(1)[1]).float()[None]
    by_threshold = Compose([ResizeLongestd("label", 41), AsDiscreted("label", threshold=0.5)])({"label": mask})
    assert torch.equal(ResizeMaskd("label", 41)({"label": mask})["label"], by_threshold["label"])


def test_resized_mask_keeps_structure_up_to_the_border_of_ignored_pixels():
    mask = torch.ones(1, 8, 8)
    mask[:, 4:] = IGNORED
    small = ResizeMaskd("label", 4)({"label": mask})["label"]
    assert small[0, :, 0].tolist() == [1, 1, IGNORED, IGNORED]


def test_resized_mask_has_no_other_values():
    mask = torch.from_numpy(np.random.default_rng(0).integers(-1, 2, (1, 64, 64))).float()
    small = ResizeMaskd("label", 31)({"label": mask})["label"]
    assert set(small.unique().tolist()) == {IGNORED, 0, 1}


def one_hot(prediction, reference):
    d = {"pred": MetaTensor(prediction), "label": MetaTensor(reference, meta={"radiograph": "a.png"})}
    return OneHotMaskd(["pred", "label"])(d)


@pytest.mark.parametrize("key", ["pred", "label"])
def test_ignored_pixels_are_zero_in_every_channel_of_prediction_and_reference(key):
    found = one_hot(torch.ones(1, 2, 2), torch.tensor([[[0.0, 1.0], [IGNORED, IGNORED]]]))
    assert found[key].sum(0).tolist() == [[1, 1], [0, 0]]


def test_one_hot_masks_keep_their_metadata():
    found = one_hot(torch.ones(1, 2, 2), torch.full((1, 2, 2), float(IGNORED)))
    assert found["label"].meta["radiograph"] == "a.png"


@pytest.mark.parametrize("key", ["pred", "label"])
def test_without_ignored_pixels_masks_are_one_hot_as_by_monai(key):
    prediction, reference = (torch.from_numpy(phantom(seed)[1]).float()[None] for seed in (0, 1))
    found = one_hot(prediction, reference)
    expected = AsDiscreted(["pred", "label"], to_onehot=2)({"pred": prediction, "label": reference})
    assert torch.equal(found[key].as_tensor(), expected[key])


def test_dice_is_that_of_the_labelled_pixels():
    prediction, reference = (torch.from_numpy(phantom(seed)[1]).float()[None] for seed in (0, 1))
    partial = reference.clone()
    partial[:, 48:] = IGNORED
    found = one_hot(prediction, partial)
    upper = one_hot(prediction[:, :48], reference[:, :48])
    dice = [compute_dice(d["pred"][None], d["label"][None], include_background=False) for d in (found, upper)]
    assert float(dice[0]) == pytest.approx(float(dice[1]))


def test_ignored_pixels_are_not_faded():
    image = torch.from_numpy(phantom(0)[0]).float()[None]
    mask = torch.full_like(image, IGNORED)
    fade = RandFadeStructured("image", prob=1.0, factor=(1.0, 1.0))
    assert torch.equal(fade({"image": image, "label": mask})["image"], image)


def crops(transform, label):
    crop = transform("label", label_key="label", spatial_size=(5, 5), pos=1, neg=1, num_samples=40)
    crop.set_random_state(0)
    return torch.stack([cropped["label"].as_tensor() for cropped in crop({"label": label})])


def test_patches_have_their_centre_on_a_labelled_pixel():
    label = torch.full((1, 40, 40), float(IGNORED))
    label[:, 10:30, 10:20] = 0
    label[:, 10:30, 15:20] = 1
    centres = crops(RandCropLabelledd, label)[:, 0, 2, 2]
    assert set(centres.tolist()) == {0, 1}


def test_without_ignored_pixels_patches_are_monais():
    label = torch.from_numpy(phantom(0)[1]).float()[None]
    assert torch.equal(crops(RandCropLabelledd, label), crops(RandCropByPosNegLabeld, label))


def test_a_mask_without_any_label_is_cropped_anywhere():
    assert (crops(RandCropLabelledd, torch.full((1, 40, 40), float(IGNORED))) == IGNORED).all()


def test_a_patch_of_the_whole_picture_is_the_picture():
    item = {"label": torch.from_numpy(phantom(0)[1]).float()[None]}
    options = {"label_key": "label", "spatial_size": item["label"].shape[1:], "num_samples": 1}
    (expected,) = RandCropByPosNegLabeld("label", **options)(item)
    (found,) = RandCropLabelledd("label", **options)(item)
    assert torch.equal(found["label"], expected["label"])
