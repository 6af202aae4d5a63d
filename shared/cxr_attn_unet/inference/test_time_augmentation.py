"""Test-time augmentation: the mean of a network's answers to several views of one radiograph."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from monai.inferers import SimpleInferer

from ..former_names import warn_of_former_name
from ..structures import mirrored_order, parts_named

__all__ = ["VIEWS", "TestTimeAugmentationInferer"]

View = tuple[float, float] | tuple[float, float, bool]

# (degrees counter-clockwise, zoom): what differs from one exposure to the next, and no mirroring, which moves the heart
PLAIN = (0.0, 1.0, False)
VIEWS = ((0.0, 1.0), (-5.0, 1.0), (5.0, 1.0), (0.0, 0.92), (0.0, 1.06))
SMALLEST = 1e-7  # probability: its logarithm is finite in single precision
SMALLEST_PART = 1e-6  # the same where 1 - p counts too


class TestTimeAugmentationInferer(SimpleInferer):
    """Logits of the mean probability over turned, scaled and mirrored views of the picture.

    Each view is turned, seen by the network, its probabilities turned back. A part that a view does not show is left
    to the others. Mirrored views are for structures that have no side of their own, and networks that were trained on
    both (``flip``). A network that tells parts apart has one channel a part behind its classes: a logit of its own,
    not of the softmax; in a mirrored view, right is left.

    Args:
        views: (degrees counter-clockwise, zoom) or (degrees, zoom, mirrored) of each view; the picture itself is one
            of them only if (0, 1) is.
        parts: names of the parts that the network's last channels show, in their order.
        unsure_below: views after the first are taken only of radiographs of which the confidence in the first,
            2 sum(p m) / (sum(p) + sum(m)) with the probabilities p above 0.5 as mask m, is below this, 0 to 1;
            ``None``: of all.

    Raises:
        ValueError: no views, one that is not two or three numbers with a zoom above 0, an unknown part, one without its
            other side, or a confidence outside 0 to 1.
    """

    def __init__(
        self, views: Sequence[View] = VIEWS, parts: Sequence[str] = (), unsure_below: float | None = None
    ) -> None:
        super().__init__()
        if unsure_below is not None and not 0 <= unsure_below <= 1:
            raise ValueError(f"unsure_below is {unsure_below}, must lie between 0 and 1")
        if not views:
            raise ValueError("views is empty; give at least (0, 1), the picture as it is.")
        for view in views:
            if len(view) not in (2, 3) or view[1] <= 0:
                raise ValueError(
                    f"view {view} must be (degrees, zoom) or (degrees, zoom, mirrored), with a zoom above 0"
                )
        self.views = tuple(_as_view(*view) for view in views)
        self.parts = tuple(parts)
        self.unsure_below = unsure_below
        self._mirrored_order = _mirrored_order(self.parts)

    def probabilities(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Probabilities of classes and parts in each view, over the picture as given.

        Args:
            inputs: ``(batch, channels, rows, columns)``.
            network: gives logits ``(batch, classes + parts, rows, columns)``.
            *args: more for the network.
            **kwargs: more for the network.

        Returns:
            ``(views, batch, classes + parts, rows, columns)`` float32; all zero where a view does not reach.

        Raises:
            ValueError: the network has too few channels for the parts.
        """
        return torch.stack([self._seen(view, inputs, network, *args, **kwargs) for view in self.views])

    def _seen(
        self, view: tuple[float, float, bool], inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any
    ) -> torch.Tensor:
        """Probabilities ``(batch, classes + parts, rows, columns)`` of one view, over the picture as given."""
        degrees, zoom, mirrored = view
        seen = _turned(inputs.flip(-1) if mirrored else inputs, degrees, zoom)
        answer = self._activated(super().__call__(seen, network, *args, **kwargs).float())
        answer = _turned(answer, -degrees, 1 / zoom)
        return self._mirrored_back(answer) if mirrored else answer

    def logits_of_mean(self, views: torch.Tensor) -> torch.Tensor:
        """Logits whose softmax and sigmoid are the mean of views.

        Args:
            views: what :meth:`probabilities` gave.

        Returns:
            ``(batch, classes + parts, rows, columns)``: the logarithms of the classes' mean probabilities, and the
            logits of the parts'.
        """
        mean = views.mean(0)
        classes = self._classes(mean)
        logits = classes.clamp_min(SMALLEST).log()
        if not self.parts:
            return logits
        # the classes add up to the share of views that reach a pixel
        reached = classes.sum(1, keepdim=True).clamp_min(SMALLEST)
        parts = mean[:, classes.shape[1] :] / reached
        return torch.cat([logits, parts.logit(SMALLEST_PART)], 1)

    def __call__(self, inputs: torch.Tensor, network: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Logits of the mean probabilities; the network's own where the picture itself is the only view."""
        if self.views == (PLAIN,):
            return super().__call__(inputs, network, *args, **kwargs)
        if self.unsure_below is None:
            return self.logits_of_mean(self.probabilities(inputs, network, *args, **kwargs))
        first = self._seen(self.views[0], inputs, network, *args, **kwargs)
        logits = self.logits_of_mean(first[None])
        unsure = self._confidences(first) < self.unsure_below
        if unsure.any():
            others = [self._seen(view, inputs[unsure], network, *args, **kwargs) for view in self.views[1:]]
            logits[unsure] = self.logits_of_mean(torch.stack([first[unsure], *others]))
        return logits

    def _confidences(self, probabilities: torch.Tensor) -> torch.Tensor:
        """``(batch,)`` of 0 to 1; 0 where nothing was found."""
        structure = self._classes(probabilities)[:, 1:].sum(1)
        mask = (structure > 0.5).float()
        total = (structure + mask).sum((1, 2))
        return torch.where(mask.any(2).any(1), 2 * (structure * mask).sum((1, 2)) / total, 0)

    def _classes(self, channels: torch.Tensor) -> torch.Tensor:
        """The channels ``(batch, classes + parts, ...)`` before those of parts."""
        count = channels.shape[1] - len(self.parts)
        if count < 2:
            raise ValueError(
                f"the network has {channels.shape[1]} channels, too few for background, structure and "
                f"{len(self.parts)} parts; its parts must be those that the config names"
            )
        return channels[:, :count]

    def _activated(self, logits: torch.Tensor) -> torch.Tensor:
        if not self.parts:
            return logits.softmax(1)
        classes = self._classes(logits)
        return torch.cat([classes.softmax(1), logits[:, classes.shape[1] :].sigmoid()], 1)

    def _mirrored_back(self, answer: torch.Tensor) -> torch.Tensor:
        """The answer to a mirrored picture, as one to the picture itself."""
        back = answer.flip(-1)
        if not self.parts:
            return back
        first = answer.shape[1] - len(self.parts)
        return back[:, [*range(first), *(first + place for place in self._mirrored_order)]]


def _mirrored_order(names: Sequence[str]) -> list[int]:
    try:
        return mirrored_order(parts_named(names))
    except KeyError as error:
        raise ValueError(f"parts are {', '.join(names)}; each needs its other side among them") from error


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
