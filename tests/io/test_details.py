"""Further forms of the same picture, masks, metadata and bad files."""

import subprocess
import sys
import warnings

import nibabel as nib
import numpy as np
import pytest
from monai.data import DataLoader, Dataset
from monai.transforms import Compose, LoadImaged, SaveImage
from PIL import Image

from cxr_attn_unet.io import (
    MaskReader,
    RadiographError,
    RadiographReader,
    is_radiograph_file,
    read_mask,
    read_radiograph,
)
from samples import picture, voi_lut, write_dicom, write_nifti, write_picture

TRUTH = picture()
TWELVE = np.round(TRUTH / 255 * 4095).astype(np.uint16)
INVERSE = 4095 - TWELVE
PROCESSING = {"PresentationIntentType": "FOR PROCESSING", "PixelIntensityRelationship": "LOG"}


def unit(pixels):
    pixels = pixels.astype(np.float64)
    return (pixels - pixels.min()) / np.ptp(pixels)


def beyond(low, high):
    """Black and white far outside ``low`` to ``high``: without the window the picture is another one."""
    values = (low + TRUTH / 255 * (high - low)).round().astype(np.uint16)
    values[TRUTH == 0], values[TRUTH == 255] = 0, 4095
    return values


def tif(path, array, zero_is_white=True, **options):
    Image.fromarray(array).save(path, **({"tiffinfo": {262: 0}} if zero_is_white else {}), **options)
    return path


def itk(path, values):
    sitk = pytest.importorskip("SimpleITK")
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path))
    return path


def pair(path, klass):
    nib.save(klass(np.ascontiguousarray(TRUTH.T[..., None].astype(np.int16)), np.diag((-0.2, 0.3, 1, 1))), path)
    return path


def palette(path):
    elements = {}
    for name in ("Red", "Green", "Blue"):
        elements[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        elements[f"{name}PaletteColorLookupTableData"] = ((255 - np.arange(256)) * 257).astype("<u2").tobytes()
    return write_dicom(path, 255 - TRUTH, "PALETTE COLOR", bits=8, **elements)


def colour(path, array, photometric):
    return write_dicom(path, array, photometric, bits=8, SamplesPerPixel=3, PlanarConfiguration=0, Rows=128, Columns=96)


def ybr():
    return np.asarray(Image.merge("RGB", [Image.fromarray(TRUTH)] * 3).convert("YCbCr"))


def modality_lut():
    item = voi_lut(np.arange(4096)[::-1] * 16)
    item[0].ModalityLUTType = "US"
    return item


CASES = {
    "tiff 8 zero is white": ("a.tif", lambda p: tif(p, TRUTH)),  # Pillow inverts it on writing
    "tiff 16 zero is white": ("a.tif", lambda p: tif(p, INVERSE * 16)),
    "tiff 16 zero is white lzw": ("a.tif", lambda p: tif(p, INVERSE * 16, compression="tiff_lzw")),
    "tiff int32": ("a.tif", lambda p: tif(p, TWELVE.astype(np.int32) * 100, False)),
    "tiff float": ("a.tif", lambda p: tif(p, TRUTH.astype(np.float32) / 7 - 3, False)),
    "gif": ("a.gif", lambda p: write_picture(p, TRUTH)),
    "high bits hold an overlay": ("a.dcm", lambda p: write_dicom(p, TWELVE | (np.flip(TWELVE) & 0x800) << 4)),
    "sign in bit 11": ("a.dcm", lambda p: write_dicom(p, (TWELVE.astype(np.int16) - 2048) & 0xFFF)),
    "window that matters": (
        "a.dcm",
        lambda p: write_dicom(p, beyond(1000, 2020), WindowCenter=1510.5, WindowWidth=1021),
    ),
    "window monochrome1": (
        "a.dcm",
        lambda p: write_dicom(p, 4095 - beyond(1000, 2020), "MONOCHROME1", WindowCenter=2585.5, WindowWidth=1021),
    ),
    "voi lut before window": (
        "a.dcm",
        lambda p: write_dicom(
            p, INVERSE, VOILUTSequence=voi_lut(np.arange(4096)[::-1]), WindowCenter=100, WindowWidth=10
        ),
    ),
    "modality lut": ("a.dcm", lambda p: write_dicom(p, INVERSE, ModalityLUTSequence=modality_lut())),
    "rgb": ("a.dcm", lambda p: colour(p, np.stack([TRUTH] * 3, -1), "RGB")),
    "ybr": ("a.dcm", lambda p: colour(p, ybr(), "YBR_FULL")),
    "palette": ("a.dcm", palette),
    "processing ignores window": (
        "a.dcm",
        lambda p: write_dicom(
            p, TWELVE, PixelIntensityRelationshipSign=-1, WindowCenter=100, WindowWidth=10, **PROCESSING
        ),
    ),
    "processing no sign": ("a.dcm", lambda p: write_dicom(p, INVERSE, "MONOCHROME1", **PROCESSING)),
    "processing negative slope": (
        "a.dcm",
        lambda p: write_dicom(
            p, INVERSE, PixelIntensityRelationshipSign=1, RescaleSlope=-1, RescaleIntercept=4095, **PROCESSING
        ),
    ),
    "orientation LF in one value": ("a.dcm", lambda p: write_dicom(p, TWELVE, PatientOrientation="RF")),
    "nifti columns reversed": ("a.nii", lambda p: write_nifti(p, TRUTH[:, ::-1], np.diag((0.2, -0.3, 1, 1)))),
    "nifti positive": ("a.nii", lambda p: write_nifti(p, TRUTH, np.diag((0.2, 0.3, 1, 1)))),
    "nifti permuted -,-": ("a.nii", lambda p: write_nifti(p, TRUTH.T, np.diag((-0.2, -0.3, 1, 1))[:, [1, 0, 2, 3]])),
    "nifti permuted +,+": ("a.nii", lambda p: write_nifti(p, TRUTH.T, np.diag((0.2, 0.3, 1, 1))[:, [1, 0, 2, 3]])),
    "nifti pair": ("a.img", lambda p: pair(p, nib.Nifti1Pair) and write_nifti(p, TRUTH, np.eye(4))),
    "analyze pair, no codes": ("a.img", lambda p: pair(p, nib.AnalyzeImage)),
    "mhd": ("a.mhd", lambda p: itk(p, TRUTH)),
    "mha slice": ("a.mha", lambda p: itk(p, TRUTH[None])),
}


@pytest.mark.parametrize("case", CASES)
def test_same_upright_picture(case, tmp_path):
    name, write = CASES[case]
    write(tmp_path / name)
    upright = read_radiograph(tmp_path / name).upright()
    np.testing.assert_allclose(unit(upright), unit(TRUTH), atol=0.005)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".lzw.tif"])
@pytest.mark.parametrize("tag", range(1, 9))
def test_exif(tag, suffix, tmp_path):
    """By EXIF 2.32, all eight; the pixels stay as stored."""
    turns = [lambda a: a, np.fliplr, lambda a: a[::-1, ::-1], np.flipud, np.transpose]
    turns += [lambda a: a.T[::-1], lambda a: a.T[::-1, ::-1], lambda a: a.T[:, ::-1]]
    stored = np.ascontiguousarray(turns[tag - 1](TRUTH))
    exif = Image.Exif()
    exif[274] = tag
    options = {"compression": "tiff_lzw"} if "lzw" in suffix else {"quality": 98}
    Image.fromarray(stored).save(tmp_path / f"a{suffix}", exif=exif, **options)
    radiograph = read_radiograph(tmp_path / f"a{suffix}")
    tolerance = 20 if suffix == ".jpg" else 0
    assert radiograph.pixels.shape == stored.shape
    np.testing.assert_allclose(radiograph.pixels, stored, atol=tolerance)
    np.testing.assert_allclose(radiograph.upright(), TRUTH, atol=tolerance)


@pytest.mark.parametrize("second", "LRFH")
@pytest.mark.parametrize("first", "LRFH")
def test_patient_orientation(first, second, tmp_path):
    stored = TWELVE
    if first in "LR" and second in "HF":
        stored = TWELVE[:: 1 if second == "F" else -1, :: 1 if first == "L" else -1]
    elif first in "HF" and second in "LR":
        stored = TWELVE.T[:: 1 if second == "L" else -1, :: 1 if first == "F" else -1]
    upright = read_radiograph(write_dicom(tmp_path / "a.dcm", stored, PatientOrientation=[first, second])).upright()
    np.testing.assert_array_equal(upright, TWELVE)


def test_affine_is_where_the_pixels_are_and_can_be_inverted(tmp_path):
    data = np.ascontiguousarray(TRUTH.T[:, None, :])
    affine = np.array([[-0.2, 0, 0, 10], [0, 1, 0, 20], [0, 0, -0.3, 30], [0, 0, 0, 1]])
    nib.save(nib.Nifti1Image(data, affine), tmp_path / "a.nii")
    radiograph = read_radiograph(tmp_path / "a.nii")
    np.testing.assert_allclose(radiograph.affine @ (7, 5, 0, 1), affine @ (7, 0, 5, 1), atol=1e-4)
    assert abs(np.linalg.det(radiograph.affine)) == pytest.approx(0.06, rel=1e-3)


def test_png_back_through_monai(tmp_path):
    write_dicom(tmp_path / "a.dcm", TRUTH[:, ::-1], bits=8, PatientOrientation=["R", "F"], PixelSpacing=[0.2, 0.3])
    loaded = LoadImaged("image", reader=RadiographReader(), ensure_channel_first=True)({"image": tmp_path / "a.dcm"})
    image = loaded["image"]
    assert image.shape == (1, 96, 128)
    np.testing.assert_allclose(image.affine, np.diag((0.3, 0.2, 1, 1)))
    np.testing.assert_allclose(image.meta["field_of_view_mm"], (128 * 0.2, 96 * 0.3))
    assert list(image.meta["upright"]) == [0, 0, 1]
    SaveImage(tmp_path, "copy", ".png", resample=False, separate_folder=False, print_log=False)(image)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a_copy.png")), TRUTH[:, ::-1])


def test_metadata_survives_collation(tmp_path):
    items = [{"image": str(write_picture(tmp_path / f"{i}.png", TRUTH))} for i in range(2)]
    items[0]["image"] = str(write_dicom(tmp_path / "0.dcm", TWELVE, PixelSpacing=[0.2, 0.3]))
    load = Compose([LoadImaged("image", reader=RadiographReader(), ensure_channel_first=True)])
    meta = next(iter(DataLoader(Dataset(items, load), batch_size=2, num_workers=1)))["image"].meta
    np.testing.assert_allclose(meta["pixel_spacing"], [[0.2, 0.3], [np.nan, np.nan]])
    np.testing.assert_allclose(meta["field_of_view_mm"], [[25.6, 28.8], [np.nan, np.nan]])
    assert meta["upright"].shape == (2, 3)


def test_mask_reader_unites_several_files(tmp_path):
    left, right = TRUTH > 200, TRUTH < 80
    paths = [write_picture(tmp_path / f"{i}.gif", m.astype(np.uint8) * 255) for i, m in enumerate((left, right))]
    mask = LoadImaged("mask", reader=MaskReader(), ensure_channel_first=True)({"mask": [str(p) for p in paths]})
    np.testing.assert_array_equal(mask["mask"][0], (left | right).T)


def coloured(path, colours):
    image = Image.fromarray((TRUTH > 150).astype(np.uint8)).convert("P")
    image.putdata((TRUTH > 150).astype(np.uint8).ravel().tolist())
    image.putpalette([v for c in colours for v in c])
    image.save(path)
    return path


@pytest.mark.parametrize(
    "colours",
    [((0, 0, 0), (0, 0, 1)), ((0, 0, 0), (128, 0, 0)), ((255, 255, 255), (255, 0, 0)), ((68, 1, 84), (253, 231, 36))],
)
@pytest.mark.parametrize("suffix", [".png", ".gif"])
def test_palette_mask(colours, suffix, tmp_path):
    np.testing.assert_array_equal(read_mask(coloured(tmp_path / f"a{suffix}", colours)), TRUTH > 150)


def test_negative_labels_and_faint_colours_are_structure(tmp_path):
    write_nifti(tmp_path / "a.nii", np.where(TRUTH > 150, -1, 0).astype(np.int16), np.eye(4))
    np.testing.assert_array_equal(read_mask(tmp_path / "a.nii"), TRUTH > 150)
    blue = (TRUTH > 150).astype(np.uint8)
    Image.merge("RGB", [Image.fromarray(c) for c in (blue * 0, blue * 0, blue)]).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), TRUTH > 150)


def png16(path, colour_type):
    """A 16-bit PNG in colour or with alpha, which Pillow cannot write."""
    import struct
    import zlib

    samples = {2: 3, 4: 2, 6: 4}[colour_type]
    rows = np.repeat((TRUTH.astype(">u2") * 257)[..., None], samples, -1).reshape(128, -1).astype(">u2")
    raw = b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 96, 128, 16, colour_type, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    )
    return path


def infinite(path, value, everywhere=False):
    pixels = TRUTH.astype(np.float32)
    pixels[(slice(None) if everywhere else 5)] = value
    return write_nifti(path, pixels, np.eye(4))


def nifti(path, array):
    nib.save(nib.Nifti1Image(array, np.eye(4)), path)
    return path


def rgb_nifti(path):
    array = np.zeros((96, 128, 1), [("R", "u1"), ("G", "u1"), ("B", "u1")])
    array["R"][..., 0] = TRUTH.T
    return nifti(path, array)


def cut(path, share):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def rle(path):
    import pydicom
    from pydicom.uid import RLELossless

    data = pydicom.dcmread(write_dicom(path, TWELVE))
    data.compress(RLELossless)
    data.save_as(path)
    return path


def photograph(path):
    y, x = np.mgrid[:96, :128]
    colours = np.stack([200 * (x > 60), 200 * (y > 40), 120 + 0 * x], -1) + 30
    Image.fromarray(colours.astype(np.uint8)).save(path)
    return path


BAD = {
    "png 16 rgb": ("a.png", lambda p: png16(p, 2), "16-bit"),
    "png 16 la": ("a.png", lambda p: png16(p, 4), "16-bit"),
    "png 16 rgba": ("a.png", lambda p: png16(p, 6), "16-bit"),
    "-inf": ("a.nii", lambda p: infinite(p, -np.inf), "infinite"),
    "inf": ("a.nii", lambda p: infinite(p, np.inf), "infinite"),
    "all nan": ("a.nii", lambda p: infinite(p, np.nan, True), "NaN"),
    "4-d": ("a.nii", lambda p: nifti(p, np.zeros((64, 64, 1, 5), np.int16)), "64x64x1x5"),
    "rgb nifti": ("a.nii", lambda p: rgb_nifti(p), "colour|several values"),
    "complex nifti": ("a.nii", lambda p: nifti(p, TRUTH.T.astype(np.complex64)), "complex"),
    "cut rle dicom": ("a.dcm", lambda p: cut(rle(p), 0.6), "truncated|damaged"),
    "cut dicom head": ("a.dcm", lambda p: cut(write_dicom(p, TWELVE), 0.012), "truncated|no pixels"),
    "cut nii": ("a.nii", lambda p: cut(write_nifti(p, TRUTH, np.eye(4)), 0.6), "truncated"),
    "cut mha": ("a.mha", lambda p: cut(itk(p, TRUTH), 0.6), "truncated"),
    "mhd without raw": (
        "a.mhd",
        lambda p: itk(p, TRUTH) and p.with_suffix(".raw").unlink(),
        "a.raw, which is not there",
    ),
    "cut bmp": ("a.bmp", lambda p: cut(write_picture(p, TRUTH), 0.6), "truncated"),
    "mr": ("a.dcm", lambda p: write_dicom(p, TWELVE, Modality="MR"), "slice of a volume"),
    "no pixels": ("a.dcm", lambda p: write_dicom(p, TWELVE) and strip(p), "no pixels"),
    "report": ("a.dcm", lambda p: write_dicom(p, TWELVE, Modality="SR") and strip(p), "of modality SR"),
    "photograph": ("a.png", lambda p: photograph(p), "in colour"),
}


def strip(path):
    import pydicom

    data = pydicom.dcmread(path)
    del data.PixelData, data.Rows
    data.save_as(path)


@pytest.mark.parametrize("case", BAD)
def test_bad_file(case, tmp_path):
    name, write, message = BAD[case]
    write(tmp_path / name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RadiographError, match=message) as caught:
            read_radiograph(tmp_path / name)
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / name}: ")
    assert text.endswith(".")
    assert "\n" not in text


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_mask_that_is_not_finite(value, tmp_path):
    with pytest.raises(RadiographError, match="NaN or infinite"):
        read_mask(infinite(tmp_path / "a.nii", value))


def test_is_radiograph_file(tmp_path):
    assert not is_radiograph_file(tmp_path / "missing.img")
    write_nifti(tmp_path / "a.img", TRUTH, np.eye(4))
    assert is_radiograph_file(tmp_path / "a.img")
    assert [is_radiograph_file(tmp_path / n) for n in ("a.img", "a.hdr")].count(True) == 1  # listed once


SILENT = {
    "a file": "from cxr_attn_unet.io import read_radiograph\nread_radiograph(sys.argv[1])",
    "a transform": "from cxr_attn_unet.transforms import LoadRadiographd\nLoadRadiographd('i')({'i': sys.argv[1]})",
}


@pytest.mark.parametrize("what", SILENT)
def test_reading_is_silent(what, tmp_path):
    """Odd values in a header, MONAI's readers: nothing on standard output or error, even with logging set up."""
    write_dicom(tmp_path / "a.dcm", TWELVE, StudyDate="around noon", PatientName="x" * 70, AccessionNumber="a" * 40)
    code = f"import logging, sys; logging.basicConfig()\n{SILENT[what]}"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.dcm")], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_importing_leaves_warnings_and_logging_alone():
    code = (
        "import logging, warnings, pydicom, monai.transforms\n"
        "names = ('pydicom', 'monai.data.nvimgcodec_pydicom_plugin')\n"
        "def state(): return [logging.getLogger(name).level for name in names], list(warnings.filters)\n"
        "before = state()\nimport cxr_attn_unet.io\nassert state() == before, (before, state())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
