"""The structures: one registry of what the rest of the package must know of each.

A new structure is one :class:`Structure` in :data:`REGISTRY`, a folder ``bundles/NAME_attn_unet`` and a data list. A
bundle whose structure is not here still trains and segments; it has no DICOM code, shares the last colour with others
of its kind, and takes the label values after those of the registry.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = [
    "BUNDLE_SUFFIX",
    "LEFT",
    "REGISTRY",
    "RIGHT",
    "Code",
    "Part",
    "Structure",
    "colour_of",
    "in_registry_order",
    "label_values",
    "mirrored_order",
    "part_key",
    "part_names",
    "part_values",
    "parts_named",
    "parts_of",
]

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


RIGHT = Code("24028007", "Right")
LEFT = Code("7771000", "Left")


@dataclass(frozen=True)
class Part:
    """One of the things that a structure consists of, such as a lung or a rib; parts may overlap.

    Attributes:
        name: short and unique in its structure, such as ``right_lung`` or ``R7``.
        title: as people write it, such as ``Right rib 7``.
        code: its SNOMED CT code, without the side.
        side: ``RIGHT`` or ``LEFT`` of the patient; ``None`` for what has no side.
        number: of a rib, from 1; 0 for what is not counted.
    """

    name: str
    title: str
    code: Code
    side: Code | None = None
    number: int = 0


def _pair(structure: str, code: Code) -> tuple[Part, Part]:
    """The right and the left one of an organ that comes in pairs."""
    return (
        Part(f"right_{structure}", f"Right {structure}", code, RIGHT),
        Part(f"left_{structure}", f"Left {structure}", code, LEFT),
    )


# SNOMED CT, as 3D Slicer's terminology for TotalSegmentator and the map of TG-263 names have them; DICOM PS3.16 lists
# no single ribs
RIB_CODES = (
    Code("48535007", "First rib"),
    Code("78247007", "Second rib"),
    Code("25888004", "Third rib"),
    Code("25523003", "Fourth rib"),
    Code("15339008", "Fifth rib"),
    Code("59558009", "Sixth rib"),
    Code("24915002", "Seventh rib"),
    Code("5953002", "Eighth rib"),
    Code("22565002", "Ninth rib"),
    Code("77644006", "Tenth rib"),
    Code("58830002", "Eleventh rib"),
    Code("43993008", "Twelfth rib"),
)


def _ribs(side: Code) -> tuple[Part, ...]:
    """The twelve ribs of a side, from the top."""
    letter = side.meaning[0]
    return tuple(
        Part(f"{letter}{number}", f"{side.meaning} rib {number}", code, side, number)
        for number, code in enumerate(RIB_CODES, 1)
    )


@dataclass(frozen=True)
class Structure:
    """A structure that a bundle segments.

    Attributes:
        name: in lower case, as in ``bundles/NAME_attn_unet`` and in configs.
        label: value in label maps, from 1; where structures overlap, the higher value is what is seen.
        colour: red, green, blue from 0 to 255, the same in every picture.
        code: its SNOMED CT code; ``None`` if DICOM segmentations cannot name it.
        components: connected components that its mask has at most; 0 where that is not limited.
        parts: what it consists of, each with a mask of its own where a network was trained to tell them apart.
        ends_at_metal: what lies behind metal that lets nothing through, such as a pacemaker, is not drawn.
    """

    name: str
    label: int
    colour: tuple[int, int, int]
    code: Code | None = None
    components: int = 0
    parts: tuple[Part, ...] = ()
    ends_at_metal: bool = False

    @property
    def sides(self) -> bool:
        """Whether it has a right and a left one."""
        return any(part.side for part in self.parts)

    @property
    def title(self) -> str:
        """The name as people write it, such as ``Lungs``."""
        return self.name.capitalize()


LUNG = Code("39607008", "Lung")
CLAVICLE = Code("51299004", "Clavicle")

# in the order in which people read them; the colours are Okabe and Ito's, told apart by colour-blind readers too
REGISTRY: dict[str, Structure] = {
    structure.name: structure
    for structure in (
        Structure("lungs", 1, (230, 159, 0), LUNG, components=2, parts=_pair("lung", LUNG)),
        Structure("heart", 2, (86, 180, 233), Code("80891009", "Heart"), components=1),
        Structure("clavicles", 4, (0, 158, 115), CLAVICLE, components=2, parts=_pair("clavicle", CLAVICLE)),
        Structure(
            "ribs", 3, (240, 228, 66), Code("113197003", "Rib"), parts=(*_ribs(RIGHT), *_ribs(LEFT)), ends_at_metal=True
        ),
    )
}
OTHER_COLOUR = (204, 121, 167)


def colour_of(name: str) -> tuple[int, int, int]:
    """The colour of a structure, 0 to 255, the same in every picture; structures not in the registry share one."""
    structure = REGISTRY.get(name)
    return OTHER_COLOUR if structure is None else structure.colour


def parts_of(name: str) -> tuple[Part, ...]:
    """The parts of a structure; none if it has none, or is not in the registry."""
    structure = REGISTRY.get(name)
    return () if structure is None else structure.parts


def part_names(name: str) -> list[str]:
    """The names of a structure's parts, in the order of a network's channels."""
    return [part.name for part in parts_of(name)]


def parts_named(names: Iterable[str]) -> tuple[Part, ...]:
    """The parts of these names, in the order given; a name belongs to one structure of the registry only.

    Raises:
        ValueError: a name that no structure has.
    """
    known = {part.name: part for structure in REGISTRY.values() for part in structure.parts}
    given = list(names)
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ValueError(f"no structure has the part {', '.join(unknown)}; there are: {', '.join(known)}")
    return tuple(known[name] for name in given)


def part_values(name: str) -> dict[str, int]:
    """Values of a structure's label map of parts, by part: the places in the registry, from 1.

    Ribs: R1 to R12 are 1 to 12, L1 to L12 are 13 to 24. Lungs and clavicles: the right one is 1, the left one 2.
    """
    return {part: value for value, part in enumerate(part_names(name), 1)}


def part_key(structure: str, part: str) -> str:
    """By what a part is called among structures, in columns of tables: such as ``ribs_R7``."""
    return f"{structure}_{part}"


def mirrored_order(parts: Sequence[Part]) -> list[int]:
    """For each part, the place of the one on the other side: what a mirrored picture shows in its place."""
    places = {(part.side, part.number): place for place, part in enumerate(parts)}
    other_side = {RIGHT: LEFT, LEFT: RIGHT, None: None}
    return [places[other_side[part.side], part.number] for part in parts]


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
