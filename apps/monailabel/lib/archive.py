"""Radiographs and final labels in a DICOMweb archive: labels are Segmentations, written by this package."""

from __future__ import annotations

import hashlib
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pydicom
from fastapi import HTTPException
from monailabel.config import settings
from monailabel.datastore.local import LocalDatastore
from monailabel.interfaces.datastore import DefaultLabelTag
from PIL import Image

from cxr_attn_unet import __version__
from cxr_attn_unet.dicom_network.peers import Credentials, PeerError, Tls, parse_address
from cxr_attn_unet.dicom_network.web import Query, Reference, WebArchive
from cxr_attn_unet.files import written
from cxr_attn_unet.io import RadiographError, read_labels
from cxr_attn_unet.output import label_map
from cxr_attn_unet.output.dicom_identity import FRESH
from cxr_attn_unet.output.dicom_seg import write_dicom_seg
from cxr_attn_unet.structures import REGISTRY, label_values

from .labels import write_label

__all__ = ["ArchiveDatastore", "ArchivedLabel", "archive_query"]

MODALITIES = ("DX", "CR")
SEARCHED = ("Modality", "BodyPartExamined", "StudyDate")
MADE_BY_NOBODY = "AUTOMATIC"  # of a segment, PS3.3 C.8.20.2: no person has looked at it
NOT_FOUND, UNPROCESSABLE, NOT_IMPLEMENTED, BAD_GATEWAY = 404, 422, 501, 502


@dataclass(frozen=True)
class ArchivedLabel:
    """A Segmentation in the archive that a person has looked at.

    Attributes:
        reference: its UIDs.
        radiograph: SOP Instance UID of what it lies over.
        made: date and time, which sort as text.
        segments: number of the segment, by structure.
    """

    reference: Reference
    radiograph: str
    made: str
    segments: Mapping[str, int]

    @classmethod
    def from_header(cls, reference: Reference, header: pydicom.Dataset) -> ArchivedLabel | None:
        """The label of a Segmentation's header; ``None`` if it is none, or lies over more than one image."""
        series = header.get("ReferencedSeriesSequence") or []
        instances = [one for entry in series for one in entry.get("ReferencedInstanceSequence") or []]
        segments = {}
        for segment in header.get("SegmentSequence") or []:
            structure = _structure_of(segment)
            if structure and segment.get("SegmentAlgorithmType") != MADE_BY_NOBODY:
                segments[structure] = int(segment.SegmentNumber)
        if len(instances) != 1 or not segments:
            return None
        made = f"{header.get('ContentDate') or ''}{header.get('ContentTime') or ''}"
        return cls(reference, str(instances[0].ReferencedSOPInstanceUID), made, segments)


def _structure_of(segment: pydicom.Dataset) -> str | None:
    """By its code; ``None`` of others, and of parts, such as the right lung."""
    for kind in segment.get("SegmentedPropertyTypeCodeSequence") or []:
        if kind.get("SegmentedPropertyTypeModifierCodeSequence"):
            return None
        for structure in REGISTRY.values():
            if structure.code is not None and structure.code.value == kind.get("CodeValue"):
                return structure.name
    return None


def archive_query(filters: Mapping[str, Any] | None = None) -> Query:
    """What is searched for, from MONAI Label's ``MONAI_LABEL_DICOMWEB_SEARCH_FILTER``.

    Args:
        filters: by keyword, a text or several; radiographs (DX and CR) if there is no modality among them.

    Raises:
        ValueError: a keyword that is not searched by.
    """
    filters = filters or {}
    unknown = sorted(set(filters) - set(SEARCHED))
    if unknown:
        raise ValueError(
            f"MONAI_LABEL_DICOMWEB_SEARCH_FILTER: not searched by {', '.join(unknown)}; choose among "
            f"{', '.join(SEARCHED)}"
        )
    modalities = _texts(filters.get("Modality")) or MODALITIES
    return Query(modalities, _texts(filters.get("BodyPartExamined")), str(filters.get("StudyDate", "")))


def _texts(value: Any) -> tuple[str, ...]:
    if not value:
        return ()
    return (value,) if isinstance(value, str) else tuple(str(one) for one in value)


@contextmanager
def _archive_errors() -> Iterator[None]:
    """Within, what goes wrong with the archive is an answer with its reason."""
    try:
        yield
    except PeerError as error:
        raise HTTPException(status_code=BAD_GATEWAY, detail=f"the archive: {error}") from error


class ArchiveDatastore(LocalDatastore):
    """A DICOMweb archive as MONAI Label's datastore.

    An image is a series, by its UID, as MONAI Label's clients name it; of a series with several radiographs it is the
    one with the first UID. Radiographs are kept in a folder on this machine once they were asked for, and so are labels
    that are not final. Final labels are Segmentations in the archive; what a program alone has made is none. The latest
    one of a structure counts, so a label of one structure leaves those of others as they are.

    Args:
        address: of the archive, such as ``https://archive.example/dicom-web``.
        query: which radiographs.
        credentials: who we are.
        cache: folder; there is one for each address below it.

    Raises:
        ValueError: the address is none.
    """

    def __init__(self, address: str, query: Query, credentials: Credentials, cache: Path) -> None:
        parsed = parse_address(address)
        self._address = parsed.url
        self._archive = WebArchive(parsed, credentials, Tls())
        self._query = query
        self._known: dict[Reference, ArchivedLabel | None] = {}
        self._fetching = threading.Lock()
        folder = cache / hashlib.sha256(parsed.url.encode()).hexdigest()[:32]
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)  # patients' radiographs
        super().__init__(str(folder), extensions=("*.dcm",), auto_reload=False)
        self._segmentations = folder / "segmentations"
        self._masks = folder / "masks"

    @classmethod
    def from_settings(cls, address: str) -> ArchiveDatastore:
        """The archive with the filter, the user and the folder of MONAI Label's settings."""
        filters = settings.MONAI_LABEL_DICOMWEB_SEARCH_FILTER
        default = type(settings).model_fields["MONAI_LABEL_DICOMWEB_SEARCH_FILTER"].default  # CT
        credentials = Credentials(settings.MONAI_LABEL_DICOMWEB_USERNAME, settings.MONAI_LABEL_DICOMWEB_PASSWORD)
        cache = settings.MONAI_LABEL_DICOMWEB_CACHE_PATH or Path.home() / ".cache" / "monailabel" / "radiographs"
        query = archive_query({} if filters == default else filters)
        return cls(address, query, credentials, Path(cache).absolute())

    def name(self) -> str:
        """The address."""
        return self._address

    def _radiographs(self) -> dict[str, Reference]:
        """By series UID."""
        with _archive_errors():
            found = self._archive.search(self._query)
        chosen: dict[str, Reference] = {}
        for reference in sorted(found, key=lambda one: one.instance_uid):
            chosen.setdefault(reference.series_uid, reference)
        return chosen

    def _labels(self) -> dict[str, dict[str, ArchivedLabel]]:
        """The final labels that count: by series UID of the radiograph and structure."""
        series = {reference.instance_uid: uid for uid, reference in self._radiographs().items()}
        found = []
        with _archive_errors():
            for reference in self._archive.search(Query(("SEG",), (), self._query.dates)):
                if reference not in self._known:
                    header = self._archive.header(reference)
                    self._known[reference] = ArchivedLabel.from_header(reference, header)
                label = self._known[reference]
                if label is not None and label.radiograph in series:
                    found.append(label)
        labels: dict[str, dict[str, ArchivedLabel]] = {}
        for label in sorted(found, key=lambda one: one.made):
            of_image = labels.setdefault(series[label.radiograph], {})
            of_image.update(dict.fromkeys(label.segments, label))
        return labels

    def list_images(self) -> list[str]:
        """Series UIDs of the radiographs that are in the archive now."""
        return list(self._radiographs())

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Those with a final label."""
        return list(self._labels())

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        """Those without a final label."""
        labelled = self._labels()
        return [image for image in self.list_images() if image not in labelled]

    def get_image_uri(self, image_id: str) -> str:
        """The radiograph as a DICOM file on this machine."""
        if image_id not in self._datastore.objects:
            with self._fetching:
                self._fetch(image_id)
        return super().get_image_uri(image_id)

    def _fetch(self, image_id: str) -> None:
        """Bring a radiograph onto this machine."""
        if image_id in self._datastore.objects:  # by another request, which this one waited for
            return
        reference = self._radiographs().get(image_id)
        if reference is None:
            raise HTTPException(NOT_FOUND, f"{image_id}: the archive has no radiograph of this series UID")
        with _archive_errors():
            content = self._archive.fetch(reference)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "radiograph.dcm"
            path.write_bytes(content)
            super().add_image(image_id, str(path), {"StudyInstanceUID": reference.study_uid})

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        """A label as a file; a final one as NRRD, a map of all its structures."""
        if label_tag != DefaultLabelTag.FINAL:
            return super().get_label_uri(label_id, label_tag)
        labels = self._labels().get(label_id)
        if not labels:
            return ""
        masks = {structure: self._mask(label, structure) for structure, label in labels.items()}
        file = Path(write_label(label_map(masks), self.get_image_uri(label_id), ".nrrd"))
        target = Path(self._datastore.label_path(label_tag)) / f"{label_id}.nrrd"
        with written(target) as temporary:
            temporary.write_bytes(file.read_bytes())
        file.unlink()
        return str(target)

    def _mask(self, label: ArchivedLabel, structure: str) -> np.ndarray:
        """``(rows, columns)`` bool."""
        import highdicom as hd

        path = self._segmentations / f"{label.reference.instance_uid}.dcm"
        if not path.is_file():
            with _archive_errors(), written(path) as temporary:
                temporary.write_bytes(self._archive.fetch(label.reference))
        planes = hd.seg.segread(path).get_pixels_by_source_instance(
            [label.radiograph],
            segment_numbers=[label.segments[structure]],
            ignore_spatial_locations=True,
            assert_missing_frames_are_empty=True,
        )
        return planes[0, ..., 0] > 0

    def masks_of(self, structure: str) -> list[dict[str, str]]:
        """What a structure's network can be trained on: paths of ``image`` and ``label``, a PNG of 0 and 255."""
        pairs = []
        for image, labels in self._labels().items():
            if structure in labels:
                path = self._masks / structure / f"{image}.png"
                mask = self._mask(labels[structure], structure)
                with written(path) as temporary:
                    Image.fromarray(mask.astype(np.uint8) * 255).save(temporary)
                pairs.append({"image": self.get_image_uri(image), "label": str(path)})
        return pairs

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        """Paths of the radiographs with a final label, and of these, see :meth:`get_label_uri`."""
        pairs = []
        for image in self.get_labeled_images():
            paths = {"image": self.get_image_uri(image), "label": self.get_label_uri(image, DefaultLabelTag.FINAL)}
            if not full_path:
                paths = {key: str(Path(path).relative_to(self._datastore_path)) for key, path in paths.items()}
            pairs.append(paths)
        return pairs

    def save_label(self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any]) -> str:
        """Store a final label in the archive, as a Segmentation; another one on this machine.

        Args:
            image_id: series UID of the radiograph.
            label_filename: a mask or a label map over its pixels.
            label_tag: ``final``, or another.
            label_info: ``label_names``, the values by structure, or ``label_info``, a list of ``name`` and ``idx``.
        """
        radiograph = self.get_image_uri(image_id)
        if label_tag != DefaultLabelTag.FINAL:
            return super().save_label(image_id, label_filename, label_tag, label_info)
        try:
            masks = _masks_in(read_labels(label_filename), label_info)
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "label.dcm"
                write_dicom_seg(path, radiograph, masks, __version__, uids=FRESH, reviewed=True)
                with _archive_errors():
                    self._archive.store([path])
        except RadiographError as error:
            raise HTTPException(UNPROCESSABLE, str(error)) from error
        return image_id

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        """The labels of a radiograph, by tag."""
        labels = dict(super().get_labels_by_image_id(image_id))
        if image_id in self._labels():
            labels[DefaultLabelTag.FINAL.value] = image_id
        return labels

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        """What is known of a label; of a final one its structures' values, and UIDs of their Segmentations."""
        if label_tag != DefaultLabelTag.FINAL:
            return super().get_label_info(label_id, label_tag)
        return _info(self._labels().get(label_id, {}))

    def status(self) -> dict[str, Any]:
        """How many radiographs and labels there are."""
        found = super().status()
        found["label_tags"][DefaultLabelTag.FINAL.value] = found["completed"]
        return found

    def json(self) -> dict[str, Any]:
        """All radiographs of the archive with their labels."""
        found = super().json()
        labels = self._labels()
        objects = {}
        for image in self.list_images():
            entry = found["objects"].get(image) or {"image": {"ext": ".dcm", "info": {}}, "labels": {}}
            if image in labels:
                final = {"ext": ".nrrd", "info": _info(labels[image])}
                entry["labels"] = {**entry["labels"], DefaultLabelTag.FINAL.value: final}
            objects[image] = entry
        return {**found, "objects": objects}

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Refused: radiographs come to the archive in other ways."""
        _refuse("a radiograph is not added here; send it to the archive")

    def remove_image(self, image_id: str) -> None:
        """Refused: the archive keeps what it has."""
        _refuse("a radiograph is not removed here; remove it in the archive")

    def remove_label(self, label_id: str, label_tag: str) -> None:
        """Remove a label from this machine; a final one is refused."""
        if label_tag == DefaultLabelTag.FINAL:
            _refuse("a final label is not removed here; remove its Segmentation in the archive, or send a better one")
        super().remove_label(label_id, label_tag)


def _refuse(text: str) -> NoReturn:
    raise HTTPException(NOT_IMPLEMENTED, text)


def _info(labels: Mapping[str, ArchivedLabel]) -> dict[str, Any]:
    uids = {structure: label.reference.instance_uid for structure, label in labels.items()}
    return {"label_names": label_values(labels) if labels else {}, "segmentations": uids}


def _masks_in(labels: np.ndarray, info: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The structures of a label map.

    Args:
        labels: ``(rows, columns)``; 0 is background.
        info: see :meth:`ArchiveDatastore.save_label`.

    Returns:
        by structure, ``(rows, columns)`` bool. With one name, all that is not background.

    Raises:
        RadiographError: a value has no name, or a name no code.
    """
    names = _names(info)
    unknown = sorted(name for name in names if name not in REGISTRY)
    values = sorted(int(value) for value in np.unique(labels) if value)
    if not names or unknown:
        raise RadiographError(
            f"a final label with the names {', '.join(names) or '(none)'} cannot be stored. Send label_names, such as "
            f'{{"label_names": {{"heart": 1}}}}, of {", ".join(REGISTRY)}.'
        )
    if len(names) == 1:
        return dict.fromkeys(names, labels != 0)
    nameless = [value for value in values if value not in names.values()]
    if nameless:
        raise RadiographError(f"a final label has the values {nameless}, which label_names does not name: {names}.")
    return {name: labels == value for name, value in names.items()}


def _names(info: Mapping[str, Any]) -> dict[str, int]:
    """Values by structure."""
    names = {str(name): int(value) for name, value in (info.get("label_names") or {}).items()}
    entries: Sequence[Mapping[str, Any]] = info.get("label_info") or []
    for position, entry in enumerate(entries, 1):
        names.setdefault(str(entry.get("name")), int(entry.get("idx", position)))
    return {name: value for name, value in names.items() if value and name != "background"}
