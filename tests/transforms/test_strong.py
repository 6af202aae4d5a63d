"""Exposure, tilt and devices, for radiographs as they come from wards and old films."""

import numpy as np
import pytest
import torch

from conftest import phantom
from cxr_attn_unet.transforms import RandDevicesd, RandFilmCurved, RandPacemakerd, RandTiltd


def image_and_mask(side=96):
    image, mask = phantom(0, side, side)
    return {"image": torch.from_numpy(image)[None].float() / 255, "label": torch.from_numpy(mask)[None].float()}


def tilt(**settings):
    return RandTiltd(["image", "label"], mode=["bilinear", "nearest"], **{"prob": 1.0, **settings})


def film(**settings):
    return RandFilmCurved("image", prob=1.0, **settings)


def test_a_film_keeps_black_and_white():
    ends = torch.tensor([[[0.0, 1.0]]])
    developed = film(posterise=0.0)({"image": ends})["image"]
    assert developed.flatten().tolist() == pytest.approx([0, 1], abs=1e-6)


def test_a_film_keeps_the_order_of_grey_values():
    ramp = torch.linspace(0, 1, 50)[None, None]
    developed = film(posterise=0.0)({"image": ramp})["image"]
    assert (developed.diff() > 0).all()


def test_a_low_middle_makes_the_picture_bright():
    data = {"image": torch.full((1, 2, 2), 0.5)}
    bright = film(slope=(8, 8), middle=(0.15, 0.15), posterise=0.0)(data)["image"]
    assert float(bright[0, 0, 0]) > 0.9


def test_posterised_pictures_have_few_grey_levels():
    developed = film(posterise=1.0, levels=(16, 16))({"image": torch.linspace(0, 1, 500)[None, None]})["image"]
    assert len(developed.unique()) <= 16


def test_a_tilt_keeps_the_centre():
    data = {"image": torch.zeros(1, 65, 65), "label": torch.zeros(1, 65, 65)}
    data["label"][0, 32, 32] = 1
    tilted = tilt()(data)
    assert tilted["label"][0, 32, 32] == 1


@pytest.mark.parametrize(("row", "factor"), [(40, 1 - 0.25 * 0.6), (160, 1 + 0.25 * 0.6)])
def test_a_tilt_magnifies_one_end_and_shrinks_the_other(row, factor):
    band = torch.zeros(1, 200, 200)
    band[:, :, 80:120] = 1
    widths = tilt(across=(0, 0), along=(0.25, 0.25))({"image": band, "label": band})["label"][0].sum(1)
    assert float(widths[row]) == pytest.approx(40 * factor, abs=1)


def test_a_tilted_mask_has_no_new_values():
    data = image_and_mask()
    data["label"][:, :40] = -1
    tilted = tilt(across=(0.1, 0.1))(data)
    assert set(tilted["label"].unique().tolist()) == {-1, 0, 1}


def test_a_tilt_too_strong_is_refused():
    with pytest.raises(ValueError, match="inside out"):
        RandTiltd("image", along=(-0.6, 0.6))


@pytest.fixture(scope="module")
def with_devices():
    """Twenty pictures with all kinds of devices, and the picture without them."""
    devices = RandDevicesd("image", prob=1.0, share=1.0)
    data = image_and_mask(128)
    drawn = []
    for seed in range(20):
        devices.set_random_state(seed)
        drawn.append(devices(data)["image"])
    return torch.stack(drawn), data["image"]


def test_devices_leave_some_of_the_picture(with_devices):
    drawn, plain = with_devices
    changed = ((drawn - plain).abs() > 0.01).float().mean((1, 2, 3))
    assert float(changed.max()) < 0.6


def test_devices_are_seen(with_devices):
    drawn, plain = with_devices
    changed = ((drawn - plain).abs() > 0.01).float().mean((1, 2, 3))
    assert float(changed.min()) > 0.01


def test_devices_stay_within_the_grey_scale(with_devices):
    drawn, _ = with_devices
    assert torch.equal(drawn, drawn.clamp(0, 1))


def test_devices_change_no_mask():
    data = image_and_mask()
    assert torch.equal(RandDevicesd("image", prob=1.0, share=1.0)(data)["label"], data["label"])


def with_pacemaker(structure, seed=0):
    """A grey picture all of which is a structure's first part, with a pacemaker."""
    transform = RandPacemakerd("image", structure, prob=1.0)
    transform.set_random_state(seed)
    return transform({"image": torch.full((1, 160, 128), 0.3), "label": torch.ones(2, 160, 128)})


@pytest.mark.parametrize("seed", range(8))
def test_no_rib_is_drawn_behind_the_metal_of_a_pacemaker(seed):
    data = with_pacemaker("ribs", seed)
    hidden = data["label"] == 0
    assert torch.equal(hidden[0], hidden[1])
    assert 0.003 < float(hidden.float().mean()) < 0.05
    assert float(data["image"][0][hidden[0]].mean()) > 0.6


@pytest.mark.parametrize("structure", ["lungs", "heart", "clavicles", "a new one"])
def test_other_structures_are_drawn_through_it(structure):
    data = with_pacemaker(structure)
    assert (data["label"] == 1).all()
    assert float((data["image"] > 0.31).float().mean()) > 0.003


def test_a_pacemaker_stays_within_the_grey_scale():
    pictures = torch.stack([with_pacemaker("heart", seed)["image"] for seed in range(20)])
    assert torch.equal(pictures, pictures.clamp(0, 1))


@pytest.mark.parametrize(
    "transform",
    [
        RandFilmCurved("image", prob=1.0),
        tilt(),
        RandDevicesd("image", prob=1.0),
        RandPacemakerd("image", "ribs", prob=1.0),
    ],
    ids=lambda transform: type(transform).__name__,
)
def test_the_same_seed_gives_the_same_picture(transform):
    pictures = []
    for _ in range(2):
        transform.set_random_state(3)
        pictures.append(transform(image_and_mask())["image"])
    np.testing.assert_array_equal(pictures[0], pictures[1])


@pytest.mark.parametrize(
    "transform",
    [
        RandFilmCurved("image", prob=0.0),
        tilt(prob=0.0),
        RandDevicesd("image", prob=0.0),
        RandPacemakerd("image", "ribs", prob=0.0),
    ],
    ids=lambda transform: type(transform).__name__,
)
def test_nothing_changes_at_probability_zero(transform):
    data = image_and_mask()
    assert torch.equal(transform(data)["image"], data["image"])
