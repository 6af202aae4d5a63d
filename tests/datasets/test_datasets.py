"""Data sets are found, checked and split, and whatever is wrong is said at once."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from conftest import EXAMPLES, phantom, write_folder, write_jsrt
from cxr_attn_unet.datasets import LAYOUTS, DatasetError, find_items, load_data, split_items
from cxr_attn_unet.datasets.__main__ import main

IDS = ["JPCLN001", "JPCLN002", "JPCLN010", "JPCNN001", "JPCNN002", "JPCNN093"]


def test_jsrt_split_is_fixed_and_by_patient():
    everyone = [f"JPCLN{i:03d}" for i in range(1, 155)] + [f"JPCNN{i:03d}" for i in range(1, 94)]
    split = split_items([{"id": name, "dataset": "jsrt"} for name in everyone])
    names = {section: [item["id"] for item in items] for section, items in split.items()}
    assert (len(names["training"]), len(names["validation"])) == (223, 24)
    assert not set(names["training"]) & set(names["validation"])
    # part of the data keeps each radiograph on its side
    part = split_items([{"id": name, "dataset": "jsrt"} for name in everyone[::3]])
    assert {item["id"] for item in part["validation"]} == set(names["validation"]) & set(everyone[::3])


@pytest.mark.parametrize("inside", ["", "jsrt"])
def test_jsrt_in_its_official_folders(tmp_path, inside):
    root = write_jsrt(tmp_path / inside / "db", IDS, ("heart", "left lung", "right lung"))
    items, problems = find_items(tmp_path, "heart")
    assert ({item["dataset"] for item in items}, problems) == ({"jsrt"}, [])
    assert [item["id"] for item in items] == IDS
    assert items[0]["image"] == str(root / "All247images" / "JPCLN001.png")
    assert items[0]["label"] == str(root / "scratch" / "fold1" / "masks" / "heart" / "JPCLN001.gif")
    assert items[0]["field_of_view_mm"] == [358.4, 358.4]
    items, _ = find_items(tmp_path, "lungs")
    assert [label.split("/")[-2] for label in items[0]["label"]] == ["left lung", "right lung"]


def test_folder(tmp_path):
    data = load_data(write_folder(tmp_path, "heart", 20), "heart")
    assert (len(data["training"]), len(data["validation"])) == (18, 2)
    assert data == load_data(tmp_path, "heart")
    item = data["training"][0]
    assert set(item) == {"image", "label", "id", "dataset"}
    assert item["label"].replace("masks/heart", "images") == item["image"]


@pytest.mark.parametrize("structure", ["heart", "lungs", "ribs", "clavicles"])
def test_examples_are_a_data_set_of_all_structures(structure):
    data = load_data(EXAMPLES / "rendered", structure)
    assert (len(data["training"]), len(data["validation"])) == (14, 2)


def faults(root):
    """What must be said, and what to do to a folder of ten so that it is."""

    def image(number):
        return root / "images" / f"case_{number:02d}.png"

    def mask(number):
        return root / "masks" / "heart" / f"case_{number:02d}.png"

    def picture(path, pixels):
        Image.fromarray(pixels).save(path)

    return {
        "case_00.png: no heart mask": lambda: mask(0).unlink(),
        "case_01.png: damaged or truncated": lambda: image(1).write_bytes(image(1).read_bytes()[:300]),
        "case_02.png: the mask is empty": lambda: picture(mask(2), np.zeros((96, 80), np.uint8)),
        "case_03.png: the mask is 96 x 80 .* another aspect": lambda: picture(
            mask(3), phantom(3)[1].T.astype(np.uint8)
        ),
        "case_04: more than one file": lambda: picture(image(4).with_suffix(".bmp"), phantom(4)[0]),
        "case_06.png: the same radiograph as .*case_05.png": lambda: picture(image(6), phantom(5)[0]),
        "case_07.png: only 3 x 3 pixels": lambda: picture(image(7), phantom(7)[0][:3, :3]),
    }


def test_everything_that_is_wrong_is_in_one_list(tmp_path):
    root = write_folder(tmp_path, "heart", 10)
    for apply in faults(root).values():
        apply()
    with pytest.raises(DatasetError) as caught:
        load_data(root, "heart")
    lines = str(caught.value).splitlines()
    assert "7 problems" in lines[0]
    for expected in faults(root):
        assert len([line for line in lines if re.search(expected, line)]) == 1, expected


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda root: None, "no such folder"),
        (lambda root: root.mkdir(), "no radiographs with masks"),
        (lambda root: write_folder(root, "liver", 2), "no mask of the structure 'heart'"),
        (lambda root: write_jsrt(root, IDS, ("left lung",)), "no mask of the structure 'heart'"),
    ],
)
def test_nothing_to_train_on(tmp_path, prepare, message):
    prepare(tmp_path / "data")
    with pytest.raises(DatasetError, match=message) as caught:
        load_data(tmp_path / "data", "heart")
    assert str(tmp_path / "data") in str(caught.value)


def test_few_grey_levels_are_named_and_kept(tmp_path, caplog):
    root = write_folder(tmp_path, "heart", 3)
    path = root / "images" / "case_01.png"
    Image.fromarray(np.asarray(Image.open(path)) // 16 * 16).save(path)
    data = load_data(root, "heart")
    assert sum(map(len, data.values())) == 3
    assert "case_01.png: only" in caplog.text
    assert "case_02" not in caplog.text


def test_command_line(tmp_path, capsys):
    root = write_folder(tmp_path / "data", "heart", 5)
    output, sheet = tmp_path / "list.json", tmp_path / "sheet.png"
    arguments = ["--dataset_dir", str(root), "--structure", "heart"]
    assert main([*arguments, "--output", str(output), "--sheet", str(sheet)]) == 0
    assert "5 radiographs, 4 training, 1 validation" in capsys.readouterr().out
    assert sum(map(len, json.loads(output.read_text()).values())) == 5
    assert load_data(output, "heart") == load_data(root, "heart")
    assert Image.open(sheet).size[0] > 500
    (root / "masks" / "heart" / "case_00.png").unlink()
    assert main(arguments) == 1
    assert "case_00.png: no heart mask" in capsys.readouterr().err


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_pass_over_what_is_not_theirs(layout):
    assert LAYOUTS[layout].find([], "heart") is None


def invert_masks(folder, structure, names):
    for name in names:
        path = folder / "masks" / structure / f"{name}.png"
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)


def test_inverted_masks_are_named(small_folder):
    invert_masks(small_folder, "heart", ["case_03"])
    with pytest.raises(DatasetError, match=r"1 problems.*\n  .*case_03.png: the mask covers \d\d%.*looks inverted"):
        load_data(small_folder, "heart")


def test_a_mask_of_another_structure_that_covers_the_edges_is_only_warned_of(tmp_path, caplog):
    folder = write_folder(tmp_path, "body", 3)
    invert_masks(folder, "body", ["case_01"])
    load_data(folder, "body")
    assert "case_01.png: the mask covers" in caplog.text


@pytest.mark.parametrize(("name", "value"), [("20240101", 20240101), ("True", True)])
def test_a_folder_whose_name_the_command_line_took_for_a_value_is_found(name, value, tmp_path, monkeypatch):
    write_folder(tmp_path / name, "heart", 3)
    monkeypatch.chdir(tmp_path)
    assert len(load_data(value, "heart")["training"]) == 2


def test_a_number_that_no_longer_shows_the_folder_is_refused_with_the_remedy(tmp_path, monkeypatch):
    write_folder(tmp_path / "1e3", "heart", 3)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError, match=r"^1000.0: the command line took .* ./1e3"):
        load_data(1e3, "heart")
