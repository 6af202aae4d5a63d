"""The command ``cxr-attn-unet``, also ``python -m cxr_attn_unet``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings

INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    _prepare_process()
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        print("cxr-attn-unet: interrupted", file=sys.stderr)
        return INTERRUPTED


def _prepare_process() -> None:
    """Settings of the whole process, which a library must not touch; before PyTorch is imported, which reads some."""
    # threads that wait for work sleep rather than spin, which would take the cores from other programs and from itself
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    _quieten()


def _quieten() -> None:
    """Hide warnings that are not for a user of this command.

    MONAI and Ignite warn while they are imported, pydicom of values that break the standard and do not matter here.
    """
    warnings.filterwarnings("ignore")
    for name in ("pydicom", "highdicom"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _run(arguments: list[str] | None) -> int:
    from . import __version__, fetch, segment

    _quieten()  # again, for some packages set their own filters and levels while they are imported
    parser = argparse.ArgumentParser(
        prog="cxr-attn-unet", description="Lungs, heart, clavicles and ribs in chest radiographs."
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    command = commands.add_parser(
        "segment",
        help="files in; masks, measurements and a report out",
        description="Segment radiographs: files in; masks, measurements, warnings and a report out.",
        epilog=segment.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    segment.add_arguments(command)
    command = commands.add_parser(
        "fetch",
        help="download a released bundle and check it before it is unpacked",
        description="Download the zip of a bundle, check its SHA-256, and unpack it, whole or not at all.",
    )
    fetch.add_arguments(command)
    options = parser.parse_args(arguments)
    if options.command == "fetch":
        return fetch.main(options)
    return segment.main(options)


if __name__ == "__main__":
    sys.exit(main())
