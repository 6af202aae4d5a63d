"""The scripts that measure what the documentation says."""

import runpy
import sys

import numpy as np
import pytest
from PIL import Image

from conftest import REPOSITORY, phantom

SCRIPTS = sorted((REPOSITORY / "benchmarks").glob("*.py"))
OF_DATA = [path for path in SCRIPTS if "--dataset_dir" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("script", OF_DATA, ids=lambda path: path.stem)
def test_a_wrong_folder_is_named(script, tmp_path, monkeypatch, capsys):
    arguments = ["--dataset_dir", str(tmp_path / "nowhere")]
    if script.stem == "parts":
        arguments += ["--structure", "ribs"]
    monkeypatch.setattr(sys, "argv", [script.name, *arguments])
    with pytest.raises(SystemExit) as caught:
        runpy.run_path(str(script), run_name="__main__")
    assert (caught.value.code, "nowhere" in capsys.readouterr().err) == (1, True)


def compare(reference, found):
    return runpy.run_path(str(REPOSITORY / "benchmarks" / "parts.py"))["compare"](reference, found)


def two_ribs():
    first = np.zeros((10, 10), bool)
    first[2:4] = True
    second = np.zeros((10, 10), bool)
    second[6:8] = True
    return {"R1": first, "R2": second}


def test_parts_by_their_own_names_are_right():
    compared = compare(two_ribs(), two_ribs())
    assert all(part == {"dice": 1.0, "right_name": True} for part in compared.values())


def test_parts_by_each_others_names_are_wrong():
    ribs = two_ribs()
    compared = compare(ribs, {"R1": ribs["R2"], "R2": ribs["R1"]})
    assert not any(part["right_name"] for part in compared.values())


def test_a_part_that_was_not_found_has_no_right_name():
    ribs = two_ribs()
    assert compare(ribs, {"R1": ribs["R1"]})["R2"] == {"dice": 0.0, "right_name": False}


@pytest.fixture(scope="module")
def confidence():
    pytest.importorskip("SimpleITK")
    return runpy.run_path(str(REPOSITORY / "benchmarks" / "confidence.py"))


TRUE_DICE = [0.1, 0.6, *np.linspace(0.8, 0.99, 18)]


def test_estimates_in_the_order_of_the_dice_catch_all_of_the_worst(confidence):
    assert confidence["caught"](TRUE_DICE, TRUE_DICE) == 1


def test_estimates_in_the_opposite_order_catch_none(confidence):
    assert confidence["caught"](TRUE_DICE[::-1], TRUE_DICE) == 0


def test_half_of_the_worst_are_caught_if_one_of_two_is_named(confidence):
    assert confidence["caught"]([0.99, *TRUE_DICE[1:]], TRUE_DICE) == 0.5


def test_the_curve_of_perfect_estimates_is_the_diagonal(confidence):
    assert all(said == true for said, true in confidence["curve"](TRUE_DICE, TRUE_DICE))


def test_a_row_says_how_far_estimate_and_dice_lie_apart(confidence):
    answers = [{"dice": dice, "network": dice + 0.1, "seconds": 1} for dice in (0.5, 0.6, 0.7)]
    row = confidence["row_of"]("network", answers)
    assert (row["expected calibration error"], row["Spearman"]) == (0.1, 1.0)


def test_a_step_that_changes_a_mask_is_seen(tmp_path):
    compared = runpy.run_path(str(REPOSITORY / "benchmarks" / "same_masks.py"))["compared"]
    image, _ = phantom(0, 64, 64)
    Image.fromarray(image).save(tmp_path / "image.png")
    whole = np.zeros((64, 64), bool)
    whole[:32] = True
    Image.fromarray(whole).save(tmp_path / "mask.png")
    half = whole.copy()
    half[:16] = False
    item = {"image": str(tmp_path / "image.png"), "label": str(tmp_path / "mask.png")}
    found = compared({"before": [whole], "after": [half]}, [item], {"after": "before"})
    assert found["after"]["changed_by"] == pytest.approx(-1 / 3, abs=1e-6)
    assert found["after"]["lowest_dice_of_both_masks"] == pytest.approx(2 / 3, abs=1e-6)
