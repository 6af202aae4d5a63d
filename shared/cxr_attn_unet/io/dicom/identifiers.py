"""Who a DICOM radiograph is of: for tables in which that was asked for, and nowhere else."""

from __future__ import annotations

import os

import pydicom

from ..silence import without_warnings
from .read import is_dicom, opened

__all__ = ["IDENTIFIERS", "read_identifiers"]

# columns of tables, and the elements of the header that they hold
IDENTIFIERS = {
    "patient_id": "PatientID",
    "patient_name": "PatientName",
    "accession_number": "AccessionNumber",
    "study_instance_uid": "StudyInstanceUID",
    "series_instance_uid": "SeriesInstanceUID",
    "sop_instance_uid": "SOPInstanceUID",
}


@without_warnings()
def read_identifiers(path: str | os.PathLike) -> dict[str, str]:
    """The identifiers in a file's header, by column; none of a file of another kind or one that cannot be read."""
    name = os.fspath(path)
    if not is_dicom(name):
        return {}
    found = {}
    try:
        with opened(name) as file:
            header = pydicom.dcmread(
                file, stop_before_pixels=True, force=True, specific_tags=list(IDENTIFIERS.values())
            )
        for column, keyword in IDENTIFIERS.items():
            value = header.get(keyword)
            if value:
                found[column] = str(value)
    except Exception:  # pydicom raises many kinds for a damaged file
        return {}
    return found
