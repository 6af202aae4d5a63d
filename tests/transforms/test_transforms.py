"""Geometry there and back, exactly."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Resized
from PIL import Image

from conftest import phantom
from cxr_attn_unet.io import RadiographError
from cxr_attn_unet.transforms import LoadMaskd, LoadRadiographd, OrientUprightd, ResizeLongestd


@pytest.mark.parametrize("upright", [(t, r, c) for t in (0, 1) for r in (0, 1) for c in (0, 1)])
def test_orientation_and_its_inverse(upright):
    """Against numpy's own operations, and back for a prediction of two channels."""
    stored = np.arange(12, dtype=np.float32).reshape(3, 4)  # (rows, columns)
    image = MetaTensor(torch.from_numpy(stored.T.copy())[None], meta={"upright": torch.tensor(upright)})
    transform = OrientUprightd("image")
    data = transform({"image": image})
    wanted = stored.T if upright[0] else stored
    wanted = np.flipud(wanted) if upright[1] else wanted
    wanted = np.fliplr(wanted) if upright[2] else wanted
    assert np.array_equal(data["image"][0].numpy(), wanted)
    data["pred"] = torch.cat([data["image"], 1 - data["image"]])
    back = Invertd("pred", transform, orig_keys="image", nearest_interp=False)(data)["pred"]
    assert np.array_equal(back[0].numpy(), stored.T)
    assert np.array_equal(back[1].numpy(), 1 - stored.T)


@pytest.mark.parametrize("size", [(100, 60), (61, 97), (20, 40), (64, 64), (2000, 33)])
def test_resize_keeps_proportions_and_goes_back(size):
    image = MetaTensor(torch.rand(1, *size))
    transform = ResizeLongestd("image", 64)
    data = transform({"image": image})
    rows, columns = data["image"].shape[1:]
    assert max(rows, columns) == 64
    assert min(rows, columns) == max(1, round(min(size) * 64 / max(size)))
    data["pred"] = MetaTensor(torch.rand(2, rows, columns))
    back = Invertd("pred", transform, orig_keys="image", nearest_interp=False)(data)["pred"]
    assert back.shape == (2, *size)
    assert back.min() >= 0
    assert back.max() <= 1


def test_resize_is_centred_and_does_not_alias():
    """A ramp stays a ramp, fine stripes turn to grey, and MONAI's own resizing agrees on smooth pictures."""
    ramp = torch.linspace(0, 1, 512).expand(1, 512, 512)
    small = ResizeLongestd("image", 64)({"image": ramp})["image"]
    assert torch.allclose(small[0, 30, 2:-2], (torch.arange(2, 62) + 0.5) * 8 / 511 - 0.5 / 511, atol=1e-3)
    stripes = (torch.arange(512) % 2).float().expand(1, 512, 512)
    grey = ResizeLongestd("image", 100)({"image": stripes})["image"]
    assert (grey - 0.5).abs().max() < 0.05
    smooth = torch.from_numpy(phantom(0, 512, 512)[1].astype(np.float32))[None]
    ours = ResizeLongestd("image", 128)({"image": smooth})["image"]
    theirs = Resized("image", 128, size_mode="longest", mode="bilinear", anti_aliasing=True)({"image": smooth})["image"]
    assert (ours - theirs).abs().mean() < 0.01


def test_mask_takes_field_of_view_and_orientation_from_its_radiograph(tmp_path):
    image, mask = phantom(0)
    Image.fromarray(image).save(tmp_path / "a.png")
    Image.fromarray(mask.astype(np.uint8).repeat(2, 0).repeat(2, 1)).save(tmp_path / "m.png")
    item = {"image": str(tmp_path / "a.png"), "label": str(tmp_path / "m.png"), "field_of_view_mm": [300.0, 250.0]}
    data = Compose([LoadRadiographd("image"), LoadMaskd("label")])(item)
    assert data["image"].shape == (1, 80, 96)
    assert data["label"].shape == (1, 160, 192)
    for key in ("image", "label"):
        assert data[key].meta["field_of_view_mm"].tolist() == [300, 250]
    assert data["label"].meta["radiograph"] == item["image"]
    assert set(data["label"].unique().tolist()) == {0, 1}


def test_mask_of_another_shape(tmp_path):
    image, mask = phantom(0)
    Image.fromarray(image).save(tmp_path / "a.png")
    Image.fromarray(mask.T.astype(np.uint8).copy()).save(tmp_path / "m.png")
    load = Compose([LoadRadiographd("image"), LoadMaskd("label")])
    with pytest.raises(RuntimeError) as caught:
        load({"image": str(tmp_path / "a.png"), "label": str(tmp_path / "m.png")})
    cause = caught.value.__cause__
    assert isinstance(cause, RadiographError)
    assert "m.png: the mask is 96 x 80 but its radiograph" in str(cause)
