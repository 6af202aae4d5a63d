"""What the service answers, as clients get it; the models also make the OpenAPI description."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

__all__ = [
    "About",
    "Anchor",
    "Health",
    "Line",
    "Measured",
    "PartFound",
    "Picture",
    "Result",
    "Status",
    "StructureFound",
    "StructureKnown",
    "Text",
]

Anchor = Literal["start", "middle", "end"]
Outlines = list[list[tuple[float, float]]]

OUTLINES = (
    "Closed lines of (x, y) on the upright mask, from 0 0, its top left corner, to its columns and rows; holes have "
    "lines of their own"
)


class StructureKnown(BaseModel):
    """A structure that this server segments."""

    name: str
    title: str
    colour: str = Field(description="As in CSS, such as #56b4e9")
    version: str = Field(description="Of the weights")
    checksum: str = Field(description="SHA-256 of the weights")
    parts: int = Field(description="Parts that are told apart, such as 24 ribs; 0 if none")


class About(BaseModel):
    """What this server is."""

    version: str
    structures: list[StructureKnown]
    max_bytes: int
    max_pixels: int
    waiting: int = Field(description="Radiographs that may wait at a time")
    seconds: float = Field(description="That one radiograph may take")
    keep_seconds: float = Field(description="That results stay after they were last asked for")
    kept_on_disk: bool = Field(description="Whether radiographs and results are also kept as files")
    dicom: bool = Field(description="Whether DICOM results can be written")


class Health(BaseModel):
    """Whether the service works."""

    status: Literal["ok", "starting"]
    waiting: int


class Text(BaseModel):
    """A name on the picture."""

    text: str
    x: float
    y: float
    anchor: Anchor


class PartFound(BaseModel):
    """A part of a structure, such as a rib."""

    name: str
    title: str
    outlines: Outlines = Field(description=OUTLINES)
    label: Text | None = None


class StructureFound(BaseModel):
    """A structure in a radiograph."""

    name: str
    title: str
    colour: str
    confidence: float = Field(description="0 to 1: the Dice to expect of the mask")
    unreliable: str = Field(description="Why nothing should be measured on the mask; empty if nothing is wrong")
    outlines: Outlines = Field(description=OUTLINES)
    parts: list[PartFound]


class Line(BaseModel):
    """A diameter on the upright mask."""

    name: str
    y: float
    x1: float
    x2: float


class Measured(BaseModel):
    """A measurement; the value is null where it could not be measured, or was withheld."""

    name: str
    label: str
    value: float | str | None
    unit: str
    decimals: int
    definition: str


class Picture(BaseModel):
    """The upright picture behind ``pixels``: unsigned 16-bit little-endian numbers, row by row.

    The file's own value of a number n is ``low + n / 65535 * (high - low)``; bone is bright.
    """

    rows: int
    columns: int
    low: float
    high: float
    window_low: float = Field(description="The 1st percentile of the file's values, which the networks see as black")
    window_high: float = Field(description="The 99th percentile, which they see as white")


class Result(BaseModel):
    """What was found in a radiograph."""

    rows: int = Field(description="Of the masks, as stored")
    columns: int
    upright_rows: int
    upright_columns: int
    spacing: tuple[float, float] | None = Field(description="Distance of rows and of columns as stored, in mm")
    spacing_source: str | None
    dicom: bool
    picture: Picture
    structures: list[StructureFound]
    diameters: list[Line]
    measurements: list[Measured]
    warnings: list[str]
    files: list[str] = Field(description="Names under .../files/")


class Status(BaseModel):
    """How far a radiograph is."""

    id: str
    state: Literal["waiting", "running", "done", "failed"]
    ahead: int = Field(description="Radiographs that come before this one")
    error: str | None = None
    result: Result | None = None
