"""The command ``cxr-attn-unet``, also ``python -m cxr_attn_unet``."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    # MONAI and Ignite warn while they are imported of what does not concern a user of this command
    warnings.filterwarnings("ignore")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    from . import __version__, segment

    parser = argparse.ArgumentParser(
        prog="cxr-attn-unet", description="Lungs, heart, clavicles and ribs in chest radiographs."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    one = commands.add_parser(
        "segment",
        help="files in; masks, measurements and a report out",
        description=segment.__doc__,
        epilog=segment.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    segment.add_arguments(one)
    return segment.main(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
