"""A heart that no heart can be is looked at again; if that does not help, nothing is measured on it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from conftest import EXAMPLES
from cxr_attn_unet import Segmenter
from cxr_attn_unet.analysis.quality import implausible
from cxr_attn_unet.inference import TestTimeAugmentationInferer
from cxr_attn_unet.inference.segmenter import SECOND_LOOK
from cxr_attn_unet.io import read_radiograph

RADIOGRAPH = replace(read_radiograph(EXAMPLES / "open_radiographs" / "00cfd1c1.png"), notes=())
SIDE = 256
Y, X = np.mgrid[:SIDE, :SIDE]


def ellipse(row: float, column: float, height: float, width: float) -> np.ndarray:
    return ((Y - row) / (height / 2)) ** 2 + ((X - column) / (width / 2)) ** 2 <= 1


LUNGS = ellipse(120, 75, 170, 84) | ellipse(120, 181, 170, 84)
HEART = ellipse(165, 140, 74, 96)
TWO_LOBES = ellipse(165, 112, 60, 48) | ellipse(165, 165, 60, 48) | ellipse(165, 138, 8, 40)


class Drawing(torch.nn.Module):
    """Answers with a mask, whatever it sees: with the first one at the first look, then with the last one."""

    def __init__(self, first: np.ndarray, last: np.ndarray, parts: int = 0) -> None:
        super().__init__()
        self.parts = parts
        self.masks = (first, last)
        self.seen = 0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        mask = self.masks[self.seen > 0]
        self.seen += 1
        drawn = torch.from_numpy(mask).float()[None, None]
        inside = F.interpolate(drawn, image.shape[2:], mode="bilinear")
        channels = [6 - 12 * inside, *[12 * inside - 6] * (1 + self.parts)]
        return torch.cat(channels, 1).expand(len(image), -1, -1, -1)


@pytest.fixture(scope="module")
def models():
    return {model.structure: model for model in Segmenter.from_bundles(["lungs", "heart"], device="cpu")._models}


def look(models, first: np.ndarray, last: np.ndarray):
    """What is found if the heart's network answers so, and how often it was asked."""
    heart = Drawing(first, last)
    one_view = TestTimeAugmentationInferer([(0, 1)])
    changed = [
        replace(models["lungs"], network=Drawing(LUNGS, LUNGS, len(models["lungs"].parts)), inferer=one_view),
        replace(models["heart"], network=heart, inferer=one_view),
    ]
    found = Segmenter(changed, torch.device("cpu"))(RADIOGRAPH)
    return found, heart.seen


@pytest.fixture(scope="module")
def repaired(models):
    return look(models, TWO_LOBES, HEART)[0]


@pytest.fixture(scope="module")
def lost(models):
    return look(models, TWO_LOBES, TWO_LOBES)[0]


def test_a_heart_of_two_lobes_is_replaced_by_what_other_views_show(repaired):
    assert implausible({name: repaired.upright(name) for name in repaired.masks}) == {}


def test_the_second_look_is_said(repaired):
    assert SECOND_LOOK in repaired.warnings


def test_the_ratio_is_that_of_the_second_look(repaired):
    assert repaired.measurements["cardiothoracic_ratio"] == pytest.approx(96 / 190, abs=0.03)


def test_a_heart_that_stays_implausible_is_not_reliable(lost):
    assert lost.unreliable == {"heart": "two lobes or a deep notch"}


def test_it_is_said_in_the_warnings(lost):
    assert "heart not reliable: two lobes or a deep notch" in lost.warnings


@pytest.mark.parametrize("name", ["cardiothoracic_ratio", "heart_diameter"])
def test_nothing_is_measured_on_it(lost, name):
    assert lost.measurements[name] is None


def test_the_thorax_is_still_measured(lost):
    assert lost.measurements["thoracic_diameter"] > 0


def test_its_mask_is_still_given(lost):
    assert lost.masks["heart"].any()


def test_no_diameter_is_drawn(lost):
    """The picture is the same as that of a radiograph without measurements."""
    without = replace(lost, measurements=dict.fromkeys(lost.measurements))
    assert np.array_equal(np.asarray(lost.plot(256)), np.asarray(without.plot(256)))


def test_a_plausible_heart_is_looked_at_once(models):
    assert look(models, HEART, TWO_LOBES)[1] == 1


def test_a_plausible_heart_has_no_note(models):
    assert SECOND_LOOK not in look(models, HEART, TWO_LOBES)[0].warnings
