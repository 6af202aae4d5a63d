"""The registry: labels, colours and codes of the structures, and what a structure outside it gets."""

import re

import pytest

from conftest import BUNDLES
from cxr_attn_unet.structures import (
    BUNDLE_SUFFIX,
    OTHER_COLOUR,
    REGISTRY,
    Structure,
    colour_of,
    in_registry_order,
    label_values,
    part_key,
    part_values,
    parts_named,
)

STRUCTURES = list(REGISTRY.values())


def test_every_bundle_is_in_the_registry():
    assert {path.name.removesuffix(BUNDLE_SUFFIX) for path in BUNDLES} == set(REGISTRY)


def test_labels_are_those_of_earlier_releases():
    assert label_values() == {"lungs": 1, "heart": 2, "ribs": 3, "clavicles": 4}


@pytest.mark.parametrize("attribute", ["label", "colour", "code"])
def test_no_two_structures_share(attribute):
    values = [getattr(structure, attribute) for structure in STRUCTURES]
    assert len(set(values)) == len(values)


def test_no_structure_has_the_colour_of_others():
    assert OTHER_COLOUR not in [structure.colour for structure in STRUCTURES]


@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda structure: structure.name)
def test_names_fit_folders_and_configs(structure):
    assert re.fullmatch(r"[a-z][a-z0-9_]*", structure.name)


@pytest.mark.parametrize("structure", STRUCTURES, ids=lambda structure: structure.name)
def test_codes_are_those_of_snomed_ct(structure):
    assert re.fullmatch(r"\d{6,18}", structure.code.value)


def test_a_title_is_capitalised():
    assert Structure("trachea", 5, (0, 0, 0)).title == "Trachea"


def test_the_colour_of_a_structure_is_the_registrys():
    assert colour_of("heart") == (86, 180, 233)


def test_structures_outside_the_registry_share_a_colour():
    assert colour_of("trachea") == colour_of("spine") == OTHER_COLOUR


def test_names_are_put_in_the_order_of_the_registry():
    assert in_registry_order(["ribs", "lungs"]) == ["lungs", "ribs"]


def test_names_outside_the_registry_come_last_and_sorted():
    assert in_registry_order(["trachea", "spine", "heart"]) == ["heart", "spine", "trachea"]


def test_names_given_twice_are_listed_once():
    assert in_registry_order(["heart", "heart"]) == ["heart"]


def test_label_values_are_in_the_order_of_drawing():
    assert list(label_values(["clavicles", "ribs", "lungs"])) == ["lungs", "ribs", "clavicles"]


def test_structures_outside_the_registry_get_the_next_values():
    assert label_values(["spine", "heart", "trachea"]) == {"heart": 2, "spine": 5, "trachea": 6}


@pytest.mark.parametrize(("part", "value"), [("R1", 1), ("R12", 12), ("L1", 13), ("L12", 24)])
def test_label_values_of_ribs(part, value):
    assert part_values("ribs")[part] == value


def test_a_part_has_its_structure_in_its_key():
    assert part_key("ribs", "R7") == "ribs_R7"


def test_names_of_parts_belong_to_one_structure():
    names = [part.name for structure in STRUCTURES for part in structure.parts]
    assert len(names) == len(set(names))


def test_parts_by_their_names():
    assert [part.title for part in parts_named(["L7", "right_lung"])] == ["Left rib 7", "Right lung"]


def test_an_unknown_part_is_named():
    with pytest.raises(ValueError, match="no structure has the part R13; there are: right_lung"):
        parts_named(["R1", "R13"])
