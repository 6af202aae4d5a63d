"""Write the configs of bundles from the templates and the bundles' heads."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from cxr_attn_unet.files import written

from . import texts


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m cxr_attn_unet_dev.configs",
        description=__doc__,
        epilog="Example: python -m cxr_attn_unet_dev.configs bundles/* --check",
    )
    parser.add_argument("bundles", nargs="+", type=Path, help="bundles' folders")
    parser.add_argument("--check", action="store_true", help="change nothing, end with 1 if something would change")
    options = parser.parse_args(arguments)
    differ = 0
    try:
        wanted = {path: text for bundle in options.bundles for path, text in texts(bundle).items()}
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    for path, text in wanted.items():
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        differ += 1
        if options.check:
            print(f"{path}: differs from its template and head. Run make bundles.")
            continue
        with written(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
        print(f"{path}: written")
    return 1 if options.check and differ else 0


if __name__ == "__main__":
    sys.exit(main())
