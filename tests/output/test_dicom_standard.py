"""Every DICOM object that is written keeps the rules of the standard, whatever the radiograph's header is like."""

import importlib
from pathlib import Path

import pytest
from dicom_results import SOURCES, output_of, results, write_source

from cxr_attn_unet.output import save

pytest.importorskip("highdicom")
FORMATS = ("dicom-seg", "dicom-seg-plane", "dicom-sr", "dicom-gsps", "dicom-sc")
# spacing and calibration of the radiograph, kept in a segmentation though the standard does not list them there
KEPT_BESIDE_SEGMENTS = ("(0018,1114)", "(0018,1164)", "(0018,2010)", "(0028,0030)", "(0028,0a02)", "(0028,0a04)")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Path of an object by source and format; each is written once."""
    paths = {}

    def one(source: str, form: str) -> Path:
        if (source, form) not in paths:
            folder = tmp_path_factory.mktemp("objects")
            path = write_source(folder, **SOURCES[source])
            (paths[source, form],) = save(results(path), folder / "out", [form])
        return paths[source, form]

    return one


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("source", SOURCES)
def test_dciodvfy_finds_no_error(written, source, form):
    said = output_of("dciodvfy", "-new", written(source, form))
    assert [line for line in said.splitlines() if line.startswith("Error")] == []


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("source", ["bare DX", "on its side", "patient"])
def test_dcmtk_reads_it(written, source, form):
    assert '"00080018"' in output_of("dcm2json", written(source, form))


@pytest.mark.parametrize("source", ["bare DX", "calibrated"])
def test_dcmtk_finds_no_fault_in_a_report(written, source):
    said = output_of("dsrdump", "--print-template-id", written(source, "dicom-sr"))
    assert [line for line in said.splitlines() if line.startswith(("E:", "W:"))] == []


def test_dcmtk_finds_no_fault_in_a_presentation_state(written):
    # it calls a patient without a name a fault
    assert "Test passed" in output_of("dcmpschk", "--verbose", written("patient", "dicom-gsps"))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("source", SOURCES)
def test_dicom_validator_finds_no_error(written, source, form):
    validator = pytest.importorskip("dicom_validator.validator.dicom_file_validator")
    editions = importlib.import_module("dicom_validator.spec_reader.edition_reader").EditionReader()
    local = sorted(
        folder.name for folder in editions.path.glob("*[a-h]") if (folder / "docbook" / "part03.xml").exists()
    )
    if not local:
        pytest.skip("dicom-validator has no edition of the standard; with a network, it gets one: validate_iods FILE")
    info = editions.load_dicom_info(local[-1])
    found = validator.DicomFileValidator(info).validate(str(written(source, form)))
    errors = []
    for result in found.values():
        for module in result.module_errors.values():
            errors.extend(str(tag).lower() for tag in module)
    assert [tag for tag in errors if not tag.startswith(KEPT_BESIDE_SEGMENTS)] == []
