"""The structures: one registry of what the rest of the package must know of each.

A new structure is one :class:`Structure` in :data:`REGISTRY`, a folder ``bundles/NAME_attn_unet`` and a data list. A
bundle whose structure is not here still trains and segments; it has no DICOM code, shares the last colour with others
of its kind, and takes the label values after those of the registry.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["BUNDLE_SUFFIX", "REGISTRY", "Code", "Structure", "colour_of", "in_registry_order", "label_values"]

BUNDLE_SUFFIX = "_attn_unet"


@dataclass(frozen=True)
class Code:
    """A coded concept of SNOMED CT, as DICOM names anatomy (PS3.16, CID 7151 and the like).

    Attributes:
        value: the code.
        meaning: in words.
    """

    value: str
    meaning: str


@dataclass(frozen=True)
class Structure:
    """A structure that a bundle segments.

    Attributes:
        name: in lower case, as in ``bundles/NAME_attn_unet`` and in configs.
        label: value in label maps, from 1; where structures overlap, the higher value is what is seen.
        colour: red, green, blue from 0 to 255, the same in every picture.
        code: its SNOMED CT code; ``None`` if DICOM segmentations cannot name it.
        parts: connected components that its mask has at most; 0 where that is not limited.
        sides: whether it has a right and a left one.
    """

    name: str
    label: int
    colour: tuple[int, int, int]
    code: Code | None = None
    parts: int = 0
    sides: bool = False

    @property
    def title(self) -> str:
        """The name as people write it, such as ``Lungs``."""
        return self.name.capitalize()


# in the order in which people read them; the colours are Okabe and Ito's, told apart by colour-blind readers too
REGISTRY: dict[str, Structure] = {
    structure.name: structure
    for structure in (
        Structure("lungs", 1, (230, 159, 0), Code("39607008", "Lung"), parts=2, sides=True),
        Structure("heart", 2, (86, 180, 233), Code("80891009", "Heart"), parts=1),
        Structure("clavicles", 4, (0, 158, 115), Code("51299004", "Clavicle"), parts=2, sides=True),
        Structure("ribs", 3, (240, 228, 66), Code("113197003", "Rib"), sides=True),
    )
}
OTHER_COLOUR = (204, 121, 167)


def colour_of(name: str) -> tuple[int, int, int]:
    """The colour of a structure, 0 to 255, the same in every picture; structures not in the registry share one."""
    structure = REGISTRY.get(name)
    return OTHER_COLOUR if structure is None else structure.colour


def in_registry_order(names: Iterable[str]) -> list[str]:
    """Names in the order of the registry, followed by those that are not in it, sorted."""
    given = set(names)
    known = [name for name in REGISTRY if name in given]
    return known + sorted(given.difference(REGISTRY))


def label_values(names: Iterable[str] = ()) -> dict[str, int]:
    """Values of a label map by structure, in the order in which they are drawn, the last on top.

    Args:
        names: structures of the label map; those of the registry if not given. One that is not in the registry gets
            the next value above the registry's, in the order given.
    """
    chosen = list(names) or list(REGISTRY)
    values = {name: REGISTRY[name].label for name in chosen if name in REGISTRY}
    highest = max(structure.label for structure in REGISTRY.values())
    others = [name for name in dict.fromkeys(chosen) if name not in REGISTRY]
    for value, name in enumerate(others, highest + 1):
        values[name] = value
    return dict(sorted(values.items(), key=lambda item: item[1]))
