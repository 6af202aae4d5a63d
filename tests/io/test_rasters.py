"""TIFF with thumbnails and unusual numbers, WebP, JPEG 2000, labels in colour, and refusals that say what is true."""

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageDraw

from cxr_attn_unet.io import RadiographError, read_mask, read_radiograph
from samples import picture, write_dicom, write_picture

TRUTH = picture()
THUMBNAIL = TRUTH[::4, ::4].copy()


def unit(pixels):
    pixels = pixels.astype(np.float64)
    return (pixels - pixels.min()) / np.ptp(pixels)


def same(path):
    np.testing.assert_allclose(unit(read_radiograph(path).upright()), unit(TRUTH), atol=1e-3)


@pytest.mark.parametrize("kind", ["int8", "int16", "int32", "uint32", "uint64", "float16", "float32", "float64"])
def test_tiff_of_every_type_of_number(kind, tmp_path):
    values = TRUTH.astype(np.int64) - 128 if kind.startswith("int") else TRUTH
    tifffile.imwrite(tmp_path / "a.tif", values.astype(kind))
    same(tmp_path / "a.tif")


@pytest.mark.parametrize("kind", ["uint8", "uint16", "uint32", "int16", "float16", "float32", "float64"])
def test_tiff_in_which_zero_is_white(kind, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", (255 - TRUTH.astype(np.int64)).astype(kind), photometric="miniswhite")
    same(tmp_path / "a.tif")


def test_large_values_of_32_bits_do_not_turn_negative(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", TRUTH.astype(np.uint32) << 24)
    same(tmp_path / "a.tif")


def test_big_tiff(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", TRUTH.astype(np.uint16) * 257, bigtiff=True)
    same(tmp_path / "a.tif")


@pytest.mark.parametrize("order", [(TRUTH, THUMBNAIL), (THUMBNAIL, TRUTH)], ids=["after", "before"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float64])
def test_of_a_tiff_with_a_thumbnail_the_large_picture_is_read(order, kind, tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        for values in order:
            file.write(values.astype(kind))
    same(tmp_path / "a.tif")


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_a_tiff_with_a_thumbnail_is_turned_by_its_own_tag(compression, tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    thumbnail = Image.fromarray(THUMBNAIL)
    thumbnail.encoderinfo = {"compression": compression}
    large = Image.fromarray(np.rot90(TRUTH).copy())
    large.encoderinfo = {"compression": compression, "exif": exif}
    thumbnail.save(tmp_path / "a.tif", save_all=True, append_images=[large], compression=compression)
    radiograph = read_radiograph(tmp_path / "a.tif")
    np.testing.assert_array_equal(radiograph.pixels, np.rot90(TRUTH))
    np.testing.assert_array_equal(radiograph.upright(), TRUTH)


@pytest.mark.parametrize("suffix", [".webp", ".jp2", ".j2k", ".jfif"])
def test_pictures_of_other_formats(suffix, tmp_path):
    options = {"lossless": True} if suffix == ".webp" else {"quality": 98} if suffix == ".jfif" else {}
    Image.fromarray(TRUTH).save(tmp_path / f"a{suffix}", **options)
    tolerance = 0.08 if suffix == ".jfif" else 0.01
    np.testing.assert_allclose(unit(read_radiograph(tmp_path / f"a{suffix}").upright()), unit(TRUTH), atol=tolerance)


def test_jpeg_2000_of_16_bits(tmp_path):
    Image.fromarray(TRUTH.astype(np.uint16) * 257).save(tmp_path / "a.jp2")
    same(tmp_path / "a.jp2")


@pytest.mark.parametrize("lossless", [True, False])
def test_mask_in_webp(lossless, tmp_path):
    truth = TRUTH > 150
    values = truth.astype(np.uint8) * (1 if lossless else 255)
    Image.fromarray(values).save(tmp_path / "m.webp", lossless=lossless, quality=90)
    assert (read_mask(tmp_path / "m.webp") != truth).mean() < 0.002


def labelled(share):
    """The picture with a red label over a share of it."""
    image = Image.fromarray(TRUTH).convert("RGB")
    rows, columns = TRUTH.shape
    ImageDraw.Draw(image).rectangle((0, 0, columns, int(rows * share)), fill=(200, 20, 20))
    return image


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_a_label_in_colour_does_not_make_a_photograph(suffix, tmp_path):
    labelled(0.1).save(tmp_path / f"a{suffix}", **({"quality": 98} if suffix == ".jpg" else {}))
    pixels = read_radiograph(tmp_path / f"a{suffix}").pixels
    np.testing.assert_allclose(pixels[30:], TRUTH[30:], atol=12)


def test_a_picture_with_much_colour_is_a_photograph(tmp_path):
    labelled(0.4).save(tmp_path / "a.png")
    with pytest.raises(RadiographError, match=r"a picture in colour, over [34].%"):
        read_radiograph(tmp_path / "a.png")


def lzw_float(path):
    """A TIFF of 64-bit numbers that says it were compressed by LZW."""
    tifffile.imwrite(path, TRUTH.astype(np.float64))
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages[0].tags["Compression"].overwrite(5)
    return path


def pages(path):
    tifffile.imwrite(path, np.stack([TRUTH, TRUTH, TRUTH]), photometric="minisblack")
    return path


def content(path, data):
    path.write_bytes(data)
    return path


def animation(path):
    Image.fromarray(TRUTH).save(path, save_all=True, append_images=[Image.fromarray(255 - TRUTH)])
    return path


REFUSED = {
    "pages of one size": (lambda d: pages(d / "a.tif"), "holds 3 pictures of 96 x 128 pixels"),
    "animation": (lambda d: animation(d / "a.webp"), "holds 2 pictures"),
    "numbers and compression": (lambda d: lzw_float(d / "a.tif"), "float64 with compression LZW"),
    "dicom as png": (lambda d: write_dicom(d / "a.dcm", TRUTH, bits=8).rename(d / "a.png"), "but a DICOM file"),
    "web page": (lambda d: content(d / "a.png", b"<!DOCTYPE html><html></html>" * 9), "a web page"),
    "zeros": (lambda d: content(d / "a.jpg", bytes(5000)), "filled with zeros"),
    "pdf": (lambda d: content(d / "a.png", b"%PDF-1.7 \xff\xff" * 99), "a PDF document"),
    "pointer": (lambda d: content(d / "a.png", b"version https://git-lfs.github.com/spec/v1\n"), "git lfs pull"),
    "noise": (lambda d: content(d / "a.png", bytes(range(1, 256)) * 9), "not a picture that can be read"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_refusals_say_what_was_found_and_not_that_it_is_damaged(kind, tmp_path):
    make, message = REFUSED[kind]
    with pytest.raises(RadiographError, match=message) as caught:
        read_radiograph(make(tmp_path))
    assert "damaged" not in str(caught.value)


def test_a_picture_with_a_damaged_beginning_is_called_damaged(tmp_path):
    path = write_picture(tmp_path / "a.png", TRUTH)
    content(path, path.read_bytes()[:12] + bytes(50))
    with pytest.raises(RadiographError, match="a PNG picture, damaged"):
        read_radiograph(path)


def test_a_file_that_may_not_be_read_is_not_called_damaged(tmp_path):
    path = write_picture(tmp_path / "a.png", TRUTH)
    path.chmod(0)
    try:
        path.open("rb").close()
    except PermissionError:
        with pytest.raises(RadiographError, match=r"may not be read. Check the permissions"):
            read_radiograph(path)
    else:
        pytest.skip("this user may read every file")
