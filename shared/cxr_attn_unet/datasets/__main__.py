"""Check a data set and write its data list: ``python -m cxr_attn_unet.datasets --help``."""

from __future__ import annotations

import argparse
import json
import logging
import sys

from ..files import written
from ..io import RadiographError, read_mask, read_radiograph
from .checks import DatasetError
from .load import load_data


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m cxr_attn_unet.datasets",
        description="Check a data set of radiographs and masks, split it by patient, and write the data list.",
        epilog="Example: python -m cxr_attn_unet.datasets --dataset_dir JSRT --structure heart --sheet sheet.png",
    )
    parser.add_argument("--dataset_dir", required=True, help="JSRT with SCR, or a folder with images/ and masks/")
    parser.add_argument("--structure", required=True, help="heart, lungs, ribs, clavicles or a folder of masks")
    parser.add_argument("--output", help="write the data list here (JSON)")
    parser.add_argument("--sheet", help="write a contact sheet of 24 radiographs with outlines here (PNG)")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        data = load_data(options.dataset_dir, options.structure)
    except (DatasetError, RadiographError) as error:
        print(error, file=sys.stderr)
        return 1
    if options.output:
        with written(options.output) as path:
            path.write_text(json.dumps(data, indent=1), encoding="utf-8")
    if options.sheet:
        from ..figures import contact_sheet, overlay

        items = data["training"] + data["validation"]
        tiles = []
        for item in items[:: max(1, len(items) // 24)][:24]:
            radiograph = read_radiograph(item["image"])
            mask = radiograph.orientation.apply(read_mask(item["label"]))
            tiles.append(overlay(radiograph.upright(), [mask], title=item["id"]))
        contact_sheet(tiles, options.sheet)
    return 0


if __name__ == "__main__":
    sys.exit(main())
