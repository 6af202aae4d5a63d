"""Loss of masks that say nothing about some pixels."""

import pytest
import torch
from monai.losses import DiceCELoss

from cxr_attn_unet.io import IGNORED
from cxr_attn_unet.training.losses import PartialDiceCELoss


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
