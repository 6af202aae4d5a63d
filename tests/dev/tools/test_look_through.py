"""Sheets of radiographs to look through."""

from pathlib import Path

import numpy as np
from PIL import Image

from cxr_attn_unet.inference.quantised import evenly
from cxr_attn_unet_dev.tools.look_through import main

EXAMPLES = Path(__file__).parents[3] / "examples"


def test_radiographs_are_taken_evenly():
    names = [str(number) for number in range(100)]
    assert list(evenly(names, 4)) == ["0", "25", "50", "75"]
    assert list(evenly(names[:3], 4)) == names[:3]


def colours(path):
    """Pixels that are not grey."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    return (np.ptp(pixels, axis=2) > 60).mean()


def test_a_sheet_of_outlines(tmp_path):
    sheet = tmp_path / "sheet.png"
    arguments = ["--structure", "heart", "--images", str(EXAMPLES / "open_radiographs"), "--count", "2"]
    assert main([*arguments, "--columns", "2", "--tile", "200", "--output", str(sheet)]) == 0
    assert Image.open(sheet).width == 400
    assert 0.001 < colours(sheet) < 0.05


def test_a_sheet_of_numbered_ribs(tmp_path):
    sheet = tmp_path / "sheet.png"
    arguments = ["--structure", "ribs", "--parts", "--images", str(EXAMPLES / "open_radiographs"), "--count", "1"]
    assert main([*arguments, "--tile", "300", "--output", str(sheet)]) == 0
    assert Image.open(sheet).size == (300, 300)
    assert colours(sheet) > 0.1


def test_validation_radiographs_of_a_data_set(tmp_path):
    sheet = tmp_path / "sheet.png"
    arguments = ["--structure", "heart", "--dataset_dir", str(EXAMPLES / "rendered"), "--count", "1", "--tile", "200"]
    assert main([*arguments, "--output", str(sheet)]) == 0
    assert sheet.is_file()


def test_a_missing_folder_is_named(tmp_path, capsys):
    missing = tmp_path / "none"
    assert main(["--structure", "heart", "--images", str(missing), "--output", str(tmp_path / "a.png")]) == 1
    assert str(missing) in capsys.readouterr().err
