"""Confidence compared with the Dice of true masks."""

import json
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

from conftest import EXAMPLES, phantom, write_folder
from cxr_attn_unet.analysis.calibration import Curve
from cxr_attn_unet.datasets import DatasetError
from cxr_attn_unet.io import IGNORED
from cxr_attn_unet_dev.tools import calibrate, tables
from cxr_attn_unet_dev.tools.calibrate import Answer, dice, read_case, summary, usable
from cxr_attn_unet_dev.tools.fit_quality import anatomy_limits, drawn, limits
from cxr_attn_unet_dev.tools.measured import Measured
from cxr_attn_unet_dev.tools.spoil import SPOILED, Case

IMAGE, MASK = phantom(0)
CASE = Case(IMAGE.astype(np.float32) / 255, MASK.astype(np.int8))


def spoiled(kind: str, seed: int = 0) -> Case:
    return SPOILED[kind](CASE, np.random.default_rng(seed))


@pytest.mark.parametrize("kind", [kind for kind in SPOILED if kind != "as it is"])
def test_a_spoiled_copy_looks_different(kind):
    assert not np.array_equal(spoiled(kind).pixels, CASE.pixels)


@pytest.mark.parametrize("kind", SPOILED)
def test_the_mask_of_a_copy_has_its_size(kind):
    assert spoiled(kind).pixels.shape == spoiled(kind).truth.shape


@pytest.mark.parametrize("kind", SPOILED)
def test_copies_of_one_seed_are_equal(kind):
    assert np.array_equal(spoiled(kind, 3).pixels, spoiled(kind, 3).pixels)


@pytest.mark.parametrize("kind", ["exposure", "devices"])
def test_exposure_and_devices_move_no_anatomy(kind):
    assert np.array_equal(spoiled(kind).truth, CASE.truth)


def test_the_corners_of_a_rotated_copy_are_unknown():
    assert spoiled("rotated").truth[0, 0] == IGNORED


def test_a_cut_copy_is_smaller():
    assert spoiled("cut").pixels.size < CASE.pixels.size


TRUTH = np.array([[1, 1, 0, IGNORED]], np.int8)


@pytest.mark.parametrize(
    ("mask", "expected"), [([1, 1, 0, 0], 1.0), ([1, 1, 0, 1], 1.0), ([1, 0, 0, 0], 2 / 3), ([0, 0, 0, 1], 0.0)]
)
def test_dice_of_the_pixels_that_are_known(mask, expected):
    assert dice(np.array([mask], bool), TRUTH) == pytest.approx(expected)


def test_dice_of_nothing():
    assert dice(np.zeros((1, 4), bool), TRUTH * 0) == 0


def test_a_case_has_the_size_of_its_radiograph(tmp_path):
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    Image.fromarray(MASK.astype(np.uint8).repeat(2, 0).repeat(2, 1) * 255).save(tmp_path / "b.png")
    case = read_case({"image": str(tmp_path / "a.png"), "label": str(tmp_path / "b.png")})
    assert case.truth.shape == IMAGE.shape


def test_a_case_keeps_its_mask(tmp_path):
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    Image.fromarray(MASK.astype(np.uint8).repeat(2, 0).repeat(2, 1) * 255).save(tmp_path / "b.png")
    case = read_case({"image": str(tmp_path / "a.png"), "label": str(tmp_path / "b.png")})
    assert dice(MASK, case.truth) == pytest.approx(1)


def test_unknown_pixels_of_a_case_stay_unknown(tmp_path):
    values = np.where(MASK, 255, 0).astype(np.uint8)
    values[:5] = 128
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    Image.fromarray(values).save(tmp_path / "b.png")
    case = read_case({"image": str(tmp_path / "a.png"), "label": str(tmp_path / "b.png"), "ignore_value": 128})
    assert (case.truth[:5] == IGNORED).all()


ANSWERS = [Answer(0.9, 0.5), Answer(0.95, 0.7), Answer(0.8, 0.3)]


def test_the_error_is_measured_before_and_after():
    figures = summary(ANSWERS, Curve(-2.2, 1.0))
    assert figures["error_after"] < figures["error_before"]


def test_surer_masks_that_are_better_have_a_rank_correlation_of_one():
    assert summary(ANSWERS, Curve(0.0, 1.0))["spearman"] == 1


def test_a_structure_without_masks_is_named(tmp_path):
    with pytest.raises(DatasetError, match="no mask of the structure 'ribs'"):
        usable([str(write_folder(tmp_path, "heart", 2))], "ribs")


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory):
    """The command's files, on three rendered radiographs."""
    folder = tmp_path_factory.mktemp("calibrated")
    for kind in ("images", "masks/lungs"):
        (folder / "data" / kind).mkdir(parents=True)
        for number in (1, 2, 3):
            shutil.copy(EXAMPLES / "rendered" / kind / f"rendered_{number:02d}.png", folder / "data" / kind)
    arguments = ["--dataset_dir", str(folder / "data"), "--structures", "lungs", "--count", "2"]
    arguments += ["--validation_count", "1", "--work", str(folder / "work.jsonl")]
    arguments += ["--output", str(folder / "curves.json"), "--figures", str(folder / "figures.json")]
    assert calibrate.main(arguments) == 0
    return folder, arguments


def test_the_curve_names_its_weights(calibrated):
    curve = json.loads((calibrated[0] / "curves.json").read_text())["curves"]["lungs"]
    assert set(curve) == {"weights", "offset", "slope"}


def test_the_figures_make_a_table(calibrated):
    text = tables.confidence_text(json.loads((calibrated[0] / "figures.json").read_text()))
    assert text.count("| lungs ") == 2


def test_the_command_resumes(calibrated):
    """What is in the work file is not measured again."""
    folder, arguments = calibrated
    before = (folder / "work.jsonl").read_bytes()
    calibrate.main(arguments)
    assert (folder / "work.jsonl").read_bytes() == before


def test_other_structures_stay_in_the_files(calibrated):
    folder, arguments = calibrated
    path = folder / "curves.json"
    content = json.loads(path.read_text())
    content["curves"]["heart"] = {"weights": "0" * 16, "offset": 0.0, "slope": 1.0}
    path.write_text(json.dumps(content))
    calibrate.main(arguments)
    assert set(json.loads(path.read_text())["curves"]) == {"heart", "lungs"}


def test_a_wrong_folder_is_named(tmp_path, capsys):
    calibrate.main(["--dataset_dir", str(tmp_path / "nowhere"), "--output", str(tmp_path / "a.json")])
    assert "nowhere" in capsys.readouterr().err


def test_an_answer_is_measured_once(tmp_path):
    calls = []
    known = Measured(tmp_path / "work.jsonl", "a")
    for _ in range(2):
        known("x", lambda: calls.append(1))
    assert len(calls) == 1


def test_an_answer_is_known_to_the_next_run(tmp_path):
    Measured(tmp_path / "work.jsonl", "a")("x", lambda: 5)
    assert Measured(tmp_path / "work.jsonl", "a")("x", sys.exit) == 5


def test_answers_of_other_weights_are_not_used(tmp_path):
    Measured(tmp_path / "work.jsonl", "a")("x", lambda: 5)
    assert Measured(tmp_path / "work.jsonl", "b")("x", lambda: 6) == 6


def test_half_a_line_is_left_out(tmp_path):
    path = tmp_path / "work.jsonl"
    path.write_text('{"identity": "a", "na')
    assert Measured(path, "a")("x", lambda: 6) == 6


def test_without_a_file_nothing_is_kept():
    assert Measured(None, "a")("x", lambda: 6) == 6


ITEMS = [{"dataset": "large", "id": str(number)} for number in range(50)]
ITEMS += [{"dataset": "small", "id": str(number)} for number in range(5)]


@pytest.mark.parametrize(("count", "small"), [(8, 4), (30, 5)])
def test_equally_many_of_each_data_set_are_drawn(count, small):
    assert sum(item["dataset"] == "small" for item in drawn(ITEMS, count, 0)) == small


@pytest.mark.parametrize("count", [8, 30])
def test_as_many_as_wanted_are_drawn(count):
    assert len(drawn(ITEMS, count, 0)) == count


TABLE = [{"heart_shape": 1 + value / 100, "heart_solidity": 0.95 + value / 5000} for value in range(101)]


def test_limits_of_hearts_are_wider_than_what_was_seen():
    least, most = anatomy_limits(TABLE)["heart_shape"]
    assert (least < 1, most > 2) == (True, True)


def test_solidity_has_no_upper_limit():
    assert anatomy_limits(TABLE)["heart_solidity"][1] == 1


def test_a_few_wrong_masks_do_not_move_the_limits():
    table = TABLE * 10 + [{"heart_shape": 9.0, "heart_solidity": 0.2}]
    assert anatomy_limits(table)["heart_solidity"][0] > 0.9


def test_usual_limits_are_wider_than_what_was_seen():
    least, most = limits(TABLE)["heart_shape"]
    assert (least < 1, most > 2) == (True, True)
