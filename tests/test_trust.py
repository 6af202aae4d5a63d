"""Bundles that nobody knows ask before their configs run."""

import json
import re
import shutil

import pytest

from conftest import REPOSITORY
from cxr_attn_unet import Segmenter
from cxr_attn_unet.__main__ import main
from cxr_attn_unet.bundle import BUNDLES_VARIABLE, shipped_bundles
from cxr_attn_unet.trust import UntrustedBundleError, check_trusted, fingerprint, released, remember, trust_file

IMAGE = next((REPOSITORY / "examples" / "open_radiographs").glob("*.png"))


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture
def copied(tmp_path):
    """A copy of the heart's bundle."""
    bundle = tmp_path / "bundles" / "heart_attn_unet"
    shutil.copytree(REPOSITORY / "bundles" / "heart_attn_unet", bundle, ignore=shutil.ignore_patterns("eval", "data"))
    return bundle


@pytest.fixture
def evil(copied, tmp_path):
    """The bundle with a config that writes a file when it runs."""
    config = copied / "configs" / "inference.json"
    content = json.loads(config.read_text())
    content["structure"] = f"$open({str(tmp_path / 'ran')!r}, 'w').close() or 'heart'"
    config.write_text(json.dumps(content))
    return copied


def test_shipped_bundles_are_known():
    check_trusted(shipped_bundles())


def test_copies_of_shipped_bundles_are_known(copied):
    check_trusted([copied])


@pytest.mark.parametrize("name", ["configs/inference.json", "configs/metadata.json", "models/model.pt"])
def test_a_changed_file_makes_a_stranger(name, copied):
    with open(copied / name, "ab") as file:
        file.write(b" ")
    with pytest.raises(UntrustedBundleError, match=r"heart_attn_unet: did not come with .* can run code.* --trust"):
        check_trusted([copied])


@pytest.mark.parametrize("name", ["configs/more.json", "carried.py", "package/module.py"])
def test_so_does_a_file_more(name, copied):
    (copied / name).parent.mkdir(exist_ok=True)
    (copied / name).write_text("")
    with pytest.raises(UntrustedBundleError):
        check_trusted([copied])


def test_results_and_data_in_a_bundle_do_not_count(copied):
    before = fingerprint(copied)
    for name in ("eval", "data"):
        (copied / name).mkdir()
        (copied / name / "notes.py").write_text("")
    assert fingerprint(copied) == before


def test_the_segmenter_runs_no_config_of_a_stranger(evil, tmp_path):
    with pytest.raises(UntrustedBundleError):
        Segmenter.from_bundles(bundles=evil.parent, device="cpu")
    assert not (tmp_path / "ran").exists()


def test_nor_one_that_the_environment_names(evil, tmp_path, monkeypatch):
    monkeypatch.setenv(BUNDLES_VARIABLE, str(evil.parent))
    with pytest.raises(UntrustedBundleError):
        Segmenter.from_bundles(device="cpu")


def test_the_segmenter_runs_what_is_trusted(evil, tmp_path):
    Segmenter.from_bundles(bundles=evil.parent, device="cpu", trust=True)
    assert (tmp_path / "ran").exists()


def test_trust_given_in_python_is_not_remembered(evil):
    Segmenter.from_bundles(bundles=evil.parent, device="cpu", trust=True)
    assert not trust_file().exists()


def test_the_command_refuses_a_stranger(evil, tmp_path, capsys):
    assert main(["segment", str(IMAGE), "-o", str(tmp_path / "out"), "--bundles", str(evil.parent)]) == 2
    assert "can run code" in capsys.readouterr().err


def test_the_command_remembers_whom_it_was_told_to_trust(evil, tmp_path):
    options = ["-o", str(tmp_path / "out"), "--bundles", str(evil.parent), "--trust", "--no-report"]
    assert main(["segment", str(tmp_path / "none.png"), *options]) == 1
    check_trusted([evil])


def test_a_bundle_that_was_changed_since_asks_again(evil):
    remember([evil])
    (evil / "configs" / "inference.json").write_text("{}")
    with pytest.raises(UntrustedBundleError):
        check_trusted([evil])


def test_a_shipped_bundle_need_not_be_remembered(copied):
    remember([copied])
    assert not trust_file().exists()


def test_a_damaged_file_of_trust_trusts_nobody(evil):
    trust_file().parent.mkdir(parents=True)
    trust_file().write_text("no JSON")
    with pytest.raises(UntrustedBundleError):
        check_trusted([evil])


def test_released_bundles_are_known_by_their_checksums(evil, tmp_path, monkeypatch):
    record = tmp_path / "released.json"
    record.write_text(json.dumps({"bundles": {"heart_attn_unet_v0.0.1": fingerprint(evil)}}))
    monkeypatch.setattr("cxr_attn_unet.trust.RELEASED", str(record))
    check_trusted([evil])


def test_the_list_of_released_bundles_holds_checksums():
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in released())
