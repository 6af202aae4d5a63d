"""Measured ratios compared with those of readers."""

import json

import pytest
from PIL import Image

from conftest import EXAMPLES
from cxr_attn_unet.datasets import DatasetError
from cxr_attn_unet_dev.tools import readers_ratio, tables
from cxr_attn_unet_dev.tools.readers_ratio import agreement, draw, read_ratios

MEASURED = {"a": 0.52, "b": 0.47, "c": 0.61}
READERS = {"a": 0.50, "b": 0.48, "c": 0.60, "d": 0.55}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("radiographs", 3),
        ("mean_absolute_error", pytest.approx(0.0133, abs=1e-4)),
        ("mean_difference", pytest.approx(0.0067, abs=1e-4)),
        ("largest", pytest.approx(0.02)),
        # 1.96 standard deviations of .02, -.01 and .01, which is .0153
        ("limits_of_agreement", pytest.approx([-0.0233, 0.0366], abs=2e-4)),
    ],
)
def test_known_agreement(name, value):
    assert agreement(MEASURED, READERS)[name] == value


def test_the_interval_holds_the_mean():
    result = agreement(MEASURED, READERS)
    low, high = result["interval"]
    assert low <= result["mean_absolute_error"] <= high


def test_one_radiograph_is_too_few():
    with pytest.raises(ValueError, match="needed are 2"):
        agreement({"a": 0.5}, READERS)


def test_radiographs_without_a_reading_are_left_out(tmp_path):
    (tmp_path / "ctr.csv").write_text("name,cardiothoracic_ratio\nwingspan_001,\nwingspan_002,0.61\n")
    assert read_ratios(tmp_path / "ctr.csv") == {"wingspan_002": 0.61}


def test_a_missing_table_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"ctr\.csv: no such file"):
        read_ratios(tmp_path / "ctr.csv")


def test_a_table_with_other_columns_is_named(tmp_path):
    (tmp_path / "ctr.csv").write_text("id,ratio\n1,0.5\n")
    with pytest.raises(DatasetError, match="needs the columns name and cardiothoracic_ratio"):
        read_ratios(tmp_path / "ctr.csv")


def cases() -> dict:
    return {name: {"measured": MEASURED.get(name), "read": ratio} for name, ratio in READERS.items()}


def test_a_picture_is_drawn_though_a_ratio_is_withheld(tmp_path):
    draw({**agreement(MEASURED, READERS), "cases": cases()}, tmp_path / "a.png")
    assert Image.open(tmp_path / "a.png").size == (660, 396)


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """The command's files, on two radiographs that are called as those of Wingspan."""
    folder = tmp_path_factory.mktemp("wingspan")
    for kind in ("images", "masks/heart", "masks/lungs"):
        (folder / "data" / kind).mkdir(parents=True)
    for number, name in ((1, "00cfd1c1"), (2, "cae2c0a9")):
        image = Image.open(EXAMPLES / "open_radiographs" / f"{name}.png").resize((256, 256))
        image.save(folder / "data" / "images" / f"wingspan_00{number}.png")
        for structure in ("heart", "lungs"):
            image.point(lambda grey: 255 * (grey > 99)).save(
                folder / "data" / "masks" / structure / f"wingspan_00{number}.png"
            )
    (folder / "data" / "ctr.csv").write_text("name,cardiothoracic_ratio\nwingspan_001,0.5\nwingspan_002,0.5\n")
    arguments = ["--dataset_dir", str(folder / "data"), "--section", "training"]
    arguments += ["--output", str(folder / "a.json"), "--picture", str(folder / "a.png")]
    assert readers_ratio.main(arguments) == 0
    return folder


def test_the_command_compares_each_radiograph(compared):
    assert set(json.loads((compared / "a.json").read_text())["cases"]) == {"wingspan_001", "wingspan_002"}


def test_the_command_draws(compared):
    assert (compared / "a.png").is_file()


def test_the_result_makes_a_text(compared):
    text = tables.readers_text(json.loads((compared / "a.json").read_text()))
    assert "on 2 radiographs (Wingspan, training split)" in text


def test_a_wrong_folder_is_named(tmp_path, capsys):
    readers_ratio.main(["--dataset_dir", str(tmp_path / "nowhere")])
    assert "nowhere" in capsys.readouterr().err
