"""Frames, padding values and hot pixels are left out; whole radiographs stay as they are."""

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Invertd
from PIL import Image, ImageDraw

from conftest import EXAMPLES, phantom
from cxr_attn_unet.io import read_radiograph
from cxr_attn_unet.transforms import CropToFieldd, clean_field, field_box, scaled_box

ROWS, COLUMNS = 200, 160


def film(seed=0):
    """A smooth picture with faint noise and a bright middle, values from about 20 to 230, ``(200, 160)`` float32."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:ROWS, :COLUMNS]
    middle = np.exp(-(((x - COLUMNS / 2) / 40) ** 2))
    values = 40 + 120 * middle + 60 * y / ROWS + rng.normal(0, 3, (ROWS, COLUMNS))
    return values.clip(0, 255).round().astype(np.float32)


FILM = film()


def framed(pixels, value, top, bottom, left, right):
    return np.pad(pixels, ((top, bottom), (left, right)), constant_values=value)


def jpeg(pixels, path):
    Image.fromarray(pixels.astype(np.uint8)).save(path, quality=75)
    return np.asarray(Image.open(path)).astype(np.float32)


def test_a_radiograph_without_a_frame_is_given_back_itself():
    assert clean_field(FILM)[0] is FILM


@pytest.mark.parametrize("path", sorted((EXAMPLES / "open_radiographs").glob("*.png")), ids=lambda path: path.stem)
def test_real_radiographs_stay_as_they_are(path):
    pixels = read_radiograph(path).pixels
    assert clean_field(pixels)[0] is pixels


@pytest.mark.parametrize("value", [0, 255, 128, 65535])
def test_a_real_radiograph_in_a_frame_is_found_to_the_pixel(value):
    pixels = read_radiograph(EXAMPLES / "open_radiographs" / "cae2c0a9.png").pixels
    field, _ = clean_field(framed(pixels, value, 150, 150, 150, 150))
    np.testing.assert_array_equal(field, pixels)


@pytest.mark.parametrize("value", [0, 255, 128, 65535, -32768])
@pytest.mark.parametrize("width", [0.03, 0.15, 1.0])
def test_a_frame_of_one_value_is_cut(value, width):
    rows, columns = int(ROWS * width), int(COLUMNS * width)
    picture = framed(FILM, value, rows, rows, columns, columns)
    assert field_box(picture) == (rows, rows + ROWS, columns, columns + COLUMNS)


@pytest.mark.parametrize("sides", [(400, 0, 0, 0), (0, 400, 0, 0), (0, 0, 400, 0), (0, 0, 0, 400)])
def test_an_empty_side_is_cut(sides):
    top, _, left, _ = sides
    assert field_box(framed(FILM, 0, *sides)) == (top, top + ROWS, left, left + COLUMNS)


def test_frames_within_frames_are_cut():
    picture = framed(framed(FILM, 0, 10, 20, 15, 12), 255, 30, 25, 40, 35)
    assert field_box(picture) == (40, 40 + ROWS, 55, 55 + COLUMNS)


def test_a_line_around_the_frame_does_not_hold_it():
    picture = framed(framed(FILM, 0, 30, 30, 30, 30), 255, 1, 1, 1, 1)
    assert field_box(picture) == (31, 31 + ROWS, 31, 31 + COLUMNS)


def test_letters_in_the_frame_do_not_hold_it():
    picture = Image.fromarray(framed(FILM, 0, 40, 40, 40, 40).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    draw.text((8, 8), "R", fill=255)
    draw.text((60, 250), "1 January, erect", fill=255)
    assert field_box(np.asarray(picture).astype(np.float32)) == (40, 40 + ROWS, 40, 40 + COLUMNS)


@pytest.mark.parametrize("value", [0, 255, 128])
def test_a_frame_with_the_artefacts_of_jpeg_is_cut_to_a_few_pixels(value, tmp_path):
    picture = jpeg(framed(FILM, value, 40, 40, 40, 40), tmp_path / "a.jpg")
    assert np.abs(np.subtract(field_box(picture), (40, 40 + ROWS, 40, 40 + COLUMNS))).max() <= 8


def test_the_glow_along_the_edge_of_a_film_is_cut_with_the_frame():
    picture = FILM.copy()
    picture[:, :4] = (250, 220, 190, 160)
    picture[:, 4:20] = 10
    assert field_box(framed(picture, 0, 0, 0, 40, 0)) == (0, ROWS, 44, 40 + COLUMNS)


def test_a_bright_edge_without_a_frame_stays():
    picture = FILM.copy()
    picture[:, :4] = (250, 220, 190, 160)
    assert field_box(picture) == (0, ROWS, 0, COLUMNS)


def test_a_frame_with_faint_noise_is_cut():
    noise = np.random.default_rng(1).normal(0, 1, (280, 240)).astype(np.float32)
    assert field_box(framed(FILM, 100, 40, 40, 40, 40) + noise) == (40, 40 + ROWS, 40, 40 + COLUMNS)


def test_a_spot_in_an_empty_picture_is_not_taken_for_the_radiograph():
    picture = np.zeros((300, 300), np.float32)
    picture[100:130, 100:130] = np.random.default_rng(4).normal(100, 20, (30, 30))
    assert field_box(picture) == (0, 300, 0, 300)


def test_a_patch_of_one_value_is_not_taken_for_the_radiograph():
    picture = np.full((240, 160), 40, np.float32)
    picture[30:110, 90:150] = 220
    assert clean_field(picture)[0] is picture


def test_a_border_narrower_than_two_percent_stays():
    picture = framed(FILM, 0, 0, 3, 0, 0)
    assert field_box(picture) == (0, ROWS + 3, 0, COLUMNS)


def test_black_air_stays_where_the_patient_reaches_the_edge():
    picture = FILM.copy()
    picture[60:, :30] = 0  # beside the chest, below a shoulder that reaches the edge
    picture[60:, -30:] = 0
    assert field_box(picture) == (0, ROWS, 0, COLUMNS)


def test_air_that_is_dark_but_not_constant_stays():
    picture = FILM.copy()
    picture[:, :30] = np.linspace(5, 25, ROWS)[:, None] + np.random.default_rng(2).normal(0, 4, (ROWS, 30))
    assert field_box(picture) == (0, ROWS, 0, COLUMNS)


@pytest.mark.parametrize("hot", [255, 65535])
def test_hot_pixels_are_replaced_by_their_neighbours(hot):
    spoiled = np.where(np.random.default_rng(3).random(FILM.shape) < 0.02, hot, FILM).astype(np.float32)
    field, _box = clean_field(spoiled)
    assert np.abs(field - FILM).max() < 60


def test_a_frame_is_cut_although_there_are_hot_pixels():
    picture = framed(FILM, 0, 40, 40, 40, 40)
    spoiled = np.where(np.random.default_rng(3).random(picture.shape) < 0.02, 65535, picture).astype(np.float32)
    field, box = clean_field(spoiled)
    assert (box, field.max() < 300) == ((40, 40 + ROWS, 40, 40 + COLUMNS), True)


@pytest.mark.parametrize("value", [65535, -32768, 32767])
def test_padding_in_the_corners_becomes_dark(value):
    y, x = np.mgrid[:ROWS, :COLUMNS]
    corners = x + y < 50
    field, _ = clean_field(np.where(corners, value, FILM).astype(np.float32))
    assert np.array_equal(field[~corners], FILM[~corners])
    assert np.ptp(field[corners]) == 0
    assert FILM.min() <= field[0, 0] <= np.percentile(FILM, 2)


def test_what_a_tilted_film_leaves_of_a_white_frame_becomes_dark():
    tilted = Image.fromarray(framed(FILM, 0, 4, 4, 4, 4)).rotate(4, expand=True, fillcolor=255)
    field, _ = clean_field(framed(np.asarray(tilted), 255, 40, 40, 40, 40))
    assert (field > 240).mean() < 0.005


@pytest.mark.parametrize("other", [(100, 80), (400, 320), (201, 161)])
def test_a_box_at_another_resolution_has_the_same_place(other):
    box = scaled_box((40, 160, 20, 100), (200, 160), other)
    wanted = np.array((0.2, 0.8, 0.125, 0.625)) * (other[0], other[0], other[1], other[1])
    assert np.abs(np.array(box) - wanted).max() <= 0.5


def data(picture):
    return {"image": MetaTensor(torch.from_numpy(picture)[None])}


def test_the_transform_gives_the_field():
    image = CropToFieldd("image")(data(framed(FILM, 255, 40, 30, 20, 10)))["image"]
    np.testing.assert_array_equal(image[0].numpy(), FILM)


def test_masks_of_another_resolution_are_cropped_alike():
    items = data(framed(FILM, 255, 40, 40, 40, 40))
    mask = torch.zeros(1, 560, 480)
    mask[:, 80:480, 80:400] = 1
    items["label"] = MetaTensor(mask)
    label = CropToFieldd(["image", "label"])(items)["label"]
    assert (label.shape, bool(label.all())) == ((1, 2 * ROWS, 2 * COLUMNS), True)


def test_the_inverse_puts_a_prediction_back_over_the_whole_picture():
    transform = CropToFieldd("image")
    items = transform(data(framed(FILM, 255, 40, 30, 20, 10)))
    items["pred"] = MetaTensor(torch.ones(2, ROWS, COLUMNS))
    back = Invertd("pred", transform, orig_keys="image", nearest_interp=False)(items)["pred"]
    wanted = framed(np.ones((ROWS, COLUMNS)), 0, 40, 30, 20, 10)
    np.testing.assert_array_equal(back.numpy(), np.stack([wanted, wanted]))


def test_the_transform_leaves_a_whole_radiograph_alone():
    items = data(FILM)
    assert torch.equal(CropToFieldd("image")(items)["image"].as_tensor(), items["image"].as_tensor())


def test_coarse_noise_is_no_hot_pixel():
    noisy = phantom(0)[0].astype(np.float32)
    field, _ = clean_field(noisy)
    assert field is noisy
