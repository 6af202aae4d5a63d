"""What a file is by its first bytes, for messages about files that are not what their names say."""

from __future__ import annotations

__all__ = ["what_is"]

_BEGINNINGS: tuple[tuple[bytes, str, str], ...] = (
    (b"\x89PNG", "a PNG picture", "Name it .png"),
    (b"\xff\xd8\xff", "a JPEG picture", "Name it .jpg"),
    (b"II*\0", "a TIFF picture", "Name it .tif"),
    (b"MM\0*", "a TIFF picture", "Name it .tif"),
    (b"\x1f\x8b", "compressed with gzip", "Unpack it"),
    (b"PK\x03\x04", "a ZIP archive, or an office document", "Unpack it"),
    (b"%PDF", "a PDF document", "Export the picture in it"),
    (b"version https://git-lfs", "a pointer of Git LFS, without the picture", "Fetch it with git lfs pull"),
    (b"\x89HDF", "an HDF5 file", "Export the picture in it"),
    (b"\x93NUMPY", "an array of NumPy", "Save it as 16-bit grey PNG"),
)
_HEIF = (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypavif")


def what_is(path: str) -> tuple[str, str]:
    """What a file is, such as ``a DICOM file``, and what to do, such as ``Name it .dcm``; both empty if unknown."""
    with open(path, "rb") as file:
        head = file.read(512)
    if head[128:132] == b"DICM":
        return "a DICOM file", "Name it .dcm"
    if head[344:348] in (b"n+1\0", b"ni1\0"):
        return "a NIfTI file", "Name it .nii"
    if head[4:12] in _HEIF:
        return "a HEIF or AVIF picture", "Save it as PNG"
    for beginning, what, remedy in _BEGINNINGS:
        if head.startswith(beginning):
            return what, remedy
    if not head.strip(b"\0"):
        return "filled with zeros, such as a copy that was broken off", "Copy it again"
    if head.lstrip()[:1] == b"<":
        return "a web page or XML, such as a download that failed", "Download it again"
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        return "text", "Give the picture itself"
    return "", ""
