"""Loss of masks that say nothing about some pixels."""

import pytest
import torch
from monai.losses import DiceCELoss

from cxr_attn_unet.io import IGNORED, UNKNOWN
from cxr_attn_unet.training.losses import PartialDiceCELoss, PartsLoss, StructureAndPartsLoss


def batch(seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(3, 2, 16, 12, generator=generator)
    target = (torch.rand(3, 1, 16, 12, generator=generator) > 0.5).float()
    return logits, target


def test_loss_of_wholly_labelled_pixels_is_monais():
    logits, target = batch()
    assert float(PartialDiceCELoss()(logits, target)) == float(
        DiceCELoss(to_onehot_y=True, softmax=True)(logits, target)
    )


def test_loss_is_that_of_the_labelled_part():
    logits, target = batch()
    partial = target.clone()
    partial[:, :, 8:] = IGNORED
    expected = DiceCELoss(to_onehot_y=True, softmax=True)(logits[:, :, :8], target[:, :, :8])
    assert float(PartialDiceCELoss()(logits, partial)) == pytest.approx(float(expected), rel=1e-6)


def test_pixels_have_a_gradient_where_they_are_labelled_only():
    logits, target = batch()
    logits.requires_grad_(True)
    target[:, :, 8:] = IGNORED
    PartialDiceCELoss()(logits, target).backward()
    labelled = (target != IGNORED).expand_as(logits)
    assert torch.equal(logits.grad != 0, labelled)


def test_a_radiograph_counts_the_same_however_little_of_it_is_labelled():
    logits, target = batch()
    target[0, :, 2:] = IGNORED
    together = PartialDiceCELoss()(logits, target)
    alone = [PartialDiceCELoss()(logits[i : i + 1], target[i : i + 1]) for i in range(3)]
    assert float(together) == pytest.approx(float(sum(alone)) / 3, rel=1e-6)


@pytest.mark.parametrize("without", [[0], [0, 1, 2]])
def test_a_radiograph_without_any_label_has_no_gradient(without):
    logits, target = batch()
    logits.requires_grad_(True)
    target[without] = IGNORED
    PartialDiceCELoss()(logits, target).backward()
    assert (logits.grad[without] == 0).all()


def test_the_loss_of_a_batch_without_any_label_is_finite():
    logits, target = batch()
    assert torch.isfinite(PartialDiceCELoss()(logits, torch.full_like(target, IGNORED)))


def parts_batch():
    """Logits that are sure and right about two overlapping parts, beside a radiograph whose parts are unknown."""
    bits = torch.zeros(2, 1, 16, 16)
    bits[0, 0, 2:6] += 1
    bits[0, 0, 4:10] += 2
    bits[1] = UNKNOWN
    labels = torch.stack([bits[0, 0].long() & 1, bits[0, 0].long() >> 1]) > 0
    logits = torch.zeros(2, 2, 16, 16)
    logits[0] = torch.where(labels, 20.0, -20.0)
    return logits, bits


def test_right_parts_cost_nothing():
    assert float(PartsLoss()(*parts_batch())) == pytest.approx(0, abs=1e-6)


def test_parts_by_each_others_names_cost():
    logits, bits = parts_batch()
    assert float(PartsLoss()(logits.flip(1), bits)) > 1


def test_unknown_parts_have_no_gradient():
    logits, bits = parts_batch()
    logits.requires_grad_(True)
    PartsLoss()(logits, bits).backward()
    assert not logits.grad[1].any()


def test_the_loss_of_parts_is_that_of_the_pixels_whose_parts_are_known():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 2, 16, 16, generator=generator, requires_grad=True)
    bits = torch.randint(0, 4, (2, 1, 16, 16), generator=generator).float()
    expected = PartsLoss()(logits[:, :, :8], bits[:, :, :8])
    bits[:, :, 8:] = UNKNOWN
    loss = PartsLoss()(logits, bits)
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)
    loss.backward()
    assert (logits.grad[:, :, 8:] == 0).all()
    assert (logits.grad[:, :, :8:2, ::2] != 0).all()


def test_a_radiograph_counts_the_same_however_few_of_its_parts_are_known():
    generator = torch.Generator().manual_seed(0)
    logits = torch.full((2, 1, 16, 16), -20.0)
    logits[0] = torch.randn(1, 16, 16, generator=generator)
    bits = torch.zeros(2, 1, 16, 16)
    all_known = PartsLoss()(logits, bits)
    bits[1, 0, 2:] = UNKNOWN
    assert float(PartsLoss()(logits, bits)) == pytest.approx(float(all_known), rel=1e-6)


def test_a_batch_of_unknown_parts_costs_nothing():
    logits, bits = parts_batch()
    assert float(PartsLoss()(logits[1:], bits[1:])) == 0


def test_loss_of_structure_and_parts_is_their_sum():
    logits, target = batch()
    parts, bits = parts_batch()
    parts = parts[:1, ..., :12].expand(3, -1, -1, -1)
    bits = bits[:1, ..., :12].expand(3, -1, -1, -1)
    expected = PartialDiceCELoss()(logits, target) + 0.5 * PartsLoss()(parts, bits)
    together = StructureAndPartsLoss()(torch.cat([logits, parts], 1), torch.cat([target, bits], 1))
    assert float(together) == pytest.approx(float(expected))


def test_without_parts_the_loss_is_that_of_the_structure():
    logits, target = batch()
    assert float(StructureAndPartsLoss()(logits, target)) == float(PartialDiceCELoss()(logits, target))
