"""What a file is by its first bytes, for messages about files that are not what their names say."""

from __future__ import annotations

__all__ = ["what_is"]

_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    (b"\x89PNG", "a PNG picture; name it .png"),
    (b"\xff\xd8\xff", "a JPEG picture; name it .jpg"),
    (b"II*\0", "a TIFF picture; name it .tif"),
    (b"MM\0*", "a TIFF picture; name it .tif"),
    (b"\x1f\x8b", "compressed with gzip; unpack it"),
    (b"PK\x03\x04", "a ZIP archive, or an office document; unpack it"),
    (b"%PDF", "a PDF document; export the picture in it"),
    (b"version https://git-lfs", "a pointer of Git LFS, without the picture; fetch it with git lfs pull"),
    (b"\x89HDF", "an HDF5 file; export the picture in it"),
    (b"\x93NUMPY", "an array of NumPy; save it as 16-bit grey PNG"),
)
_HEIF = (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypavif")


def what_is(path: str) -> str:
    """What a file is and what to do, in words such as ``a DICOM file; name it .dcm``; empty if nothing known."""
    with open(path, "rb") as file:
        head = file.read(512)
    if head[128:132] == b"DICM":
        return "a DICOM file; name it .dcm"
    if head[344:348] in (b"n+1\0", b"ni1\0"):
        return "a NIfTI file; name it .nii"
    if head[4:12] in _HEIF:
        return "a HEIF or AVIF picture; save it as PNG"
    for beginning, words in _BEGINNINGS:
        if head.startswith(beginning):
            return words
    if not head.strip(b"\0"):
        return "filled with zeros, such as a copy that was broken off; copy it again"
    if head.lstrip()[:1] == b"<":
        return "a web page or XML, such as a download that failed; download it again"
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        return "text; give the picture itself"
    return ""
