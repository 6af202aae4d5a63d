"""Masks that a bundle's weights draw where nobody has drawn any, and what is left open or left out."""

import shutil
from pathlib import Path

import numpy as np

from cxr_attn_unet.datasets import load_data
from cxr_attn_unet.io import IGNORED, read_partial_mask
from cxr_attn_unet_dev.tools.draw_masks import drawn_mask, main

EXAMPLES = Path(__file__).parents[3] / "examples" / "rendered"


def disc(radius, centre=(40, 40), side=80):
    rows, columns = np.ogrid[:side, :side]
    return np.where((rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2, 0.97, 0.01)


def test_what_all_views_agree_on_is_drawn():
    mask = drawn_mask(np.stack([disc(20)] * 3), components=1)
    assert (mask == (disc(20) > 0.5)).all()


def test_pixels_that_are_not_sure_are_left_open():
    view = disc(20)
    view[40, 58:62] = 0.6
    view[40, 15:19] = 0.3
    mask = drawn_mask(np.stack([view] * 3), components=1)
    assert (mask[40, 58:62] == IGNORED).all()
    assert (mask[40, 15:19] == IGNORED).all()
    assert mask[40, 40] == 1
    assert mask[5, 5] == 0


def test_a_second_piece_is_left_open_where_the_structure_has_one():
    view = np.maximum(disc(20), disc(3, centre=(70, 70)))
    assert drawn_mask(np.stack([view] * 3), components=1)[70, 70] == IGNORED
    assert drawn_mask(np.stack([view] * 3), components=2)[70, 70] == 1
    assert drawn_mask(np.stack([view] * 3), components=0)[70, 70] == 1


def test_views_that_differ_give_no_mask():
    assert drawn_mask(np.stack([disc(20), disc(20), disc(18)]), components=1) is None


def test_a_mask_of_which_too_much_is_not_sure_is_none():
    view = disc(20)
    view[23:36, 30:50] = 0.6
    assert drawn_mask(np.stack([view] * 3), components=1) is None


def test_nothing_found_is_no_mask():
    assert drawn_mask(np.full((3, 80, 80), 0.1), components=1) is None


def test_masks_are_written_that_can_be_trained_on(tmp_path):
    output = tmp_path / "drawn"
    command = ["--structure", "heart", "--dataset_dir", str(EXAMPLES), "--output", str(output), "--count", "3"]
    assert main(command) == 0
    data = load_data(str(output), "heart")
    assert data["validation"] == []
    item = data["training"][0]
    mask = read_partial_mask(item["label"], item["ignore_value"])
    assert (mask == IGNORED).any()
    assert 0.02 < (mask == 1).mean() < 0.4


def test_a_radiograph_that_cannot_be_read_is_named_and_the_others_go_on(tmp_path, capsys):
    examples = shutil.copytree(EXAMPLES, tmp_path / "examples")
    damaged = Path(load_data(str(examples), "lungs")["training"][0]["image"])
    damaged.write_bytes(damaged.read_bytes()[:500])
    output = tmp_path / "drawn"
    command = ["--structure", "heart", "--dataset_dir", str(examples), "--output", str(output)]
    assert main(command) == 1
    assert damaged.name in capsys.readouterr().err
    assert list((output / "masks" / "heart").glob("*.png"))


def test_a_missing_data_set_is_named(tmp_path, capsys):
    command = ["--structure", "heart", "--dataset_dir", str(tmp_path / "none"), "--output", str(tmp_path / "out")]
    assert main(command) == 1
    assert str(tmp_path / "none") in capsys.readouterr().err
