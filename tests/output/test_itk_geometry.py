"""3D Slicer places images by ITK's rule: a NIfTI mask must lie over the radiograph as ITK reads both."""

import numpy as np
import pytest
from dicom_results import SOURCES, results, write_source

from cxr_attn_unet.output import save

itk = pytest.importorskip("SimpleITK")
# ITK takes the detector's spacing also where the header has a calibrated one
OTHER_SPACING = ("calibrated",)


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """Radiograph, mask and what was to be in it, by source; each is read once."""
    known = {}

    def one(source: str):
        if source not in known:
            folder = tmp_path_factory.mktemp("itk")
            path = write_source(folder, **SOURCES[source])
            found = results(path)
            lungs, _ = save(found, folder / "out", ["nifti"])
            known[source] = itk.ReadImage(str(path)), itk.ReadImage(str(lungs)), found.masks["lungs"]
        return known[source]

    return one


@pytest.mark.parametrize("source", SOURCES)
def test_a_mask_has_the_direction_and_the_origin_of_its_radiograph(read, source):
    radiograph, mask, _ = read(source)
    assert mask.GetSize() == radiograph.GetSize()
    assert mask.GetDirection() == pytest.approx(radiograph.GetDirection())
    assert mask.GetOrigin() == pytest.approx(radiograph.GetOrigin())


@pytest.mark.parametrize("source", [source for source in SOURCES if source not in OTHER_SPACING])
def test_a_mask_has_the_spacing_of_its_radiograph(read, source):
    radiograph, mask, _ = read(source)
    assert mask.GetSpacing() == pytest.approx(radiograph.GetSpacing(), rel=1e-5)


@pytest.mark.parametrize("source", SOURCES)
def test_each_pixel_of_a_mask_lies_over_that_of_the_radiograph(read, source):
    _, mask, expected = read(source)
    assert np.array_equal(itk.GetArrayFromImage(mask)[0] > 0, expected)
