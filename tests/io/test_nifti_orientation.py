"""NIfTI files without codes: dcm2niix turns the rows around, other writers do not."""

import shutil
import subprocess

import nibabel as nib
import numpy as np
import pytest

from cxr_attn_unet.io import RadiographError, read_radiograph
from samples import picture, write_dicom, write_nifti

TRUTH = picture()
CR = "1.2.840.10008.5.1.4.1.1.1"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def dcm2niix():
    found = shutil.which("dcm2niix")
    if found:
        return found
    return getattr(pytest.importorskip("dcm2niix", reason="needs dcm2niix: pip install dcm2niix"), "bin", None)


def without_codes(path, values, pixdim=(1.0, 1.0), offset=0.0):
    """NIfTI as dcm2niix writes a radiograph: both codes 0, and an ``sform`` in pixels."""
    image = nib.Nifti1Image(np.ascontiguousarray(values.T[..., None]).astype(np.int16), None)
    header = image.header
    header["pixdim"][1:3] = pixdim
    header["srow_x"], header["srow_y"], header["srow_z"] = (1, 0, 0, 0), (0, 1, 0, offset), (0, 0, 1, 0)
    header["qoffset_y"] = offset
    header["descrip"] = b"Time=0.000"
    nib.save(image, path)
    # nibabel fills the offsets in by its own affine
    content = bytearray(path.read_bytes())
    content[252:256] = bytes(4)  # both codes
    content[256:280] = np.array((0, 0, 0, 0, offset, 0), "<f4").tobytes()
    content[280:328] = np.array((1, 0, 0, 0, 0, 1, 0, offset, 0, 0, 1, 0), "<f4").tobytes()
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("pixdim", [(1.0, 1.0), (0.3, 0.2)])
def test_rows_that_dcm2niix_reversed_are_turned_over(pixdim, tmp_path):
    path = without_codes(tmp_path / "a.nii", TRUTH[::-1], pixdim, 1 - len(TRUTH))
    np.testing.assert_array_equal(read_radiograph(path).upright(), TRUTH)


def test_spacing_of_a_file_of_dcm2niix(tmp_path):
    path = without_codes(tmp_path / "a.nii", TRUTH[::-1], (0.3, 0.2), 1 - len(TRUTH))
    assert read_radiograph(path).spacing == pytest.approx((0.2, 0.3))


def test_without_codes_and_offsets_the_picture_is_upright_as_stored(tmp_path):
    np.testing.assert_array_equal(read_radiograph(without_codes(tmp_path / "a.nii", TRUTH)).upright(), TRUTH)


@pytest.mark.parametrize("affine", [None, np.eye(4), np.diag((0.3, 0.2, 1, 1))], ids=["none", "identity", "spacing"])
def test_what_nibabel_writes_is_upright_as_stored(affine, tmp_path):
    np.testing.assert_array_equal(read_radiograph(write_nifti(tmp_path / "a.nii", TRUTH, affine)).upright(), TRUTH)


def test_what_itk_writes_is_upright_as_stored(tmp_path):
    sitk = pytest.importorskip("SimpleITK")
    sitk.WriteImage(sitk.GetImageFromArray(TRUTH), str(tmp_path / "a.nii"))
    np.testing.assert_array_equal(read_radiograph(tmp_path / "a.nii").upright(), TRUTH)


HEADERS = {
    "DX": {},
    "DX with spacing": {"PixelSpacing": [0.2, 0.3]},
    "DX with orientation": {"PixelSpacing": [0.2, 0.3], "PatientOrientation": ["L", "F"]},
    "CR": {"SOPClassUID": CR, "Modality": "CR", "PixelSpacing": [0.143, 0.143]},
    "secondary capture": {"SOPClassUID": SECONDARY_CAPTURE, "Modality": "OT"},
}


@pytest.mark.parametrize("compressed", ["y", "n"])
@pytest.mark.parametrize("header", HEADERS)
def test_what_dcm2niix_makes_of_a_dicom_file(header, compressed, tmp_path):
    converter = dcm2niix()
    series = {"SeriesInstanceUID": "1.2.3", "StudyInstanceUID": "1.2.4", "SeriesNumber": 1, "PatientID": "x"}
    (tmp_path / "dicom").mkdir()
    write_dicom(tmp_path / "dicom" / "a.dcm", TRUTH.astype(np.uint16) * 16, **series, **HEADERS[header])
    command = [converter, "-f", "out", "-z", compressed, "-o", str(tmp_path), str(tmp_path / "dicom")]
    subprocess.run(command, check=True, capture_output=True)
    (path,) = tmp_path.glob("out.nii*")
    np.testing.assert_array_equal(read_radiograph(path).upright(), TRUTH * np.float32(16))


def test_a_nifti_file_that_is_not_compressed_as_its_name_says(tmp_path):
    write_nifti(tmp_path / "a.nii", TRUTH, np.eye(4)).rename(tmp_path / "a.nii.gz")
    with pytest.raises(RadiographError, match=r"not compressed, though its name ends in .gz, but a NIfTI file"):
        read_radiograph(tmp_path / "a.nii.gz")


@pytest.mark.parametrize("suffix", [".nii", ".mha", ".nrrd"])
def test_a_dicom_file_under_another_name_is_not_called_damaged(suffix, tmp_path):
    path = write_dicom(tmp_path / "a.dcm", TRUTH, bits=8).rename(tmp_path / f"a{suffix}")
    with pytest.raises(RadiographError, match=r"but a DICOM file. Name it .dcm") as caught:
        read_radiograph(path)
    assert "damaged" not in str(caught.value)
