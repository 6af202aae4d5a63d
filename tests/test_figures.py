"""Pictures: the right colours in the right places."""

import numpy as np
import pytest
from PIL import Image

from cxr_attn_unet.figures import COLOURS, TITLE_HEIGHT, annotated, contact_sheet, four_around, overlay, to_grey
from cxr_attn_unet.structures import colour_of

PIXELS = np.tile(np.linspace(0, 1, 120, dtype=np.float32), (160, 1))  # (rows, columns)
NAMES = ("lungs", "heart", "clavicles", "ribs")


def box(rows: slice, columns: slice, shape: tuple[int, int] = PIXELS.shape) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[rows, columns] = True
    return mask


MASK = box(slice(40, 120), slice(30, 90))


def places(picture: Image.Image, colour: tuple[int, int, int]) -> np.ndarray:
    """(row, column) of the pixels of a colour."""
    return np.argwhere((np.asarray(picture) == colour).all(-1))


def test_grey_spans_the_whole_range():
    assert (to_grey(PIXELS).min(), to_grey(PIXELS).max()) == (0, 255)


def test_grey_does_not_depend_on_the_scale():
    assert np.array_equal(to_grey(PIXELS), to_grey(PIXELS * 4096))


def test_one_bright_pixel_does_not_darken_the_others():
    spoiled = PIXELS.copy()
    spoiled[0, 0] = 1e6
    assert to_grey(spoiled)[-1, -1] > 250


def test_an_empty_picture_is_black():
    assert not to_grey(np.full((20, 20), 7.0)).any()


def test_an_overlay_is_a_square_tile_under_its_title():
    assert overlay(PIXELS, [], tile=80).size == (80, 80 + TITLE_HEIGHT)


def test_an_overlay_outlines_a_mask_where_it_is():
    found = places(overlay(PIXELS, [MASK], tile=160), COLOURS[0])
    # 160 x 120 fits the tile with a border of 20 on either side
    assert [found.min(0).tolist(), found.max(0).tolist()] == [[TITLE_HEIGHT + 40, 50], [TITLE_HEIGHT + 119, 109]]


def test_an_outline_is_not_filled():
    assert places(overlay(PIXELS, [MASK], tile=160), COLOURS[0]).shape[0] == 2 * 80 + 2 * 60 - 4


def test_masks_have_colours_in_turn():
    picture = overlay(PIXELS, [MASK, box(slice(0, 20), slice(0, 20))], tile=160)
    assert len(places(picture, COLOURS[1]))


def test_a_mask_may_have_another_resolution():
    fine = overlay(PIXELS, [MASK.repeat(3, 0).repeat(3, 1)], tile=160)
    assert np.array_equal(places(fine, COLOURS[0]), places(overlay(PIXELS, [MASK], tile=160), COLOURS[0]))


def test_an_annotated_structure_has_its_own_colour():
    assert len(places(annotated(PIXELS, {"ribs": MASK}, side=160), colour_of("ribs")))


def test_the_legend_lies_below_the_radiograph():
    assert annotated(PIXELS, {}, side=160).size == (120, 160 + 22)


def test_the_legend_has_the_colour_of_each_structure():
    picture = annotated(PIXELS, dict.fromkeys(NAMES[:2], np.zeros_like(MASK)), side=640)
    legend = picture.crop((0, 640, *picture.size))
    assert [bool(len(places(legend, colour_of(name)))) for name in NAMES[:3]] == [True, True, False]


def test_a_diameter_is_drawn_over_its_columns():
    picture = annotated(np.zeros_like(PIXELS), {"heart": np.zeros_like(MASK)}, [(80, 30, 89)], side=160)
    found = places(picture.crop((0, 0, 120, 160)), (255, 255, 255))
    assert [found[:, 1].min(), found[:, 1].max()] == [30, 90]


def test_the_figure_takes_up_to_four_structures():
    masks = dict.fromkeys([*NAMES, "trachea"], MASK)
    with pytest.raises(ValueError, match="four corners, but 5 structures were given"):
        four_around(PIXELS, masks)


@pytest.mark.parametrize(
    ("index", "right", "low"), [(0, False, False), (1, True, False), (2, False, True), (3, True, True)]
)
def test_a_structure_fills_its_corner(index, right, low):
    masks = {name: MASK if place == index else np.zeros_like(MASK) for place, name in enumerate(NAMES)}
    picture = four_around(np.zeros_like(PIXELS), masks, side=160)
    coloured = np.ptp(np.asarray(picture).astype(int), axis=-1) > 40
    row, column = np.argwhere(coloured).mean(0)
    assert (column > picture.width / 2, row > picture.height / 2) == (right, low)


def test_a_filled_structure_has_the_hue_of_its_colour():
    picture = np.asarray(four_around(np.zeros_like(PIXELS), {"heart": MASK}, side=160))
    strongest = picture[np.ptp(picture.astype(int), axis=-1) > 40].mean(0)
    assert strongest / strongest.max() == pytest.approx(np.array(colour_of("heart")) / 233, abs=0.05)


def test_the_figure_has_the_radiograph_in_the_middle():
    picture = np.asarray(four_around(PIXELS, {}, side=160))
    assert picture[picture.shape[0] // 2, picture.shape[1] // 2, 0] == pytest.approx(128, abs=4)


@pytest.mark.parametrize(("columns", "size"), [(None, (30, 20)), (2, (20, 30)), (9, (50, 10))])
def test_a_contact_sheet_has_rows_of_tiles(tmp_path, columns, size):
    contact_sheet([Image.new("RGB", (10, 10))] * 5, tmp_path / "sheet.png", columns)
    assert Image.open(tmp_path / "sheet.png").size == size


def test_tiles_follow_each_other_row_by_row(tmp_path):
    tiles = [Image.new("RGB", (10, 10), (value, 0, 0)) for value in (10, 20, 30)]
    contact_sheet(tiles, tmp_path / "sheet.png", 2)
    sheet = Image.open(tmp_path / "sheet.png")
    assert [sheet.getpixel(place)[0] for place in ((5, 5), (15, 5), (5, 15), (15, 15))] == [10, 20, 30, 0]


def test_a_contact_sheet_needs_a_picture(tmp_path):
    with pytest.raises(ValueError, match="no picture"):
        contact_sheet([], tmp_path / "sheet.png")


def test_ignored_pixels_are_shown_at_half_their_brightness():
    ignored = box(slice(0, 80), slice(0, 120))
    plain = np.asarray(overlay(PIXELS, [], tile=160))[TITLE_HEIGHT:]
    shown = np.asarray(overlay(PIXELS, [], tile=160, ignored=ignored))[TITLE_HEIGHT:]
    assert np.array_equal(shown, np.concatenate((plain[:80] // 2, plain[80:])))
