"""Single ribs and sides in label maps, DICOM Segmentations, COCO and on pictures."""

import json

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import generate_uid

from cxr_attn_unet.figures import Name, annotated
from cxr_attn_unet.io import Radiograph
from cxr_attn_unet.output import MaskedImage, draw_overlay, file_names, part_label_map, write_coco
from cxr_attn_unet.output.dicom_seg import write_dicom_seg
from part_bundles import RIBS, SIDE, picture_of, rib_masks
from samples import write_dicom

MASKS = rib_masks(missing=("L11", "L12"))
UNION = np.any(list(MASKS.values()), axis=0)
PICTURE = picture_of(MASKS, RIBS)


@pytest.mark.parametrize(("name", "value"), [("R1", 1), ("R12", 12), ("L1", 13), ("L10", 22)])
def test_values_of_ribs(name, value):
    assert set(part_label_map("ribs", MASKS)[MASKS[name]]) == {value}


def test_where_ribs_overlap_the_higher_value_is_seen():
    above = {"R3": np.ones((4, 4), bool), "R2": np.eye(4, dtype=bool)}
    assert (part_label_map("ribs", above) == 3).all()


def test_a_label_map_needs_parts_of_the_structure():
    with pytest.raises(ValueError, match="heart: none of its parts was given"):
        part_label_map("heart", {})


@pytest.mark.parametrize(
    ("form", "names"),
    [
        ("labelmap", ["a_labels.png", "a_lungs_parts.png"]),
        ("labelmap-nifti", ["a_labels.nii.gz", "a_lungs_parts.nii.gz"]),
        ("png", ["a_lungs.png", "a_lungs_parts/right_lung.png", "a_lungs_parts/left_lung.png"]),
        ("nifti", ["a_lungs.nii.gz", "a_lungs_parts/right_lung.nii.gz", "a_lungs_parts/left_lung.nii.gz"]),
        ("dicom-seg", ["a.seg.dcm"]),
        ("overlay", ["a_overlay.jpg"]),
    ],
)
def test_files_of_parts(form, names):
    assert file_names("a", ["lungs"], form, {"lungs": ["right_lung", "left_lung"]}) == names


@pytest.fixture(scope="module")
def segments(tmp_path_factory):
    """Segments by label, of ribs whose numbers are uncertain, with the frames' pixels."""
    pytest.importorskip("highdicom")
    folder = tmp_path_factory.mktemp("seg")
    identity = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    source = write_dicom(folder / "a.dcm", PICTURE, bits=8, **identity)
    parts = {"ribs": MASKS | {"L12": np.zeros_like(UNION)}}
    write_dicom_seg(folder / "a.seg.dcm", source, {"ribs": UNION}, "1.2.3", {}, parts, uncertain=["ribs"])
    written = pydicom.dcmread(folder / "a.seg.dcm")
    frames = written.pixel_array.astype(bool)
    return {
        segment.SegmentLabel: (segment, frame) for segment, frame in zip(written.SegmentSequence, frames, strict=True)
    }


def test_each_rib_that_was_found_is_a_segment(segments):
    expected = [f"{'Right' if name[0] == 'R' else 'Left'} rib {name[1:]}" for name in MASKS]
    assert list(segments) == ["Ribs", *expected]


def test_the_pixels_of_a_rib(segments):
    assert np.array_equal(segments["Left rib 7"][1], MASKS["L7"])


def test_the_code_of_a_rib(segments):
    kind = segments["Left rib 7"][0].SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodeValue, kind.CodingSchemeDesignator, kind.CodeMeaning) == ("24915002", "SCT", "Seventh rib")


@pytest.mark.parametrize(("label", "code"), [("Left rib 7", "7771000"), ("Right rib 7", "24028007")])
def test_the_side_is_a_modifier_of_the_code(segments, label, code):
    kind = segments[label][0].SegmentedPropertyTypeCodeSequence[0]
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeValue == code


def test_the_structure_has_no_side(segments):
    kind = segments["Ribs"][0].SegmentedPropertyTypeCodeSequence[0]
    assert "SegmentedPropertyTypeModifierCodeSequence" not in kind


def test_an_uncertain_number_is_said_in_the_segment(segments):
    assert segments["Left rib 7"][0].SegmentDescription == "Which one it is, is uncertain"


def test_the_structure_is_not_uncertain(segments):
    assert "SegmentDescription" not in segments["Ribs"][0]


@pytest.fixture
def coco(tmp_path):
    encoded = {"size": [4, 4], "counts": "0", "area": 3, "bbox": [0.0, 0.0, 1.0, 3.0]}
    image = MaskedImage("a.png", 4, 4, {"ribs": encoded, "ribs_L7": encoded, "ribs_L8": encoded | {"area": 0}})
    write_coco(tmp_path / "coco.json", [image], ["heart", "ribs"], parts={"ribs": ["L7", "L8"]})
    return json.loads((tmp_path / "coco.json").read_text())


def test_ribs_are_categories_below_their_structure(coco):
    assert coco["categories"][2:] == [
        {"id": 3, "name": "L7", "supercategory": "ribs"},
        {"id": 4, "name": "L8", "supercategory": "ribs"},
    ]


def test_a_rib_that_was_found_is_an_annotation(coco):
    assert [annotation["category_id"] for annotation in coco["annotations"]] == [2, 3]


def lettering(picture: Image.Image, columns: slice) -> np.ndarray:
    """Where a picture of 640 pixels has some colour, in some of its columns and above the legend."""
    return np.ptp(np.asarray(picture)[: 4 * SIDE, columns].astype(int), axis=-1) > 50


OUTER = slice(0, 76)  # right of the picture's edge and left of the right ribs, which start at 80


def overlay_of(masks: dict[str, np.ndarray], **measurements: str) -> Image.Image:
    radiograph = Radiograph(PICTURE.astype(np.float32), "a.png")
    return draw_overlay(radiograph, {"ribs": UNION}, measurements, 4 * SIDE, parts={"ribs": masks})


def test_a_rib_is_named_beside_its_lateral_end():
    rows = np.flatnonzero(lettering(overlay_of({"R3": MASKS["R3"]}), OUTER).any(1))
    assert abs(rows.mean() - 4 * 27.5) < 4


def test_a_left_rib_is_named_on_the_other_side():
    assert not lettering(overlay_of({"L3": MASKS["L3"]}), OUTER).any()


def test_an_uncertain_number_has_a_question_mark():
    sure = lettering(overlay_of({"R3": MASKS["R3"]}, ribs_numbering="sure"), OUTER)
    assert lettering(overlay_of({"R3": MASKS["R3"]}, ribs_numbering="uncertain"), OUTER).sum() > sure.sum()


def test_small_pictures_have_no_names():
    small = Radiograph(PICTURE.astype(np.float32), "a.png")
    named = draw_overlay(small, {"ribs": UNION}, {}, 200, parts={"ribs": MASKS})
    assert named == draw_overlay(small, {"ribs": UNION}, {}, 200)


def test_names_do_not_lie_on_each_other():
    names = [Name("R1", 40.0, 40.0, (255, 0, 0)), Name("R2", 40.0, 40.0, (0, 255, 0))]
    picture = np.asarray(annotated(np.zeros((200, 200)), {}, side=200, names=names))[:200]
    red = np.flatnonzero((picture[..., 0] > picture[..., 2]).any(1))
    green = np.flatnonzero((picture[..., 1] > picture[..., 2]).any(1))
    assert red.max() < green.min()
