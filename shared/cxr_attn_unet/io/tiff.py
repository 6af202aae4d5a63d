"""Which picture of a TIFF file is the radiograph, and the number formats that Pillow does not read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import tifffile

from .limits import check_size
from .radiograph import RadiographError

__all__ = ["Page", "is_tiff", "largest_page"]

_BEGINNINGS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_ORIENTATION = 274
_PHOTOMETRIC = 262
_SAMPLE_FORMAT = 339
_UNCOMPRESSED = 1
_MOST_PAGES = 1000
_WHITE_IS_ZERO = 0
# Pillow takes int8 and uint32 for other types and does not know the others
_NOT_OF_PILLOW = ("int8", "uint32", "int64", "uint64", "float16", "float64")


@dataclass(frozen=True)
class Page:
    """The largest picture of a TIFF file.

    Attributes:
        index: its number in the file, from 0.
        exif: its orientation, 1 to 8, see :data:`.raster._EXIF`.
        inverted: whether Pillow leaves it with bright pixels low.
        pixels: ``(rows, columns)`` as stored but bright pixels high, if Pillow cannot read them; else ``None``.
        notes: what is odd in its directory.
    """

    index: int
    exif: int
    inverted: bool
    pixels: np.ndarray | None
    notes: tuple[str, ...] = ()


def is_tiff(path: str) -> bool:
    """Whether a file begins as TIFF or BigTIFF do."""
    with open(path, "rb") as file:
        return file.read(4) in _BEGINNINGS


def largest_page(path: str) -> Page:
    """The largest picture; smaller ones are thumbnails.

    Raises:
        RadiographError: several of that size, above the limit on pixels, numbers in a compression that is not read, or
            it does not say whether black or white is zero.
        Exception: what tifffile raises for a damaged file.
    """
    with tifffile.TiffFile(path) as file:
        pages = _pages(file, path)
        areas = [page.imagelength * page.imagewidth for page in pages]
        index = int(np.argmax(areas))
        page = pages[index]
        if areas.count(areas[index]) > 1:
            raise RadiographError(
                f"{path}: holds {areas.count(areas[index])} pictures of {page.imagewidth} x {page.imagelength} pixels. "
                "Save the radiograph alone; a CT is not a radiograph."
            )
        check_size(path, page.imagelength, page.imagewidth)
        # each is decoded as a whole, however small the picture
        check_size(path, page.tilelength, page.tilewidth)
        if _PHOTOMETRIC not in page.tags:
            raise RadiographError(
                f"{path}: does not say whether zero is black or white (tag PhotometricInterpretation), so it may be "
                "damaged. Save it again as 16-bit grey."
            )
        white_is_zero = int(page.photometric) == _WHITE_IS_ZERO
        kind = np.dtype(page.dtype) if page.dtype is not None else np.dtype(np.uint8)
        pixels = None
        # Pillow does not know white-is-zero beyond unsigned integers and float32
        if kind.name in _NOT_OF_PILLOW or (white_is_zero and kind.kind == "i"):
            pixels = _pixels(page, kind, white_is_zero, path)
        tag = page.tags.get(_ORIENTATION)
        exif = 1 if tag is None else int(tag.value)
        # Pillow undoes white-is-zero up to 8 bits, but not above
        notes = (*_oddities(page), *_oddity_of_list(pages))
        return Page(index, exif, white_is_zero and kind.itemsize > 1, pixels, notes)


def _pages(file: tifffile.TiffFile, path: str) -> list[tifffile.TiffPage]:
    """All pictures of a file, whose directories each name the next.

    Raises:
        RadiographError: they lead back to one that was before, or are too many.
    """
    pages: list[tifffile.TiffPage] = []
    seen: set[int] = set()
    for page in file.pages:
        if page.offset in seen:
            raise RadiographError(f"{path}: damaged, its list of pictures leads back into itself. Copy it again.")
        if len(pages) == _MOST_PAGES:
            raise RadiographError(f"{path}: holds more than {_MOST_PAGES} pictures. Save the radiograph alone.")
        seen.add(page.offset)
        pages.append(page.aspage())
    return pages


def _number(page: tifffile.TiffPage, place: int, size: int) -> int:
    """The whole number of a size in bytes at a place of the file."""
    file = page.parent
    file.filehandle.seek(place)
    return int.from_bytes(file.filehandle.read(size), "little" if file.byteorder == "<" else "big")


def _oddity_of_list(pages: list[tifffile.TiffPage]) -> list[str]:
    """What is wrong with the end of the list of pictures, in words."""
    last = pages[-1]
    form = last.parent.tiff
    entries = _number(last, last.offset, form.tagnosize)
    if _number(last, last.offset + form.tagnosize + entries * form.tagsize, form.offsetsize):
        return ["its list of pictures leads to where none is; it may be damaged"]
    return []


def _oddities(page: tifffile.TiffPage) -> list[str]:
    """Signs of damage in the directory of a picture, in words (TIFF 6.0, sections 2 and 8)."""
    found = []
    codes = [tag.code for tag in page.tags]
    stated = _number(page, page.offset, page.parent.tiff.tagnosize)
    if len(codes) != stated:
        found.append(f"its TIFF directory states {stated} entries, of which {len(codes)} can be read")
    elif codes != sorted(codes):
        found.append("the entries of its TIFF directory are not in order; one may be damaged")
    if page.bitspersample >= 32 and _SAMPLE_FORMAT not in codes:
        found.append(
            f"does not say whether its numbers of {page.bitspersample} bits are whole (tag SampleFormat); taken as such"
        )
    row = (page.imagewidth * page.samplesperpixel * page.bitspersample + 7) // 8
    expected = row * page.imagelength
    held = sum(page.databytecounts)
    if page.compression == _UNCOMPRESSED and not page.is_tiled and held != expected:
        found.append(f"holds {held} bytes of pixels, where its size needs {expected}; its size may be wrong")
    return found


def _pixels(page: tifffile.TiffPage, kind: np.dtype, white_is_zero: bool, path: str) -> np.ndarray:
    if page.samplesperpixel != 1:
        raise RadiographError(
            f"{path}: {page.samplesperpixel} values of type {kind.name} a pixel, a radiograph has one. "
            "Save it as 16-bit grey."
        )
    try:
        pixels = page.asarray()
    except ValueError as error:
        if "imagecodecs" not in str(error):
            raise
        compression = tifffile.COMPRESSION(page.compression).name
        raise RadiographError(
            f"{path}: numbers of type {kind.name} with compression {compression}, which are not read together."
            " Save it without compression, or as 16-bit grey."
        ) from error
    pixels = pixels.astype(np.float64)
    if white_is_zero:
        pixels = pixels.min() + pixels.max() - pixels
    return pixels.astype(np.float32)
