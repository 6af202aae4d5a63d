"""Damage that leaves a file readable: what says that the picture may be another one, found by damaging many files."""

import gzip
import struct

import numpy as np
import pytest
from PIL import Image

from cxr_attn_unet.io import RadiographError, read_radiograph
from samples import picture, write_dicom, write_img, write_nifti, write_picture

TRUTH = picture()
TWELVE = TRUTH.astype(np.uint16) * 16


def entry(content: bytes, code: int) -> int:
    """Where the entry of a tag is in a little-endian TIFF file of one picture."""
    (directory,) = struct.unpack_from("<L", content, 4)
    (count,) = struct.unpack_from("<H", content, directory)
    places = range(directory + 2, directory + 2 + 12 * count, 12)
    return next(place for place in places if struct.unpack_from("<H", content, place)[0] == code)


def end_of_directory(content: bytes) -> int:
    (directory,) = struct.unpack_from("<L", content, 4)
    (count,) = struct.unpack_from("<H", content, directory)
    return directory + 2 + 12 * count


@pytest.fixture
def tiff(tmp_path):
    return write_picture(tmp_path / "a.tif", TRUTH)


def patched(path, change):
    """The file with values packed to places: ``change`` of its content gives (place, format, value)."""
    content = bytearray(path.read_bytes())
    place, form, value = change(bytes(content))
    struct.pack_into(form, content, place, value)
    path.write_bytes(content)
    return path


def test_a_list_of_pictures_that_leads_back_into_itself_is_refused(tiff):
    patched(tiff, lambda content: (end_of_directory(content), "<L", struct.unpack_from("<L", content, 4)[0]))
    with pytest.raises(RadiographError, match=r"a\.tif: damaged, its list of pictures leads back into itself"):
        read_radiograph(tiff)


def test_a_tiff_that_does_not_say_what_is_black_is_refused(tiff):
    patched(tiff, lambda content: (entry(content, 262), "<H", 261))
    with pytest.raises(RadiographError, match=r"a\.tif: does not say whether zero is black or white"):
        read_radiograph(tiff)


def test_a_tiff_of_fewer_rows_than_its_pixels_has_a_note(tiff):
    patched(tiff, lambda content: (entry(content, 257) + 8, "<H", len(TRUTH) - 10))
    (note,) = read_radiograph(tiff).notes
    assert note == "holds 12288 bytes of pixels, where its size needs 11328; its size may be wrong"


def test_entries_out_of_order_have_a_note(tiff):
    patched(tiff, lambda content: (entry(content, 258), "<H", 30000))
    assert "not in order" in " ".join(read_radiograph(tiff).notes)


def test_an_entry_that_cannot_be_read_has_a_note(tmp_path):
    path = tmp_path / "a.tif"
    Image.fromarray(TRUTH.astype(np.float32)).save(path)
    patched(path, lambda content: (entry(content, 339) + 2, "<H", 0x203))  # the sample format, of no known type
    assert "states 10 entries, of which 9 can be read" in " ".join(read_radiograph(path).notes)


def test_a_tiff_of_more_rows_than_its_pixels_has_a_note(tmp_path):
    path = tmp_path / "a.tif"
    Image.fromarray(TRUTH.astype(np.float32)).save(path)
    patched(path, lambda content: (entry(content, 257) + 8, "<H", len(TRUTH) + 16))
    assert "its size may be wrong" in " ".join(read_radiograph(path).notes)


def test_a_list_of_pictures_that_leads_out_of_the_file_has_a_note(tiff):
    patched(tiff, lambda content: (end_of_directory(content), "<L", 10**6))
    assert read_radiograph(tiff).notes == ("its list of pictures leads to where none is; it may be damaged",)


def test_numbers_of_32_bits_of_no_stated_kind_have_a_note(tmp_path):
    path = tmp_path / "a.tif"
    Image.fromarray(TRUTH.astype(np.float32)).save(path)
    patched(path, lambda content: (entry(content, 339), "<H", 60000))
    assert read_radiograph(path).notes == (
        "does not say whether its numbers of 32 bits are whole (tag SampleFormat); taken as such",
    )


def test_a_nifti_file_without_pixels_on_a_side_is_refused(tmp_path):
    path = write_nifti(tmp_path / "a.nii", TWELVE, np.eye(4))
    patched(path, lambda content: (46, "<h", 0))
    with pytest.raises(RadiographError, match=r"a\.nii: its header states a side without pixels"):
        read_radiograph(path)


def test_a_geometry_of_no_numbers_is_ignored_with_a_note(tmp_path):
    path = write_nifti(tmp_path / "a.nii", TWELVE, np.diag([-0.5, -0.5, 1, 1]))
    patched(path, lambda content: (284, "<f", np.nan))
    found = read_radiograph(path)
    assert (found.spacing, len(found.notes)) == (None, 1)
    assert np.isfinite(found.affine).all()


@pytest.mark.parametrize("suffix", [".png", ".tif", ".nii", ".nii.gz", ".dcm", ".IMG"])
def test_a_sound_file_has_no_note(suffix, tmp_path):
    path = tmp_path / f"a{suffix}"
    if suffix.startswith(".nii"):
        write_nifti(path, TWELVE, np.eye(4))
    elif suffix == ".dcm":
        write_dicom(path, TWELVE)
    elif suffix == ".IMG":
        write_img(path, picture(128, 64))
    else:
        write_picture(path, TRUTH)
    assert read_radiograph(path).notes == ()


def test_a_png_with_a_wrong_checksum_is_refused(tmp_path):
    path = write_picture(tmp_path / "a.png", TRUTH)
    content = path.read_bytes()
    place = content.index(b"IDAT") + 4 + struct.unpack_from(">L", content, content.index(b"IDAT") - 4)[0]
    patched(path, lambda content: (place, ">L", 0))
    with pytest.raises(RadiographError, match=r"a\.png: damaged or truncated"):
        read_radiograph(path)


def test_a_nifti_file_of_fewer_rows_than_its_pixels_has_a_note(tmp_path):
    path = write_nifti(tmp_path / "a.nii", TWELVE, np.eye(4))
    patched(path, lambda content: (44, "<h", len(TRUTH) - 10))
    (note,) = read_radiograph(path).notes
    assert note.startswith(f"holds {352 + 2 * TRUTH.size} bytes, of which the size in its header needs")


def test_a_nifti_file_whose_checksum_is_wrong_is_refused(tmp_path):
    path = write_nifti(tmp_path / "a.nii.gz", TWELVE, np.eye(4))
    patched(path, lambda content: (len(content) - 8, "<L", 0))
    with pytest.raises(RadiographError, match=r"a\.nii\.gz: .*CRC check failed"):
        read_radiograph(path)


def test_a_nifti_file_in_gzip_with_too_much_has_a_note(tmp_path):
    path = write_nifti(tmp_path / "a.nii.gz", TWELVE, np.eye(4))
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + bytes(100)))
    assert len(read_radiograph(path).notes) == 1


def test_a_dicom_file_of_fewer_rows_than_its_pixels_has_a_note(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", TWELVE, Rows=len(TRUTH) - 10)
    (note,) = read_radiograph(path).notes
    assert note.startswith("PixelData (7fe0,0010) holds 24576 bytes, of which 96 x 118 pixels need 22656")


def test_a_dicom_file_whose_pixels_have_no_known_representation_is_refused(tmp_path):
    path = write_dicom(tmp_path / "a.dcm", TWELVE)
    patched(path, lambda content: (content.index(b"\xe0\x7f\x10\x00OW") + 4, "4s", b"O\x05\x00\x20"))
    with pytest.raises(RadiographError, match=r"a\.dcm: the head of PixelData \(7fe0,0010\) is damaged"):
        read_radiograph(path)


def test_jsrt_values_of_more_than_12_bits_have_a_note(tmp_path):
    path = write_img(tmp_path / "a.IMG", picture(128, 64))
    patched(path, lambda content: (2 * 2048, ">H", 4096))
    found = read_radiograph(path)
    assert found.notes == ("1 pixels are above 4095, which 12 bits cannot hold: damaged, or no JSRT radiograph",)
    assert found.pixels.min() == 0


def test_what_tifffile_logs_of_a_damaged_directory_is_kept_back(tiff, caplog):
    patched(tiff, lambda content: (entry(content, 258) + 2, "<H", 0x203))
    with pytest.raises(RadiographError):
        read_radiograph(patched(tiff, lambda content: (entry(content, 262), "<H", 261)))
    assert caplog.records == []
