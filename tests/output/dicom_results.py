"""DICOM radiographs of many kinds with results, as the writers of DICOM objects get them."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import generate_uid

from cxr_attn_unet.analysis import measure
from cxr_attn_unet.inference.segmentation import Segmentation
from cxr_attn_unet.io import read_radiograph
from samples import picture, write_dicom

CR = "1.2.840.10008.5.1.4.1.1.1"
SC = "1.2.840.10008.5.1.4.1.1.7"
PIXELS = picture()
ROWS, COLUMNS = PIXELS.shape
SOURCES = {
    "bare DX": {},
    "CR": {"SOPClassUID": CR, "Modality": "CR"},
    "CR with detector spacing": {"SOPClassUID": CR, "Modality": "CR", "ImagerPixelSpacing": [0.1, 0.2]},
    "MONOCHROME1": {"photometric": "MONOCHROME1", "ImagerPixelSpacing": [0.15, 0.15], "PatientOrientation": ["L", "F"]},
    "secondary capture": {"SOPClassUID": SC, "Modality": "OT", "ConversionType": "DI"},
    "secondary capture with spacing": {"SOPClassUID": SC, "Modality": "OT", "PixelSpacing": [0.2, 0.2]},
    "calibrated": {
        "ImagerPixelSpacing": [0.2, 0.2],
        "PixelSpacing": [0.18, 0.18],
        "PixelSpacingCalibrationType": "GEOMETRY",
        "PixelSpacingCalibrationDescription": "source to patient",
    },
    "frame of reference": {"FrameOfReferenceUID": "1.2.3", "PositionReferenceIndicator": ""},
    "on its side": {"PatientOrientation": ["F", "R"], "ImagerPixelSpacing": [0.1, 0.2]},
    "mirrored": {"PatientOrientation": ["R", "H"]},
    "lateral": {"PatientOrientation": ["A", "F"]},
    "oblique": {"PatientOrientation": ["LF"]},
    "window": {"WindowCenter": "128", "WindowWidth": "200", "RescaleSlope": "1", "RescaleIntercept": "0"},
    "useless window": {"WindowCenter": "128", "WindowWidth": "0", "RescaleSlope": "2"},
    "patient": {
        "PatientName": "Doe^Jane",
        "PatientID": "7",
        "PatientSex": "F",
        "StudyDate": "20200102",
        "StudyID": "1",
    },
}


def write_source(folder: Path, **tags) -> Path:
    """A DICOM radiograph with the UIDs that others refer to."""
    identity = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    return write_dicom(folder / "a.dcm", PIXELS, bits=8, **(identity | tags))


def upright_masks(shape: tuple[int, int]) -> dict[str, np.ndarray]:
    """Two lungs, one with a hole, and a heart between them, upright, for 96 to 128 rows and columns."""
    masks = {structure: np.zeros(shape, bool) for structure in ("lungs", "heart")}
    masks["lungs"][10:70, 8:38] = True
    masks["lungs"][20:30, 15:25] = False
    masks["lungs"][12:66, 55:86] = True
    masks["heart"][40:72, 33:63] = True
    return masks


def results(source: Path, **changes) -> Segmentation:
    """What might have been found in a radiograph."""
    radiograph = read_radiograph(source)
    orientation = radiograph.orientation
    shape = (COLUMNS, ROWS) if orientation.transpose else (ROWS, COLUMNS)
    upright = upright_masks(shape)
    spacing = radiograph.spacing
    if spacing is not None and orientation.transpose:
        spacing = (spacing[1], spacing[0])
    found = Segmentation(
        radiograph=radiograph,
        masks={name: stored(mask, orientation) for name, mask in upright.items()},
        confidences={"lungs": 0.98, "heart": 0.9},
        agreements={},
        measurements=measure(upright, spacing),
        warnings=["heart unusually wide for the thorax (0.90; usual 0.30 to 0.60)"],
        versions={"lungs": "1.2.3", "heart": "4.5.6"},
        checksums={name: hashlib.sha256(name.encode()).hexdigest() for name in upright},
        identity="0123456789abcdef",
    )
    return replace(found, **changes)


def stored(upright: np.ndarray, orientation) -> np.ndarray:
    """An upright picture as it lies in its file; found by trying, not by the formula that is tested."""
    rows, columns = upright.shape[::-1] if orientation.transpose else upright.shape
    numbers = orientation.apply(np.arange(rows * columns).reshape(rows, columns))
    lying = np.empty(rows * columns, upright.dtype)
    lying[numbers.ravel()] = upright.ravel()
    return lying.reshape(rows, columns)


def output_of(program: str, *arguments) -> str:
    """All that a program says; the test is skipped where it is not installed."""
    places = [str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    found = shutil.which(program, path=os.pathsep.join(places))
    if found is None:
        pytest.skip(f"{program} is not installed: apt-get install dicom3tools dcmtk, pip install dcmqi")
    done = subprocess.run([found, *map(str, arguments)], capture_output=True, text=True, errors="replace", timeout=60)
    return done.stdout + done.stderr
