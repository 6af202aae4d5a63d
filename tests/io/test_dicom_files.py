"""DICOM files without preamble, meta header, transfer syntax or suffix, in gzip, and odd values of the image header."""

import gzip
import io
import os

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from chest import NEGATIVE, SIGNED, TWELVE, difference, patched, read
from cxr_attn_unet.files import radiograph_stem
from cxr_attn_unet.io import (
    NotARadiographError,
    RadiographError,
    is_radiograph_file,
    list_radiographs,
    read_radiograph,
)
from cxr_attn_unet.io.dicom import read_dataset
from samples import write_dicom, write_picture

SAME = 0.004


def encoded(path, syntax, keep=("preamble", "meta", "syntax")):
    """The picture in a transfer syntax, without parts of a file's head that ``keep`` does not name."""
    whole = pydicom.dcmread(write_dicom(path, TWELVE))
    data = Dataset()
    for element in whole:
        data.add(element)
    if syntax == ExplicitVRBigEndian:
        data.PixelData = TWELVE.astype(">u2").tobytes()
        data["PixelData"].VR = "OW"
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = data.SOPClassUID
    meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    if "syntax" in keep:
        meta.TransferSyntaxUID = syntax
    body = io.BytesIO()
    written = pydicom.filebase.DicomFileLike(body)
    written.is_little_endian = syntax != ExplicitVRBigEndian
    written.is_implicit_VR = syntax == ImplicitVRLittleEndian
    pydicom.filewriter.write_dataset(written, data)
    head = io.BytesIO()
    pydicom.filewriter.write_file_meta_info(head, meta, enforce_standard=False)
    content = b"\0" * 128 + b"DICM" if "preamble" in keep else b""
    content += head.getvalue() if "meta" in keep else b""
    path.write_bytes(content + body.getvalue())
    return path


SYNTAXES = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "big-endian": ExplicitVRBigEndian,
}
PARTS = {
    "whole": ("preamble", "meta", "syntax"),
    "without preamble": ("meta", "syntax"),
    "without preamble and meta header": (),
    "without transfer syntax": ("preamble", "meta"),
}


@pytest.mark.parametrize("name", ["a.dcm", "a.IMA", "a.dic", "IM000001", "1.2.840.1", "a.dat"])
@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("syntax", ["explicit", "implicit"])
def test_a_file_without_parts_of_its_head(syntax, parts, name, tmp_path):
    path = encoded(tmp_path / name, SYNTAXES[syntax], PARTS[parts])
    assert difference(read_radiograph(path)) < SAME


@pytest.mark.parametrize("parts", ["whole", "without preamble"])
def test_a_big_endian_file(parts, tmp_path):
    path = encoded(tmp_path / "a.dcm", ExplicitVRBigEndian, PARTS[parts])
    assert difference(read_radiograph(path)) < SAME


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("name", ["a.dcm.gz", "a.ima.gz", "A.DCM.GZ"])
def test_a_file_in_gzip(name, parts, tmp_path):
    path = encoded(tmp_path / "a.dcm", ExplicitVRLittleEndian, PARTS[parts])
    (tmp_path / name).write_bytes(gzip.compress(path.read_bytes()))
    assert difference(read_radiograph(tmp_path / name)) < SAME


def test_the_data_set_of_a_file_in_gzip(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", TWELVE, PatientID="17")
    (tmp_path / "a.dcm.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert read_dataset(tmp_path / "a.dcm.gz").PatientID == "17"


@pytest.mark.parametrize("name", ["a.dcm.gz", "a.ima", "a.dic", "a.dicom", "a.IMA.GZ"])
def test_suffixes_are_left_out_of_names(name):
    assert radiograph_stem(name) == "a"


def test_a_gzip_file_that_is_cut_off(tmp_path):
    content = gzip.compress(write_dicom(tmp_path / "a.dcm", TWELVE).read_bytes())
    (tmp_path / "b.dcm.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(RadiographError, match=r"b.dcm.gz: cannot be read, perhaps truncated"):
        read_radiograph(tmp_path / "b.dcm.gz")


def test_a_gzip_file_that_is_none(tmp_path):
    path = write_dicom(tmp_path / "a.dcm.gz", TWELVE)
    with pytest.raises(RadiographError, match=r"a.dcm.gz: cannot be read"):
        read_radiograph(path)


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_are_refused(seed, tmp_path):
    content = np.random.default_rng(seed).integers(0, 256, 5000, dtype=np.uint8).tobytes()
    (tmp_path / "a.dcm").write_bytes(content)
    with pytest.raises(RadiographError, match="not a DICOM file"):
        read_radiograph(tmp_path / "a.dcm")


@pytest.mark.parametrize("content", [b"\x08\0" + bytes(500), b'{"a": 1}' * 99, b"<html>" * 99, b"\x08\0\x05\0" * 99])
def test_other_files_without_suffix_are_not_taken_for_radiographs(content, tmp_path):
    (tmp_path / "file").write_bytes(content)
    assert not is_radiograph_file(tmp_path / "file")


@pytest.mark.parametrize("parts", PARTS)
@pytest.mark.parametrize("syntax", ["explicit", "implicit"])
def test_a_file_without_suffix_is_found(syntax, parts, tmp_path):
    path = encoded(tmp_path / "IM1", SYNTAXES[syntax], PARTS[parts])
    assert list_radiographs(tmp_path) == [str(path)]


def dicomdir(folder):
    """A folder as on a CD: DICOMDIR, and the files that it lists, which have no suffix."""
    (folder / "DICOM").mkdir()
    paths = [write_dicom(folder / "DICOM" / f"IM{i}", TWELVE) for i in range(2)]
    data = Dataset()
    data.DirectoryRecordSequence = []
    data.FileSetID = "CD"
    data.SOPClassUID = "1.2.840.10008.1.3.10"
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    if pydicom.__version__.startswith("2"):
        data.is_little_endian, data.is_implicit_VR = True, False
        dcmwrite(folder / "DICOMDIR", data, write_like_original=False)
    else:
        dcmwrite(folder / "DICOMDIR", data, enforce_file_format=True)
    return [str(path) for path in paths]


def test_the_files_of_a_dicomdir_are_found(tmp_path):
    paths = dicomdir(tmp_path)
    assert list_radiographs(tmp_path) == paths


def test_a_dicomdir_is_no_radiograph(tmp_path):
    dicomdir(tmp_path)
    with pytest.raises(NotARadiographError, match=r"DICOMDIR: a list of files .* Give the folder"):
        read_radiograph(tmp_path / "DICOMDIR")


def test_a_dicomdir_of_another_name_is_no_radiograph(tmp_path):
    dicomdir(tmp_path)
    os.rename(tmp_path / "DICOMDIR", tmp_path / "index.dcm")
    with pytest.raises(NotARadiographError, match="a list of files"):
        read_radiograph(tmp_path / "index.dcm")


BITS = {
    "high bit 15": (TWELVE << 4, {"HighBit": 15}),
    "high bit 13": (TWELVE << 2, {"HighBit": 13}),
    "high bit 15 over an overlay": (TWELVE << 4 | (TWELVE > 3000), {"HighBit": 15}),
    "high bit 15, signed": (SIGNED << 4, {"HighBit": 15}),
    "high bit 15, but it is 11": (TWELVE, {"HighBit": 15}),
    "high bit 20": (TWELVE, {"HighBit": 20}),
    "high bit 7": (TWELVE, {"HighBit": 7}),
    "no high bit": (TWELVE, {"HighBit": None}),
    "10 bits stated, 12 there": (TWELVE, {"BitsStored": 10, "HighBit": 9}),
    "no bits stored": (TWELVE, {"BitsStored": None}),
    "16 bits stored": (TWELVE, {"BitsStored": 16, "HighBit": 15}),
    "more bits stored than allocated": (TWELVE, {"BitsStored": 99}),
    "an overlay in bit 15": (TWELVE | ((TWELVE > 3000) * 32768).astype(np.uint16), {}),
    "sign not extended": (SIGNED & 0xFFF, {}),
    "no samples": (TWELVE, {"SamplesPerPixel": None}),
    "no pixel representation": (TWELVE, {"PixelRepresentation": None}),
}


@pytest.mark.parametrize("case", BITS)
def test_bits(case, tmp_path):
    stored, tags = BITS[case]
    assert difference(read(tmp_path, stored, **tags)) < SAME


def test_no_bits_allocated(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", TWELVE)
    data = pydicom.dcmread(path)
    del data.BitsAllocated
    data.save_as(path)
    assert difference(read_radiograph(path)) < SAME


@pytest.mark.parametrize("text", [b"one ", b"0   ", b"    ", b"1.0 ", b"1,0 ", b"1\\2 ", b"nan ", b"-1  ", b"2   "])
def test_a_number_of_frames_that_is_none(text, tmp_path):
    path = write_dicom(tmp_path / "a.dcm", TWELVE, NumberOfFrames="7531")
    assert difference(read_radiograph(patched(path, b"7531", text))) < SAME


def test_a_number_of_frames_that_is_none_is_noted(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", TWELVE, NumberOfFrames="7531")
    (note,) = read_radiograph(patched(path, b"7531", b"one ")).notes
    assert note == "NumberOfFrames (0028,0008) is one; one frame was read"


def test_several_frames_are_refused_with_their_tag(tmp_path):
    with pytest.raises(RadiographError, match=r"2 frames \(NumberOfFrames \(0028,0008\)\)"):
        read(tmp_path, np.stack([TWELVE, TWELVE]), NumberOfFrames=2)


@pytest.mark.parametrize("keyword", ["Rows", "Columns"])
@pytest.mark.parametrize(("value", "stated"), [(None, "empty"), (0, "0")])
def test_an_unknown_size_is_refused_with_its_tag(value, stated, keyword, tmp_path):
    with pytest.raises(RadiographError, match=rf"{keyword} \(0028,001[01]\) is {stated}, so the size"):
        read(tmp_path, **{keyword: value})


def test_pixels_that_are_cut_off_are_counted(tmp_path):
    with pytest.raises(RadiographError, match="holds 20000 bytes, 128 x 160 pixels need 40960"):
        read(tmp_path, PixelData=TWELVE.tobytes()[:20000])


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "monochrome1", "MONOCHROME 1", "MONOCHROME1\0"])
def test_monochrome1_in_other_spellings(photometric, tmp_path):
    assert difference(read(tmp_path, NEGATIVE, photometric)) < SAME


def test_an_unknown_photometric_interpretation_is_noted(tmp_path):
    (note,) = read(tmp_path, TWELVE, "GREYSCALE").notes
    assert note == "PhotometricInterpretation (0028,0004) is GREYSCALE; MONOCHROME2 was taken"


PRIVATE = "1.2.840.113845.1.2.1"


def of_private_syntax(path, pixels):
    data = pydicom.dcmread(write_dicom(path, TWELVE))
    data.PixelData = pixels
    data.file_meta.TransferSyntaxUID = PRIVATE
    options = {} if pydicom.__version__.startswith("2") else {"implicit_vr": False, "little_endian": True}
    data.save_as(path, **options)
    return path


@pytest.mark.parametrize("pixels", [b"\1\2" * 5000, b"\1\2" * 50000])
def test_an_unknown_transfer_syntax_is_named(pixels, tmp_path):
    path = of_private_syntax(tmp_path / "a.dcm", pixels)
    with pytest.raises(RadiographError, match=r"\(0002,0010\) is 1\.2\.840\.113845\.1\.2\.1.*[Ee]xport"):
        read_radiograph(path)


@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_an_unknown_transfer_syntax_of_uncompressed_pixels(order, tmp_path):
    radiograph = read_radiograph(of_private_syntax(tmp_path / "a.dcm", TWELVE.astype(order).tobytes()))
    assert difference(radiograph) < SAME


def test_an_unknown_transfer_syntax_is_noted(tmp_path):
    (note,) = read_radiograph(of_private_syntax(tmp_path / "a.dcm", TWELVE.tobytes())).notes
    assert PRIVATE in note


def colours(label):
    """The picture in RGB with a label in its upper left corner."""
    picture = np.stack([(TWELVE >> 4).astype(np.uint8)] * 3, -1)
    picture[4:14, 4:30] = label
    return picture


def rgb(path, pixels):
    tags = {"SamplesPerPixel": 3, "PlanarConfiguration": 0, "Rows": 160, "Columns": 128}
    return write_dicom(path, pixels, "RGB", 8, **tags)


@pytest.mark.parametrize("label", [(255, 0, 0), (255, 255, 0), (0, 0, 255)])
def test_a_coloured_label_is_treated_as_in_a_picture(label, tmp_path):
    answers = []
    from PIL import Image

    Image.fromarray(colours(label)).save(tmp_path / "a.png")
    for path in (rgb(tmp_path / "a.dcm", colours(label)), tmp_path / "a.png"):
        try:
            answers.append(read_radiograph(path).pixels.round())
        except RadiographError:
            answers.append(np.zeros(1))
    np.testing.assert_allclose(*answers, atol=1)


def test_a_photograph_in_dicom_is_refused(tmp_path):
    y, x = np.mgrid[:160, :128]
    photograph = np.stack([200 * (x > 60), 200 * (y > 40), 120 + 0 * x], -1).astype(np.uint8)
    with pytest.raises(RadiographError, match="in colour"):
        read_radiograph(rgb(tmp_path / "a.dcm", photograph))


def test_a_picture_beside_the_dicom_files_is_found_as_well(tmp_path):
    write_picture(tmp_path / "a.png", (TWELVE >> 4).astype(np.uint8))
    write_dicom(tmp_path / "b", TWELVE)
    assert len(list_radiographs(tmp_path)) == 2
