"""Channels of parts, away from those of background and structure."""

import pytest
import torch

from cxr_attn_unet.transforms import SplitPartsd

CHANNELS = torch.arange(4.0)[:, None, None].expand(4, 3, 5)


def test_background_and_structure_stay():
    assert torch.equal(SplitPartsd("pred", ["right_lung", "left_lung"])({"pred": CHANNELS})["pred"], CHANNELS[:2])


def test_parts_have_a_key_of_their_own():
    assert torch.equal(SplitPartsd("pred", ["right_lung", "left_lung"])({"pred": CHANNELS})["parts"], CHANNELS[2:])


def test_without_parts_nothing_changes():
    assert SplitPartsd("pred")({"pred": CHANNELS}) == {"pred": CHANNELS}


def test_too_few_channels_are_refused():
    with pytest.raises(ValueError, match="pred has 4 channels, too few for background, structure and 3 parts"):
        SplitPartsd("pred", ["R1", "R2", "R3"])({"pred": CHANNELS})
