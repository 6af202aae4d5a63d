"""Data sets whose masks say nothing about some pixels, and data sets seen together."""

import json

import numpy as np
import pytest
from PIL import Image

from conftest import phantom, write_folder
from cxr_attn_unet.datasets import (
    DatasetError,
    every,
    find_items,
    inspect_data,
    load_data,
    repeated,
    without_lungs_behind_heart,
)
from cxr_attn_unet.datasets.__main__ import main


def write_bse(root, ids=("JPCLN001", "JPCLN012"), images="jsrt/images"):
    """A small ``jsrt_bse_ribs`` beside ``jsrt``: the upper half of each mask says nothing."""
    (root / images).mkdir(parents=True)
    (root / "jsrt_bse_ribs" / "masks").mkdir(parents=True)
    for index, image_id in enumerate(ids):
        image, mask = phantom(index, 64, 64)
        values = mask.astype(np.uint8) * 255
        values[:32] = 128
        Image.fromarray(image).save(root / images / f"{image_id}.png")
        Image.fromarray(values).save(root / "jsrt_bse_ribs" / "masks" / f"{image_id}.png")
    return root / "jsrt_bse_ribs"


def test_rib_labels_are_paired_with_the_radiographs_beside_them(tmp_path):
    items, _ = find_items(write_bse(tmp_path), "ribs")
    assert [item["image"] for item in items] == [
        str(tmp_path / "jsrt" / "images" / f"{name}.png") for name in ("JPCLN001", "JPCLN012")
    ]


def test_rib_labels_carry_their_ignore_value(tmp_path):
    items, _ = find_items(write_bse(tmp_path), "ribs")
    assert {item["ignore_value"] for item in items} == {128}


def test_rib_labels_are_split_as_jsrt_is(tmp_path):
    data = load_data(str(write_bse(tmp_path)), "ribs")
    assert [item["id"] for item in data["validation"]] == ["JPCLN012"]  # in splits/jsrt.json


def test_a_folder_of_data_sets_is_searched_for_rib_labels(tmp_path):
    write_bse(tmp_path)
    items, _ = find_items(tmp_path, "ribs")
    assert {item["dataset"] for item in items} == {"jsrt_bse_ribs"}


def test_a_rib_label_without_its_radiograph_is_named(tmp_path):
    folder = write_bse(tmp_path)
    (tmp_path / "jsrt" / "images" / "JPCLN012.png").unlink()
    _, problems = find_items(folder, "ribs")
    assert problems == [
        f"{folder / 'masks' / 'JPCLN012.png'}: no radiograph JPCLN012 for this mask. Add it, or take the mask out."
    ]


def test_rib_labels_are_found_from_their_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(write_bse(tmp_path))
    items, _ = find_items(".", "ribs")
    assert [item["id"] for item in items] == ["JPCLN001", "JPCLN012"]


def test_rib_labels_have_no_other_structure(tmp_path):
    with pytest.raises(DatasetError, match="no mask of the structure 'heart'"):
        find_items(write_bse(tmp_path), "heart")


def test_the_masks_share_is_that_of_the_labelled_pixels(tmp_path):
    _, report = inspect_data(str(write_bse(tmp_path, ["JPCLN001"])), "ribs")
    assert report.facts[0].share == pytest.approx(phantom(0, 64, 64)[1][32:].mean())


def test_the_data_check_says_how_much_is_labelled(tmp_path, capsys):
    main(["--dataset_dir", str(write_bse(tmp_path)), "--structure", "ribs"])
    assert "labelled: 50.0% of the picture" in capsys.readouterr().out


def test_a_mask_without_any_label_is_a_problem(tmp_path):
    folder = write_bse(tmp_path, ["JPCLN001"])
    Image.fromarray(np.full((64, 64), 128, np.uint8)).save(folder / "masks" / "JPCLN001.png")
    _, report = inspect_data(str(folder), "ribs")
    assert "every pixel is to be ignored" in report.problems[0]


def test_a_folder_of_your_own_names_its_ignore_value(tmp_path):
    root = write_folder(tmp_path, "heart", 3)
    (root / "mask_values.json").write_text(json.dumps({"ignore": 7}), encoding="utf-8")
    items, _ = find_items(root, "heart")
    assert [item["ignore_value"] for item in items] == [7, 7, 7]


@pytest.mark.parametrize("content", [{"ignore": 0}, {"ignored": 7}, {"ignore": "7"}, {"ignore": True}, [7]])
def test_a_wrong_file_of_mask_values_is_named(tmp_path, content):
    root = write_folder(tmp_path, "heart", 3)
    (root / "mask_values.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(DatasetError, match=r"mask_values\.json: expected"):
        find_items(root, "heart")


def test_without_such_a_file_items_have_no_ignore_value(tmp_path):
    items, _ = find_items(write_folder(tmp_path, "heart", 3), "heart")
    assert not any("ignore_value" in item for item in items)


def test_a_value_to_ignore_that_no_mask_has_is_remarked_on(tmp_path):
    root = write_folder(tmp_path, "heart", 3)
    (root / "mask_values.json").write_text(json.dumps({"ignore": 7}), encoding="utf-8")
    _, report = inspect_data(str(root), "heart")
    assert report.warnings == [
        "folder: no mask has the value 7, which was to be ignored, so every pixel counts. Check the value."
    ]


def test_a_value_to_ignore_that_some_masks_have_is_not_remarked_on(tmp_path):
    folder = write_bse(tmp_path)
    mask = phantom(1, 64, 64)[1].astype(np.uint8) * 255
    Image.fromarray(mask).save(folder / "masks" / "JPCLN012.png")
    _, report = inspect_data(str(folder), "ribs")
    assert report.warnings == []


def write_wingspan(root, names=("wingspan_001", "wingspan_011")):
    root = write_folder(root, "heart", 0)
    for seed, name in enumerate(names):
        image, mask = phantom(seed)
        Image.fromarray(image).save(root / "images" / f"{name}.png")
        Image.fromarray(mask.astype(np.uint8) * 255).save(root / "masks" / "heart" / f"{name}.png")
    return root


def test_wingspan_is_told_by_its_names(tmp_path):
    items, _ = find_items(write_wingspan(tmp_path), "heart")
    assert {item["dataset"] for item in items} == {"wingspan"}


def test_wingspan_is_split_by_its_own_file(tmp_path):
    data = load_data(str(write_wingspan(tmp_path)), "heart")
    assert [item["id"] for item in data["validation"]] == ["wingspan_011"]


def test_wingspan_among_other_radiographs_is_a_folder_of_your_own(tmp_path):
    items, _ = find_items(write_wingspan(tmp_path, ("mine", "wingspan_001")), "heart")
    assert [(item["id"], item["dataset"]) for item in items] == [("mine", "folder"), ("wingspan_001", "folder")]


def test_the_wingspan_radiograph_with_exchanged_masks_is_left_out(tmp_path):
    items, _ = find_items(write_wingspan(tmp_path, ("wingspan_043", "wingspan_044")), "heart")
    assert [item["id"] for item in items] == ["wingspan_043"]


def test_a_split_beside_wingspan_is_followed(tmp_path):
    root = write_wingspan(tmp_path)
    (root / "split.json").write_text(json.dumps({"validation": ["wingspan_001"]}), encoding="utf-8")
    data = load_data(str(root), "heart")
    assert [item["id"] for item in data["validation"]] == ["wingspan_001"]


ITEMS = [{"id": str(index), "dataset": "small" if index == 0 else "large"} for index in range(5)]


def test_items_of_a_small_data_set_are_repeated():
    assert [item["id"] for item in repeated(ITEMS, {"small": 3})] == list("0001234")


def test_every_second_item_of_a_large_data_set():
    assert [item["id"] for item in every(ITEMS, {"large": 2})] == list("013")


def test_lungs_that_go_on_behind_the_heart_are_left_out_by_their_data_set():
    items = [
        {"id": "wingspan_026", "dataset": "wingspan"},
        {"id": "wingspan_027", "dataset": "wingspan"},
        {"id": "CHNCXR_0030_0", "dataset": "montgomery_shenzhen"},
        {"id": "MCUCXR_0001_0", "dataset": "montgomery_shenzhen"},
        {"id": "wingspan_026", "dataset": "folder"},
        {"image": "of_a_list_without_names.png"},
    ]
    assert without_lungs_behind_heart(items) == [items[1], *items[3:]]


@pytest.mark.parametrize("sample", [repeated, every])
def test_a_data_set_that_is_not_there_is_named(sample):
    with pytest.raises(DatasetError, match="absent: no radiographs of this data set here, only of large, small"):
        sample(ITEMS, {"absent": 2})
