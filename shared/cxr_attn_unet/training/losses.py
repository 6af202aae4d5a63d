"""Losses for masks that say nothing about some of their pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from monai.losses import DiceCELoss, MaskedDiceLoss
from monai.networks import one_hot

from ..io import IGNORED, UNKNOWN

__all__ = ["PartialDiceCELoss", "PartsLoss", "StructureAndPartsLoss"]


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


class PartsLoss(torch.nn.Module):
    """Dice and binary cross entropy of parts, each a channel of its own, for they overlap.

    The Dice loss is the mean over the parts that a label has; the cross entropy is summed over the parts, so that it
    weighs as much in a pixel as that of one structure, and averaged over the pixels. Both look at every second row and
    column: parts are made at half the size, and 24 of them cost as much as the network. Pixels whose parts are unknown
    do not count; a radiograph counts the same however many of its pixels are known.
    """

    def forward(self, logits: torch.Tensor, bits: torch.Tensor) -> torch.Tensor:
        """The loss of a batch; 0 if no label in it knows its parts.

        Args:
            logits: ``(batch, parts, rows, columns)``.
            bits: bit i of a pixel is set where part i lies, or :data:`~cxr_attn_unet.io.UNKNOWN`,
                ``(batch, 1, rows, columns)``.
        """
        logits, bits = logits[..., ::2, ::2], bits[..., ::2, ::2]
        known = bits != UNKNOWN
        labelled = known.flatten(1).any(1)
        if not bool(labelled.any()):
            return logits.sum() * 0
        logits, bits = logits[labelled], bits[labelled]
        weight = known[labelled].to(logits.dtype)
        places = torch.arange(logits.shape[1], device=bits.device).view(1, -1, 1, 1)
        labels = weight * (bits.long() >> places & 1)
        probabilities = weight * logits.sigmoid()
        both = (probabilities * labels).sum((2, 3))
        either = probabilities.sum((2, 3)) + labels.sum((2, 3))
        present = (labels.sum((2, 3)) > 0).to(logits.dtype)
        dice = 1 - (2 * both + 1) / (either + 1)
        dice = (dice * present).sum() / present.sum().clamp(min=1)
        entropy = weight * F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
        return dice + (entropy.sum((1, 2, 3)) / weight.sum((1, 2, 3))).mean()


class StructureAndPartsLoss(torch.nn.Module):
    """:class:`PartialDiceCELoss` of a structure, and :class:`PartsLoss` of its parts where networks have them.

    Args:
        parts_weight: of the parts beside the structure.
    """

    def __init__(self, parts_weight: float = 0.5) -> None:
        super().__init__()
        self.structure = PartialDiceCELoss()
        self.parts = PartsLoss()
        self.parts_weight = parts_weight

    def forward(self, input: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss of a batch.

        Args:
            input: logits ``(batch, 2 + parts, rows, columns)``: background, structure, parts.
            target: see :class:`PartialDiceCELoss`; with parts a second channel, see :class:`PartsLoss`.
        """
        loss = self.structure(input[:, :2], target[:, :1])
        if input.shape[1] > 2 and target.shape[1] > 1:
            loss = loss + self.parts_weight * self.parts(input[:, 2:], target[:, 1:])
        return loss
