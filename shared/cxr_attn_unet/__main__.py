"""The command ``cxr-attn-unet``, also ``python -m cxr_attn_unet``."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from .process import prepare_process, quieten

INTERRUPTED = 130
# MONAI imports these where they are installed, for training, plots and signals, and does without them where they are
# not; no command here asks for them, and they take longer to import than all else together
NOT_NEEDED = ("ignite", "matplotlib", "pandas", "scipy.signal", "tensorboard", "tensorboardX")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    prepare_process()
    try:
        if arguments is None:
            # this process is the command's own; one that calls main itself may need all of MONAI
            with _quick_imports():
                from . import fetch, segment  # noqa: F401
        return _run(arguments)
    except KeyboardInterrupt:
        print("cxr-attn-unet: interrupted", file=sys.stderr)
        return INTERRUPTED


@contextmanager
def _quick_imports() -> Iterator[None]:
    """Within, MONAI is imported as if what is not needed were not installed, and nothing looks for garbage."""
    hidden = [name for name in NOT_NEEDED if name not in sys.modules]
    # that makes an import raise ModuleNotFoundError
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]
    gc.disable()
    try:
        yield
    finally:
        # what was imported stays to the end: there is no garbage in it to look for
        gc.freeze()
        gc.enable()
        for name in hidden:
            del sys.modules[name]


def _run(arguments: list[str] | None) -> int:
    from . import __version__, dicom_network, fetch, segment, serve

    quieten()  # again, for some packages set their own filters and levels while they are imported
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
    command = commands.add_parser(
        "dicom",
        help="radiographs from an archive or a sender on the network, results back",
        description="Segment the radiographs of an archive (DICOMweb), or those that are sent here (C-STORE).",
        epilog=dicom_network.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    dicom_network.add_arguments(command)
    command = commands.add_parser(
        "serve",
        help="a page to look at one radiograph, and an HTTP service",
        description="Serve a page to look at one radiograph at a time, and an HTTP service.",
        epilog=serve.EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    serve.add_arguments(command)
    options = parser.parse_args(arguments)
    if options.command == "dicom":
        return dicom_network.main(options)
    if options.command == "fetch":
        return fetch.main(options)
    if options.command == "serve":
        return serve.main(options)
    return segment.main(options)


if __name__ == "__main__":
    sys.exit(main())
