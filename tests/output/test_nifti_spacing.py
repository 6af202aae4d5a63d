"""A NIfTI mask has the millimetres of the measurements, whichever spacing of the header they are of."""

import nibabel as nib
import numpy as np
import pytest
from dicom_results import CR, SC, results, write_source

from cxr_attn_unet.output import save

DETECTOR = {"ImagerPixelSpacing": [0.2, 0.1]}
# by the header, (column, row) in mm
SPACINGS = {
    "detector": (DETECTOR, (0.1, 0.2)),
    "calibrated": (DETECTOR | {"PixelSpacing": [0.18, 0.09], "PixelSpacingCalibrationType": "GEOMETRY"}, (0.09, 0.18)),
    "calibrated CR": (DETECTOR | {"PixelSpacing": [0.18, 0.09], "SOPClassUID": CR, "Modality": "CR"}, (0.09, 0.18)),
    "not corrected": (DETECTOR | {"PixelSpacing": [0.2, 0.1]}, (0.1, 0.2)),
    "magnification": (DETECTOR | {"EstimatedRadiographicMagnificationFactor": "1.25"}, (0.08, 0.16)),
    "distances": (DETECTOR | {"DistanceSourceToDetector": "2000", "DistanceSourceToPatient": "1600"}, (0.08, 0.16)),
    "PixelSpacing alone": ({"PixelSpacing": [0.2, 0.1]}, (0.1, 0.2)),
    "film": ({"NominalScannedPixelSpacing": [0.2, 0.1], "SOPClassUID": SC, "Modality": "OT"}, (0.1, 0.2)),
    "on its side": (DETECTOR | {"PatientOrientation": ["F", "R"]}, (0.1, 0.2)),
}
# what SimpleITK takes of a header that has other millimetres, see docs/dicom.md
OTHERS_OF_ITK = {
    "calibrated": (0.1, 0.2),
    "calibrated CR": (0.1, 0.2),
    "magnification": (0.1, 0.2),
    "distances": (0.1, 0.2),
    "PixelSpacing alone": (1, 1),
}


@pytest.fixture(params=SPACINGS)
def source(request):
    return request.param


@pytest.fixture
def saved(source, tmp_path):
    """The radiograph's file, what was found in it, and the NIfTI mask of its heart."""
    path = write_source(tmp_path, **SPACINGS[source][0])
    found = results(path)
    heart = next(path for path in save(found, tmp_path / "out", ["nifti"]) if "heart" in path.name)
    return path, found, nib.load(heart)


def test_the_zooms_are_the_spacing_that_is_true(source, saved):
    assert saved[2].header.get_zooms()[:2] == pytest.approx(SPACINGS[source][1])


def test_the_area_of_the_mask_is_the_one_that_was_measured(saved):
    _, found, mask = saved
    column, row, _ = map(float, mask.header.get_zooms())
    area = np.count_nonzero(np.asarray(mask.dataobj)) * column * row
    assert area == pytest.approx(found.measurements["heart_area"], rel=1e-4)


def test_itk_gives_the_radiograph_the_same_but_where_it_is_documented(source, saved):
    itk = pytest.importorskip("SimpleITK")
    expected = OTHERS_OF_ITK.get(source, SPACINGS[source][1])
    assert itk.ReadImage(str(saved[0])).GetSpacing()[:2] == pytest.approx(expected)
