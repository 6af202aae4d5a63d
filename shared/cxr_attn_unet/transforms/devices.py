"""What lies over a chest on portable films: tubes, leads and electrodes, burned-in text, collimation."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform, RandomizableTransform
from PIL import Image, ImageDraw, ImageFont

__all__ = ["RandDevicesd"]

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
        """Points of a smooth curve through the picture: a quadratic Bezier curve between two points of its field."""
        first, middle, last = self.R.uniform(-0.1, 1.1, (3, 2)) * (columns, rows)
        share = np.linspace(0, 1, 40)[:, None]
        points = (1 - share) ** 2 * first + 2 * share * (1 - share) * middle + share**2 * last
        return [(float(x), float(y)) for x, y in points]

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
