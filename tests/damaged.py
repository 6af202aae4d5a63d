"""Small valid files of every kind that is read, seeded damage to their bytes, and what may come of it.

A damaged file is read to a valid picture or refused with one error that names it. Its bytes are of three kinds: those
that make up the pixels (compressed or not, with the tables of their compression and the pointers to them), those that
say how the pixels are to be shown (a window, an orientation), and the rest. Where only the rest was damaged, the
picture is as it was, or there is a note.

Many of them are read in a process of its own, which they may end and whose memory is bounded: :func:`outcomes`.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import os
import queue
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import pydicom
import tifffile
from PIL import Image
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    HTJ2KLossless,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from samples import picture, write_dicom, write_img, write_nifti, write_picture

MAX_PIXELS = 8_000_000
MORE_MEMORY = 1 << 30  # bytes beyond what the process had before the first file
MORE_ADDRESSES = 6 << 30  # Pillow asks for as much as a chunk of a PNG states, up to 4 GiB, and does not use it
LONGEST_SECONDS = 10  # of this process's own work on a file
HANG_SECONDS = 120  # by the clock on the wall, after which a file is taken to hang, also on a busy machine
TOLERANCE = 0.01  # of the range of values: decoders of lossy compressions round differently

EIGHT = picture(64, 48)
TWELVE = EIGHT.astype(np.uint16) * 16
# elements that say how the stored values are to be shown; whatever a valid one says is followed
SHOWN = (
    "PhotometricInterpretation",
    "PixelRepresentation",
    "BitsStored",
    "HighBit",
    "WindowCenter",
    "WindowWidth",
    "VOILUTFunction",
    "RescaleSlope",
    "RescaleIntercept",
    "PatientOrientation",
    "PresentationLUTShape",
    "PresentationIntentType",
    "PixelIntensityRelationship",
    "PixelIntensityRelationshipSign",
    "PixelPaddingValue",
)
Span = tuple[int, int]


@dataclass(frozen=True)
class Sample:
    """A valid file.

    Attributes:
        content: its bytes.
        pixels: where those of the pixels are.
        shown: where those are that say how pixels are shown.
    """

    content: bytes
    pixels: list[Span]
    shown: list[Span] = field(default_factory=list)


@dataclass(frozen=True)
class Kind:
    """Files of one kind.

    Attributes:
        name: with the suffix that files get.
        make: writes a valid file to a path, and tells its bytes apart.
        read: gives what is compared, and whether something was noted about it.
    """

    name: str
    make: Callable[[Path], Sample]
    read: Callable[[Path], tuple[Any, bool]]


@dataclass(frozen=True)
class Edit:
    """Bytes that are put in the place of others."""

    start: int
    removed: int
    inserted: bytes

    def touches(self, spans: list[Span]) -> bool:
        """Whether it changes something within the spans; bytes that are inserted at an end do not."""
        end = self.start + self.removed
        return any(self.start < stop and end > begin for begin, stop in spans)


def damage(sample: Sample, rng: np.random.Generator) -> list[Edit]:
    """One to three edits that do not overlap; most of them before or after the pixels, if there is such a place."""
    edits: list[Edit] = []
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        edit = _edit(sample, rng)
        if not any(edit.touches([(other.start - 1, other.start + other.removed + 1)]) for other in edits):
            edits.append(edit)
    return sorted(edits, key=lambda edit: edit.start)


def _edit(sample: Sample, rng: np.random.Generator) -> Edit:
    content = sample.content
    start = _place(sample, rng)
    way = rng.integers(12)
    if way == 0:  # cut off
        return Edit(start, len(content) - start, b"")
    if way == 1:  # a piece is missing
        return Edit(start, int(min(rng.integers(1, 17), len(content) - start)), b"")
    if way == 2:  # a piece too many
        return Edit(start, 0, rng.bytes(int(rng.integers(1, 17))))
    if way == 3:  # a hole
        length = int(min(rng.integers(1, 65), len(content) - start))
        return Edit(start, length, bytes(length))
    if way == 4:  # a number at an end of its range
        length = int(min(rng.choice((1, 2, 4)), len(content) - start))
        return Edit(start, length, bytes([int(rng.choice((0, 0x7F, 0x80, 0xFF)))]) * length)
    if way in (5, 6, 7):  # one bit
        return Edit(start, 1, bytes([content[start] ^ (1 << int(rng.integers(8)))]))
    length = int(min(rng.integers(1, 5), len(content) - start))
    return Edit(start, length, rng.bytes(length))


def _place(sample: Sample, rng: np.random.Generator) -> int:
    length = len(sample.content)
    inside = np.zeros(length, bool)
    for begin, stop in sample.pixels:
        inside[begin:stop] = True
    outside = np.flatnonzero(~inside)
    if len(outside) and rng.random() < 0.6:
        return int(rng.choice(outside))
    return int(rng.integers(length))


def applied(content: bytes, edits: list[Edit]) -> bytes:
    """The damaged content."""
    parts = []
    position = 0
    for edit in edits:
        parts += [content[position : edit.start], edit.inserted]
        position = max(position, edit.start + edit.removed)
    return b"".join([*parts, content[position:]])


def outcome(kind: Kind, sample: Sample, original: Any, path: Path, edits: list[Edit]) -> str:
    """What became of a damaged file: ``refused``, ``same``, ``noted`` or ``changed``; else ``FAULT: ...``."""
    path.write_bytes(applied(sample.content, edits))
    try:
        value, noted = kind.read(path)
    except ValueError as error:
        if type(error) is ValueError or type(error).__name__.endswith("RadiographError"):
            return "refused" if str(path) in str(error) else f"FAULT: does not name the file: {error}"
        return f"FAULT: {type(error).__name__}: {error}"
    except Exception as error:
        return f"FAULT: {type(error).__name__}: {error}"
    if same(value, original):
        return "same"
    if noted:
        return "noted"
    if any(edit.touches([*sample.pixels, *sample.shown]) for edit in edits):
        return "changed"
    return f"FAULT: another picture without a word, after {edits}"


def same(value: Any, original: Any) -> bool:
    """Whether two pictures look the same, whatever their scale, or two other contents are equal."""
    if not isinstance(original, np.ndarray):
        return value == original
    if np.array_equal(value, original):
        return True
    return value.shape == original.shape and float(np.abs(_scaled(value) - _scaled(original)).max()) <= TOLERANCE


def _scaled(values: np.ndarray) -> np.ndarray:
    values = values.astype(np.float64)
    return (values - values.min()) / (values.max() - values.min())


# ---- readers


def read_picture(path: Path) -> tuple[np.ndarray, bool]:
    from cxr_attn_unet.io import read_radiograph

    found = read_radiograph(path, MAX_PIXELS)
    assert found.pixels.dtype == np.float32
    assert found.pixels.ndim == 2
    assert np.isfinite(found.pixels).all()
    assert found.spacing is None or min(found.spacing) > 0
    return np.ascontiguousarray(found.upright()), bool(found.notes)


def read_journal(path: Path) -> tuple[Any, bool]:
    """The records; one that is not there any more is noticed, for its radiograph is segmented again."""
    from cxr_attn_unet.segment.journal import Journal

    journal = Journal(path)
    records = {stem: journal.get(stem) for stem in "abc"}
    return [record.to_json() if record else "" for record in records.values()], not all(records.values())


def read_weights(path: Path) -> tuple[Any, bool]:
    from cxr_attn_unet.networks.checkpoint import read_state_dict

    return {name: weight.tolist() for name, weight in read_state_dict(path).items()}, False


# ---- pictures


def make_png(values: np.ndarray, mode: str) -> Callable[[Path], Sample]:
    def make(path: Path) -> Sample:
        content = write_picture(path, values, mode).read_bytes()
        pixels, shown = [], []
        position = 8
        while position < len(content):
            length, name = struct.unpack_from(">L4s", content, position)
            if name == b"IDAT":
                pixels.append((position + 8, position + 12 + length))
            if name == b"PLTE":
                shown.append((position + 8, position + 12 + length))
            position += 12 + length
        return Sample(content, pixels, shown)

    return make


def make_jpeg(path: Path) -> Sample:
    content = write_picture(path, EIGHT).read_bytes()
    pixels = []
    position = 2
    while True:
        marker, length = struct.unpack_from(">HH", content, position)
        if marker == 0xFFDA:
            return Sample(content, [*pixels, (position, len(content))])
        if not 0xFFE0 <= marker <= 0xFFEF and marker != 0xFFFE:
            pixels.append((position, position + 2 + length))
        position += 2 + length


def make_tiff(values: np.ndarray, **options: Any) -> Callable[[Path], Sample]:
    # what a value of these tags says about the numbers, and whether bright is high
    shown = ["PhotometricInterpretation", "SampleFormat", "FillOrder", "Orientation", "ColorMap", "Predictor"]
    if options:
        # without the size, a compression cannot be undone, as with the size in the head of a JPEG
        shown += ["ImageWidth", "ImageLength", "BitsPerSample", "RowsPerStrip", "Compression"]

    def make(path: Path) -> Sample:
        Image.fromarray(values).save(path, **options)
        with tifffile.TiffFile(path) as file:
            page = file.pages[0].aspage()
            pixels = [
                (start, start + count) for start, count in zip(page.dataoffsets, page.databytecounts, strict=True)
            ]
            spans = {tag.name: (tag.valueoffset, tag.valueoffset + tag.valuebytecount) for tag in page.tags}
        pixels.append(spans["StripOffsets"])
        return Sample(path.read_bytes(), pixels, [spans[name] for name in shown if name in spans])

    return make


def make_whole(write: Callable[[Path], Any]) -> Callable[[Path], Sample]:
    """Of files whose bytes are all of their pixels, or are not told apart here."""

    def make(path: Path) -> Sample:
        write(path)
        content = path.read_bytes()
        return Sample(content, [(0, len(content))])

    return make


def make_img(path: Path) -> Sample:
    content = write_img(path, picture(128, 64)).read_bytes()
    return Sample(content, [(0, len(content))])


# of a NIfTI header: type of numbers and their scale, sizes of pixels, geometry; and where the pixels begin
NIFTI_SHOWN = [(70, 74), (76, 108), (112, 120), (252, 328)]
NIFTI_POINTER = (108, 112)


def make_nifti(path: Path) -> Sample:
    content = write_nifti(path, TWELVE, np.diag([-0.5, -0.5, 1, 1])).read_bytes()
    return Sample(content, [NIFTI_POINTER, (352, len(content))], NIFTI_SHOWN)


def make_gzip(inner: Callable[[Path], Sample]) -> Callable[[Path], Sample]:
    def make(path: Path) -> Sample:
        content = gzip.compress(inner(path.with_suffix("")).content, mtime=0)
        path.write_bytes(content)
        return Sample(content, [(10, len(content) - 8)])

    return make


# ---- DICOM


def make_dicom(change: Callable[[pydicom.Dataset], None] | None = None, **tags: Any) -> Callable[[Path], Sample]:
    def make(path: Path) -> Sample:
        data = pydicom.dcmread(write_dicom(path, TWELVE, WindowCenter="2000", WindowWidth="4000", **tags))
        if change is not None:
            change(data)
            data.save_as(path)
        return dicom_sample(path)

    return make


def dicom_sample(path: Path) -> Sample:
    content = path.read_bytes()
    data = pydicom.dcmread(path)
    if data.file_meta.TransferSyntaxUID == DeflatedExplicitVRLittleEndian:
        return Sample(content, [(132, len(content))])
    shown = []
    for keyword in SHOWN:
        element = data.get_item(keyword)
        if element is not None:
            shown.append((element.value_tell, element.value_tell + element.length))
    element = data.get_item("PixelData")
    start = element.value_tell
    if element.length != 0xFFFFFFFF:
        return Sample(content, [(start, start + element.length)], shown)
    pixels = []
    while content[start : start + 4] == b"\xfe\xff\x00\xe0":
        (length,) = struct.unpack_from("<L", content, start + 4)
        pixels.append((start + 8, start + 8 + length))
        start += 8 + length
    return Sample(content, pixels, shown)


def make_encoded(syntax: str) -> Callable[[Path], Sample]:
    """Another way of writing the elements, without compression of the pixels."""

    def make(path: Path) -> Sample:
        whole = pydicom.dcmread(write_dicom(path, TWELVE, WindowCenter="2000", WindowWidth="4000"))
        data = pydicom.Dataset()
        data.update({element.tag: element for element in whole})
        data.file_meta = whole.file_meta
        data.file_meta.TransferSyntaxUID = syntax
        if syntax == ExplicitVRBigEndian:
            data["PixelData"].VR = "OW"
            data.PixelData = TWELVE.astype(">u2").tobytes()
        if pydicom.__version__.startswith("2"):
            data.is_little_endian = syntax != ExplicitVRBigEndian
            data.is_implicit_VR = syntax == ImplicitVRLittleEndian
            data.save_as(path, write_like_original=False)
        else:
            data.save_as(path, enforce_file_format=True)
        return dicom_sample(path)

    return make


def rle(data: pydicom.Dataset) -> None:
    data.compress(RLELossless)


def with_frame(frame: Callable[[], bytes], syntax: str, bits: int) -> Callable[[pydicom.Dataset], None]:
    def change(data: pydicom.Dataset) -> None:
        data.file_meta.TransferSyntaxUID = syntax
        data.BitsStored, data.HighBit = bits, bits - 1
        data.PixelData = encapsulate([frame()])
        data["PixelData"].is_undefined_length = True
        data["PixelData"].VR = "OB"

    return change


def by_pillow(values: np.ndarray, form: str, **options: Any) -> Callable[[], bytes]:
    def frame() -> bytes:
        buffer = io.BytesIO()
        Image.fromarray(values).save(buffer, form, **options)
        return buffer.getvalue()

    return frame


def high_throughput() -> bytes:
    from openjpeg.utils import encode_array

    return encode_array(TWELVE, use_mct=False)


def make_by_gdcm(syntax: str) -> Callable[[Path], Sample]:
    """Compressed by GDCM."""

    def make(path: Path) -> Sample:
        import gdcm

        bits = 8 if syntax == JPEGBaseline8Bit else 12
        write_dicom(path, EIGHT if bits == 8 else TWELVE, bits=bits)
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
        return dicom_sample(path)

    return make


# ---- what this package writes for itself


def make_journal(path: Path) -> Sample:
    from cxr_attn_unet.segment.journal import Journal
    from cxr_attn_unet.segment.record import Record

    journal = Journal(path)
    for stem in "abc":
        record = Record(
            path=f"/in/{stem}.png",
            stem=stem,
            identity="0123456789abcdef",
            state=(1000, 1_700_000_000_000_000_000),
            files=(f"{stem}_heart.png",),
            rows=64,
            columns=48,
            spacing=(0.5, 0.25),
            spacing_source="detector",
            measurements={"heart_area": 12.5, "area_unit": "mm2", "lung_ratio": None},
            confidences={"heart": 0.9},
            agreements={},
            warnings=("Röntgen 胸部",),
        )
        journal.add(record)
    return Sample(path.read_bytes(), [])


def make_weights(path: Path) -> Sample:
    import torch

    generator = torch.Generator().manual_seed(0)
    torch.save({f"layer{n}.weight": torch.rand(4, 4, generator=generator) for n in range(3)}, path)
    return Sample(path.read_bytes(), [])


GDCM = {
    "JPEG baseline": JPEGBaseline8Bit,
    "JPEG extended": JPEGExtended12Bit,
    "JPEG lossless": JPEGLosslessSV1,
    "JPEG lossless process 14": "1.2.840.10008.1.2.4.57",
    "JPEG-LS lossless": JPEGLSLossless,
    "JPEG-LS near-lossless": JPEGLSNearLossless,
    "JPEG 2000": JPEG2000,
}


def kinds() -> list[Kind]:
    """All kinds whose packages are installed."""
    from importlib.util import find_spec

    found = [
        Kind("PNG 8 bits.png", make_png(EIGHT, "L"), read_picture),
        Kind("PNG 16 bits.png", make_png(EIGHT, "I;16"), read_picture),
        Kind("PNG palette.png", make_png(EIGHT, "P"), read_picture),
        Kind("JPEG.jpg", make_jpeg, read_picture),
        Kind("TIFF 8 bits.tif", make_tiff(EIGHT), read_picture),
        Kind("TIFF 16 bits.tif", make_tiff(TWELVE), read_picture),
        Kind("TIFF float.tif", make_tiff(EIGHT.astype(np.float32)), read_picture),
        Kind("TIFF deflate.tif", make_tiff(TWELVE, compression="tiff_adobe_deflate"), read_picture),
        Kind("TIFF LZW.tif", make_tiff(EIGHT, compression="tiff_lzw"), read_picture),
        Kind("BMP.bmp", make_whole(lambda path: write_picture(path, EIGHT)), read_picture),
        Kind("GIF.gif", make_whole(lambda path: write_picture(path, EIGHT)), read_picture),
        Kind("WebP.webp", make_whole(lambda path: write_picture(path, EIGHT)), read_picture),
        Kind("JPEG 2000.jp2", make_whole(lambda path: write_picture(path, EIGHT)), read_picture),
        Kind("JSRT.IMG", make_img, read_picture),
        Kind("NIfTI.nii", make_nifti, read_picture),
        Kind("NIfTI gzip.nii.gz", make_gzip(make_nifti), read_picture),
        Kind("DICOM explicit.dcm", make_dicom(), read_picture),
        Kind("DICOM implicit.dcm", make_encoded(ImplicitVRLittleEndian), read_picture),
        Kind("DICOM big endian.dcm", make_encoded(ExplicitVRBigEndian), read_picture),
        Kind("DICOM deflated.dcm", make_encoded(DeflatedExplicitVRLittleEndian), read_picture),
        Kind("DICOM gzip.dcm.gz", make_gzip(make_dicom()), read_picture),
        Kind("DICOM RLE.dcm", make_dicom(rle), read_picture),
        Kind(
            "DICOM JPEG 2000 lossless.dcm",
            make_dicom(
                with_frame(by_pillow(TWELVE, "JPEG2000", no_jp2=True, irreversible=False), JPEG2000Lossless, 16)
            ),
            read_picture,
        ),
        Kind("journal.jsonl", make_journal, read_journal),
        Kind("weights.pt", make_weights, read_weights),
    ]
    if find_spec("openjpeg"):
        found.append(Kind("DICOM HTJ2K.dcm", make_dicom(with_frame(high_throughput, HTJ2KLossless, 12)), read_picture))
    if find_spec("gdcm"):
        found += [Kind(f"DICOM {name}.dcm", make_by_gdcm(syntax), read_picture) for name, syntax in GDCM.items()]
    return found


# ---- many files, in a process that they may end


def outcomes(count: int, start: int = 0, before: str = "") -> Iterator[dict[str, Any]]:
    """``{"kind", "number", "outcome", "seconds"}`` of ``count`` damaged files, one kind after the other in turn.

    Args:
        count: how many.
        start: number of the first, which is its seed too.
        before: what the process runs before it reads any.
    """
    number = start
    stop = start + count
    with tempfile.TemporaryDirectory() as folder:
        while number < stop:
            begun = number
            for answer in _of_one_process(folder, number, stop, before):
                yield answer
                number = answer["number"] + 1
            if number == begun:
                raise RuntimeError("the process that reads damaged files gave no answer")


def _of_one_process(folder: str, start: int, stop: int, before: str) -> Iterator[dict[str, Any]]:
    code = f"{before}\nimport damaged; damaged.main({folder!r}, {start}, {stop})"
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent), "OMP_NUM_THREADS": "1"},
    )
    lines: queue.Queue[bytes] = queue.Queue()
    thread = threading.Thread(target=_pass_on, args=(process.stdout, lines))
    errors: list[bytes] = []
    of_errors = threading.Thread(target=lambda: errors.append(process.stderr.read()))
    thread.daemon = of_errors.daemon = True
    thread.start()
    of_errors.start()
    opened = None
    try:
        while True:
            try:
                # importing and making samples takes longer than reading one
                line = lines.get(timeout=HANG_SECONDS if opened else 600)
            except queue.Empty:
                yield {**(opened or {"kind": "?", "number": stop}), "outcome": "FAULT: hangs", "seconds": 0}
                return
            if not line:
                break
            answer = json.loads(line)
            if "outcome" in answer:
                yield answer
            opened = None if "outcome" in answer else answer
        of_errors.join()
        if process.wait() or opened:
            said = b"".join(errors)[-2000:].decode(errors="replace")
            ended = f"FAULT: ended its process with {process.returncode}: {said}"
            yield {**(opened or {"kind": "?", "number": stop}), "outcome": ended, "seconds": 0}
    finally:
        # the session is that of this process and of the decoders that it started
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _pass_on(stream: IO[bytes], lines: queue.Queue[bytes]) -> None:
    """Each line as it comes, and nothing at the end."""
    while line := stream.readline():
        lines.put(line)
    lines.put(b"")


def main(folder: str, start: int, stop: int) -> None:
    """Read the files of these numbers within the limit on memory; a line of JSON before and after each."""
    every = kinds()
    samples: dict[str, tuple[Sample, Any]] = {}
    limited = False
    memory = 0
    for number in range(start, stop):
        kind = every[number % len(every)]
        place = Path(folder) / kind.name
        if kind.name not in samples:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            limited = False
            sample = kind.make(place)
            samples[kind.name] = (sample, kind.read(place)[0])
        if not limited:
            memory = _peak_memory()
            limit = _addresses() + MORE_ADDRESSES
            resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
            limited = True
        print(json.dumps({"kind": kind.name, "number": number}), flush=True)
        sample, original = samples[kind.name]
        begin = time.process_time()
        found = outcome(kind, sample, original, place, damage(sample, np.random.default_rng(number)))
        seconds = time.process_time() - begin
        if seconds > LONGEST_SECONDS:
            found = f"FAULT: took {seconds:.0f} s"
        if _peak_memory() > memory + MORE_MEMORY:
            found = f"FAULT: took {(_peak_memory() - memory) >> 20} MiB"
        print(json.dumps({"kind": kind.name, "number": number, "outcome": found, "seconds": seconds}), flush=True)


def _addresses() -> int:
    """Address space of this process in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _peak_memory() -> int:
    """The most memory that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
