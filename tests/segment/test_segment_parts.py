"""The command with --parts: files, tables and messages."""

import csv
import json

import nibabel as nib
import numpy as np
import pydicom
import pytest
from PIL import Image

from cxr_attn_unet.__main__ import main
from cxr_attn_unet.io import read_mask
from cxr_attn_unet.output import decode
from part_bundles import RIBS, picture_of, rib_masks, write_bundle
from samples import write_dicom

FORMS = ("png", "labelmap", "labelmap-nifti", "dicom-seg", "overlay", "coco", "parquet")
MASKS = rib_masks(missing=("R6", "L12"))
PICTURE = picture_of(MASKS, RIBS)


def segment(*arguments) -> int:
    return main(["segment", *(str(argument) for argument in arguments)])


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    write_bundle(folder)
    return folder


@pytest.fixture(scope="module")
def out(bundles, tmp_path_factory):
    """A DICOM radiograph in all formats."""
    for package in ("highdicom", "pyarrow", "pycocotools"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("in")
    write_dicom(folder / "a.dcm", PICTURE, bits=8, StudyInstanceUID="1.2.3", SeriesInstanceUID="1.2.4")
    results = tmp_path_factory.mktemp("out")
    assert segment(folder, "-o", results, "--bundles", bundles, "--parts", "--format", *FORMS) == 0
    return results


def row(folder) -> dict[str, str]:
    with open(folder / "measurements.csv", newline="", encoding="utf-8") as file:
        return next(csv.DictReader(file))


@pytest.mark.parametrize("name", ["R1", "L7", "R6"])
def test_a_png_of_each_rib(out, name):
    expected = MASKS.get(name, np.zeros(PICTURE.shape, bool))
    assert np.array_equal(read_mask(out / "a_ribs_parts" / f"{name}.png"), expected)


def test_the_label_map_of_ribs(out):
    assert np.array_equal(np.asarray(Image.open(out / "a_ribs_parts.png")) == 19, MASKS["L7"])


def test_the_label_map_of_ribs_in_nifti(out):
    labels = np.asarray(nib.load(out / "a_ribs_parts.nii.gz").dataobj)[..., 0].T
    assert np.array_equal(labels, np.asarray(Image.open(out / "a_ribs_parts.png")))


def test_the_label_map_of_structures_knows_no_parts(out):
    assert set(np.unique(np.asarray(Image.open(out / "a_labels.png")))) == {0, 3}


def test_ribs_in_the_dicom_segmentation(out):
    labels = [one.SegmentLabel for one in pydicom.dcmread(out / "a.seg.dcm").SegmentSequence]
    assert (labels[0], len(labels)) == ("Ribs", 1 + len(MASKS))


def test_ribs_in_coco(out):
    content = json.loads((out / "coco.json").read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    found = [names[annotation["category_id"]] for annotation in content["annotations"]]
    assert found == ["ribs", *MASKS]


def test_ribs_in_parquet(out):
    import pyarrow.parquet as pq

    (found,) = pq.read_table(out / "segmentations.parquet").to_pylist()
    mask = decode({"size": [found["rows"], found["columns"]], "counts": found["rle_ribs_L7"]})
    assert np.array_equal(mask, MASKS["L7"])


@pytest.mark.parametrize(
    ("column", "value"), [("ribs_right", "11"), ("ribs_left", "11"), ("ribs_numbering", "uncertain")]
)
def test_columns_of_ribs(out, column, value):
    assert row(out)[column] == value


def test_the_reason_is_among_the_warnings(out):
    assert "ribs: numbers uncertain (right rib 6 missing between others)" in row(out)["warnings"]


def test_without_parts_there_are_none_of_their_columns(bundles, tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    assert segment(tmp_path / "a.png", "-o", tmp_path / "out", "--bundles", bundles) == 0
    assert "ribs_numbering" not in row(tmp_path / "out")


def test_results_without_parts_are_not_taken_for_results_with(bundles, tmp_path):
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    arguments = (tmp_path / "a.png", "-o", tmp_path / "out", "--bundles", bundles, "--format", "overlay")
    assert segment(*arguments) == 0
    assert segment(*arguments, "--parts") == 0
    assert row(tmp_path / "out")["ribs_right"] == "11"


def test_results_with_parts_are_finished(bundles, tmp_path, capsys):
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    arguments = (tmp_path / "a.png", "-o", tmp_path / "out", "--bundles", bundles, "--parts")
    assert segment(*arguments) == 0
    capsys.readouterr()
    assert segment(*arguments) == 0
    assert "1 of 1 were finished before." in capsys.readouterr().err


def test_a_bundle_without_parts_is_named(tmp_path, capsys):
    write_bundle(tmp_path, "ribs", with_parts=False)
    Image.fromarray(PICTURE).save(tmp_path / "a.png")
    assert segment(tmp_path / "a.png", "-o", tmp_path / "out", "--bundles", tmp_path, "--parts") == 2
    assert "ribs_attn_unet: no parts, such as numbered ribs, are told apart" in capsys.readouterr().err
