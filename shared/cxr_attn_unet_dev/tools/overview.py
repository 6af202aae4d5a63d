"""One picture of a folder of radiographs with their masks outlined."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cxr_attn_unet.figures import contact_sheet, overlay
from cxr_attn_unet.files import radiograph_stem
from cxr_attn_unet.io import RadiographError, list_radiographs, read_mask, read_radiograph


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m cxr_attn_unet_dev.tools.overview",
        description="Draw the outlines of masks on their radiographs, all on one sheet.",
        epilog="Example: python -m cxr_attn_unet_dev.tools.overview --images radiographs --masks eval "
        "--structures heart lungs --output overview.png",
    )
    parser.add_argument("--images", required=True, help="folder of radiographs")
    parser.add_argument("--masks", required=True, help="folder of masks named STEM_STRUCTURE.png")
    parser.add_argument("--structures", nargs="+", default=["heart"], help="which to draw (default: heart)")
    parser.add_argument("--output", required=True, help="PNG file to write")
    parser.add_argument("--limit", type=int, default=36, help="most radiographs to draw (default: 36)")
    parser.add_argument("--columns", type=int, help="radiographs per row (default: as square as possible)")
    options = parser.parse_args(arguments)
    tiles = []
    try:
        paths = [Path(path) for path in list_radiographs(options.images)]
        for path in paths[:: max(1, -(-len(paths) // options.limit))]:
            radiograph = read_radiograph(path)
            folder = Path(options.masks) / path.parent.relative_to(options.images)
            masks = [
                radiograph.orientation.apply(read_mask(folder / f"{radiograph_stem(path)}_{structure}.png"))
                for structure in options.structures
            ]
            tiles.append(overlay(radiograph.upright(), masks, path.name))
        if not tiles:
            raise RadiographError(f"{options.images}: no radiographs here. Name their folder with --images.")
    except RadiographError as error:
        print(error, file=sys.stderr)
        return 1
    contact_sheet(tiles, options.output, options.columns)
    print(Path(options.output).resolve())
    return 0


if __name__ == "__main__":
    sys.exit(main())
