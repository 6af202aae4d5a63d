"""Test-time augmentation: the mean of a network's answers to several views of one radiograph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.inferers import SimpleInferer

__all__ = ["VIEWS", "ViewsInferer"]

# (degrees counter-clockwise, zoom): what differs from one exposure to the next, and no mirroring, which moves the heart
VIEWS = ((0.0, 1.0), (-5.0, 1.0), (5.0, 1.0), (0.0, 0.92), (0.0, 1.06))


class ViewsInferer(SimpleInferer):
    """Logits of the mean probability over turned and scaled views of the picture.

    Each view is turned, seen by the network, its probabilities turned back. A part that a view does not show is left
    to the others.

    Args:
        views: (degrees counter-clockwise, zoom) of each view; the picture itself is one of them only if (0, 1) is.

    Raises:
        ValueError: no views.
    """

    def __init__(self, views: Sequence[tuple[float, float]] = VIEWS) -> None:
        super().__init__()
        if not views:
            raise ValueError("views is empty; give at least (0, 1), the picture as it is.")
        self.views = tuple(views)

    def probabilities(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Class probabilities of each view, over the picture as given.

        Args:
            inputs: ``(batch, channels, rows, columns)``.
            network: gives logits ``(batch, classes, rows, columns)``.

        Returns:
            ``(views, batch, classes, rows, columns)`` float32; all zero where a view does not reach.
        """
        answers = []
        for degrees, zoom in self.views:
            seen = _turned(inputs, degrees, zoom)
            answer = super().__call__(seen, network, *args, **kwargs).float().softmax(1)
            answers.append(_turned(answer, -degrees, 1 / zoom))
        return torch.stack(answers)

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        mean = self.probabilities(inputs, network, *args, **kwargs).mean(0)
        return mean.clamp_min(1e-7).log()


def _turned(image: torch.Tensor, degrees: float, zoom: float) -> torch.Tensor:
    if degrees == 0 and zoom == 1:
        return image
    plain = image.as_tensor() if hasattr(image, "as_tensor") else image
    rows, columns = image.shape[2:]
    cosine, sine = math.cos(math.radians(degrees)) / zoom, math.sin(math.radians(degrees)) / zoom
    # affine_grid maps where a pixel goes to where it comes from, both in halves of the picture's own sides
    matrix = torch.tensor(
        [[cosine, -sine * rows / columns, 0], [sine * columns / rows, cosine, 0]], device=plain.device
    )
    grid = F.affine_grid(matrix.to(plain.dtype).expand(len(plain), 2, 3), list(plain.shape), align_corners=False)
    return F.grid_sample(plain, grid, align_corners=False)
