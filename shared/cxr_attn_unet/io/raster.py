"""PNG, JPEG, JPEG 2000, TIFF, BMP, GIF and WebP, through Pillow."""

from __future__ import annotations

import struct
from typing import IO

import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from . import tiff
from .content import what_is
from .limits import check_size
from .radiograph import Orientation, RadiographError
from .silence import without_warnings

__all__ = ["SUFFIXES", "is_lossy", "open_picture", "read", "read_labels"]

_JPEG = (".jpg", ".jpeg", ".jpe", ".jfif")
_JPEG_2000 = (".jp2", ".j2k", ".jpx")
SUFFIXES = (".png", *_JPEG, *_JPEG_2000, ".tif", ".tiff", ".bmp", ".gif", ".webp")

# no others: Pillow would start Ghostscript for a PostScript file, whatever its name
_FORMATS = ("PNG", "JPEG", "JPEG2000", "TIFF", "BMP", "DIB", "GIF", "WEBP")
MOST_COLOURFUL = 0.045  # standard deviation over the picture of a channel's share
MOST_COLOURED = 0.2  # share of the picture whose colour is another one than that of most of it
_EXIF_ORIENTATION = 274
# EXIF tag 274 to (transpose, flip rows, flip columns); cameras write it, viewers follow it
_EXIF = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def read(path: str) -> tuple[np.ndarray, Orientation, tuple[str, ...]]:
    """Pixels ``(rows, columns)`` as stored, colours by their luminance, orientation by the EXIF tag, and oddities.

    Of a TIFF file with thumbnails, the largest picture. An alpha channel is ignored. The resolution that PNG and TIFF
    may state is that of a printer, not of the detector, and is not used either.

    Raises:
        RadiographError: not an image, above the limit on pixels, truncated, of several frames, a photograph in colour,
            or in colour with 16 bits a channel.
    """
    image, orientation, notes = _open(path)
    if isinstance(image, np.ndarray):
        return image, orientation, notes
    if image.mode not in ("1", "L", "LA", "I", "F") and not image.mode.startswith("I;16"):
        check_colours(image, path)
    return _luminance(image), orientation, notes


def read_labels(path: str) -> np.ndarray:
    """``(rows, columns)`` float32 as stored, zero where there is background.

    In colour that is black; of a palette without black in use, it is the colour of index 0.

    Raises:
        RadiographError: as :func:`read`.
    """
    image, _, _ = _open(path)
    if isinstance(image, np.ndarray):
        return image
    if image.mode in ("RGB", "RGBA", "P", "PA"):
        indices = np.asarray(image)[..., 0] if image.mode == "PA" else np.asarray(image)
        colours = np.asarray(image.convert("RGBA"))[..., :3].max(-1)  # luminance would round a dark blue to black
        palette = image.mode in ("P", "PA")
        return (indices if palette and colours.all() else colours).astype(np.float32)
    return _luminance(image)


def is_lossy(path: str) -> bool:
    """Whether a file's compression smears the edges of a mask: JPEG, and WebP unless it is the lossless kind."""
    name = path.lower()
    if name.endswith(_JPEG):
        return True
    if not name.endswith(".webp"):
        return False
    with open(path, "rb") as file:
        return b"VP8L" not in file.read(4096)


def check_colours(image: Image.Image, path: str) -> None:
    """Raise :class:`RadiographError` for a photograph in colour.

    A film's or a screen's tint is the same all over, and a label or a marker in colour covers little of the picture;
    a photograph's colours vary over most of it.

    Args:
        image: in any mode that converts to RGB.
        path: the file, for the message.
    """
    small = np.asarray(image.convert("RGB").resize((64, 64), Image.Resampling.BOX), dtype=np.float32)
    shares = (small - small.mean(-1, keepdims=True)) / np.maximum(small.sum(-1, keepdims=True), 60)
    if shares.std((0, 1)).max() <= MOST_COLOURFUL:
        return
    other = np.abs(shares - np.median(shares, (0, 1))).max(-1) > MOST_COLOURFUL
    if other.mean() > MOST_COLOURED:
        raise RadiographError(
            f"{path}: a picture in colour, over {other.mean():.0%} of it. If it is a radiograph all the same, save it "
            "as grey."
        )


_Opened = tuple[Image.Image | np.ndarray, Orientation, tuple[str, ...]]


def _open(path: str) -> _Opened:
    """The picture, or where Pillow cannot read it its pixels ``(rows, columns)`` float32; orientation and oddities."""
    try:
        with without_warnings():  # of odd TIFF tags
            return _opened(path)
    except (RadiographError, MemoryError):
        raise
    except PermissionError as error:
        raise RadiographError(f"{path}: may not be read. Check the permissions of the file.") from error
    except UnidentifiedImageError as error:
        what, remedy = what_is(path)
        if what.endswith("picture") and remedy.startswith("Name it"):
            raise RadiographError(f"{path}: {what}, damaged at its beginning. Copy or export it again.") from error
        if what:
            raise RadiographError(f"{path}: not a picture but {what}. {remedy}.") from error
        raise RadiographError(
            f"{path}: not a picture that can be read, whatever its name says. Save it as PNG or TIFF of 8 or 16 bits."
        ) from error
    except Exception as error:  # Pillow raises OSError, SyntaxError, struct.error, ValueError ... on damaged files
        if "not available" in str(error):
            raise RadiographError(
                f"{path}: this Pillow cannot decode it ({error}). Install a complete one: pip install -U pillow."
            ) from error
        raise RadiographError(f"{path}: damaged or truncated ({_one_line(error)}). Copy or export it again.") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _opened(path: str) -> _Opened:
    page = tiff.largest_page(path) if tiff.is_tiff(path) else None
    if page is not None and page.pixels is not None:
        return page.pixels, Orientation(*_EXIF.get(page.exif, ())), page.notes
    # through a file object: by name, Pillow maps it to memory, and mixes up the rows of a TIFF on its side
    with open(path, "rb") as file, open_picture(file, path) as image:
        if page is not None:
            image.seek(page.index)
            tag = page.exif
        else:
            _check_frames(image, path)
        # before anything loads the pixels, which empties the list of tiles; so does getexif() of a PNG
        _check_bits(image, path)
        if page is None:
            tag = image.getexif().get(_EXIF_ORIENTATION, 1)
        if image.format == "PNG":
            _check_sums(file, path)
        image.load()
        orientation = Orientation(*_EXIF.get(tag, ()))
        if page is None:
            return image, orientation, ()
        stored = _stored(image, tag)  # alone of all formats, Pillow turns TIFF while loading: turn it back
        if page.inverted:
            return _inverted(np.asarray(stored)), orientation, page.notes
        return stored, orientation, page.notes


def _check_sums(file: IO[bytes], path: str) -> None:
    """Make sure that the pixels of a PNG file have their checksums, which Pillow passes over while it decodes them.

    Raises:
        Exception: what Pillow raises for a damaged file.
    """
    position = file.tell()
    with open(path, "rb") as again, open_picture(again, path) as image:
        image.verify()
    file.seek(position)


def open_picture(file: IO[bytes], path: str) -> ImageFile.ImageFile:
    """A picture of which nothing but the header was read; as ``PIL.Image.open``, but with this package's limit.

    Args:
        file: open for reading; whoever reads the pixels keeps it open.
        path: its name, for the message.

    Raises:
        RadiographError: above the limit on pixels.
        UnidentifiedImageError: of none of the formats that are read.
        Exception: what Pillow raises for a damaged file.
    """
    Image.init()
    beginning = file.read(32)
    stated = _webp_size(beginning)
    if stated is not None:
        # Pillow makes room for the whole picture when it opens one
        check_size(path, *stated)
    for name in _FORMATS:
        factory, accepts = Image.OPEN[name]
        # the answer may be a text, which says why not
        if accepts is None or accepts(beginning[:16]) is not True:
            continue
        file.seek(0)
        try:
            image = factory(file, "")
        except (SyntaxError, IndexError, TypeError, struct.error):
            continue
        check_size(path, image.height, image.width)
        return image
    raise UnidentifiedImageError


def _webp_size(beginning: bytes) -> tuple[int, int] | None:
    """Rows and columns that the first 30 bytes of a WebP file state (RFC 9649, 2.5 to 2.7); ``None`` for others."""
    if len(beginning) < 30 or beginning[:4] != b"RIFF" or beginning[8:12] != b"WEBP":
        return None
    kind = beginning[12:16]
    if kind == b"VP8X":
        return int.from_bytes(beginning[27:30], "little") + 1, int.from_bytes(beginning[24:27], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(beginning[21:25], "little")
        return (bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1
    columns, rows = struct.unpack_from("<HH", beginning, 26)
    return rows & 0x3FFF, columns & 0x3FFF


def _check_frames(image: Image.Image, path: str) -> None:
    frames = getattr(image, "n_frames", 1)
    # a camera's JPEG may hold previews beside the picture
    if frames > 1 and image.format != "MPO":
        raise RadiographError(f"{path}: holds {frames} pictures. Save the radiograph alone; a CT is not a radiograph.")


def _check_bits(image: Image.Image, path: str) -> None:
    tiles = getattr(image, "tile", None)
    stored = tiles[0][3] if tiles else ""
    if isinstance(stored, tuple) and stored:
        stored = stored[0]
    if ";16" in str(stored) and not image.mode.startswith("I"):
        raise RadiographError(
            f"{path}: a 16-bit picture in colour or with transparency, of which only 8 bits can be read. "
            "Save it as 16-bit grey."
        )


def _inverted(pixels: np.ndarray) -> np.ndarray:
    """Bright pixels high, float32, of a picture in which zero is white."""
    if pixels.dtype.kind == "f":
        return (pixels.min() + pixels.max() - pixels).astype(np.float32)
    return 65535 - pixels.astype(np.float32)


def _stored(image: Image.Image, tag: int) -> Image.Image:
    transpose, flip_rows, flip_columns = _EXIF.get(tag, (False, False, False))
    # the steps of Orientation.apply, backwards
    for wanted, step in (
        (flip_columns, Image.Transpose.FLIP_LEFT_RIGHT),
        (flip_rows, Image.Transpose.FLIP_TOP_BOTTOM),
        (transpose, Image.Transpose.TRANSPOSE),
    ):
        image = image.transpose(step) if wanted else image
    return image


def _luminance(image: Image.Image) -> np.ndarray:
    if image.mode in ("1", "L", "I", "F") or image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.float32)
    if image.mode == "LA":
        return np.asarray(image)[..., 0].astype(np.float32)
    if image.mode == "PA":
        image = image.convert("RGBA")
    return np.asarray(image.convert("RGB").convert("L")).astype(np.float32)
