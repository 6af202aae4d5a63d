"""DICOM radiographs (CR, DX, secondary capture), through pydicom."""

from __future__ import annotations

import logging
import warnings

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from .radiograph import NotARadiographError, Orientation, RadiographError

try:
    from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi_lut  # pydicom 3

    _DECODES_TO_RGB = True
except ImportError:  # pydicom 2, which MONAI Label needs
    from pydicom.pixel_data_handlers.util import apply_color_lut, apply_modality_lut, apply_voi_lut

    _DECODES_TO_RGB = False

__all__ = ["is_dicom", "read"]

# pydicom logs as well as warns of values that break the standard and do not matter here
logging.getLogger("pydicom").setLevel(logging.ERROR)

_VOLUME_MODALITIES = ("CT", "MR", "PT", "NM")
# ultrasound, mammography, microscopy, endoscopy, photographs, teeth, electrocardiograms; and what is derived
_OTHER_MODALITIES = tuple("US MG SM GM ES OP OPT XC IO PX ECG EPS SEG SR PR KO RTSTRUCT RTDOSE RTPLAN REG DOC".split())
# Image Storage of CT, enhanced CT, MR, enhanced MR, PET
_VOLUME_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.{n}" for n in ("2", "2.1", "4", "4.1", "128"))
# first value: where rows run to (picture's right), second: where columns run to (picture's foot)
_TOWARDS = {"L": (0, True), "R": (0, False), "F": (1, True), "H": (1, False)}


def is_dicom(path: str) -> bool:
    """Whether the file has DICOM's preamble."""
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def read(path: str) -> tuple[np.ndarray, tuple[float, float] | None, Orientation]:
    """Pixels ``(rows, columns)`` as stored but bone bright, spacing (row, column) in mm, and orientation.

    For presentation: modality LUT, VOI LUT or window, MONOCHROME1 inverted (PS3.3 C.7.6.3.1.2, C.11.1, C.11.2). For
    processing: no VOI; the logarithm of linear detector values (Beer-Lambert), bone bright by the pixel intensity
    relationship sign (PS3.3 C.8.11.3.1.2) where there is one. Pixel spacing, else that at the detector ("imager"),
    which is larger than the anatomy's by the magnification. ``PatientOrientation`` is followed when it is that of a
    frontal view.

    Raises:
        RadiographError: not DICOM, truncated, no decoder for its compression, several frames, or of a volume.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # values that break the standard and do not matter here
        try:
            dataset = pydicom.dcmread(path)
        except InvalidDicomError as error:
            raise RadiographError(f"{path}: not a DICOM file, or its head is missing. Export it anew.") from error
        except Exception as error:
            raise RadiographError(f"{path}: damaged or truncated ({error}). Copy or export it anew.") from error
        _check_kind(dataset, path)
        pixels = _pixels(dataset, path)
        return pixels, _spacing(dataset), _orientation(dataset)


def _check_kind(dataset: Dataset, path: str) -> None:
    modality = dataset.get("Modality", "")
    if modality in _VOLUME_MODALITIES or dataset.get("SOPClassUID", "") in _VOLUME_CLASSES:
        raise NotARadiographError(
            f"{path}: a slice of a volume ({modality}), no radiograph. Take it out of the folder."
        )
    if modality in _OTHER_MODALITIES:
        raise NotARadiographError(f"{path}: of modality {modality}, no radiograph. Take it out of the folder.")
    if int(dataset.get("NumberOfFrames", 1) or 1) > 1:
        raise RadiographError(
            f"{path}: holds {dataset.NumberOfFrames} frames, a radiograph has one. Export the one to segment."
        )
    if "PixelData" not in dataset and ("Rows" in dataset or len(dataset) == 0):  # pydicom 3 drops all it has read
        raise RadiographError(f"{path}: damaged or truncated, its pixels are missing. Copy or export it anew.")
    if "PixelData" not in dataset:
        raise NotARadiographError(f"{path}: has no pixels, perhaps a report or a directory. Take it out of the folder.")


def _pixels(dataset: Dataset, path: str) -> np.ndarray:
    try:
        stored = dataset.pixel_array
    except Exception as error:
        syntax = dataset.file_meta.get("TransferSyntaxUID", "") if hasattr(dataset, "file_meta") else ""
        if syntax and syntax.is_compressed and isinstance(error, (NotImplementedError, RuntimeError)):
            raise RadiographError(
                f"{path}: its compression ({syntax.name}) cannot be decoded here ({str(error).splitlines()[0]}). "
                "Install more decoders with: pip install 'cxr-attn-unet[dicom]'; if they are there, it is damaged."
            ) from error
        raise RadiographError(f"{path}: its pixels are damaged or truncated ({error}). Export it anew.") from error
    photometric = str(dataset.get("PhotometricInterpretation", ""))
    if photometric == "PALETTE COLOR":
        try:
            stored = apply_color_lut(stored, dataset)
        except Exception as error:
            raise RadiographError(f"{path}: its palette is damaged ({error}). Export it anew.") from error
    if stored.ndim == 3 and stored.shape[2] in (3, 4):  # secondary captures in colour, shown as they are
        if photometric.startswith("YBR") and not _DECODES_TO_RGB:
            return stored[..., 0].astype(np.float32)
        return (stored[..., :3] @ np.array([0.299, 0.587, 0.114])).astype(np.float32)
    if stored.ndim != 2:
        raise RadiographError(f"{path}: pixels of shape {stored.shape}, a radiograph has two axes. Export it anew.")
    stored = _without_unused_bits(stored, dataset)
    try:
        if dataset.get("PresentationIntentType", "") == "FOR PROCESSING":
            return _for_processing(stored, dataset)
        values = apply_voi_lut(apply_modality_lut(stored, dataset), dataset)
    except Exception as error:
        raise RadiographError(f"{path}: its lookup table or window is damaged ({error}). Export it anew.") from error
    values = np.asarray(values, np.float32)
    return values.max() - values if _dark_bone(dataset) else values


def _dark_bone(dataset: Dataset) -> bool:
    return dataset.get("PhotometricInterpretation", "") == "MONOCHROME1"


def _without_unused_bits(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    """Old files keep an overlay above the stored bits, or do not extend the sign; pydicom 2 leaves that as it is."""
    unused = 8 * stored.dtype.itemsize - int(dataset.get("BitsStored") or 0)
    if stored.dtype.kind not in "iu" or not 0 < unused < 8 * stored.dtype.itemsize:
        return stored
    return (stored << unused) >> unused


def _for_processing(stored: np.ndarray, dataset: Dataset) -> np.ndarray:
    sign = dataset.get("PixelIntensityRelationshipSign")
    # the sign is that of the stored values, before a slope that may be negative
    values = np.asarray(apply_modality_lut(stored, dataset) if sign is None else stored, np.float32)
    # +1: lower values where fewer X-rays arrive, that is behind bone
    dark = _dark_bone(dataset) if sign is None else int(sign) == 1
    if dark and dataset.get("PixelIntensityRelationship", "") == "LIN":
        values = np.log(np.maximum(values - min(float(values.min()), 0.0), 1.0))
    return values.max() - values if dark else values


def _spacing(dataset: Dataset) -> tuple[float, float] | None:
    for name in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        try:
            row, column = (float(value) for value in dataset.get(name) or ())
        except (TypeError, ValueError):
            continue
        if row > 0 and column > 0 and np.isfinite(row * column):
            return row, column
    return None


def _orientation(dataset: Dataset) -> Orientation:
    value = dataset.get("PatientOrientation") or ()
    pair = len(value) == 2 and not isinstance(value, str)  # one oblique direction, "LF", is a string
    towards = [_TOWARDS.get(str(part)) for part in value] if pair else []
    if None in towards or len({axis for axis, _ in towards}) != 2:
        return Orientation()  # empty, lateral or oblique: as it is stored
    (first_axis, right), (_, down) = towards
    transpose = first_axis == 1
    return Orientation(transpose, *(not v for v in ((right, down) if transpose else (down, right))))
