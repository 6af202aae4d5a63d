"""State that is cut off, changed, older or of another program: noticed and named, and rebuilt or refused."""

import json

import pytest
import torch
from PIL import Image

from cxr_attn_unet.__main__ import main
from cxr_attn_unet.structures import part_names
from cxr_attn_unet.training.handlers.checkpoints import read_last
from cxr_attn_unet.trust import remember, trust_file
from cxr_attn_unet_dev.tools.measured import Measured
from part_bundles import lung_masks, picture_of, write_bundle

STATE = {
    "model": {"weight": torch.arange(100.0)},
    "run": {"epoch": 1, "iteration": 2, "epochs": 3, "iterations an epoch": 2, "best": 0.5},
}


@pytest.fixture
def last(tmp_path):
    torch.save(STATE, tmp_path / "last.pt")
    return tmp_path / "last.pt"


def test_the_state_of_a_run_is_read(last):
    assert read_last(last)["run"] == STATE["run"]


def test_a_changed_number_in_the_state_of_a_run_is_refused(last):
    content = bytearray(last.read_bytes())
    content[content.index(STATE["model"]["weight"].numpy().tobytes()) + 50] ^= 1
    last.write_bytes(content)
    with pytest.raises(ValueError, match=r"last\.pt: not a checkpoint to resume from: .*\(the checksum of .*Delete it"):
        read_last(last)


def test_half_a_state_is_refused(last):
    last.write_bytes(last.read_bytes()[:-300])
    with pytest.raises(ValueError, match=r"last\.pt: not a checkpoint to resume from"):
        read_last(last)


@pytest.mark.parametrize("content", [STATE["model"], [1, 2], {"run": {"epoch": 1}}, {"run": 3}], ids=str)
def test_the_state_of_another_program_is_refused(last, content):
    torch.save(content, last)
    with pytest.raises(ValueError, match=r"last\.pt: not a checkpoint to resume from: it is of another program"):
        read_last(last)


@pytest.fixture
def radiograph(tmp_path):
    path = tmp_path / "in" / "a.png"
    path.parent.mkdir()
    Image.fromarray(picture_of(lung_masks(), part_names("lungs"))).save(path)
    return path


@pytest.fixture
def bundle(tmp_path):
    return write_bundle(tmp_path / "bundles", "lungs")


def segment(radiograph, bundle, out) -> int:
    return main(["segment", str(radiograph), "-o", str(out), "--bundles", str(bundle.parent), "--no-report"])


def test_a_changed_journal_is_named_and_its_radiographs_are_segmented_again(radiograph, bundle, tmp_path, capsys):
    assert segment(radiograph, bundle, tmp_path / "out") == 0
    journal = tmp_path / "out" / ".segment" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b'"rows": 160', b'"rows": 161'))
    capsys.readouterr()
    assert segment(radiograph, bundle, tmp_path / "out") == 0
    printed = capsys.readouterr().err
    assert f"{journal}: 1 lines are damaged" in printed
    assert "were finished before" not in printed


def test_a_journal_that_cannot_be_read_is_named(radiograph, bundle, tmp_path, capsys):
    journal = tmp_path / "out" / ".segment" / "journal.jsonl"
    journal.mkdir(parents=True)
    assert segment(radiograph, bundle, tmp_path / "out") == 2
    assert str(journal) in capsys.readouterr().err


@pytest.mark.parametrize("name", ["inference.json", "metadata.json"])
@pytest.mark.parametrize("content", ['{"a": ', "[1, 2]"], ids=["cut off", "a list"])
def test_a_damaged_config_is_named(radiograph, bundle, tmp_path, capsys, name, content):
    config = bundle / "configs" / name
    config.write_text(content)
    remember([bundle])
    assert segment(radiograph, bundle, tmp_path / "out") == 2
    assert f"{config}: no JSON" in capsys.readouterr().err


def test_a_config_of_another_program_is_named(radiograph, bundle, tmp_path, capsys):
    (bundle / "configs" / "inference.json").write_text(json.dumps({"imports": ["$import os"]}))
    remember([bundle])
    assert segment(radiograph, bundle, tmp_path / "out") == 2
    assert f"{bundle / 'configs'}: lacks " in capsys.readouterr().err


def test_a_damaged_file_of_trust_is_named(radiograph, bundle, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    remember([bundle])
    trust_file().write_text(trust_file().read_text()[:-9])
    assert segment(radiograph, bundle, tmp_path / "out") == 2
    assert "That file holds nothing now or is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("line", ["[1]", "{}", '{"identity": "x"}', "no JSON", '"x"'])
def test_a_foreign_line_among_measured_answers_is_left_out(tmp_path, line):
    path = tmp_path / "work.jsonl"
    path.write_text(line + "\n")
    assert Measured(path, "x")("a", lambda: 3) == 3
    assert Measured(path, "x")("a", lambda: 4) == 3
