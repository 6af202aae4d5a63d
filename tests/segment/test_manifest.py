"""The manifest beside the results: what a run was made of."""

import hashlib
import json

import pytest
from PIL import Image

from cxr_attn_unet import Segmenter, __version__
from cxr_attn_unet.__main__ import main
from part_bundles import RIBS, picture_of, rib_masks, write_bundle
from samples import write_dicom

MARK = "ZQXJANE"
PICTURE = picture_of(rib_masks(), RIBS)


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    write_bundle(folder)
    return folder


def segment(bundles, *arguments) -> int:
    return main(["segment", "--bundles", str(bundles), *(str(argument) for argument in arguments)])


def manifest_of(folder) -> dict:
    return json.loads((folder / "manifest.json").read_text(encoding="utf-8"))


def sha256_of(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture(scope="module")
def run(bundles, tmp_path_factory):
    """Two radiographs, one in a subfolder, and a file that cannot be used: the folders of inputs and results."""
    inputs = tmp_path_factory.mktemp("in")
    (inputs / "sub").mkdir()
    Image.fromarray(PICTURE).save(inputs / "a.png")
    write_dicom(inputs / "sub" / "b.dcm", PICTURE, bits=8, PatientName=f"{MARK}^A", PatientID=MARK)
    (inputs / "bad.png").write_text("no picture")
    output = tmp_path_factory.mktemp("out")
    assert segment(bundles, inputs, "-o", output) == 1
    return inputs, output


def test_each_radiograph_has_the_checksum_of_its_file(run):
    inputs, output = run
    found = {one["name"]: (one["bytes"], one["sha256"]) for one in manifest_of(output)["radiographs"]}
    files = {"a": inputs / "a.png", "sub/b": inputs / "sub" / "b.dcm"}
    assert found == {name: (path.stat().st_size, sha256_of(path)) for name, path in files.items()}


def test_results_are_named_and_there(run):
    output = run[1]
    for one in manifest_of(output)["radiographs"]:
        assert f"{one['name']}_ribs.png" in one["results"]
        assert all((output / name).is_file() for name in one["results"])


def test_weights_have_their_checksum(run, bundles):
    weights = bundles / "ribs_attn_unet" / "models" / "model.pt"
    assert manifest_of(run[1])["weights"]["ribs"]["sha256"] == sha256_of(weights)


def test_the_identity_is_that_of_the_segmenter(run, bundles):
    assert manifest_of(run[1])["identity"] == Segmenter.from_bundles(bundles=bundles).identity


def test_options_versions_and_host_are_there(run):
    content = manifest_of(run[1])
    assert content["options"]["format"] == ["png"]
    assert content["versions"]["cxr-attn-unet"] == __version__
    assert {"python", "torch", "monai"} <= set(content["versions"])
    assert content["host"]["device"] == "cpu"


def test_what_failed_is_named(run):
    assert manifest_of(run[1])["failures"] == [{"file": "bad.png", "kind": "failed"}]


def test_it_names_no_patient_and_no_folder(run):
    inputs, output = run
    text = (output / "manifest.json").read_text(encoding="utf-8")
    assert MARK not in text
    assert str(inputs) not in text


def test_a_resumed_run_names_all_radiographs(bundles, tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    Image.fromarray(PICTURE[::-1]).save(tmp_path / "b.png")
    output = tmp_path / "out"
    segment(bundles, tmp_path / "a.png", "-o", output)
    first = manifest_of(output)["radiographs"]
    segment(bundles, tmp_path / "a.png", tmp_path / "b.png", "-o", output)
    second = manifest_of(output)["radiographs"]
    assert second[0] == first[0]
    assert second[1]["sha256"] == sha256_of(tmp_path / "b.png")


def test_without_radiographs_it_is_still_sound(bundles, tmp_path):
    (tmp_path / "bad.png").write_text("no picture")
    segment(bundles, tmp_path / "bad.png", "-o", tmp_path / "out")
    assert manifest_of(tmp_path / "out")["radiographs"] == []
