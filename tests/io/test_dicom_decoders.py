"""Compressed pixels: every compression, headers that differ from the frame, and damaged frames that cost one file."""

import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import (
    JPEG2000,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from torch.utils.data import DataLoader

from chest import NEGATIVE, SIGNED, TRUTH, TWELVE, difference
from cxr_attn_unet.io import RadiographError, read_radiograph
from samples import write_dicom

EIGHT = np.round(TRUTH * 255).astype(np.uint8)
SAME = 0.004
LOSSY = 0.01


def by_gdcm(path, stored, syntax, bits=12, photometric="MONOCHROME2", **tags):
    """Compressed by GDCM."""
    gdcm = pytest.importorskip("gdcm")
    write_dicom(path, stored, photometric, bits, **tags)
    reader = gdcm.ImageReader()
    reader.SetFileName(str(path))
    assert reader.Read()
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(syntax))))
    change.SetInput(reader.GetImage())
    assert change.Change()
    writer = gdcm.ImageWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetImage(change.GetOutput())
    assert writer.Write()
    return path


def with_frame(path, frame, syntax, stored=TWELVE, bits=12, **tags):
    """A file around a compressed frame."""
    data = pydicom.dcmread(write_dicom(path, stored, bits=bits, **tags))
    data.file_meta.TransferSyntaxUID = syntax
    data.PixelData = encapsulate([frame])
    data["PixelData"].is_undefined_length = True
    data["PixelData"].VR = "OB"
    data.save_as(path)
    return path


def restated(path, syntax):
    """The same file with another transfer syntax in its head."""
    content = path.read_bytes()
    meta = pydicom.filereader.read_file_meta_info(path)
    start = 144 + meta.FileMetaInformationGroupLength
    meta.TransferSyntaxUID = syntax
    head = io.BytesIO()
    write_file_meta_info(head, meta)
    path.write_bytes(content[:132] + head.getvalue() + content[start:])
    return path


def by_pillow(values, kind, **options):
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, kind, **options)
    return buffer.getvalue()


def jpeg(values=EIGHT):
    return by_pillow(values, "JPEG", quality=98)


def jpeg_2000(values=EIGHT):
    return by_pillow(values, "JPEG2000", no_jp2=True, irreversible=False)


def rle(path):
    data = pydicom.dcmread(write_dicom(path, TWELVE))
    data.compress(RLELossless)
    data.save_as(path)
    return path


SYNTAXES = [JPEGExtended12Bit, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless, JPEG2000, "1.2.840.10008.1.2.4.57"]


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_twelve_bits(syntax, tmp_path):
    assert difference(read_radiograph(by_gdcm(tmp_path / "a.dcm", TWELVE, syntax))) < SAME


@pytest.mark.parametrize("syntax", [JPEGBaseline8Bit, *SYNTAXES])
def test_eight_bits(syntax, tmp_path):
    assert difference(read_radiograph(by_gdcm(tmp_path / "a.dcm", EIGHT, syntax, 8))) < LOSSY


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEG2000Lossless])
def test_signed(syntax, tmp_path):
    path = by_gdcm(tmp_path / "a.dcm", SIGNED, syntax, 12)
    assert difference(read_radiograph(path)) < SAME


@pytest.mark.parametrize("syntax", [JPEGExtended12Bit, JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless])
def test_monochrome1(syntax, tmp_path):
    path = by_gdcm(tmp_path / "a.dcm", NEGATIVE, syntax, photometric="MONOCHROME1")
    assert difference(read_radiograph(path)) < SAME


def test_run_lengths(tmp_path):
    assert difference(read_radiograph(rle(tmp_path / "a.dcm"))) < SAME


@pytest.mark.parametrize(
    ("frame", "syntax"), [(jpeg_2000(), JPEG2000Lossless), (jpeg_2000(), JPEG2000), (jpeg(), JPEGBaseline8Bit)]
)
def test_a_frame_of_eight_bits_in_sixteen_allocated(frame, syntax, tmp_path):
    path = with_frame(tmp_path / "a.dcm", frame, syntax, TWELVE, 12, BitsStored=8, HighBit=7)
    assert difference(read_radiograph(path)) < LOSSY


def test_a_frame_of_eight_bits_where_twelve_are_stated(tmp_path):
    path = with_frame(tmp_path / "a.dcm", jpeg_2000(), JPEG2000Lossless)
    assert difference(read_radiograph(path)) < SAME


@pytest.mark.parametrize(
    ("frame", "stated"),
    [
        (jpeg(), JPEG2000Lossless),
        (jpeg(), ExplicitVRLittleEndian),
        (jpeg(), RLELossless),
        (jpeg(), "1.2.840.113845.1.2.1"),
        (jpeg_2000(), JPEGBaseline8Bit),
        (jpeg_2000(), JPEGLosslessSV1),
    ],
)
def test_a_frame_is_decoded_as_what_it_is(frame, stated, tmp_path):
    path = restated(with_frame(tmp_path / "a.dcm", frame, JPEGBaseline8Bit, EIGHT, 8), stated)
    radiograph = read_radiograph(path)
    assert difference(radiograph) < LOSSY
    assert str(stated) in radiograph.notes[0]


def test_a_colour_jpeg_of_a_grey_picture(tmp_path):
    frame = jpeg(np.stack([EIGHT] * 3, -1))
    tags = {"SamplesPerPixel": 3, "PlanarConfiguration": 0}
    path = with_frame(tmp_path / "a.dcm", frame, JPEGBaseline8Bit, EIGHT, 8, **tags)
    data = pydicom.dcmread(path)
    data.PhotometricInterpretation = "YBR_FULL_422"
    data.save_as(path)
    assert difference(read_radiograph(path)) < LOSSY


def test_the_size_of_the_frame_counts(tmp_path):
    path = with_frame(tmp_path / "a.dcm", jpeg(), JPEGBaseline8Bit, EIGHT, 8, Rows=155)
    radiograph = read_radiograph(path)
    assert radiograph.pixels.shape == EIGHT.shape
    assert "128 x 155" in radiograph.notes[0]


def test_a_frame_in_several_fragments(tmp_path):
    path = with_frame(tmp_path / "a.dcm", jpeg(), JPEGBaseline8Bit, EIGHT, 8)
    data = pydicom.dcmread(path)
    data.PixelData = encapsulate([jpeg()], fragments_per_frame=3)
    data["PixelData"].is_undefined_length = True
    data.save_as(path)
    assert difference(read_radiograph(path)) < LOSSY


def test_a_number_of_frames_that_is_none(tmp_path):
    path = with_frame(tmp_path / "a.dcm", jpeg(), JPEGBaseline8Bit, EIGHT, 8, NumberOfFrames="7531")
    path.write_bytes(path.read_bytes().replace(b"7531", b"one "))
    assert difference(read_radiograph(path)) < LOSSY


FRAMES = {
    "lossless JPEG": lambda path: by_gdcm(path, TWELVE, JPEGLosslessSV1),
    "JPEG of 12 bits": lambda path: by_gdcm(path, TWELVE, JPEGExtended12Bit),
    "JPEG": lambda path: with_frame(path, jpeg(), JPEGBaseline8Bit, EIGHT, 8),
    "JPEG 2000": lambda path: with_frame(path, jpeg_2000(), JPEG2000, EIGHT, 8),
    "JPEG-LS": lambda path: by_gdcm(path, TWELVE, JPEGLSLossless),
}


def damaged(path, offset, value):
    content = bytearray(path.read_bytes())
    start = max(content.find(b"\xff\xd8\xff"), content.find(b"\xff\x4f\xff\x51"))
    content[start + offset] = value
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize(("offset", "value"), [(2, 31), (3, 171), (15, 4), (16, 76), (21, 20), (33, 208), (40, 57)])
def test_a_changed_byte_costs_one_file_at_most(offset, value, kind, tmp_path):
    """Some of them end GDCM's process."""
    path = damaged(FRAMES[kind](tmp_path / "a.dcm"), offset, value)
    message = f"{path}: "
    try:
        read_radiograph(path)
    except RadiographError as error:
        message = str(error)
    assert message.startswith(f"{path}: ")


def test_a_decoder_that_ends_its_process_is_reported(tmp_path):
    path = damaged(FRAMES["lossless JPEG"](tmp_path / "a.dcm"), 15, 4)
    with pytest.raises(RadiographError, match=r"JPEG Lossless.* are damaged or truncated .* Copy or export it"):
        read_radiograph(path)


def test_the_next_file_is_read_after_a_crash(tmp_path):
    sound = FRAMES["lossless JPEG"](tmp_path / "a.dcm")
    bad = damaged(FRAMES["lossless JPEG"](tmp_path / "b.dcm"), 15, 4)
    with pytest.raises(RadiographError):
        read_radiograph(bad)
    assert difference(read_radiograph(sound)) < SAME


def test_threads_decode_side_by_side(tmp_path):
    sound = FRAMES["lossless JPEG"](tmp_path / "a.dcm")
    bad = damaged(FRAMES["lossless JPEG"](tmp_path / "b.dcm"), 15, 4)

    def attempt(index):
        try:
            return difference(read_radiograph(bad if index == 5 else sound))
        except RadiographError:
            return None

    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(attempt, range(16)))
    assert [answer is None for answer in answers] == [index == 5 for index in range(16)]


def test_workers_of_a_data_loader_decode(tmp_path):
    """They are daemons, which may not have processes of multiprocessing."""
    sound = FRAMES["lossless JPEG"](tmp_path / "a.dcm")
    read_radiograph(sound)  # so that the parent has a process of its own already
    loader = DataLoader([str(sound)] * 4, num_workers=2, collate_fn=lambda paths: difference(read_radiograph(paths[0])))
    assert max(loader) < SAME


def test_a_program_ends_after_decoding(tmp_path):
    path = FRAMES["lossless JPEG"](tmp_path / "a.dcm")
    code = "import sys; from cxr_attn_unet.io import read_radiograph; read_radiograph(sys.argv[1]); print('read')"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "read\n", "")


@pytest.mark.parametrize("kind", FRAMES)
def test_a_frame_that_is_cut_off_is_damaged(kind, tmp_path):
    path = FRAMES[kind](tmp_path / "a.dcm")
    data = pydicom.dcmread(path)
    data.PixelData = data.PixelData[:60]
    data.save_as(path)
    with pytest.raises(RadiographError, match="damaged"):
        read_radiograph(path)


def test_a_frame_that_claims_more_pixels_than_it_can_hold(tmp_path):
    frame = bytearray(jpeg_2000())
    frame[8:16] = (60000).to_bytes(4, "big") * 2
    with pytest.raises(RadiographError, match="60000 x 60000 pixels, more than the limit of"):
        read_radiograph(with_frame(tmp_path / "a.dcm", bytes(frame), JPEG2000, EIGHT, 8))


def test_a_compression_that_nothing_decodes_is_named(tmp_path):
    path = with_frame(tmp_path / "a.dcm", b"\0" * 5000, JPEG2000, EIGHT, 8)
    with pytest.raises(RadiographError, match=r"\(0002,0010\)"):
        read_radiograph(restated(path, "1.2.840.10008.1.2.4.201"))
