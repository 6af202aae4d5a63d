"""One radiograph in every form gives the same upright picture, the same network input and the same mask back."""

import json
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from monai.bundle import ConfigParser
from PIL import Image
from pydicom.uid import RLELossless

from conftest import BUNDLES
from cxr_attn_unet.io import read_mask, read_radiograph
from samples import picture, voi_lut, write_dicom, write_img, write_nifti, write_picture

TRUTH = picture()
UP12 = TRUTH.astype(np.uint16) * 16  # 12-bit values


def itk(path, values):
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path))
    return path


def exif(path, values):
    # orientation 6: the stored picture must be turned by 90 degrees clockwise to be shown
    image = Image.fromarray(np.rot90(values).copy())
    tags = Image.Exif()
    tags[274] = 6
    image.save(path, exif=tags, quality=98)
    return path


def rle(path, values):
    write_dicom(path, values)
    import pydicom

    data = pydicom.dcmread(path)
    data.compress(RLELossless)
    data.save_as(path)
    return path


def coronal(values):
    """Affine of a picture stored with its columns towards the left and its rows towards the foot, 0.5 x 0.4 mm."""
    affine = np.zeros((4, 4))
    affine[0, 0], affine[2, 1], affine[1, 2], affine[3, 3] = -0.5, -0.4, 1, 1
    return affine


FORMS = {
    "png": lambda d: write_picture(d / "a.png", TRUTH),
    "png 16 bit": lambda d: write_picture(d / "a.png", TRUTH, "I;16"),
    "png palette": lambda d: write_picture(d / "a.png", TRUTH, "P"),
    "png rgb": lambda d: write_picture(d / "a.png", TRUTH, "RGB"),
    "png rgba": lambda d: write_picture(d / "a.png", TRUTH, "RGBA"),
    "png la": lambda d: write_picture(d / "a.png", TRUTH, "LA"),
    "jpeg": lambda d: write_picture(d / "a.jpg", TRUTH),
    "jpeg turned by exif": lambda d: exif(d / "a.jpg", TRUTH),
    "tiff": lambda d: write_picture(d / "a.tif", TRUTH),
    "tiff 16 bit": lambda d: write_picture(d / "a.tiff", TRUTH, "I;16"),
    "bmp": lambda d: write_picture(d / "a.bmp", TRUTH),
    "dicom 8 bit": lambda d: write_dicom(d / "a.dcm", TRUTH, bits=8),
    "dicom monochrome2": lambda d: write_dicom(d / "a.dcm", UP12),
    "dicom monochrome1": lambda d: write_dicom(d / "a.dcm", 4095 - UP12, "MONOCHROME1"),
    "dicom without suffix": lambda d: write_dicom(d / "1.2.840.1", UP12),
    "dicom signed": lambda d: write_dicom(d / "a.dcm", UP12.astype(np.int16) - 2048),
    "dicom modality": lambda d: write_dicom(d / "a.dcm", UP12, RescaleSlope="0.5", RescaleIntercept="-100"),
    "dicom negative slope": lambda d: write_dicom(d / "a.dcm", 4095 - UP12, RescaleSlope="-1", RescaleIntercept="4095"),
    "dicom window": lambda d: write_dicom(d / "a.dcm", UP12, WindowCenter="2048", WindowWidth="4096"),
    "dicom window monochrome1": lambda d: write_dicom(
        d / "a.dcm", 4095 - UP12, "MONOCHROME1", WindowCenter="2048", WindowWidth="4096"
    ),
    "dicom voi lut": lambda d: write_dicom(
        d / "a.dcm", 4095 - UP12, bits=12, VOILUTSequence=voi_lut(np.arange(4096)[::-1])
    ),
    "dicom for processing, sign -1": lambda d: write_dicom(
        d / "a.dcm", UP12, "MONOCHROME1", PresentationIntentType="FOR PROCESSING", PixelIntensityRelationshipSign=-1
    ),
    "dicom for processing, sign 1": lambda d: write_dicom(
        d / "a.dcm", 4095 - UP12, PresentationIntentType="FOR PROCESSING", PixelIntensityRelationshipSign=1
    ),
    "dicom for processing, linear": lambda d: write_dicom(
        d / "a.dcm",
        np.round(60000 * np.exp(TRUTH / -255 * 4)).astype(np.uint16),
        bits=16,
        PresentationIntentType="FOR PROCESSING",
        PixelIntensityRelationshipSign=1,
        PixelIntensityRelationship="LIN",
    ),
    "dicom compressed": lambda d: rle(d / "a.dcm", UP12),
    "dicom L F": lambda d: write_dicom(d / "a.dcm", UP12, PatientOrientation=["L", "F"]),
    "dicom mirrored": lambda d: write_dicom(d / "a.dcm", UP12[:, ::-1], PatientOrientation=["R", "F"]),
    "dicom upside down": lambda d: write_dicom(d / "a.dcm", UP12[::-1], PatientOrientation=["L", "H"]),
    "dicom lying": lambda d: write_dicom(d / "a.dcm", UP12.T, PatientOrientation=["F", "L"]),
    "dicom lying and mirrored": lambda d: write_dicom(d / "a.dcm", UP12.T[:, ::-1], PatientOrientation=["H", "L"]),
    "dicom lateral": lambda d: write_dicom(d / "a.dcm", UP12, PatientOrientation=["A", "F"]),
    "nifti of itk": lambda d: write_nifti(d / "a.nii.gz", TRUTH, np.diag([-0.2, -0.3, 1, 1])),
    "nifti identity": lambda d: write_nifti(d / "a.nii", TRUTH, np.eye(4)),
    "nifti without codes": lambda d: write_nifti(d / "a.nii", TRUTH, None),
    "nifti of dcm2niix": lambda d: write_nifti(d / "a.nii.gz", TRUTH[::-1], np.diag([-0.2, 0.3, 1, 1])),
    "nifti coronal": lambda d: write_nifti(d / "a.nii.gz", TRUTH, coronal(TRUTH)),
    "nifti coronal RAS": lambda d: write_nifti(d / "a.nii", TRUTH[::-1, ::-1], coronal(TRUTH) * [[-1], [1], [-1], [1]]),
    "nifti lying": lambda d: write_nifti(d / "a.nii", TRUTH.T, coronal(TRUTH)[:, [1, 0, 2, 3]]),
    "mha": lambda d: itk(d / "a.mha", TRUTH),
    "nrrd": lambda d: itk(d / "a.nrrd", UP12.astype(np.uint16)),
}
# the raw format is square, and its blocks are whole: the same picture on a square grid
FORMS["jsrt img"] = lambda d: write_img(d / "JPCLN001.IMG", square(TRUTH))
REAL = sorted(Path(os.environ.get("CXR_DATA", "."), "dicom").glob("*.dcm"))
LOSSY = ("jpeg", "jpeg turned by exif", "dicom for processing, linear")


def square(values):
    """128 x 96 on a grid of 128 x 128, by taking every pixel of a row 4/3 times."""
    return values[:, np.arange(128) * 3 // 4]


def unit(pixels):
    pixels = pixels.astype(np.float64)
    return (pixels - pixels.min()) / (pixels.max() - pixels.min())


@pytest.mark.parametrize("form", FORMS)
def test_same_upright_picture(form, tmp_path):
    radiograph = read_radiograph(FORMS[form](tmp_path))
    upright = unit(radiograph.upright())
    truth = unit(TRUTH)
    if form == "jsrt img":
        upright, truth = upright[8::16, 8::16], unit(square(TRUTH))
    assert radiograph.pixels.dtype == np.float32
    assert upright.shape == truth.shape
    assert np.abs(upright - truth).max() < (0.08 if form in LOSSY else 0.003)


@pytest.fixture(scope="module")
def inference():
    """Preprocessing and postprocessing of an inference config, without the writer."""
    config = ConfigParser.load_config_file(BUNDLES[0] / "configs" / "inference.json")
    config["postprocessing"]["transforms"] = [
        t for t in config["postprocessing"]["transforms"] if t["_target_"] not in ("SaveImaged", "Activationsd")
    ]
    parser = ConfigParser(config)
    parser["image_size"] = 96
    return parser.get_parsed_content("preprocessing"), parser.get_parsed_content("postprocessing")


@pytest.mark.parametrize("form", FORMS)
def test_same_network_input_and_mask_back(form, tmp_path, inference):
    preprocess, postprocess = inference
    reference = preprocess({"image": str(write_picture(tmp_path / "reference.png", TRUTH))})["image"]
    data = preprocess({"image": str(FORMS[form](tmp_path))})
    image = data["image"]
    assert image.shape == (1, 96, 96)
    assert float(image.min()) >= 0
    assert float(image.max()) <= 1
    if form == "jsrt img":  # the same picture, stretched to a square
        assert np.abs(image[0, :, 12:84].mean(1) - reference[0, :, 12:84].mean(1)).max() < 0.1
    else:
        assert (image - reference).abs().max() < (0.15 if form in LOSSY else 0.02)

    # a prediction where the network sees the bright mark goes back over the bright mark's pixels in the file
    mark = (image[0] > 0.95).float()
    data["pred"] = torch.stack([1 - mark, mark])
    mask = postprocess(data)["pred"].numpy()  # (columns, rows)
    pixels = unit(read_radiograph(image.meta["filename_or_obj"]).pixels)
    assert mask.dtype == np.uint8
    assert mask.T.shape == pixels.shape
    bright = pixels > 0.97
    assert 2 * (mask.T.astype(bool) & bright).sum() / (mask.sum() + bright.sum()) > 0.85


@pytest.mark.parametrize(
    ("write", "spacing"),
    [
        (lambda p: write_dicom(p / "a.dcm", UP12, PixelSpacing=[0.2, 0.3]), (0.2, 0.3)),
        (lambda p: write_dicom(p / "a.dcm", UP12, ImagerPixelSpacing=[0.15, 0.16]), (0.15, 0.16)),
        (lambda p: write_dicom(p / "a.dcm", UP12, PixelSpacing=[0.2, 0.3], ImagerPixelSpacing=[1, 1]), (0.2, 0.3)),
        (lambda p: write_dicom(p / "a.dcm", UP12), None),
        (lambda p: write_nifti(p / "a.nii", TRUTH, np.diag([-0.3, -0.2, 1, 1])), (0.2, 0.3)),
        (lambda p: write_nifti(p / "a.nii", TRUTH, np.eye(4)), None),
        (lambda p: write_img(p / "JPCLN001.IMG", square(TRUTH)), (0.175, 0.175)),
        (lambda p: write_picture(p / "a.png", TRUTH), None),
    ],
)
def test_pixel_spacing(write, spacing, tmp_path):
    found = read_radiograph(write(tmp_path)).spacing
    assert found == (None if spacing is None else pytest.approx(spacing))


MASKS = {
    "0 and 1": lambda d, m: write_picture(d / "m.png", m.astype(np.uint8)),
    "0 and 255": lambda d, m: write_picture(d / "m.png", m.astype(np.uint8) * 255),
    "gif": lambda d, m: write_picture(d / "m.gif", m.astype(np.uint8) * 255),
    "palette": lambda d, m: write_picture(d / "m.png", m.astype(np.uint8) * 255, "P"),
    "jpeg": lambda d, m: write_picture(d / "m.jpg", m.astype(np.uint8) * 255),
    "nifti": lambda d, m: write_nifti(d / "m.nii.gz", m.astype(np.uint8), np.eye(4)),
    "nrrd": lambda d, m: itk(d / "m.nrrd", m.astype(np.uint8)),
}


@pytest.mark.parametrize("form", MASKS)
def test_masks(form, tmp_path):
    truth = TRUTH > 150
    assert (read_mask(MASKS[form](tmp_path, truth)) == truth).all()


def test_masks_are_joined(tmp_path):
    left, right = TRUTH > 200, TRUTH < 80
    paths = [tmp_path / "left.png", tmp_path / "right.png"]
    for path, mask in zip(paths, (left, right), strict=True):
        write_picture(path, mask.astype(np.uint8))
    assert (read_mask(paths) == (left | right)).all()


@pytest.mark.skipif(not os.environ.get("CXR_DATA"), reason="needs CXR_DATA")
@pytest.mark.parametrize(
    "path", sorted(Path(os.environ.get("CXR_DATA", "."), "dicom").glob("*.dcm")), ids=lambda p: p.name
)
def test_real_dicom_shows_bright_spine_between_dark_lungs(path):
    upright = unit(read_radiograph(path).upright())
    rows, columns = upright.shape
    middle = upright[rows // 3 : rows // 2]
    spine = middle[:, int(0.47 * columns) : int(0.53 * columns)].mean()
    lungs = [middle[:, int(a * columns) : int((a + 0.12) * columns)].mean() for a in (0.2, 0.68)]
    assert spine > max(lungs) + 0.1


def test_reader_keeps_monai_convention(tmp_path):
    """(columns, rows), so that nibabel's own array of a NIfTI file and ours are the same."""
    from cxr_attn_unet.io import RadiographReader

    path = write_nifti(tmp_path / "a.nii", TRUTH[::-1], np.diag([-0.2, 0.3, 1, 1]))
    reader = RadiographReader()
    array, meta = reader.get_data(reader.read(str(path)))
    assert (array == nib.load(path).get_fdata()[..., 0]).all()
    assert np.allclose(meta["affine"], np.diag([-0.2, 0.3, 1, 1])[:4])
    assert json.dumps(meta["upright"].tolist()) == "[0, 1, 0]"
