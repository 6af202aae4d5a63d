"""Losses for masks that say nothing about some of their pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.losses import DiceCELoss, MaskedDiceLoss
from monai.networks import one_hot

from ..io import IGNORED

__all__ = ["PartialDiceCELoss"]


class PartialDiceCELoss(DiceCELoss):
    """MONAI's ``DiceCELoss`` with softmax, of the pixels that are labelled.

    Both parts leave out pixels of the value :data:`~cxr_attn_unet.io.IGNORED`: the Dice loss is MONAI's
    ``MaskedDiceLoss``; the cross entropy is averaged over the labelled pixels of each radiograph, then over the
    radiographs, so that one with few labelled pixels counts as much as any other. A batch in which all pixels are
    labelled gives exactly what ``DiceCELoss(to_onehot_y=True, softmax=True)`` does.
    """

    def __init__(self) -> None:
        super().__init__(to_onehot_y=True, softmax=True)
        self.masked_dice = MaskedDiceLoss(softmax=True)

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss of a batch.

        Args:
            input: logits ``(batch, classes, rows, columns)``.
            target: class numbers or :data:`~cxr_attn_unet.io.IGNORED`, ``(batch, 1, rows, columns)``.
        """
        labelled = target != IGNORED
        if bool(labelled.all()):
            return super().forward(input, target)
        known = target.clamp(min=0)
        weight = labelled.to(torch.float32)
        classes = one_hot(known, num_classes=input.shape[1])
        dice = self.masked_dice(input, classes, weight)
        entropy = F.cross_entropy(input, known[:, 0].long(), reduction="none")
        counts = weight[:, 0].sum((1, 2)).clamp(min=1)
        cross_entropy = ((entropy * weight[:, 0]).sum((1, 2)) / counts).mean()
        return self.lambda_dice * dice + self.lambda_ce * cross_entropy
