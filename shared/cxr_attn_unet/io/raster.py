"""PNG, JPEG, TIFF, BMP and GIF, through Pillow."""

from __future__ import annotations

import warnings

import numpy as np
from PIL import Image, UnidentifiedImageError

from .radiograph import Orientation, RadiographError

__all__ = ["SUFFIXES", "read"]

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif")

# EXIF tag 274 to (transpose, flip rows, flip columns); cameras write it, viewers follow it
_EXIF_ORIENTATION = 274
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
        RadiographError: not an image, truncated, or of several frames.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd TIFF tags, large but sound images
            with Image.open(path) as image:
                frames = getattr(image, "n_frames", 1)
                if frames > 1:
                    raise RadiographError(
                        f"{path}: holds {frames} pictures. Save the radiograph alone; a CT is not a radiograph."
                    )
                orientation = Orientation(*_EXIF.get(image.getexif().get(_EXIF_ORIENTATION, 1), ()))
                pixels = _grey(image, path)
    except RadiographError:
        raise
    except UnidentifiedImageError as error:
        raise RadiographError(f"{path}: not a picture, whatever its name says. Export it anew.") from error
    except Exception as error:  # Pillow raises OSError, SyntaxError, struct.error, ValueError ... on damaged files
        raise RadiographError(f"{path}: damaged or truncated ({error}). Copy or export it anew.") from error
    return pixels, orientation


def _grey(image: Image.Image, path: str) -> np.ndarray:
    # what the file holds, before Pillow maps it to one of its modes
    stored = image.tile[0].args if image.tile else ""
    stored = stored[0] if isinstance(stored, tuple) and stored else stored
    if image.format == "PNG" and stored in ("RGB;16B", "RGBA;16B", "LA;16B"):
        raise RadiographError(
            f"{path}: a 16-bit picture in colour or with transparency, of which only 8 bits can be read. Save it as "
            "16-bit grey."
        )
    if image.mode in ("1", "L", "I", "F") or image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.float32)
    if image.mode == "LA":
        return np.asarray(image)[..., 0].astype(np.float32)
    if image.mode == "PA":
        image = image.convert("RGBA")
    return np.asarray(image.convert("RGB").convert("L")).astype(np.float32)
