"""What is in the DICOM objects: reports, presentation states, captures, read back by highdicom and pydicom."""

import numpy as np
import pydicom
import pytest
from dicom_results import COLUMNS, PIXELS, ROWS, SOURCES, output_of, results, upright_masks, write_source
from PIL import Image, ImageDraw

from cxr_attn_unet.analysis.measurements import measure, withheld
from cxr_attn_unet.io import RadiographError, read_radiograph
from cxr_attn_unet.output import save
from samples import write_picture

hd = pytest.importorskip("highdicom")
FORMATS = ("dicom-seg", "dicom-seg-plane", "dicom-sr", "dicom-gsps", "dicom-sc")
HEART_ENDS = ((33.0, 63.0), (8.0, 86.0))  # columns of the heart's and the thorax's ends, upright


@pytest.fixture
def written(tmp_path):
    """Writes one object of a source; returns its path."""

    def one(source: str, form: str, folder: str = "out", uids: str = "reproducible", **changes):
        path = tmp_path / "a.dcm"
        if not path.exists():
            write_source(tmp_path, **SOURCES[source])
        (written,) = save(results(path, **changes), tmp_path / folder, [form], uids=uids)
        return written

    return one


def groups(path) -> dict:
    """Measurement groups of a report by name."""
    report = hd.sr.srread(path)
    found = report.content.get_image_measurement_groups()
    return {group.tracking_identifier: group for group in found}


def measurements(path, group: str) -> dict:
    """(value, unit) by name and place of the measurements of a group."""
    found = {}
    for one in groups(path)[group].get_measurements():
        places = [site.value.meaning for site in one.finding_sites]
        found[" ".join([one.name.meaning, *places])] = (one.value, one.unit.value)
    return found


def test_a_report_has_the_ratio(written):
    assert measurements(written("bare DX", "dicom-sr"), "heart and thorax")["Cardiothoracic ratio"] == (0.3846, "1")


def withheld_measurements(unreliable: str) -> dict:
    """What is measured of a bare radiograph if a structure is not reliable."""
    return withheld(measure(upright_masks((ROWS, COLUMNS)), None), [unreliable])


@pytest.mark.parametrize(("unreliable", "left"), [("heart", ["Diameter Thorax"]), ("lungs", ["Diameter Heart"])])
def test_a_report_leaves_out_what_hangs_on_an_unreliable_structure(written, unreliable, left):
    path = written("bare DX", "dicom-sr", measurements=withheld_measurements(unreliable))
    assert list(measurements(path, "heart and thorax")) == left


def test_a_report_has_no_group_of_heart_and_thorax_where_nothing_of_it_is_reliable(written):
    values = withheld(withheld_measurements("heart"), ["lungs"])
    assert "heart and thorax" not in groups(written("bare DX", "dicom-sr", measurements=values))


def test_a_report_has_the_diameters_in_pixels_where_no_spacing_is_known(written):
    found = measurements(written("bare DX", "dicom-sr"), "heart and thorax")
    assert found["Diameter Heart"] == (30, "{pixels}")


def test_a_report_has_the_diameters_in_mm_where_the_spacing_is_known(written):
    found = measurements(written("calibrated", "dicom-sr"), "heart and thorax")
    assert found["Diameter Thorax"] == (pytest.approx(78 * 0.18), "mm")


def test_a_report_has_each_structures_area(written):
    found = measurements(written("calibrated", "dicom-sr"), "heart")
    assert found["Area"] == (pytest.approx(32 * 30 * 0.18**2, abs=1e-3), "mm2")


def test_a_report_has_each_structures_confidence(written):
    found = measurements(written("calibrated", "dicom-sr"), "lungs")
    assert found["Confidence: expected Dice coefficient"] == (0.98, "1")


@pytest.mark.parametrize(("side", "area"), [("right", 60 * 30 - 100), ("left", 54 * 31)])
def test_a_report_has_each_lungs_area(written, side, area):
    assert measurements(written("bare DX", "dicom-sr"), f"{side} lung")["Area"] == (area, "{pixels}")


@pytest.mark.parametrize("side", ["Right", "Left"])
def test_a_lungs_side_is_coded(written, side):
    (site,) = groups(written("bare DX", "dicom-sr"))[f"{side.lower()} lung"].finding_sites
    assert site.laterality.meaning == side


@pytest.mark.parametrize(
    ("source", "ends"),
    [
        ("bare DX", [[33, 56], [63, 56]]),
        # the patient's right is stored on the right, and the head below
        ("mirrored", [[COLUMNS - 33, ROWS - 56], [COLUMNS - 63, ROWS - 56]]),
    ],
)
def test_a_diameter_has_its_ends_on_the_stored_pixels(written, source, ends):
    group = groups(written(source, "dicom-sr"))["heart and thorax"]
    heart = group.get_measurements()[1]
    assert heart.referenced_coordinates[0].value.tolist() == ends


def test_the_ends_of_a_radiograph_on_its_side_lie_in_its_columns(written):
    path = written("on its side", "dicom-sr")
    points = groups(path)["heart and thorax"].get_measurements()[2].referenced_coordinates[0].value
    assert points[0, 0] == points[1, 0]


def test_what_is_unusual_is_a_comment(written):
    assert "heart unusually wide" in pydicom.dcmread(written("bare DX", "dicom-sr")).to_json()


@pytest.mark.parametrize(("warnings", "verdict"), [((), "Nothing unusual noticed"), (("x",), "Something unusual")])
def test_quality_control_is_coded(written, warnings, verdict):
    group = groups(written("bare DX", "dicom-sr", warnings=warnings))["quality"]
    (evaluation,) = group.get_qualitative_evaluations()
    assert evaluation.value.meaning.startswith(verdict)


def test_a_report_without_heart_has_no_ratio(written, tmp_path):
    source = write_source(tmp_path)
    whole = results(source)
    lungs = {"lungs": whole.masks["lungs"]}
    values = whole.measurements | {"cardiothoracic_ratio": None, "heart_diameter": None}
    path = written("bare DX", "dicom-sr", masks=lungs, measurements=values)
    assert list(measurements(path, "heart and thorax")) == ["Diameter Thorax"]


def test_a_report_of_nothing_can_be_written(written):
    empty = {name: mask & False for name, mask in upright_masks(PIXELS.shape).items()}
    values = dict.fromkeys(results_keys()) | {"length_unit": "px", "area_unit": "px"}
    assert list(groups(written("bare DX", "dicom-sr", masks=empty, measurements=values))) == ["quality"]


def results_keys() -> list[str]:
    return ["cardiothoracic_ratio", "heart_diameter", "thoracic_diameter", "right_lung_area", "left_lung_area"]


def test_dcmtk_shows_the_ratio(written):
    assert "Cardiothoracic ratio" in output_of("dsrdump", written("calibrated", "dicom-sr"))


@pytest.mark.parametrize("form", FORMATS)
def test_an_object_names_the_software(written, form):
    assert pydicom.dcmread(written("bare DX", form)).ManufacturerModelName == "cxr-attn-unet"


@pytest.mark.parametrize("form", FORMATS)
def test_an_object_names_the_versions_of_the_weights(written, form):
    versions = pydicom.dcmread(written("bare DX", form)).SoftwareVersions
    assert any(value.startswith("heart 4.5.6 sha256:") for value in versions)


@pytest.mark.parametrize("form", ["dicom-seg", "dicom-sr", "dicom-sc"])
def test_an_object_holds_the_whole_checksum_of_the_weights(written, form, tmp_path):
    text = pydicom.dcmread(written("bare DX", form)).to_json()
    assert results(tmp_path / "a.dcm").checksums["heart"] in text


@pytest.mark.parametrize("form", FORMATS)
def test_an_object_stays_in_the_study(written, form, tmp_path):
    path = written("patient", form)
    assert pydicom.dcmread(path).StudyInstanceUID == pydicom.dcmread(tmp_path / "a.dcm").StudyInstanceUID


@pytest.mark.parametrize("form", FORMATS)
def test_an_object_is_the_patients(written, form):
    assert str(pydicom.dcmread(written("patient", form)).PatientName) == "Doe^Jane"


def uids(path) -> set[str]:
    """All UIDs in an object that are its own."""
    data = pydicom.dcmread(path)
    return {str(data.SOPInstanceUID), str(data.SeriesInstanceUID)}


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_results_have_the_same_uids(written, form):
    assert uids(written("bare DX", form)) == uids(written("bare DX", form, "again"))


@pytest.mark.parametrize("form", FORMATS)
def test_fresh_uids_are_others_each_time(written, form):
    first = uids(written("bare DX", form, uids="fresh"))
    assert not first & uids(written("bare DX", form, "again", uids="fresh"))


@pytest.mark.parametrize("form", FORMATS)
def test_other_weights_or_settings_have_other_uids(written, form):
    assert not uids(written("bare DX", form)) & uids(written("bare DX", form, "again", identity="other"))


def lung_parts() -> dict:
    """Both lungs of a bare radiograph as parts."""
    lungs = upright_masks((ROWS, COLUMNS))["lungs"]
    right = np.arange(COLUMNS) < COLUMNS // 2
    return {"lungs": {"right_lung": lungs & right, "left_lung": lungs & ~right}}


def test_a_segmentation_with_other_parts_has_other_uids(written):
    assert not uids(written("bare DX", "dicom-seg")) & uids(
        written("bare DX", "dicom-seg", "again", parts=lung_parts())
    )


def test_a_parts_segment_names_the_weights_of_its_structure(written, tmp_path):
    segment = pydicom.dcmread(written("bare DX", "dicom-seg", parts=lung_parts())).SegmentSequence[2]
    parameters = segment.SegmentationAlgorithmIdentificationSequence[0].AlgorithmParameters
    assert f"weights SHA-256={results(tmp_path / 'a.dcm').checksums['lungs']}" in parameters


@pytest.mark.parametrize("form", FORMATS)
def test_what_was_segmented_is_written_whatever_the_limit_on_pixels(tmp_path, monkeypatch, form):
    found = results(write_source(tmp_path))
    monkeypatch.setenv("CXR_MAX_PIXELS", "10")
    (path,) = save(found, tmp_path / "out", [form])
    assert path.is_file()


def test_all_uids_of_a_report_are_the_same_again(written):
    first = pydicom.dcmread(written("bare DX", "dicom-sr"))
    second = pydicom.dcmread(written("bare DX", "dicom-sr", "again"))
    assert first.ContentSequence == second.ContentSequence


def test_objects_of_one_radiograph_have_uids_of_their_own(written):
    assert len(set.union(*(uids(written("bare DX", form)) for form in FORMATS))) == 2 * len(FORMATS)


def test_an_unknown_kind_of_uids_is_refused(written):
    with pytest.raises(ValueError, match="uids is 'same', must be one of reproducible, fresh"):
        written("bare DX", "dicom-sr", uids="same")


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("name", ["StudyInstanceUID", "SeriesInstanceUID"])
def test_a_radiograph_without_uids_is_named_with_the_remedy(tmp_path, form, name):
    source = write_source(tmp_path, **{name: ""})
    with pytest.raises(RadiographError, match=rf"a\.dcm: has no {name}, .*Export it again"):
        save(results(source), tmp_path, [form])


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_not_dicom_is_refused(tmp_path, form):
    found = results(write_source(tmp_path))
    picture = read_radiograph(write_picture(tmp_path / "a.png", PIXELS))
    with pytest.raises(RadiographError, match=f"not DICOM, which {form} needs"):
        save(found.__class__(**{**vars(found), "radiograph": picture}), tmp_path, [form])


def annotations(path) -> dict:
    """Lines of a presentation state by layer."""
    state = pydicom.dcmread(path)
    found = {}
    for item in state.GraphicAnnotationSequence:
        lines = [np.array(line.GraphicData).reshape(-1, 2) for line in item.GraphicObjectSequence]
        found[item.GraphicLayer] = lines
    return found


def test_a_presentation_state_has_a_layer_for_each_structure_and_the_diameters(written):
    assert list(annotations(written("bare DX", "dicom-gsps"))) == ["LUNGS", "HEART", "DIAMETERS"]


@pytest.mark.parametrize("unreliable", ["heart", "lungs"])
def test_a_presentation_state_has_no_diameters_where_a_structure_is_unreliable(written, unreliable):
    path = written("bare DX", "dicom-gsps", measurements=withheld_measurements(unreliable))
    assert list(annotations(path)) == ["LUNGS", "HEART"]


@pytest.mark.parametrize("source", ["bare DX", "on its side", "mirrored"])
def test_outlines_filled_again_are_the_mask(written, source, tmp_path):
    lines = annotations(written(source, "dicom-gsps"))["LUNGS"]
    mask = results(tmp_path / "a.dcm").masks["lungs"]
    large = Image.new("1", (4 * mask.shape[1], 4 * mask.shape[0]))
    # the hole, the shortest line, is not drawn
    for line in sorted(lines, key=lambda points: -np.ptp(points, 0).sum())[:2]:
        ImageDraw.Draw(large).polygon([(4 * x, 4 * y) for x, y in line], fill=1)
    filled = np.asarray(large)[2::4, 2::4]
    # of the 100 pixels of the hole, and a few at corners that the outline cuts
    assert (filled ^ mask).sum() <= 108


def test_a_hole_has_an_outline(written):
    assert len(annotations(written("bare DX", "dicom-gsps"))["LUNGS"]) == 3


@pytest.mark.parametrize(("line", "ends"), enumerate(HEART_ENDS))
def test_a_presentation_state_has_both_diameters(written, line, ends):
    points = annotations(written("bare DX", "dicom-gsps"))["DIAMETERS"][line]
    assert tuple(points[:, 0]) == ends


@pytest.mark.parametrize(("source", "shape"), [("bare DX", "IDENTITY"), ("MONOCHROME1", "INVERSE")])
def test_black_and_white_stay_what_they_are(written, source, shape):
    assert pydicom.dcmread(written(source, "dicom-gsps")).PresentationLUTShape == shape


def test_a_presentation_state_keeps_the_window(written):
    (window,) = pydicom.dcmread(written("window", "dicom-gsps")).SoftcopyVOILUTSequence
    assert window.WindowWidth == 200


def test_a_presentation_state_drops_a_window_that_means_nothing(written):
    assert "SoftcopyVOILUTSequence" not in pydicom.dcmread(written("useless window", "dicom-gsps"))


def test_a_presentation_state_says_how_large_pixels_are(written):
    (area,) = pydicom.dcmread(written("on its side", "dicom-gsps")).DisplayedAreaSelectionSequence
    assert list(area.PresentationPixelSpacing) == [0.1, 0.2]


@pytest.mark.parametrize(
    ("source", "orientation"),
    [("on its side", ["L", "F"]), ("mirrored", ["L", "F"]), ("lateral", ["A", "F"]), ("bare DX", []), ("oblique", [])],
)
def test_a_capture_says_which_way_up_it_is(written, source, orientation):
    assert list(pydicom.dcmread(written(source, "dicom-sc")).PatientOrientation or []) == orientation


def test_a_capture_is_the_overlay(written, tmp_path):
    pixels = pydicom.dcmread(written("bare DX", "dicom-sc")).pixel_array
    assert np.array_equal(pixels, np.asarray(results(tmp_path / "a.dcm").plot()))


def test_a_capture_refers_to_the_radiograph(written, tmp_path):
    (source,) = pydicom.dcmread(written("bare DX", "dicom-sc")).SourceImageSequence
    assert source.ReferencedSOPInstanceUID == pydicom.dcmread(tmp_path / "a.dcm").SOPInstanceUID


def test_a_capture_has_no_spacing(written):
    assert "PixelSpacing" not in pydicom.dcmread(written("calibrated", "dicom-sc"))


@pytest.mark.parametrize("name", ["ImagerPixelSpacing", "PixelSpacing", "PixelSpacingCalibrationType"])
def test_a_segmentation_keeps_spacing_and_calibration(written, name, tmp_path):
    path = written("calibrated", "dicom-seg")
    assert pydicom.dcmread(path)[name].value == pydicom.dcmread(tmp_path / "a.dcm")[name].value


def test_a_segmentation_keeps_the_frame_of_reference(written):
    assert pydicom.dcmread(written("frame of reference", "dicom-seg")).FrameOfReferenceUID == "1.2.3"


def test_a_segmentation_keeps_the_patients_orientation(written):
    assert list(pydicom.dcmread(written("on its side", "dicom-seg")).PatientOrientation) == ["F", "R"]


@pytest.mark.parametrize("source", SOURCES)
def test_a_segmentation_is_read_back_by_highdicom(written, source, tmp_path):
    segmentation = hd.seg.segread(written(source, "dicom-seg"))
    instance = pydicom.dcmread(tmp_path / "a.dcm").SOPInstanceUID
    pixels = segmentation.get_pixels_by_source_instance([instance])
    assert np.array_equal(pixels[0, ..., 1], results(tmp_path / "a.dcm").masks["heart"])


def test_dcmqi_reads_a_report(written, tmp_path):
    path = written("calibrated", "dicom-sr")
    output_of("tid1500reader", "--inputDICOM", path, "--outputMetadata", tmp_path / "report.json")
    assert "Cardiothoracic ratio" in (tmp_path / "report.json").read_text()
