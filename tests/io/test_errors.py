"""Every bad file gives one clear error that names it and the remedy."""

import pickle
import sys

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image

from cxr_attn_unet.io import RadiographError, list_radiographs, read_mask, read_radiograph
from cxr_attn_unet.transforms import LoadRadiographd
from samples import CT, picture, write_dicom, write_nifti, write_picture

TRUTH = picture()
UP12 = TRUTH.astype(np.uint16) * 16


def cut(path, share=0.5):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def content(path, data):
    path.write_bytes(data)
    return path


def save(path, array):
    nib.save(nib.Nifti1Image(array, np.eye(4)), path)
    return path


def frames(path):
    pictures = [Image.fromarray(TRUTH)] * 3
    pictures[0].save(path, save_all=True, append_images=pictures[1:])
    return path


NAN = np.where(TRUTH > 100, np.nan, TRUTH).astype(np.float32)
BAD = {
    "missing": (lambda d: d / "none.png", "no such file"),
    "folder": (lambda d: d, "a folder"),
    "empty file": (lambda d: content(d / "a.png", b""), "file is empty"),
    "unknown format": (lambda d: content(d / "a.xyz", bytes(range(1, 200))), "Convert it"),
    "text of an unknown format": (lambda d: content(d / "a.xyz", b"12345"), "text, not a radiograph"),
    "text as png": (lambda d: content(d / "a.png", b"this is not a picture" * 9), "not a picture"),
    "truncated png": (lambda d: cut(write_picture(d / "a.png", TRUTH), 0.4), "truncated"),
    "truncated jpeg": (lambda d: cut(write_picture(d / "a.jpg", TRUTH)), "truncated"),
    "truncated tiff": (lambda d: cut(write_picture(d / "a.tif", TRUTH)), "Export it again|export it again"),
    "frames": (lambda d: frames(d / "a.tif"), "3 pictures"),
    "3 x 3": (lambda d: write_picture(d / "a.png", TRUTH[:3, :3]), "3 x 3 pixels"),
    "constant": (lambda d: write_picture(d / "a.png", np.full_like(TRUTH, 7)), "the value 7"),
    "nan": (lambda d: save(d / "a.nii", NAN), "NaN"),
    "ct volume": (lambda d: save(d / "ct.nii.gz", np.zeros((64, 64, 9), np.int16)), "64x64x9"),
    "truncated nifti": (lambda d: cut(write_nifti(d / "a.nii.gz", TRUTH, np.eye(4))), "truncated"),
    "truncated dicom": (lambda d: cut(write_dicom(d / "a.dcm", UP12)), "truncated"),
    "text as dicom": (lambda d: content(d / "a.dcm", b"no DICOM" * 99), "not a DICOM file"),
    "ct slice": (lambda d: write_dicom(d / "a.dcm", UP12, SOPClassUID=CT, Modality="CT"), "slice of a volume"),
    "dicom frames": (lambda d: write_dicom(d / "a.dcm", np.stack([UP12, UP12]), NumberOfFrames=2), "2 frames"),
    "constant dicom": (lambda d: write_dicom(d / "a.dcm", np.full_like(UP12, 9)), "the value 9"),
    "img of another size": (lambda d: content(d / "JPCLN001.IMG", bytes(1000)), "1000 bytes"),
}


@pytest.mark.parametrize("kind", BAD)
def test_radiograph(kind, tmp_path):
    make, message = BAD[kind]
    path = make(tmp_path)
    with pytest.raises(RadiographError, match=message) as caught:
        read_radiograph(path)
    assert str(path) in str(caught.value)
    assert str(caught.value).rstrip().endswith(".")
    assert "\n" not in str(caught.value)


def test_dicom_without_decoder(tmp_path):
    import pydicom
    from pydicom.uid import MPEG2MPML, RLELossless

    path = write_dicom(tmp_path / "a.dcm", UP12)
    data = pydicom.dcmread(path)
    data.compress(RLELossless)
    data.file_meta.TransferSyntaxUID = MPEG2MPML  # which nothing here decodes
    data.save_as(path)
    with pytest.raises(RadiographError, match=r"compression .*cxr-attn-unet\[dicom\]"):
        read_radiograph(path)


def test_itk_formats_name_the_package_they_need(tmp_path, monkeypatch):
    path = tmp_path / "a.mha"
    path.write_bytes(b"anything")
    monkeypatch.setitem(sys.modules, "SimpleITK", None)  # as if it were not installed
    with pytest.raises(RadiographError, match=r"a.mha: .*cxr-attn-unet\[itk\]"):
        read_radiograph(path)


@pytest.mark.parametrize("kind", ["missing", "truncated png", "nan", "ct volume", "unknown format"])
def test_mask(kind, tmp_path):
    make, message = BAD[kind]
    with pytest.raises(RadiographError, match=f"{message}|not a format that masks"):
        read_mask(make(tmp_path))


def test_masks_of_two_sizes(tmp_path):
    paths = [write_picture(tmp_path / "l.png", TRUTH), write_picture(tmp_path / "r.png", TRUTH[:100])]
    with pytest.raises(RadiographError, match=r"r.png: 96 x 100 pixels, but .*l.png has 96 x 128"):
        read_mask(paths)


def test_errors_reach_the_main_process(tmp_path):
    """Through a worker of a data loader, file and remedy still in it."""
    from monai.data import DataLoader, Dataset

    error = RadiographError("a.png: damaged. Export it again.")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    path = cut(write_picture(tmp_path / "a.png", TRUTH), 0.4)
    loader = DataLoader(Dataset([{"image": str(path)}], LoadRadiographd("image")), num_workers=1)
    with pytest.raises(Exception, match=r"a.png: damaged or truncated"):
        next(iter(loader))


def test_list_radiographs(tmp_path):
    wanted = [
        write_picture(tmp_path / "b.png", TRUTH),
        write_dicom(tmp_path / "1.2.3", UP12),
        write_nifti(tmp_path / "c.nii.gz", TRUTH, np.eye(4)),
    ]
    (tmp_path / "sub").mkdir()
    wanted.append(write_picture(tmp_path / "sub" / "a.JPG", TRUTH))
    (tmp_path / "notes.txt").write_text("no radiograph")
    (tmp_path / "small.img").write_bytes(bytes(10))
    write_picture(tmp_path / ".hidden.png", TRUTH)
    assert list_radiographs(tmp_path) == sorted(map(str, wanted))
    with pytest.raises(RadiographError, match="no such folder"):
        list_radiographs(tmp_path / "nowhere")


def test_pixels_are_float32_of_the_file(tmp_path):
    pixels = read_radiograph(write_picture(tmp_path / "a.png", TRUTH, "I;16")).pixels
    assert torch.equal(torch.from_numpy(pixels.copy()), torch.from_numpy(TRUTH * np.float32(257)))


@pytest.mark.parametrize("name", ["../secret.raw", "/etc/passwd", "below/../../secret.raw", "..\\secret.raw"])
@pytest.mark.parametrize("lead", ["", "LIST\n"])
def test_a_header_cannot_show_a_file_of_another_folder(lead, name, tmp_path):
    pytest.importorskip("SimpleITK")
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.raw").write_bytes(TRUTH.tobytes())
    path = tmp_path / "in" / "a.mhd"
    rows, columns = TRUTH.shape
    path.write_text(
        f"ObjectType = Image\nNDims = 2\nDimSize = {columns} {rows}\nElementType = MET_UCHAR\n"
        f"ElementDataFile = {lead}{name}\n"
    )
    with pytest.raises(RadiographError, match=r"outside of its folder\. Put both into one folder"):
        read_radiograph(path)
