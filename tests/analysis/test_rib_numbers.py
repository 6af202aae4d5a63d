"""Masks of parts, how many ribs there are, and doubts about their numbers."""

import numpy as np
import pytest

from cxr_attn_unet.analysis.parts import (
    SURE,
    UNCERTAIN,
    PartMasks,
    count_ribs,
    divided,
    measure_parts,
    numbering_doubts,
    without_specks,
)
from part_bundles import RIBS, SIDE, lung_masks, rib_masks


def doubts(masks: dict[str, np.ndarray], union: np.ndarray | None = None, probability: float = 0.95) -> str:
    """Doubts about ribs, in one line."""
    whole = np.any(list(masks.values()), axis=0) if union is None else union
    return ", ".join(numbering_doubts(masks, whole, dict.fromkeys(masks, probability)))


def turned(masks: dict[str, np.ndarray], columns_per_row: float) -> dict[str, np.ndarray]:
    """Masks of a chest that leans: rows are moved by their column, columns by their row."""
    found = {}
    for name, mask in masks.items():
        rows, columns = np.nonzero(mask)
        moved = np.zeros((240, 240), bool)
        new_rows = np.round(rows - columns_per_row * columns + 40).astype(int)
        new_columns = np.round(columns + columns_per_row * rows + 20).astype(int)
        moved[new_rows, new_columns] = True
        found[name] = moved
    return found


def turned_down(masks: dict[str, np.ndarray], slope: float) -> dict[str, np.ndarray]:
    """Masks of ribs that fall from the spine to the side, by rows per column."""
    found = {}
    for name, mask in masks.items():
        rows, columns = np.nonzero(mask)
        from_spine = columns - 90 if name[0] == "L" else 69 - columns
        moved = np.zeros((SIDE + 60, SIDE), bool)
        moved[np.round(rows + slope * from_spine).astype(int), columns] = True
        found[name] = moved
    return found


def as_part_masks(masks: dict[str, np.ndarray], names: tuple[str, ...]) -> PartMasks:
    size = next(iter(masks.values())).shape
    kept = PartMasks(size)
    for name in names:
        kept.add(name, masks.get(name, np.zeros(size, bool)))
    return kept


def test_twelve_ribs_on_either_side_raise_no_doubt():
    assert doubts(rib_masks()) == ""


def test_without_ribs_there_is_nothing_to_doubt():
    assert numbering_doubts({}, np.zeros((8, 8), bool), {}) == []


def test_ribs_hidden_below_the_diaphragm_raise_no_doubt():
    assert doubts(rib_masks(missing=("R10", "R11", "R12", "L11", "L12"))) == ""


@pytest.mark.parametrize("lean", [-0.15, 0.15])
def test_a_chest_that_leans_raises_no_doubt(lean):
    assert doubts(turned(rib_masks(), lean)) == ""


def test_a_number_between_others_is_missed():
    assert doubts(rib_masks(missing=("L5", "L7"))) == "left rib 5 and 7 missing between others"


def test_numbers_out_of_order_are_noticed():
    masks = rib_masks()
    masks["R4"], masks["R5"] = masks["R5"], masks["R4"]
    assert doubts(masks) == "right ribs are not in the order of their numbers"


def test_a_side_that_is_counted_from_another_rib_is_noticed():
    masks = rib_masks(missing=("L12",))
    shifted = {f"L{number + 1}": masks.pop(f"L{number}") for number in range(1, 12)}
    assert doubts(masks | shifted) == "right and left ribs of a number leave the spine on different levels"


def test_ribs_whose_first_ones_are_missing_are_in_doubt():
    assert "the topmost right rib found is number 3" in doubts(rib_masks(missing=("R1", "R2")))


def test_ribs_below_the_first_that_reach_the_top_of_the_picture_are_in_doubt():
    masks = {name: mask[16:] for name, mask in rib_masks(missing=("R1", "L1")).items()}
    assert "the first right ribs may lie outside the picture" in doubts(masks)


def test_a_first_rib_that_reaches_the_top_of_the_picture_raises_no_doubt():
    assert doubts({name: mask[6:] for name, mask in rib_masks().items()}) == ""


def test_ribs_that_the_heart_hides_on_one_side_raise_no_doubt():
    """Their centres lie lower than on the other side, their posterior ends do not."""
    masks = turned_down(rib_masks(), 1)
    for number in range(5, 12):
        masks[f"L{number}"][:, 125:] = False
    assert doubts(masks) == ""


def test_a_side_without_ribs_is_named():
    assert doubts(rib_masks(missing=[name for name in RIBS if name[0] == "L"])) == "no left rib was found"


def test_ribs_without_a_number_are_counted_in_percent():
    union = np.any(list(rib_masks().values()), axis=0)
    masks = rib_masks(missing=("R11", "R12", "L9", "L10", "L11", "L12"))
    assert doubts(masks, union) == "25% of the ribs have no number"


def test_a_hesitating_network_is_in_doubt():
    assert doubts(rib_masks(), probability=0.55) == "their mean probability is 0.55"


def test_ribs_are_counted_by_side():
    assert count_ribs(["R3", "R4", "L4"]) == {"ribs_right": 2, "ribs_left": 1}


@pytest.mark.parametrize(("reasons", "said"), [([], SURE), (["a reason"], UNCERTAIN)])
def test_numbers_are_sure_unless_there_is_a_doubt(reasons, said):
    assert measure_parts({"ribs": as_part_masks(rib_masks(), RIBS)}, reasons)["ribs_numbering"] == said


def test_without_ribs_there_are_no_numbers():
    masks = as_part_masks(rib_masks(missing=RIBS[1:]), ("R2",))
    assert measure_parts({"ribs": masks})["ribs_numbering"] is None


def test_areas_of_lungs_are_those_of_their_own_masks():
    masks = as_part_masks(lung_masks(), ("right_lung", "left_lung"))
    assert measure_parts({"lungs": masks}, spacing=(0.5, 2.0)) == {
        "right_lung_area": 4500.0,
        "left_lung_area": 3200.0,
        "lung_ratio": 3200 / 4500,
    }


def test_a_speck_is_removed():
    mask = np.zeros((60, 60), bool)
    mask[5:40, 5:40] = True
    whole = mask.copy()
    whole[50:54, 50:54] = True
    assert np.array_equal(without_specks(whole), mask)


def test_a_piece_that_a_shadow_cuts_off_is_kept():
    mask = np.zeros((60, 60), bool)
    mask[5:40, 5:40] = True
    mask[50:56, 50:56] = True
    assert np.array_equal(without_specks(mask), mask)


def test_nothing_has_no_specks():
    assert not without_specks(np.zeros((5, 5), bool)).any()


UNION = np.pad(np.ones((40, 60), bool), 4)
SLOPE = np.broadcast_to(np.linspace(1, 0, 68), (48, 68))


def test_a_pixel_goes_to_the_more_probable_side():
    right, _ = divided(SLOPE, 1 - SLOPE, UNION)
    assert np.array_equal(right, UNION & (SLOPE >= 0.5))


def test_both_sides_add_up_to_the_organ():
    right, left = divided(SLOPE, 1 - SLOPE, UNION)
    assert np.array_equal(right ^ left, UNION)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_a_speck_of_a_side_goes_to_the_one_around_it(value):
    speckled = SLOPE.copy()
    column = 15 if value == 0 else 50
    speckled[20:23, column : column + 3] = value
    right, _ = divided(speckled, 1 - speckled, UNION)
    assert np.array_equal(right, UNION & (SLOPE >= 0.5))


def test_a_mask_is_given_back_as_it_was():
    masks = rib_masks()
    assert np.array_equal(as_part_masks(masks, RIBS)["L9"], masks["L9"])


def test_only_the_box_around_a_mask_is_kept():
    pieces = as_part_masks(rib_masks(), RIBS)._pieces
    assert {piece.pixels.shape for piece in pieces.values()} == {(4, 50)}


def test_what_was_not_found_is_empty():
    assert not as_part_masks(rib_masks(missing=("R1",)), RIBS)["R1"].any()


def test_what_was_not_found_is_not_listed_as_found():
    assert as_part_masks(rib_masks(missing=("R1",)), RIBS).found == list(RIBS[1:])


def test_masks_of_a_reduced_picture_have_the_size_of_the_file():
    mask = np.zeros((4, 4), bool)
    mask[2:, 3] = True
    enlarged = PartMasks((7, 8), 2)
    enlarged.add("R1", mask)
    assert np.array_equal(enlarged["R1"], mask.repeat(2, 0).repeat(2, 1)[:7])
