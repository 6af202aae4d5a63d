"""Test-time augmentation turns views back onto the picture."""

import pytest
import torch

from cxr_attn_unet.inference.test_time_augmentation import VIEWS, TestTimeAugmentationInferer


def halves(inputs: torch.Tensor) -> torch.Tensor:
    """A network that sees structure where the picture is bright."""
    return torch.cat([0.5 - inputs, inputs - 0.5], 1) * 40


@pytest.fixture
def disc():
    y, x = torch.meshgrid(torch.arange(96.0), torch.arange(80.0), indexing="ij")
    return (((y - 30) ** 2 + (x - 50) ** 2) < 15**2).float()[None, None]


@pytest.mark.parametrize("view", [*VIEWS, (90.0, 1.0), (0.0, 1.0, True), (20.0, 0.9, True)])
def test_each_view_lies_over_the_picture(disc, view):
    answer = TestTimeAugmentationInferer([view]).probabilities(disc, halves)[0, 0, 1] > 0.5
    both = (answer & (disc[0, 0] > 0.5)).sum()
    assert 2 * both / (answer.sum() + disc.sum()) > 0.96


def test_direction_of_turning(disc):
    """Counter-clockwise by 90 degrees: what was above the centre is seen to its left."""
    seen = []
    TestTimeAugmentationInferer([(90.0, 1.0)])(disc, lambda inputs: seen.append(inputs) or halves(inputs))
    above = torch.zeros(1, 1, 64, 64)
    above[..., 5:15, 28:36] = 1
    TestTimeAugmentationInferer([(90.0, 1.0)])(above, lambda inputs: seen.append(inputs) or halves(inputs))
    rows, columns = (seen[1][0, 0] > 0.5).nonzero().float().mean(0)
    assert columns < 16
    assert 28 < rows < 36


def test_mirrored_view(disc):
    seen = []
    TestTimeAugmentationInferer([(0, 1, True)])(disc, lambda inputs: seen.append(inputs) or halves(inputs))
    assert torch.equal(seen[0], disc.flip(-1))


def test_the_picture_alone_gives_the_networks_own_logits(disc):
    assert torch.equal(TestTimeAugmentationInferer([[0, 1]])(disc, halves), halves(disc))


def test_mean_of_views_and_edges(disc):
    """What a view does not reach is left to the others: the mean of equal answers is that answer, up to the corners."""
    steady = torch.tensor([0.3, 0.7]).log().reshape(1, 2, 1, 1).expand(1, 2, 96, 80)
    mean = TestTimeAugmentationInferer()(disc, lambda inputs: steady).softmax(1)[0, 1]
    assert torch.allclose(mean, torch.full_like(mean, 0.7), atol=1e-3)


def test_no_views():
    with pytest.raises(ValueError, match="views is empty"):
        TestTimeAugmentationInferer([])
    with pytest.raises(ValueError, match=r"view \(0, 0\) must be \(degrees, zoom\)"):
        TestTimeAugmentationInferer([(0, 0)])
