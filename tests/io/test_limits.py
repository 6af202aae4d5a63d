"""What is too large is refused by its header, by name, before anything is decoded."""

import gzip
import io
import struct
import sys
import zipfile
import zlib

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEGBaseline8Bit

from cxr_attn_unet.io import RadiographError, polygons, read_mask, read_radiograph
from cxr_attn_unet.io.limits import DEFAULT_MAX_PIXELS, limited_to, max_pixels
from samples import picture, write_dicom, write_img, write_picture

TRUTH = picture()
PIXELS = TRUTH.size
SIDE = 60_000


def by_pillow(kind: str) -> bytearray:
    buffer = io.BytesIO()
    Image.fromarray(TRUTH).save(buffer, kind)
    return bytearray(buffer.getvalue())


def png(path):
    def chunk(name, content):
        return struct.pack(">L", len(content)) + name + content + struct.pack(">L", zlib.crc32(name + content))

    head = chunk(b"IHDR", struct.pack(">LLBBBBB", SIDE, SIDE, 8, 0, 0, 0, 0))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))


def jpeg_frame() -> bytes:
    content = by_pillow("JPEG")
    struct.pack_into(">HH", content, content.index(b"\xff\xc0") + 5, SIDE, SIDE)
    return bytes(content)


def jpeg(path):
    path.write_bytes(jpeg_frame())


def jpeg_2000(path):
    content = by_pillow("JPEG2000")
    struct.pack_into(">LL", content, content.index(b"ihdr") + 4, SIDE, SIDE)
    struct.pack_into(">LL", content, content.index(b"\xff\x4f\xff\x51") + 8, SIDE, SIDE)
    path.write_bytes(content)


def bmp(path):
    content = by_pillow("BMP")
    struct.pack_into("<ll", content, 18, SIDE, SIDE)
    path.write_bytes(content)


def gif(path):
    content = by_pillow("GIF")
    struct.pack_into("<HH", content, 6, SIDE, SIDE)
    path.write_bytes(content)


def webp(path):
    side = (SIDE - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<L", 10) + bytes(4) + side + side
    path.write_bytes(b"RIFF" + struct.pack("<L", len(body)) + body)


def tiff_of(size: int, *more: tuple[int, int]) -> bytes:
    """One picture, uncompressed, of which there are 100 bytes."""
    tags = [(256, size), (257, size), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, size), (279, 100), *more]
    entries = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in sorted(tags))
    return b"II*\0" + struct.pack("<L", 108) + bytes(100) + struct.pack("<H", len(tags)) + entries + bytes(4)


def tiff(path):
    path.write_bytes(tiff_of(SIDE))


def dicom(path):
    write_dicom(path, TRUTH, bits=8, Rows=SIDE, Columns=SIDE)


def long_dicom(path):
    write_dicom(path, np.zeros((2500, 2000), np.uint8), bits=8, Rows=SIDE, Columns=SIDE)


def dicom_in_gzip(path):
    dicom(path)
    path.write_bytes(gzip.compress(path.read_bytes()))


def dicom_frame(path):
    data = pydicom.dcmread(write_dicom(path, TRUTH, bits=8))
    data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    data.PixelData = encapsulate([jpeg_frame()])
    data["PixelData"].is_undefined_length = True
    data["PixelData"].VR = "OB"
    data.save_as(path)


def mha(path):
    pytest.importorskip("SimpleITK")
    head = f"ObjectType = Image\nNDims = 2\nDimSize = {SIDE} {SIDE}\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    path.write_bytes(head.encode() + bytes(100))


def nrrd(path):
    pytest.importorskip("SimpleITK")
    head = f"NRRD0004\ntype: uint8\ndimension: 2\nsizes: {SIDE} {SIDE}\nencoding: raw\nendian: little\n\n"
    path.write_bytes(head.encode() + bytes(100))


def nifti_2(path):
    import nibabel as nib

    header = nib.Nifti2Header()
    header.set_data_shape((SIDE, SIDE, 1))
    header.set_data_dtype(np.uint8)
    header["vox_offset"] = 544
    path.write_bytes(header.binaryblock + bytes(100))


def nifti_in_gzip(path):
    nifti_2(path)
    path.write_bytes(gzip.compress(path.read_bytes()))


def png_in_zip(path):
    inner = path.with_name("b.png")
    png(inner)
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(inner, "b.png")


PROMISES = {
    "a.png": png,
    "a.jpg": jpeg,
    "a.jp2": jpeg_2000,
    "a.bmp": bmp,
    "a.gif": gif,
    "a.webp": webp,
    "a.tif": tiff,
    "a.dcm": dicom,
    "long.dcm": long_dicom,
    "a.dcm.gz": dicom_in_gzip,
    "frame.dcm": dicom_frame,
    "a.mha": mha,
    "a.nrrd": nrrd,
    "a.nii": nifti_2,
    "a.nii.gz": nifti_in_gzip,
    "a.zip": png_in_zip,
}


@pytest.mark.parametrize("name", PROMISES)
def test_a_header_that_promises_too_much_is_refused_by_name(name, tmp_path):
    path = tmp_path / name
    PROMISES[name](path)
    with pytest.raises(RadiographError) as caught:
        read_radiograph(path)
    assert str(caught.value).startswith(str(path))
    assert f": {SIDE} x {SIDE} pixels, more than the limit of {DEFAULT_MAX_PIXELS}. Make it smaller" in str(
        caught.value
    )


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.mha", "a.nii"])
def test_so_is_a_mask(name, tmp_path):
    path = tmp_path / name
    PROMISES[name](path)
    with pytest.raises(RadiographError, match=f"{SIDE} x {SIDE} pixels, more than the limit"):
        read_mask(path)


def test_so_is_a_radiograph_that_polygons_are_drawn_over(tmp_path):
    png(tmp_path / "a.png")
    (tmp_path / "masks.json").write_text('{"img": {"0": "a.png"}, "R1": {"0": []}}')
    with pytest.raises(RadiographError, match=f"a.png: {SIDE} x {SIDE} pixels, more than the limit"):
        polygons.read(str(tmp_path / "masks.json#0"))


@pytest.mark.parametrize("kind", ["lossy", "lossless"])
def test_the_size_of_a_webp_is_known_before_pillow_opens_it(kind, tmp_path):
    path = tmp_path / "a.webp"
    Image.fromarray(TRUTH).save(path, lossless=kind == "lossless")
    rows, columns = TRUTH.shape
    with pytest.raises(RadiographError, match=f"{rows} x {columns} pixels, more than the limit of 99"):
        read_radiograph(path, 99)


def test_a_small_tiff_of_large_tiles_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(tiff_of(96, (322, SIDE), (323, SIDE), (324, 8), (325, 100)))
    with pytest.raises(RadiographError, match=f"{SIDE} x {SIDE} pixels, more than the limit"):
        read_radiograph(path)


def test_a_raw_jsrt_radiograph_has_its_size_too(tmp_path):
    with pytest.raises(RadiographError, match="2048 x 2048 pixels, more than the limit of 1000000"):
        read_radiograph(write_img(tmp_path / "a.IMG", TRUTH[:64, :64]), 1_000_000)


@pytest.mark.parametrize("suffix", [".gz", ""])
def test_a_file_that_expands_too_far_is_refused(suffix, tmp_path, monkeypatch):
    monkeypatch.setattr("cxr_attn_unet.io.limits.BYTES_OF_HEADER", 5000)
    path = write_dicom(tmp_path / "a.dcm", TRUTH, bits=8, ImageComments="x" * 500_000)
    if suffix:
        path = tmp_path / "a.dcm.gz"
        path.write_bytes(gzip.compress((tmp_path / "a.dcm").read_bytes()))
    else:
        data = pydicom.dcmread(path)
        data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        data.save_as(path)
    with pytest.raises(RadiographError, match=r"more than .* bytes, which is enough for the limit on pixels"):
        read_radiograph(path, PIXELS)


def test_a_deflated_file_within_the_limit_is_read(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", TRUTH, bits=8)
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data.save_as(path)
    assert np.array_equal(read_radiograph(path).pixels, TRUTH)


def test_what_has_just_as_many_pixels_as_the_limit_is_read(tmp_path):
    assert read_radiograph(write_picture(tmp_path / "a.png", TRUTH), PIXELS).pixels.size == PIXELS


def test_pillows_own_limit_is_not_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    assert read_radiograph(write_picture(tmp_path / "a.png", TRUTH)).pixels.size == PIXELS


def test_the_environment_sets_the_limit(tmp_path, monkeypatch):
    monkeypatch.setenv("CXR_MAX_PIXELS", "99")
    with pytest.raises(RadiographError, match="more than the limit of 99"):
        read_radiograph(write_picture(tmp_path / "a.png", TRUTH))


@pytest.mark.parametrize("stated", ["0", "-5", "many"])
def test_an_environment_without_a_number_is_refused(stated, monkeypatch):
    monkeypatch.setenv("CXR_MAX_PIXELS", stated)
    with pytest.raises(ValueError, match=f"CXR_MAX_PIXELS is {stated}"):
        max_pixels()


def test_a_limit_below_one_is_refused(tmp_path):
    with pytest.raises(ValueError, match="max_pixels is 0"):
        read_radiograph(write_picture(tmp_path / "a.png", TRUTH), 0)


def test_another_limit_holds_within_its_block_only():
    with limited_to(5):
        pass
    assert max_pixels() == DEFAULT_MAX_PIXELS


def test_a_postscript_file_is_not_opened_whatever_its_name(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 100 100\n%%EndComments\nshowpage\n")
    with pytest.raises(RadiographError, match="not a picture"):
        read_radiograph(path)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_a_promise_costs_no_memory(tmp_path):
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for name in ("a.png", "a.tif", "a.dcm", "a.nii"):
        PROMISES[name](tmp_path / name)
        with pytest.raises(RadiographError):
            read_radiograph(tmp_path / name)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024
