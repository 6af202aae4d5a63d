"""Spacing in millimetres, and what it measures."""

import math

import numpy as np
import pytest

from chest import TWELVE, patched, read
from cxr_attn_unet.io import RadiographReader, read_radiograph
from samples import write_dicom

IMAGER = {"ImagerPixelSpacing": [0.2, 0.3]}
DISTANCES = {"DistanceSourceToDetector": 1800, "DistanceSourceToPatient": 1500}
CASES = {
    "nothing": ({}, None, None),
    "detector": (IMAGER, (0.2, 0.3), "detector"),
    "film": ({"NominalScannedPixelSpacing": [0.175, 0.175]}, (0.175, 0.175), "detector"),
    "pixel spacing alone": ({"PixelSpacing": [0.2, 0.3]}, (0.2, 0.3), "given"),
    "pixel spacing of the detector": ({"PixelSpacing": [0.2, 0.3], **IMAGER}, (0.2, 0.3), "detector"),
    "pixel spacing rounded": (
        {"PixelSpacing": [0.2, 0.3], "ImagerPixelSpacing": [0.20001, 0.3]},
        (0.20001, 0.3),
        "detector",
    ),
    "corrected, not said how": ({"PixelSpacing": [0.18, 0.27], **IMAGER}, (0.18, 0.27), "calibrated"),
    "fiducial": (
        {"PixelSpacing": [0.18, 0.27], "PixelSpacingCalibrationType": "FIDUCIAL", **IMAGER},
        (0.18, 0.27),
        "calibrated",
    ),
    "geometry without detector": (
        {"PixelSpacing": [0.18, 0.27], "PixelSpacingCalibrationType": "GEOMETRY"},
        (0.18, 0.27),
        "calibrated",
    ),
    "factor": ({"EstimatedRadiographicMagnificationFactor": 1.25, **IMAGER}, (0.16, 0.24), "patient"),
    "distances": ({**DISTANCES, **IMAGER}, (0.2 / 1.2, 0.25), "patient"),
    "factor before distances": (
        {"EstimatedRadiographicMagnificationFactor": 1.25, **DISTANCES, **IMAGER},
        (0.16, 0.24),
        "patient",
    ),
    "factor, pixel spacing of the detector": (
        {"EstimatedRadiographicMagnificationFactor": 1.25, "PixelSpacing": [0.2, 0.3], **IMAGER},
        (0.16, 0.24),
        "patient",
    ),
    "factor, calibrated before": (
        {"EstimatedRadiographicMagnificationFactor": 1.25, "PixelSpacing": [0.16, 0.24], **IMAGER},
        (0.16, 0.24),
        "calibrated",
    ),
    "film and factor": (
        {"EstimatedRadiographicMagnificationFactor": 1.25, "NominalScannedPixelSpacing": [0.2, 0.3]},
        (0.16, 0.24),
        "patient",
    ),
    "factor 1": ({"EstimatedRadiographicMagnificationFactor": 1, **IMAGER}, (0.2, 0.3), "detector"),
    "factor 0": ({"EstimatedRadiographicMagnificationFactor": 0, **IMAGER}, (0.2, 0.3), "detector"),
    "factor in percent": ({"EstimatedRadiographicMagnificationFactor": 125, **IMAGER}, (0.2, 0.3), "detector"),
    "factor 0, distances": (
        {"EstimatedRadiographicMagnificationFactor": 0, **DISTANCES, **IMAGER},
        (0.2 / 1.2, 0.25),
        "patient",
    ),
    "patient behind the detector": (
        {"DistanceSourceToDetector": 1500, "DistanceSourceToPatient": 1800, **IMAGER},
        (0.2, 0.3),
        "detector",
    ),
    "one distance": ({"DistanceSourceToDetector": 1800, **IMAGER}, (0.2, 0.3), "detector"),
    "distances 0": ({"DistanceSourceToDetector": 0, "DistanceSourceToPatient": 0, **IMAGER}, (0.2, 0.3), "detector"),
    "factor without detector": (
        {"EstimatedRadiographicMagnificationFactor": 1.25, "PixelSpacing": [0.2, 0.3]},
        (0.2, 0.3),
        "given",
    ),
    "1 x 1": ({"PixelSpacing": [1, 1]}, None, None),
    "1 x 1 in decimals": ({"PixelSpacing": ["1.00000", "1.0"]}, None, None),
    "1 x 1 at the detector": ({"ImagerPixelSpacing": [1, 1]}, None, None),
    "1 x 1 beside the detector's": ({"PixelSpacing": [1, 1], **IMAGER}, (0.2, 0.3), "detector"),
    "1 x 1 at the detector beside another": (
        {"PixelSpacing": [0.2, 0.3], "ImagerPixelSpacing": [1, 1]},
        (0.2, 0.3),
        "given",
    ),
    "1 x 1 and calibrated": ({"PixelSpacing": [1, 1], "PixelSpacingCalibrationType": "FIDUCIAL"}, None, None),
    "zero": ({"PixelSpacing": [0, 0]}, None, None),
    "negative": ({"PixelSpacing": [-0.2, -0.3]}, None, None),
    "empty": ({"PixelSpacing": ""}, None, None),
    "micrometres": ({"PixelSpacing": [143, 143]}, None, None),
    "metres": ({"PixelSpacing": [0.000143, 0.000143]}, None, None),
    "one value": ({"PixelSpacing": 0.2}, (0.2, 0.2), "given"),
}


@pytest.mark.parametrize("case", CASES)
def test_spacing(case, tmp_path):
    tags, spacing, _ = CASES[case]
    found = read(tmp_path, **tags).spacing
    assert found == (None if spacing is None else pytest.approx(spacing))


@pytest.mark.parametrize("case", CASES)
def test_source_of_the_spacing(case, tmp_path):
    tags, _, source = CASES[case]
    assert read(tmp_path, **tags).spacing_source == source


@pytest.mark.parametrize(
    "case", ["1 x 1", "zero", "micrometres", "factor in percent", "patient behind the detector", "one value"]
)
def test_a_spacing_that_was_not_taken_as_it_is_is_noted(case, tmp_path):
    tags, _, _ = CASES[case]
    assert len(read(tmp_path, **tags).notes) == 1


@pytest.mark.parametrize("text", [b"0,2\\0,3", b"abc    ", b"\\0.3   ", b"nan\\nan"])
def test_spacing_that_is_no_decimal_string(text, tmp_path):
    path = write_dicom(tmp_path / "a.dcm", TWELVE, PixelSpacing="0.7\\0.9")
    spacing = read_radiograph(patched(path, b"0.7\\0.9", text)).spacing
    assert spacing == (pytest.approx((0.2, 0.3)) if b"," in text else None)


def test_the_reader_hands_on_where_spacing_comes_from(tmp_path):
    _, meta = RadiographReader().get_data(read(tmp_path, **IMAGER))
    assert meta["spacing_source"] == "detector"


def test_the_reader_has_no_source_for_an_unknown_spacing(tmp_path):
    _, meta = RadiographReader().get_data(read(tmp_path))
    assert meta["spacing_source"] == ""
    assert math.isnan(np.ravel(meta["pixel_spacing"])[0])
