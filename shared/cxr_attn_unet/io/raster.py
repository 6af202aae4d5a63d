"""PNG, JPEG, TIFF, BMP and GIF, through Pillow."""

from __future__ import annotations

import warnings

import numpy as np
from PIL import Image, UnidentifiedImageError

from .radiograph import Orientation, RadiographError

__all__ = ["SUFFIXES", "read", "read_labels"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif")

# EXIF tag 274 to (transpose, flip rows, flip columns); cameras write it, viewers follow it
MOST_COLOURFUL = 0.045  # standard deviation over the picture of a channel's share
_EXIF_ORIENTATION = 274
_PHOTOMETRIC = 262
_EXIF = {
    2: (False, False, True),
    3: (False, True, True),
    4: (False, True, False),
    5: (True, False, False),
    6: (True, False, True),
    7: (True, True, True),
    8: (True, True, False),
}


def read(path: str) -> tuple[np.ndarray, Orientation]:
    """Pixels ``(rows, columns)`` as stored, colours by their luminance, and orientation by the EXIF tag.

    An alpha channel is ignored. The resolution that PNG and TIFF may state is that of a printer, not of the detector,
    and is not used either.

    Raises:
        RadiographError: not an image, truncated, of several frames, a photograph in colour, or in colour with 16 bits a
            channel.
    """
    image, orientation = _open(path)
    if image.mode not in ("1", "L", "LA", "I", "F") and not image.mode.startswith("I;16"):
        _check_colours(image, path)
    return _luminance(image), orientation


def read_labels(path: str) -> np.ndarray:
    """``(rows, columns)`` float32 as stored, zero where there is background.

    In colour that is black; of a palette without black in use, it is the colour of index 0.

    Raises:
        RadiographError: as :func:`read`.
    """
    image, _ = _open(path)
    if image.mode in ("RGB", "RGBA", "P", "PA"):
        indices = np.asarray(image)[..., 0] if image.mode == "PA" else np.asarray(image)
        colours = np.asarray(image.convert("RGBA"))[..., :3].max(-1)  # luminance would round a dark blue to black
        palette = image.mode in ("P", "PA")
        return (indices if palette and colours.all() else colours).astype(np.float32)
    return _luminance(image)


def _open(path: str) -> tuple[Image.Image, Orientation]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd TIFF tags, large but sound images
            # through a file object: by name, Pillow maps it to memory, and mixes up the rows of a TIFF on its side
            with open(path, "rb") as file, Image.open(file) as image:
                frames = getattr(image, "n_frames", 1)
                if frames > 1:
                    raise RadiographError(
                        f"{path}: holds {frames} pictures. Save the radiograph alone; a CT is not a radiograph."
                    )
                # before anything loads the pixels, which empties the list of tiles; so does getexif() of a PNG
                stored = image.tile[0][3] if image.tile else ""
                stored = stored[0] if isinstance(stored, tuple) and stored else stored
                if ";16" in str(stored) and not image.mode.startswith("I"):
                    raise RadiographError(
                        f"{path}: a 16-bit picture in colour or with transparency, of which only 8 bits can be read. "
                        "Save it as 16-bit grey."
                    )
                tag = image.getexif().get(_EXIF_ORIENTATION, 1)
                # Pillow undoes "zero is white" up to 8 bits, but not above
                inverted = image.mode.startswith("I;16") and getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0
                image.load()
                if image.format == "TIFF":  # alone of all formats, Pillow turns it while loading: turn it back
                    image = _stored(image, tag)
                if inverted:
                    image = Image.fromarray(65535 - np.asarray(image).astype(np.uint16))
                return image, Orientation(*_EXIF.get(tag, ()))
    except RadiographError:
        raise
    except UnidentifiedImageError as error:
        raise RadiographError(f"{path}: not a picture, whatever its name says. Export it anew.") from error
    except Exception as error:  # Pillow raises OSError, SyntaxError, struct.error, ValueError ... on damaged files
        raise RadiographError(f"{path}: damaged or truncated ({error}). Copy or export it anew.") from error


def _check_colours(image: Image.Image, path: str) -> None:
    small = np.asarray(image.convert("RGB").resize((64, 64), Image.Resampling.BOX), dtype=np.float32)
    # a film's or a screen's tint is the same all over; a photograph's colours are not
    shares = (small - small.mean(-1, keepdims=True)) / np.maximum(small.sum(-1, keepdims=True), 60)
    if shares.std((0, 1)).max() > MOST_COLOURFUL:
        raise RadiographError(f"{path}: a photograph in colour. If it is a radiograph all the same, save it as grey.")


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
