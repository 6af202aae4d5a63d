"""Test-time augmentation: the mean of a network's answers to several views of one radiograph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.inferers import SimpleInferer

from ..former_names import warn_of_former_name

__all__ = ["VIEWS", "TestTimeAugmentationInferer"]

View = tuple[float, float] | tuple[float, float, bool]

# (degrees counter-clockwise, zoom): what differs from one exposure to the next, and no mirroring, which moves the heart
PLAIN = (0.0, 1.0, False)
VIEWS = ((0.0, 1.0), (-5.0, 1.0), (5.0, 1.0), (0.0, 0.92), (0.0, 1.06))


class TestTimeAugmentationInferer(SimpleInferer):
    """Logits of the mean probability over turned, scaled and mirrored views of the picture.

    Each view is turned, seen by the network, its probabilities turned back. A part that a view does not show is left
    to the others. Mirrored views are for structures that have no side of their own, and networks that were trained on
    both (``flip``).

    Args:
        views: (degrees counter-clockwise, zoom) or (degrees, zoom, mirrored) of each view; the picture itself is one
            of them only if (0, 1) is.

    Raises:
        ValueError: no views, or one that is not two or three numbers with a zoom above 0.
    """

    def __init__(self, views: Sequence[View] = VIEWS) -> None:
        super().__init__()
        if not views:
            raise ValueError("views is empty; give at least (0, 1), the picture as it is.")
        for view in views:
            if len(view) not in (2, 3) or view[1] <= 0:
                raise ValueError(
                    f"view {view} must be (degrees, zoom) or (degrees, zoom, mirrored), with a zoom above 0"
                )
        self.views = tuple(_as_view(*view) for view in views)

    def probabilities(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Class probabilities of each view, over the picture as given.

        Args:
            inputs: ``(batch, channels, rows, columns)``.
            network: gives logits ``(batch, classes, rows, columns)``.
            *args: more for the network.
            **kwargs: more for the network.

        Returns:
            ``(views, batch, classes, rows, columns)`` float32; all zero where a view does not reach.
        """
        answers = []
        for degrees, zoom, mirrored in self.views:
            seen = _turned(inputs.flip(-1) if mirrored else inputs, degrees, zoom)
            answer = super().__call__(seen, network, *args, **kwargs).float().softmax(1)
            answer = _turned(answer, -degrees, 1 / zoom)
            answers.append(answer.flip(-1) if mirrored else answer)
        return torch.stack(answers)

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Logarithm of the mean probability; the network's own logits where the picture itself is the only view."""
        if self.views == (PLAIN,):
            return super().__call__(inputs, network, *args, **kwargs)
        mean = self.probabilities(inputs, network, *args, **kwargs).mean(0)
        return mean.clamp_min(1e-7).log()


def _as_view(degrees: float, zoom: float, mirrored: bool = False) -> tuple[float, float, bool]:
    return float(degrees), float(zoom), bool(mirrored)


def _turned(image: torch.Tensor, degrees: float, zoom: float) -> torch.Tensor:
    if degrees == 0 and zoom == 1:
        return image
    plain = image.as_tensor() if hasattr(image, "as_tensor") else image
    rows, columns = image.shape[2:]
    cosine = math.cos(math.radians(degrees)) / zoom
    sine = math.sin(math.radians(degrees)) / zoom
    # affine_grid maps where a pixel goes to where it comes from, both in halves of the picture's own sides
    matrix = torch.tensor(
        [[cosine, -sine * rows / columns, 0], [sine * columns / rows, cosine, 0]], device=plain.device
    )
    grid = F.affine_grid(matrix.to(plain.dtype).expand(len(plain), 2, 3), list(plain.shape), align_corners=False)
    return F.grid_sample(plain, grid, align_corners=False)


def __getattr__(name: str) -> Any:
    if name == "ViewsInferer":
        warn_of_former_name(f"{__name__}.{name}", "TestTimeAugmentationInferer")
        return TestTimeAugmentationInferer
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
