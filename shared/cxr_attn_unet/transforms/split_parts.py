"""Take the channels of parts away from those of background and structure."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform

__all__ = ["SplitPartsd"]


class SplitPartsd(MapTransform):
    """Move the channels of parts to a key of their own, so that what follows sees background and structure alone.

    The parts keep the size at which the network sees; at a file's size, two dozen of them would take gigabytes. Their
    logits have the same metadata as the structure's, so ``Invertd`` brings them to the file's size, some at a time.

    Args:
        keys: keys of logits ``(classes + parts, rows, columns)``.
        parts: names of the parts, in the order of the last channels; none: nothing is moved.
        parts_key: key of the parts' logits ``(parts, rows, columns)``; there is none without parts.
        allow_missing_keys: do not raise for a missing key.

    Raises:
        ValueError: fewer channels than background, structure and parts have.
    """

    def __init__(
        self,
        keys: KeysCollection,
        parts: Sequence[str] = (),
        parts_key: str = "parts",
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.parts = tuple(parts)
        self.parts_key = parts_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """A copy of the item with the channels moved."""
        d = dict(data)
        if not self.parts:
            return d
        for key in self.key_iterator(d):
            channels = d[key]
            classes = len(channels) - len(self.parts)
            if classes < 2:
                raise ValueError(
                    f"{key} has {len(channels)} channels, too few for background, structure and {len(self.parts)} parts"
                )
            d[key] = channels[:classes]
            d[self.parts_key] = channels[classes:]
        return d
