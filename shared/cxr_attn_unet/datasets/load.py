"""From a folder to a checked data list with a fixed split."""

from __future__ import annotations

import csv
import json
import logging
import os
import random
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from ..files import as_path
from ..io.partial import is_ignore_value
from . import eos_drr_ribs, folder, jsrt, jsrt_bse_ribs, montgomery_shenzhen, vindr_ribcxr, wingspan
from .checks import DatasetError, Report, check_items

__all__ = ["LAYOUTS", "data_folder", "find_items", "inspect_data", "load_data", "names_of", "split_items", "split_of"]

logger = logging.getLogger(__name__)

# Tried in this order; the first that recognises its files reads the folder.
LAYOUTS = {
    "jsrt_bse_ribs": jsrt_bse_ribs,  # before jsrt, whose file names it shares
    "jsrt": jsrt,
    "montgomery_shenzhen": montgomery_shenzhen,
    "vindr_ribcxr": vindr_ribcxr,
    "eos_drr_ribs": eos_drr_ribs,
    "wingspan": wingspan,
    "folder": folder,
}
# which may have files of their own that say who is who, and what masks do not say
IMAGES_AND_MASKS = (wingspan, folder)
DATA_VARIABLE = "CXR_DATA"
VALIDATION_SHARE = 0.1
PATIENTS_FILE = "patients.csv"
SPLIT_FILE = "split.json"
MASK_VALUES_FILE = "mask_values.json"
LAYOUT_HELP = (
    "Expected one of: the JSRT radiographs (JPCLN001.IMG or PNG copies) with the SCR folders masks/ORGAN/*.gif; the "
    "Montgomery and Shenzhen radiographs (CXR_png) with their lung masks; VinDr-RibCXR with its JSON files; the EOS "
    "DRRs (images/, labels/); the JSRT rib labels (jsrt_bse_ribs/masks, with jsrt beside it); a folder with images/ "
    "and masks/STRUCTURE/ of the same file names, such as Wingspan, and with mask_values.json where masks say nothing "
    'about some pixels, such as {"ignore": 128}; a folder that holds several of these as '
    f"{', '.join(name for name in LAYOUTS if name != 'folder')}; or a data list (.json)."
)


def data_folder(bundle_root: str | os.PathLike) -> str:
    """Where a bundle's data are unless ``--dataset_dir`` says so: ``CXR_DATA``, or ``data`` in the bundle."""
    return os.environ.get(DATA_VARIABLE) or os.path.join(bundle_root, "data")


def names_of(items: Sequence[Mapping[str, Any]]) -> str:
    """Names of the data sets of some items, such as ``jsrt``, joined by ``_``; ``list`` for items without a name."""
    return "_".join(dict.fromkeys(_dataset_of(item) for item in items))


def _dataset_of(item: Mapping[str, Any]) -> str:
    return item.get("dataset", "list")


def find_items(dataset_dir: str | os.PathLike, structure: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Pair the radiographs under a folder with their masks of one structure, without reading them.

    Args:
        dataset_dir: a data set's folder, or one that holds data sets under their names (``jsrt``,
            ``jsrt_bse_ribs``, ``montgomery_shenzhen``, ``vindr_ribcxr``, ``eos_drr_ribs``, ``wingspan``); of these all
            that have the structure are taken.
        structure: ``heart``, ``lungs``, ``ribs``, ``clavicles`` or the name of a folder of masks.

    Returns:
        items ``{"image": path, "label": path or paths, "id": name, "dataset": the layout's name}``, by id, with
        ``field_of_view_mm`` where it is known, ``parts`` (a file that says which part lies where), ``section`` or
        ``patient`` where the data set states it, and ``ignore_value`` where its masks have pixels that say nothing;
        and the problems found: missing or doubled masks and radiographs.

    Raises:
        DatasetError: no folder, no readable layout in it, or no mask of this structure at all.
    """
    root = _path(dataset_dir)
    if not root.is_dir():
        raise DatasetError(
            f"{root}: no such folder. Name the data set's folder with --dataset_dir or the environment variable "
            "CXR_DATA."
        )
    # only a folder that holds several data sets is searched by the data sets' names
    roots = [root / name for name in LAYOUTS if name != "folder" and (root / name).is_dir()] or [root]
    items, problems, without = [], [], []
    for place in roots:
        files = sorted(path for path in place.rglob("*") if path.is_file())
        for name, layout in LAYOUTS.items():
            found = layout.find(files, structure)
            if not found:
                continue
            if any(all(entry["masks"]) and entry["masks"] for entry in found.values()):
                own_items, own_problems = _pair(found, structure, name)
                if layout in IMAGES_AND_MASKS:
                    own_items = _with_mask_values(_with_places(own_items, place), place)
                items += own_items
                problems += own_problems
            else:
                without.append(f"{len(found)} radiographs ({name} layout)")
            break
    if not items and not problems:
        if without:
            raise DatasetError(
                f"{root}: {', '.join(without)} but no mask of the structure '{structure}'. {LAYOUT_HELP}"
            )
        raise DatasetError(f"{root}: no radiographs with masks found here. {LAYOUT_HELP}")
    return items, problems


def _pair(found: dict[str, dict], structure: str, name: str) -> tuple[list[dict[str, Any]], list[str]]:
    """Items of the radiographs that have one file of each kind, and what is wrong with the others."""
    items: list[dict[str, Any]] = []
    problems: list[str] = []
    left_out = 0
    for image_id, entry in sorted(found.items()):
        masks = entry["masks"]
        if entry.get("optional") and not any(masks):
            left_out += 1
        elif not entry["images"]:
            problems.append(f"{masks[0][0]}: no radiograph {image_id} for this mask. Add it, or take the mask out.")
        elif not masks or not all(masks):
            problems.append(f"{entry['images'][0]}: no {structure} mask. Add it, or take the radiograph out.")
        elif doubled := [path for paths in (entry["images"], *masks) if len(paths) > 1 for path in paths]:
            problems.append(f"{image_id}: more than one file of this name: {', '.join(doubled)}. Keep one of them.")
        else:
            items.append(_item(image_id, entry, name))
    if left_out:
        logger.info(f"{name}: {left_out} radiographs without a {structure} mask are left out.")
    return items, problems


def _item(image_id: str, entry: Mapping[str, Any], dataset: str) -> dict[str, Any]:
    """Item of a radiograph that has one file of each kind."""
    masks = [paths[0] for paths in entry["masks"]]
    item = {
        "image": entry["images"][0],
        "label": masks[0] if len(masks) == 1 else masks,
        "id": image_id,
        "dataset": dataset,
    }
    if "field_of_view_mm" in entry:
        item["field_of_view_mm"] = list(entry["field_of_view_mm"])
    if entry.get("parts"):
        item["parts"] = entry["parts"][0]
    for key in ("section", "ignore_value", "parts_coding"):
        if key in entry:
            item[key] = entry[key]
    return item


def _with_places(items: list[dict[str, Any]], root: Path) -> list[dict[str, Any]]:
    """Add ``patient`` and ``section`` from a folder's own ``patients.csv`` (id,patient) and ``split.json``."""
    names = {item["id"] for item in items}
    if (root / PATIENTS_FILE).is_file():
        patients = _read_patients(root / PATIENTS_FILE, names)
        items = [{**item, "patient": patients[item["id"]]} for item in items]
    if (root / SPLIT_FILE).is_file():
        validation = _read_validation(root / SPLIT_FILE, names)
        items = [{**item, "section": "validation" if item["id"] in validation else "training"} for item in items]
    return items


def _with_mask_values(items: list[dict[str, Any]], root: Path) -> list[dict[str, Any]]:
    """Add ``ignore_value`` from a folder's own ``mask_values.json``."""
    path = root / MASK_VALUES_FILE
    if not path.is_file():
        return items
    listed = _read_json(path)
    if not isinstance(listed, dict) or not is_ignore_value(listed.get("ignore")):
        raise DatasetError(f'{path}: expected {{"ignore": a value of the masks other than 0}}. Write it so.')
    return [{**item, "ignore_value": listed["ignore"]} for item in items]


def _read_patients(path: Path, names: Iterable[str]) -> dict[str, str]:
    """Patient of each radiograph, from a table with the columns ``id`` and ``patient``."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"id", "patient"} <= set(rows[0]):
        raise DatasetError(f"{path}: needs the columns id (a radiograph's name) and patient. Add them.")
    patients = {row["id"]: row["patient"] for row in rows}
    missing = sorted(name for name in names if not patients.get(name))
    if missing:
        raise DatasetError(f"{path}: no patient for {', '.join(missing[:10])}. Add a line for each.")
    return patients


def _read_validation(path: Path, names: Iterable[str]) -> set[str]:
    """Names of the radiographs to validate on, from ``{"validation": [names]}``."""
    listed = _read_json(path)
    if not isinstance(listed, dict) or not isinstance(listed.get("validation"), list):
        raise DatasetError(f'{path}: expected {{"validation": [names]}}. Write it so.')
    validation = set(listed["validation"])
    unknown = sorted(validation.difference(names))
    if unknown:
        raise DatasetError(f"{path}: no radiographs {', '.join(unknown[:10])} here. Correct the names.")
    return validation


def split_of(dataset: str) -> dict[str, Any] | None:
    """The split of a data set, which may be that of another one with the same radiographs; ``None`` if it has none."""
    name = getattr(LAYOUTS.get(dataset), "SPLIT", dataset)
    path = resources.files(__package__) / "splits" / f"{name}.json"
    if not path.is_file():
        return None
    return json.loads(path.read_text(encoding="utf-8"))


def split_items(items: list[dict[str, Any]], seed: int = 0) -> dict[str, list[dict[str, Any]]]:
    """Split items into ``training``, ``validation`` and, where the data set has one, ``testing`` by patient.

    JSRT (and the rib labels of its radiographs), Montgomery with Shenzhen, the DRRs and Wingspan are split by the files
    ``splits/*.json`` of this package, whatever part of them is present; VinDr-RibCXR as its owners do. Other folders
    follow their own ``split.json``; or else they are split 90/10 by a seeded shuffle of their patients, by
    ``patients.csv``, or of their radiographs.

    A split file lists the ids of ``validation`` and may state ``training_size``: radiographs in neither of its lists
    then fill ``training`` up to that number, in the order of their ids, and the others are ``testing``.

    Args:
        items: from :func:`find_items`.
        seed: of the shuffle.
    """
    sections: dict[str, list[dict[str, Any]]] = {"training": [], "validation": [], "testing": []}
    for name in dict.fromkeys(item["dataset"] for item in items):
        own = [item for item in items if item["dataset"] == name]
        split = split_of(name)
        if all("section" in item for item in own):
            section_of = {item["id"]: item["section"] for item in own}
        elif split is not None:
            section_of = _by_file([item["id"] for item in own], split)
        else:
            section_of = _by_patient(own, seed)
        for item in own:
            sections[section_of[item["id"]]].append(item)
    if not sections["testing"]:
        del sections["testing"]
    return sections


def _by_file(ids: list[str], split: dict[str, Any]) -> dict[str, str]:
    section_of = dict.fromkeys(split["validation"], "validation")
    section_of |= dict.fromkeys(split.get("training", ()), "training")
    left = split.get("training_size", len(ids)) - len(split.get("training", ()))
    for name in sorted(set(ids) - set(section_of)):
        section_of[name] = "training" if left > 0 else "testing"
        left -= 1
    return section_of


def _by_patient(items: list[dict[str, Any]], seed: int) -> dict[str, str]:
    patients = sorted({_patient_of(item) for item in items})
    random.Random(seed).shuffle(patients)
    count = 0
    if len(patients) > 1:
        count = max(1, round(VALIDATION_SHARE * len(patients)))
    validation = set(patients[:count])
    return {item["id"]: "validation" if _patient_of(item) in validation else "training" for item in items}


def _patient_of(item: Mapping[str, Any]) -> str:
    return item.get("patient", item["id"])


def inspect_data(
    dataset_dir: str | os.PathLike | Sequence[str | os.PathLike], structure: str
) -> tuple[dict[str, list[dict[str, Any]]], Report]:
    """Data list of one or more data sets and what reading all of it showed, wrong or not.

    Args:
        dataset_dir: see :func:`load_data`.
        structure: see :func:`find_items`.

    Returns:
        the data list; the report, with one ``facts`` for each item of its sections, one after the other.

    Raises:
        DatasetError: there is nothing to read.
    """
    data, problems = _sections(dataset_dir, structure)
    report = check_items([item for items in data.values() for item in items], structure, LAYOUTS)
    report.problems[:0] = problems
    return data, report


class Sections(dict[str, list[dict[str, Any]]]):
    """Items by section; one that is not there is an error that says which are."""

    def __missing__(self, name: str) -> list[dict[str, Any]]:
        raise DatasetError(f"no section '{name}' in this data set. Choose one of: {', '.join(self)}.")


def load_data(
    dataset_dir: str | os.PathLike | Sequence[str | os.PathLike], structure: str, check: bool = True
) -> dict[str, list[dict[str, Any]]]:
    """Data list of one or more data sets: found, checked and split by patient.

    Args:
        dataset_dir: see :func:`find_items`; or a data list (``.json``) that this function's result was written to; or
            a list of these, which are joined.
        structure: see :func:`find_items`.
        check: decode every file first, so that a bad one is named before hours are spent.

    Returns:
        ``{"training": [...], "validation": [...]}`` and perhaps ``testing``, of items as :func:`find_items` gives them.

    Raises:
        DatasetError: one list of everything that is wrong.
    """
    if check:
        data, report = inspect_data(dataset_dir, structure)
        problems = report.problems
        for warning in report.warnings:
            logger.warning(warning)
    else:
        data, problems = _sections(dataset_dir, structure)
    items = [item for section in data.values() for item in section]
    where = ", ".join(map(str, _places(dataset_dir)))
    if problems:
        raise DatasetError(
            f"{where}: {len(problems)} problems in {len(items)} pairs of radiograph and {structure} mask:\n  "
            + "\n  ".join(problems)
        )
    names = ", ".join(dict.fromkeys(map(_dataset_of, items)))
    logger.info(
        f"{where} ({names}): {len(data['training'])} radiographs to train on, {len(data['validation'])} to validate on."
    )
    return Sections(data)


def _places(dataset_dir: str | os.PathLike | Sequence[str | os.PathLike]) -> list[str | os.PathLike]:
    if isinstance(dataset_dir, Sequence) and not isinstance(dataset_dir, str):
        return list(dataset_dir)
    return [dataset_dir]


def _path(place: Any) -> Path:
    try:
        return as_path(place)
    except ValueError as error:
        raise DatasetError(str(error)) from error


def _sections(
    dataset_dir: str | os.PathLike | Sequence[str | os.PathLike], structure: str
) -> tuple[dict[str, list[dict[str, Any]]], list[str]]:
    data: dict[str, list[dict[str, Any]]] = {"training": [], "validation": []}
    problems: list[str] = []
    for place in _places(dataset_dir):
        if str(place).endswith(".json"):
            sections = _read_list(_path(place))
        else:
            items, found = find_items(place, structure)
            problems += found
            sections = split_items(items)
        for section, items in sections.items():
            data.setdefault(section, []).extend(items)
    return data, problems


def _read_list(path: Path) -> dict[str, list[dict[str, Any]]]:
    if not path.is_file():
        raise DatasetError(f"{path}: no such file. Write it with python -m cxr_attn_unet.datasets --output.")
    data = _read_json(path)
    if not isinstance(data, dict) or not {"training", "validation"} <= set(data):
        raise DatasetError(f'{path}: not a data list {{"training": [...], "validation": [...]}}. Write it again.')
    for items in data.values():
        if not all(isinstance(item, dict) and {"image", "label"} <= set(item) for item in items):
            raise DatasetError(f"{path}: an item has no image or no label. Write the list again.")
    return data


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise DatasetError(f"{path}: not JSON ({error}). Write it again.") from error
