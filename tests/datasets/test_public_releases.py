"""The public data sets in the layout their owners give them out in, as small files that the tests write."""

import json
from importlib import resources

import numpy as np
import pytest
from PIL import Image

from conftest import phantom, write_folder, write_jsrt
from cxr_attn_unet.datasets import (
    DatasetError,
    check_items,
    eos_drr_ribs,
    find_items,
    load_data,
    split_items,
    vindr_ribcxr,
)
from cxr_attn_unet.datasets.checks import gap_between_lungs
from cxr_attn_unet.io import RadiographError, read_mask
from cxr_attn_unet.transforms import LoadMaskd, LoadRadiographd


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def halves(mask):
    """Left and right part of a mask, as 8-bit pictures."""
    left = mask.copy()
    left[:, : mask.shape[1] // 2] = False
    return left.astype(np.uint8) * 255, (mask & ~left).astype(np.uint8) * 255


def write_montgomery_shenzhen(root, native):
    """Two radiographs of each; one of Shenzhen's has no mask, as 96 of the official ones."""
    for index, name in enumerate(("MCUCXR_0001_0", "MCUCXR_0104_1", "CHNCXR_0001_0", "CHNCXR_0330_1")):
        image, mask = phantom(index)
        here = name.startswith("MCU")
        folder = ("MontgomerySet" if here else "ChinaSet_AllFiles") if native else "."
        save(root / folder / "CXR_png" / f"{name}.png", image)
        if here and native:
            left, right = halves(mask)
            save(root / folder / "ManualMask" / "leftMask" / f"{name}.png", left)
            save(root / folder / "ManualMask" / "rightMask" / f"{name}.png", right)
        elif name != "CHNCXR_0330_1":
            save(root / "masks" / f"{name}{'' if here else '_mask'}.png", mask.astype(np.uint8) * 255)
    return root


@pytest.mark.parametrize("native", [True, False])
def test_montgomery_and_shenzhen(tmp_path, native, caplog):
    caplog.set_level("INFO")
    items, problems = find_items(write_montgomery_shenzhen(tmp_path, native), "lungs")
    assert problems == []
    assert [item["id"] for item in items] == ["CHNCXR_0001_0", "MCUCXR_0001_0", "MCUCXR_0104_1"]
    assert "1 radiographs without a lungs mask are left out" in caplog.text
    assert isinstance(items[1]["label"], list) == native
    assert (read_mask(items[1]["label"]) == phantom(0)[1]).all()
    with pytest.raises(DatasetError, match="no mask of the structure 'heart'"):
        find_items(tmp_path, "heart")


def test_a_montgomery_mask_that_is_missing_is_a_problem(tmp_path):
    write_montgomery_shenzhen(tmp_path, native=True)
    (tmp_path / "MontgomerySet" / "ManualMask" / "leftMask" / "MCUCXR_0001_0.png").unlink()
    _, problems = find_items(tmp_path, "lungs")
    assert len(problems) == 1
    assert "MCUCXR_0001_0.png: no lungs mask" in problems[0]


def test_montgomery_knows_its_pixel_spacing_at_its_own_size_only(tmp_path):
    root = tmp_path / "MontgomerySet"
    for name, size in (("MCUCXR_0001_0", (4892, 4020)), ("MCUCXR_0002_0", (512, 512))):
        for folder in ("CXR_png", "ManualMask/leftMask", "ManualMask/rightMask"):
            save(root / folder / f"{name}.png", np.ones(size, np.uint8))
    native, squeezed = find_items(root, "lungs")[0]
    assert native["field_of_view_mm"] == pytest.approx([4892 * 0.0875, 4020 * 0.0875])
    assert "field_of_view_mm" not in squeezed


def test_squeezed_copies_are_named(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("MCUCXR_0001_0", "MCUCXR_0002_0"):
        save(tmp_path / "CXR_png" / f"{name}.png", rng.integers(0, 255, (64, 64), np.uint8))
        save(tmp_path / "masks" / f"{name}.png", np.ones((64, 64), np.uint8))
    items, _ = find_items(tmp_path, "lungs")
    from cxr_attn_unet.datasets import LAYOUTS

    assert any("squeezed" in warning for warning in check_items(items, "lungs", LAYOUTS).warnings)


def published_ids(number):
    """As many ids as the full release has masks: those in the split file and others."""
    text = (resources.files("cxr_attn_unet.datasets") / "splits" / "montgomery_shenzhen.json").read_text()
    listed = json.loads(text)
    known = [*listed["training"], *listed["validation"]]
    return [*known, *(f"CHNCXR_{index:04d}_1" for index in range(700, 700 + number - len(known)))]


def test_published_split_of_the_full_release():
    items = [{"id": name, "dataset": "montgomery_shenzhen"} for name in published_ids(704)]
    split = split_items(items)
    assert {name: len(section) for name, section in split.items()} == {
        "training": 610,
        "validation": 68,
        "testing": 26,
    }
    # whoever has less of it has every radiograph on the same side, or one more to train on
    part = split_items(items[:668])
    assert part["validation"] == split["validation"]
    assert all(item in split["training"] for item in part["training"])


def square(x, y, side=10):
    return [{"x": x + dx * side, "y": y + dy * side} for dx, dy in ((0, 0), (1, 0), (1, 1), (0, 1))]


def write_vindr(root):
    """Three radiographs to train on and one to validate on; two ribs, one of which the last radiograph has not."""
    for section, number in (("train", 3), ("val", 1)):
        names = [f"data/{section}/img/VinDr_RibCXR_{section}_{index:03d}.png" for index in range(number)]
        for index, name in enumerate(names):
            save(root / name, phantom(index + 10 * number)[0])
        table = {
            "img": {str(index): name for index, name in enumerate(names)},
            "R1": {str(index): square(10.0 + index, 20.0) for index in range(number)},
            "L10": {str(index): square(50.0, 70.0) if section == "train" else [] for index in range(number)},
        }
        (root / f"Vindr_RibCXR_{section}_mask.json").write_text(json.dumps(table))
    return root


def test_vindr_ribcxr(tmp_path):
    data = load_data(write_vindr(tmp_path), "ribs")
    assert [item["id"] for item in data["training"]] == [f"VinDr_RibCXR_train_{index:03d}" for index in range(3)]
    assert [item["id"] for item in data["validation"]] == ["VinDr_RibCXR_val_000"]
    label = data["training"][1]["label"]
    assert label.endswith("Vindr_RibCXR_train_mask.json#1")
    ribs = vindr_ribcxr.rib_masks(label)
    assert list(ribs) == ["R1", "L10"]
    assert ribs["R1"].shape == (96, 80)
    assert ribs["R1"][20:31, 11:22].all()
    assert ribs["R1"].sum() == 121
    assert (read_mask(label) == (ribs["R1"] | ribs["L10"])).all()
    assert not vindr_ribcxr.rib_masks(data["validation"][0]["label"])["L10"].any()


def test_polygons_load_over_their_radiograph(tmp_path):
    item = load_data(write_vindr(tmp_path), "ribs")["training"][0]
    loaded = LoadMaskd("label")(LoadRadiographd("image")(item))
    assert loaded["label"].shape == loaded["image"].shape == (1, 80, 96)
    assert loaded["label"][0, 15, 25] == 1
    assert loaded["label"][0, 25, 15] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root, table: (root / "data/train/img/VinDr_RibCXR_train_000.png").unlink(), "no such file"),
        (lambda root, table: table.pop("img"), "no list of radiographs"),
        (lambda root, table: table["R1"].update({"0": [{"x": 1}]}), "not a list of x and y"),
        (lambda root, table: table["R1"].update({"0": square(float("nan"), 1)}), "not a number"),
    ],
)
def test_damaged_polygons(tmp_path, change, message):
    path = write_vindr(tmp_path) / "Vindr_RibCXR_train_mask.json"
    table = json.loads(path.read_text())
    change(tmp_path, table)
    path.write_text(json.dumps(table))
    with pytest.raises((DatasetError, RadiographError), match=message):
        load_data(tmp_path, "ribs")


def test_truncated_and_unknown_polygons(tmp_path):
    path = write_vindr(tmp_path) / "Vindr_RibCXR_train_mask.json"
    for reference, message in (
        (f"{path}#7", "no radiograph 7"),
        (f"{path}#0/R3", "no R3"),
        (f"{tmp_path}/a.json#0", "no such file"),
    ):
        with pytest.raises(RadiographError, match=message):
            read_mask(reference)
    path.write_text(path.read_text()[:50])
    with pytest.raises(RadiographError, match="truncated"):
        load_data(tmp_path, "ribs")


def test_eos_drr_ribs(tmp_path):
    for index in (1, 2):
        image, mask = phantom(index)
        bits = mask.astype(np.uint16) * 0b100000000001  # first and twelfth pair
        bits[:5, :5] = 0b10
        save(tmp_path / "images" / f"eos_drr_{index}.png", image)
        save(tmp_path / "labels" / f"eos_drr_{index}.png", bits)
    items, problems = find_items(tmp_path, "ribs")
    assert problems == []
    assert [item["dataset"] for item in items] == ["eos_drr_ribs"] * 2
    ribs = eos_drr_ribs.rib_masks(items[0]["label"])
    assert sorted(ribs) == list(range(1, 13))
    assert (ribs[1] == ribs[12]).all()
    assert ribs[2].sum() == 25
    assert not ribs[3].any()
    assert (read_mask(items[0]["label"]) == (ribs[1] | ribs[2])).all()


def test_data_sets_side_by_side_are_joined(tmp_path):
    write_jsrt(tmp_path / "jsrt", ["JPCLN001", "JPCLN012"], ("heart", "left lung", "right lung"))
    write_montgomery_shenzhen(tmp_path / "montgomery_shenzhen", native=False)
    data = load_data(tmp_path, "lungs", check=False)
    assert [item["id"] for item in data["validation"] if item["dataset"] == "jsrt"] == ["JPCLN012"]
    assert {item["dataset"] for items in data.values() for item in items} == {"jsrt", "montgomery_shenzhen"}
    assert {item["dataset"] for items in load_data(tmp_path, "heart").values() for item in items} == {"jsrt"}
    several = load_data([tmp_path / "jsrt", tmp_path / "montgomery_shenzhen"], "lungs", check=False)
    assert several == data


def test_own_folder_is_split_by_patient(tmp_path):
    root = write_folder(tmp_path, "heart", 12)
    (root / "patients.csv").write_text("id,patient\n" + "".join(f"case_{i:02d},p{i // 4}\n" for i in range(12)))
    data = load_data(root, "heart")
    sides = {name: {item["patient"] for item in items} for name, items in data.items()}
    assert not sides["training"] & sides["validation"]
    assert len(data["validation"]) == 4
    (root / "patients.csv").write_text("id,patient\ncase_00,p\n")
    with pytest.raises(DatasetError, match="no patient for case_01"):
        load_data(root, "heart")


def test_own_folder_with_its_own_split(tmp_path):
    root = write_folder(tmp_path, "heart", 5)
    (root / "split.json").write_text('{"validation": ["case_03"]}')
    assert [item["id"] for item in load_data(root, "heart")["validation"]] == ["case_03"]
    (root / "split.json").write_text('{"validation": ["case_33"]}')
    with pytest.raises(DatasetError, match="no radiographs case_33"):
        load_data(root, "heart")


@pytest.mark.parametrize("text", ["{", "[]", '{"training": [{}], "validation": []}'])
def test_a_data_list_that_is_none(tmp_path, text):
    (tmp_path / "list.json").write_text(text)
    with pytest.raises(DatasetError, match=r"list\.json.*again"):
        load_data(tmp_path / "list.json", "heart")


def two_lungs(gap):
    mask = np.zeros((100, 120), bool)
    mask[10:90, 10:110] = True
    mask[10:90, 60 - gap // 2 : 60 + gap // 2] = False
    return mask


def test_lungs_behind_the_heart_are_named(tmp_path):
    assert gap_between_lungs(two_lungs(40)) == pytest.approx(0.41, abs=0.01)
    assert gap_between_lungs(np.zeros((9, 9), bool)) == 1
    root = write_folder(tmp_path, "lungs", 3)
    for index, gap in enumerate((40, 10, 44)):
        save(root / "images" / f"case_{index:02d}.png", phantom(index, 100, 120)[0])
        save(root / "masks" / "lungs" / f"case_{index:02d}.png", two_lungs(gap).astype(np.uint8))
    items, _ = find_items(root, "lungs")
    warnings = check_items(items, "lungs").warnings
    assert len(warnings) == 1
    assert "1 of 3 lung masks include the lung behind the heart" in warnings[0]
    assert "case_01" in warnings[0]
    assert not check_items(items, "heart").warnings
