"""Segment radiographs: files in; masks, measurements, warnings and a report out."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from ..inference.segmenter import Segmenter
from ..output import COLLECTIONS, FORMATS, check_formats
from .inputs import find_inputs
from .job import STATE_FOLDER, segment_files

__all__ = ["EXAMPLES", "add_arguments", "main"]

EXAMPLES = """examples:
  cxr-attn-unet segment radiograph.dcm -o masks
  cxr-attn-unet segment A B/*.png -o masks --format png overlay dicom-seg
  cxr-attn-unet segment RADIOGRAPHS -o masks --structures lungs heart --device cuda --batch-size 16
  find archive -name '*.dcm' | cxr-attn-unet segment - -o masks --format parquet

The same command again resumes where it was stopped. Exit status: 0 all segmented, 1 some failed (see failures.csv),
2 nothing could be started, 130 interrupted. For research; not a medical device, not for diagnosis.

formats:
""" + "\n".join(f"  {name:15} {form.description}" for name, form in (FORMATS | COLLECTIONS).items())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument(
        "inputs", nargs="+", metavar="FILE_OR_FOLDER", help="radiographs; - reads paths from standard input"
    )
    parser.add_argument("-o", "--output", required=True, help="folder for everything that is made")
    parser.add_argument(
        "--format",
        nargs="+",
        default=["png"],
        choices=[*FORMATS, *COLLECTIONS],
        metavar="FORMAT",
        dest="formats",
        help="one or more of those below (default: png)",
    )
    parser.add_argument("--structures", nargs="+", metavar="NAME", help="such as lungs heart (default: all)")
    parser.add_argument("--bundles", help="folder of the bundles (default: those of this package, or $CXR_BUNDLES)")
    parser.add_argument("--device", help="such as cpu, cuda:1 (default: a GPU where there is one)")
    parser.add_argument("--batch-size", type=int, default=1, help="radiographs a batch; more pays on GPUs (default: 1)")
    parser.add_argument("--threshold", type=float, help="probability from which a pixel belongs (default: 0.5)")
    parser.add_argument("--tta", action="store_true", help="average five views of each (test-time augmentation)")
    parser.add_argument("--workers", type=int, default=2, help="threads that read and write (default: 2)")
    parser.add_argument("--overwrite", action="store_true", help="do anew what was finished before")
    parser.add_argument("--no-report", action="store_true", help="no report.html")


def main(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    for name in ("batch_size", "workers"):
        if getattr(options, name) < 1:
            return _stop(f"--{name.replace('_', '-')} is {getattr(options, name)}, must be 1 or more")
    output = Path(options.output)
    try:
        segmenter = Segmenter.from_bundles(
            options.structures, options.bundles, options.device, options.threshold, options.tta
        )
        check_formats(options.formats, segmenter.structures)
    except (FileNotFoundError, ImportError, ValueError, RuntimeError) as error:
        return _stop(str(error))
    try:
        (output / STATE_FOLDER).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=output).close()
    except OSError as error:
        return _stop(f"cannot write to {output} ({error.strerror}); name another folder with --output")
    given = [line for entry in options.inputs for line in (_lines() if entry == "-" else [entry])]
    inputs, failures = find_inputs(given, output)
    if not inputs:
        for _, reason in failures:
            print(reason, file=sys.stderr)
        return _stop("there is nothing to segment")
    return segment_files(
        segmenter,
        inputs,
        output,
        options.formats,
        failures=failures,
        batch_size=options.batch_size,
        workers=options.workers,
        overwrite=options.overwrite,
        report=not options.no_report,
    )


def _lines() -> list[str]:
    return [line.rstrip("\r\n") for line in sys.stdin if line.strip()]


def _stop(message: str, status: int = 2) -> int:
    print(f"cxr-attn-unet: {message}", file=sys.stderr)
    return status
