from importlib.util import find_spec

import pytest
import torch
from monai.bundle import ConfigParser
from monai.transforms import RandAffined

from conftest import REPOSITORY, phantom
from cxr_attn_unet.training.augmentation import BatchAugmentation, of_items

TRAIN = REPOSITORY / "bundles" / "heart_attn_unet" / "configs" / "train.json"
needs_kornia = pytest.mark.skipif(find_spec("kornia") is None, reason="pip install -e '.[batched]'")


def batch(number=4):
    """Phantoms ``(N, 1, 96, 96)`` in [0, 1], brighter in their mask."""
    pairs = [phantom(seed, 96, 96) for seed in range(number)]
    image = torch.stack([torch.as_tensor(image) for image, _ in pairs])[:, None] / 255
    label = torch.stack([torch.as_tensor(mask) for _, mask in pairs])[:, None].float()
    return {"image": image, "label": label}


def random_transforms():
    parser = ConfigParser()
    parser.read_config(TRAIN)
    return parser.get_parsed_content("train#random_transforms")


def test_without_it_every_transform_is_of_items():
    transforms = random_transforms()
    assert of_items(transforms, batched=False) == transforms


def test_with_it_what_knows_sides_and_patches_is_of_items():
    names = [type(transform).__name__ for transform in of_items(random_transforms(), batched=True)]
    assert names == ["RandMirrord", "RandFadeStructured", "RandCropLabelledd", "RandHistogramShiftd"]


def test_without_it_the_batch_stays_as_it_is():
    before = batch()
    image, label = BatchAugmentation(False, 0.5, (-0.1, 0.1))(before, "cpu")
    assert torch.equal(image, before["image"])
    assert torch.equal(label, before["label"])


@needs_kornia
def test_the_mask_goes_where_the_structure_goes():
    torch.manual_seed(0)
    augment = BatchAugmentation(True, 1.0, (-0.25, 0.25))
    before = batch(16)
    image, label = augment(before, "cpu")
    assert set(label.unique().tolist()) <= {0.0, 1.0}
    moved = (label != before["label"]).flatten(1).any(1)
    assert moved.float().mean() > 0.6
    inside = torch.stack([one[mask > 0].mean() for one, mask in zip(image, label, strict=True)])
    outside = torch.stack([one[mask == 0].mean() for one, mask in zip(image, label, strict=True)])
    assert ((inside - outside) > 0.1).float().mean() > 0.9


@needs_kornia
def test_values_of_masks_that_say_nothing_stay():
    before = batch()
    before["label"][:, :, :40] = -1
    _, label = BatchAugmentation(True, 0.5, (0, 0))(before, "cpu")
    assert set(label.unique().tolist()) == {-1.0, 0.0, 1.0}


@needs_kornia
@pytest.mark.parametrize("zoom", [-0.3, 0.3])
def test_zoom_means_what_it_means_item_by_item(zoom):
    torch.manual_seed(0)
    before = batch(8)
    _, label = BatchAugmentation(True, 0.0, (zoom, zoom))(before, "cpu")
    moved = label[(label != before["label"]).flatten(1).any(1)]
    item = RandAffined(keys="label", prob=1.0, scale_range=[(zoom, zoom)] * 2, mode="nearest", padding_mode="zeros")
    expected = torch.stack([item({"label": one})["label"] for one in before["label"]])
    assert len(moved) >= 4
    assert moved.mean() == pytest.approx(float(expected.mean()), rel=0.1)


@needs_kornia
def test_images_stay_between_0_and_1():
    torch.manual_seed(0)
    image, _ = BatchAugmentation(True, 0.7, (-0.2, 0.2))(batch(16), "cpu")
    assert (float(image.min()), float(image.max())) == (0.0, 1.0)


@needs_kornia
def test_the_same_seed_gives_the_same_batch():
    def augmented():
        torch.manual_seed(5)
        return BatchAugmentation(True, 0.7, (-0.2, 0.2))(batch(), "cpu")

    assert all(torch.equal(one, two) for one, two in zip(augmented(), augmented(), strict=True))
