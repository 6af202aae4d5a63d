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


SIDES = ["right_lung", "left_lung"]


def lungs(inputs: torch.Tensor) -> torch.Tensor:
    """A network that sees a lung where the picture is bright, the right one on the picture's left."""
    columns = torch.linspace(1, -1, inputs.shape[-1]).expand_as(inputs)
    sides = [torch.where(side * columns > 0, inputs - 0.5, -0.5) for side in (1, -1)]
    return torch.cat([0.5 - inputs, inputs - 0.5, *sides], 1) * 40


def test_parts_have_probabilities_of_their_own(disc):
    answer = TestTimeAugmentationInferer([(0, 1)], SIDES).probabilities(disc, lungs)[0]
    assert torch.allclose(answer, torch.cat([lungs(disc)[:, :2].softmax(1), lungs(disc)[:, 2:].sigmoid()], 1))


def test_in_a_mirrored_view_right_is_left(disc):
    answer = TestTimeAugmentationInferer([(0, 1, True)], SIDES).probabilities(disc, lungs)[0]
    assert torch.allclose(answer, TestTimeAugmentationInferer([(0, 1)], SIDES).probabilities(disc, lungs)[0])


def test_ribs_change_sides_and_keep_their_numbers():
    ribs = ["R1", "R2", "L1", "L2"]
    channels = torch.tensor([0.0, 9, -9, -9, 9, -9]).reshape(1, 6, 1, 1).expand(1, 6, 8, 8)
    answer = TestTimeAugmentationInferer([(0, 1, True)], ribs).probabilities(
        torch.zeros(1, 1, 8, 8), lambda _: channels
    )
    assert (answer[0, 0, 2:, 0, 0] > 0.5).tolist() == [True, False, False, False]


def test_the_structure_is_the_same_with_and_without_parts(disc):
    plain = TestTimeAugmentationInferer()(disc, halves).softmax(1)
    assert torch.allclose(TestTimeAugmentationInferer(parts=SIDES)(disc, lungs)[:, :2].softmax(1), plain)


def test_the_mean_of_parts_reaches_up_to_the_corners():
    """A view that does not reach a pixel has no say in it."""
    steady = torch.tensor([0.3, 0.7, 0.9, 0.2]).reshape(1, 4, 1, 1).expand(1, 4, 96, 80)
    logits = torch.cat([steady[:, :2].log(), steady[:, 2:].logit()], 1)
    mean = TestTimeAugmentationInferer(parts=SIDES)(torch.zeros(1, 1, 96, 80), lambda _: logits)[:, 2:].sigmoid()
    assert torch.allclose(mean, steady[:, 2:], atol=1e-3)


def test_a_network_without_the_parts_of_its_config(disc):
    with pytest.raises(ValueError, match="has 2 channels, too few for background, structure and 2 parts"):
        TestTimeAugmentationInferer(parts=SIDES)(disc, halves)


def test_an_unknown_part():
    with pytest.raises(ValueError, match="no structure has the part R13"):
        TestTimeAugmentationInferer(parts=["R13"])


def test_a_part_without_its_other_side():
    with pytest.raises(ValueError, match="parts are R1; each needs its other side"):
        TestTimeAugmentationInferer(parts=["R1"])


@pytest.fixture
def sure_and_unsure(disc):
    """A radiograph of which the network is sure, and one of which it is not."""
    return torch.cat([disc, 0.5 + 0.01 * disc])


TWO_VIEWS = [(0.0, 1.0), (5.0, 1.0)]


def test_other_views_are_taken_of_unsure_radiographs_only(sure_and_unsure):
    seen = []
    inferer = TestTimeAugmentationInferer(TWO_VIEWS, unsure_below=0.95)
    inferer(sure_and_unsure, lambda inputs: seen.append(len(inputs)) or halves(inputs))
    assert seen == [2, 1]


def test_an_unsure_radiograph_gets_the_mean_of_all_views_and_a_sure_one_the_first(sure_and_unsure):
    found = TestTimeAugmentationInferer(TWO_VIEWS, unsure_below=0.95)(sure_and_unsure, halves).softmax(1)
    views = TestTimeAugmentationInferer(TWO_VIEWS).probabilities(sure_and_unsure, halves)
    torch.testing.assert_close(found[0], views[0, 0], rtol=0, atol=1e-5)
    torch.testing.assert_close(found[1], views.mean(0)[1] / views.mean(0)[1].sum(0), rtol=0, atol=1e-5)


def test_where_nothing_was_found_the_other_views_are_taken(disc):
    seen = []
    inferer = TestTimeAugmentationInferer(TWO_VIEWS, unsure_below=0.95)
    inferer(0 * disc, lambda inputs: seen.append(len(inputs)) or halves(inputs))
    assert seen == [1, 1]


def test_a_confidence_above_one_is_refused():
    with pytest.raises(ValueError, match="unsure_below is 2"):
        TestTimeAugmentationInferer(unsure_below=2)
