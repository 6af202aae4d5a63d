"""Masks over the file's pixels, sooner than by a bundle's own steps, and the same."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import (
    FillHoles,
    KeepLargestConnectedComponent,
    RemoveSmallObjectsd,
    ScaleIntensityRangePercentilesd,
)
from scipy import ndimage

from conftest import EXAMPLES
from cxr_attn_unet import Segmenter
from cxr_attn_unet.inference.restoration import Restoration, largest_components, within_box, without_holes
from cxr_attn_unet.inference.segmenter import _quick
from cxr_attn_unet.io import Orientation, Radiograph, read_radiograph

ORIENTATIONS = [Orientation(*flags) for flags in product([False, True], repeat=3)]
WHOLE = read_radiograph(EXAMPLES / "open_radiographs" / "00cfd1c1.png").pixels[::3, ::3]


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter.from_bundles(["lungs", "clavicles", "ribs"], device="cpu")


@pytest.fixture(scope="module")
def step_by_step(segmenter):
    """The same bundles by their own steps."""
    return Segmenter([replace(model, restoration=None) for model in segmenter._models], segmenter.device)


def framed(pixels):
    return np.pad(pixels, ((30, 60), (50, 10)), constant_values=255)


@pytest.mark.parametrize("pixels", [WHOLE, WHOLE[:, 40:260], framed(WHOLE)], ids=["whole", "narrow", "framed"])
def test_masks_are_those_of_the_bundles_own_steps(segmenter, step_by_step, pixels):
    quick = segmenter(pixels).masks
    own = step_by_step(pixels).masks
    same = {name: np.array_equal(mask, own[name]) for name, mask in quick.items()}
    assert same == {"lungs": True, "clavicles": True, "ribs": True}


def test_ribs_are_restored_without_specks(segmenter):
    ribs = next(model for model in segmenter._models if model.structure == "ribs")
    assert ribs.restoration.smallest_piece == pytest.approx(0.002)
    mask = segmenter(WHOLE).masks["ribs"]
    pieces, _ = ndimage.label(mask, np.ones((3, 3)))
    assert np.bincount(pieces.ravel())[1:].min() >= 0.002 * mask.sum()


@pytest.mark.parametrize("orientation", ORIENTATIONS, ids=str)
def test_a_turned_file_gets_the_mask_of_its_own_steps(segmenter, step_by_step, orientation):
    radiograph = Radiograph(np.ascontiguousarray(orientation.undo(framed(WHOLE))), "turned", orientation=orientation)
    lungs = segmenter(radiograph).masks["lungs"]
    assert lungs.any()
    assert np.array_equal(lungs, step_by_step(radiograph).masks["lungs"])


@pytest.mark.parametrize("orientation", ORIENTATIONS, ids=str)
def test_undoing_an_orientation_gives_what_is_stored(orientation):
    stored = np.arange(12).reshape(3, 4)
    assert np.array_equal(orientation.undo(orientation.apply(stored)), stored)


def blobs(seed):
    """A mask of several components and holes, at the borders too."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(60, 80)), 2)
    return noise > 0.02


def monai(transform, mask):
    return transform(torch.from_numpy(mask)[None].float())[0].numpy() > 0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("count", [1, 2])
def test_the_largest_components_are_those_of_monai(seed, count):
    expected = monai(KeepLargestConnectedComponent(num_components=count), blobs(seed))
    assert np.array_equal(within_box(blobs(seed), lambda mask: largest_components(mask, count)), expected)


@pytest.mark.parametrize("seed", range(5))
def test_holes_are_filled_as_by_monai(seed):
    mask = largest_components(blobs(seed), 1)
    assert np.array_equal(within_box(mask, without_holes), monai(FillHoles(), mask))


def test_a_hole_that_opens_across_a_corner_is_none():
    mask = np.ones((5, 5), bool)
    mask[2, 2] = mask[1, 1] = mask[0, 0] = False
    assert not without_holes(mask)[2, 2]


def test_an_empty_mask_stays_empty():
    assert not within_box(np.zeros((4, 4), bool), without_holes).any()


def test_steps_of_another_kind_are_left_to_the_bundle(segmenter):
    model = segmenter._models[0]
    steps = [*model.postprocessing, RemoveSmallObjectsd("pred")]
    assert Restoration.of(model.preprocessing, steps) is None


def test_bundles_share_the_steps_that_do_the_same():
    segmenter = Segmenter.from_bundles(device="cpu")
    first = [model.preprocessing.transforms[0] for model in segmenter._models]
    assert (len(segmenter._models), len({id(step) for step in first})) == (4, 1)


def test_grey_values_are_scaled_as_by_monai():
    step = ScaleIntensityRangePercentilesd("image", 1, 99, 0, 1, clip=True)
    image = MetaTensor(torch.from_numpy(WHOLE.copy())[None])
    quick = _quick(step)({"image": image})["image"]
    torch.testing.assert_close(quick.as_tensor(), step({"image": image})["image"].as_tensor(), rtol=0, atol=1e-6)
