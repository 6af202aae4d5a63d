"""What lies over a chest on portable films: tubes, leads and electrodes, burned-in text, collimation."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from PIL import Image, ImageDraw, ImageFont

from ..structures import REGISTRY

__all__ = ["RandDevicesd", "RandPacemakerd"]

LETTERS = "ABCDEFGHIKLMNOPRSTUVWX0123456789:/-"
KINDS = ("tubes", "electrodes", "text", "collimation")


class RandDevicesd(RandomizableTransform, MapTransform):
    """Draw tubes, leads with electrodes, burned-in text and collimation over an image, each by its own chance.

    They hide what is beneath and change no mask: the anatomy is still there.

    Args:
        keys: keys of images ``(1, rows, columns)`` of values 0 to 1.
        prob: how often something is done.
        share: how often, of the images that are changed, each kind is drawn.
        largest: how many tubes, and leads, at most.
        allow_missing_keys: do not raise for a missing key.
    """

    def __init__(
        self,
        keys: KeysCollection,
        prob: float = 0.4,
        share: float = 0.4,
        largest: int = 3,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        self.share = share
        self.largest = largest

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A copy of the item with the keys transformed."""
        d = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return d
        for key in self.key_iterator(d):
            image = torch.as_tensor(d[key])
            drawn = self._drawn(image[0].cpu().numpy().astype(np.float32))
            d[key] = torch.from_numpy(drawn)[None].to(image)
        return d

    def _drawn(self, pixels: np.ndarray) -> np.ndarray:
        wanted = [kind for kind in KINDS if self.R.rand() < self.share]
        if "tubes" in wanted:
            for _ in range(self.R.randint(1, self.largest + 1)):
                pixels = self._with_tube(pixels)
        if "electrodes" in wanted:
            for _ in range(self.R.randint(1, self.largest + 1)):
                pixels = self._with_electrode(pixels)
        if "text" in wanted:
            pixels = self._with_text(pixels)
        if "collimation" in wanted:
            pixels = self._collimated(pixels)
        return pixels

    def _curve(self, rows: int, columns: int) -> list[tuple[float, float]]:
        """Points of a smooth curve through the picture, between two points of its field."""
        return _bezier(self.R.uniform(-0.1, 1.1, (3, 2)) * (columns, rows))

    def _with_tube(self, pixels: np.ndarray) -> np.ndarray:
        rows, columns = pixels.shape
        width = max(1, round(self.R.uniform(0.004, 0.02) * max(rows, columns)))
        layer = Image.new("L", (columns, rows))
        curve = self._curve(rows, columns)
        ImageDraw.Draw(layer).line(curve, fill=255, width=width, joint="curve")
        if width > 3 and self.R.rand() < 0.5:  # a lumen between two walls
            ImageDraw.Draw(layer).line(curve, fill=90, width=width - 2, joint="curve")
        return self._laid_over(pixels, layer, self.R.uniform(0.1, 0.6))

    def _with_electrode(self, pixels: np.ndarray) -> np.ndarray:
        rows, columns = pixels.shape
        longest = max(rows, columns)
        layer = Image.new("L", (columns, rows))
        draw = ImageDraw.Draw(layer)
        curve = self._curve(rows, columns)
        draw.line(curve, fill=255, width=max(1, longest // 200))
        radius = self.R.uniform(0.008, 0.025) * longest
        x, y = curve[0]
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=200)
        return self._laid_over(pixels, layer, self.R.uniform(0.2, 0.8))

    def _laid_over(self, pixels: np.ndarray, layer: Image.Image, strength: float) -> np.ndarray:
        share = np.asarray(layer, np.float32) / 255 * strength
        return pixels + share * (1 - pixels)

    def _with_text(self, pixels: np.ndarray) -> np.ndarray:
        rows, columns = pixels.shape
        size = max(8, round(self.R.uniform(0.03, 0.1) * max(rows, columns)))
        text = "".join(self.R.choice(list(LETTERS), self.R.randint(1, 12)))
        layer = Image.new("L", (columns, rows))
        draw = ImageDraw.Draw(layer)
        place = self.R.uniform(0, 0.9, 2) * (columns, rows)
        font = ImageFont.load_default(size=size)
        drawn = pixels.copy()
        if self.R.rand() < 0.4:  # in a box of its own
            left, top, right, bottom = (round(edge) for edge in draw.textbbox(tuple(place), text, font=font))
            drawn[max(0, top - 2) : bottom + 2, max(0, left - 2) : right + 2] = self.R.choice([0.0, 0.1])
        draw.text(tuple(place), text, fill=255, font=font)
        written = np.asarray(layer) > 127
        drawn[written] = self.R.uniform(0.8, 1.0)
        return drawn

    def _collimated(self, pixels: np.ndarray) -> np.ndarray:
        rows, columns = pixels.shape
        top, bottom = (self.R.uniform(0, 0.08, 2) * rows).astype(int)
        left, right = (self.R.uniform(0, 0.08, 2) * columns).astype(int)
        field = np.zeros(pixels.shape, bool)
        field[top : rows - bottom, left : columns - right] = True
        return np.where(field, pixels, self.R.choice([0.0, 0.02, 1.0])).astype(np.float32)


class RandPacemakerd(RandomizableTransform, MapTransform):
    """Draw the pulse generator of a pacemaker or defibrillator over an image, with its leads.

    Metal hides what is behind it. Lungs, heart and clavicles are drawn through it all the same; a rib that cannot be
    seen is not, so labels of structures that the registry says so of (``ends_at_metal``) are background there.

    Args:
        keys: keys of images ``(1, rows, columns)`` of values 0 to 1.
        structure: that labels show, a key of the registry of structures.
        label_key: key of the label ``(channels, rows, columns)``, whose second channel, if there is one, holds the bits
            of parts; one without is left as it is.
        prob: how often.
        allow_missing_keys: do not raise for a missing key.
    """

    def __init__(
        self,
        keys: KeysCollection,
        structure: str,
        label_key: str = "label",
        prob: float = 0.1,
        allow_missing_keys: bool = False,
    ) -> None:
        MapTransform.__init__(self, keys, allow_missing_keys)
        RandomizableTransform.__init__(self, prob)
        known = REGISTRY.get(structure)
        self.label_key = label_key
        self.changes_labels = known is not None and known.ends_at_metal

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A copy of the item with the keys transformed."""
        d = dict(data)
        self.randomize(None)
        if not self._do_transform:
            return d
        for key in self.key_iterator(d):
            image = torch.as_tensor(d[key])
            drawn, metal = self._drawn(image[0].cpu().numpy().astype(np.float32))
            d[key] = torch.from_numpy(drawn)[None].to(image)
            if self.changes_labels and self.label_key in d:
                d[self.label_key] = _cleared(torch.as_tensor(d[self.label_key]), torch.from_numpy(metal))
        return d

    def _drawn(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The picture with a generator, and where its metal lies."""
        rows, columns = pixels.shape
        longest = max(rows, columns)
        centre = self.R.uniform((0.1, 0.12), (0.9, 0.6)) * (columns, rows)
        drawn = pixels.copy()
        for _ in range(self.R.randint(1, 4)):
            lead = Image.new("L", (columns, rows))
            others = self.R.uniform(0.2, 0.8, (2, 2)) * (columns, rows)
            curve = _bezier(np.vstack([centre[None], others]))
            ImageDraw.Draw(lead).line(curve, fill=255, width=max(1, round(self.R.uniform(0.003, 0.008) * longest)))
            share = np.asarray(lead, np.float32) / 255
            drawn += self.R.uniform(0.3, 0.9) * share * (1 - drawn)
        inside, metal = self._generator(round(self.R.uniform(0.1, 0.24) * longest))
        canvas, shape = Image.new("L", (columns, rows)), Image.new("L", (columns, rows))
        place = (round(centre[0] - inside.width / 2), round(centre[1] - inside.height / 2))
        canvas.paste(inside, place)
        shape.paste(metal, place)
        is_metal = np.asarray(shape) > 127
        return np.where(is_metal, np.asarray(canvas, np.float32) / 255, drawn), is_metal

    def _generator(self, side: int) -> tuple[Image.Image, Image.Image]:
        """A generator from the side or the front, and its outline, both in a square that it fills turned."""
        side = max(side, 8)
        long, short = 0.7 * side, self.R.uniform(0.55, 1) * 0.7 * side
        left, top = (side - long) / 2, (side - short) / 2
        box = (left, top, left + long, top + short)
        inside, metal = Image.new("L", (side, side)), Image.new("L", (side, side))
        corner = self.R.uniform(0.25, 0.5) * short
        case = round(255 * self.R.uniform(0.75, 1))
        ImageDraw.Draw(inside).rounded_rectangle(box, corner, fill=case)
        ImageDraw.Draw(metal).rounded_rectangle(box, corner, fill=255)
        for _ in range(self.R.randint(1, 7)):  # battery, capacitors, circuits
            width, height = self.R.uniform(0.08, 0.5, 2) * (long, short)
            x = left + self.R.uniform(0, 1) * (long - width)
            y = top + self.R.uniform(0, 1) * (short - height)
            shade = round(255 * self.R.uniform(0.45, 1))
            ImageDraw.Draw(inside).rectangle((x, y, x + width, y + height), fill=shade)
        turned = float(self.R.uniform(0, 360))
        bilinear = Image.Resampling.BILINEAR
        return inside.rotate(turned, bilinear), metal.rotate(turned, bilinear)


def _bezier(points: np.ndarray) -> list[tuple[float, float]]:
    """Points of a quadratic Bezier curve by its three control points ``(3, 2)``."""
    first, middle, last = points
    share = np.linspace(0, 1, 40)[:, None]
    curve = (1 - share) ** 2 * first + 2 * share * (1 - share) * middle + share**2 * last
    return [(float(x), float(y)) for x, y in curve]


def _cleared(label: torch.Tensor, metal: torch.Tensor) -> torch.Tensor:
    """A label with background, and no part, where metal lies."""
    return torch.where(metal.to(label.device), torch.zeros_like(label), label)
