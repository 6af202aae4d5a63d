"""Segment radiographs: files in; masks, measurements, warnings and a report out."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from ..bundle import bundles_folder
from ..inference.engines import AUTO, EIGHT_BITS, ENGINES, TORCH
from ..inference.segmenter import Segmenter, bundle_structures
from ..io.limits import DEFAULT_MAX_PIXELS, MAX_PIXELS_VARIABLE, max_pixels
from ..output import COLLECTIONS, FORMATS, REPRODUCIBLE, UIDS, check_formats
from ..structures import BUNDLE_SUFFIX
from ..trust import remember, trust_file
from .bulk import Wanted, segment_in_bulk, with_slash
from .inputs import find_inputs
from .job import segment_files
from .processes import NoProcessError
from .settings import STATE_FOLDER

__all__ = ["EXAMPLES", "add_arguments", "add_segmenter_arguments", "load_segmenter", "main"]

NOT_STARTED = 2
DEFAULT_FORMAT = "png"
BULK_FORMAT = "parquet"

EXAMPLES = """examples:
  cxr-attn-unet segment radiograph.dcm -o masks
  cxr-attn-unet segment A B/*.png -o masks --format png overlay dicom-seg
  cxr-attn-unet segment RADIOGRAPHS -o masks --structures ribs --parts --format labelmap overlay
  cxr-attn-unet segment RADIOGRAPHS -o masks --structures lungs heart --device cuda --batch-size 16
  find archive -name '*.dcm' | cxr-attn-unet segment - -o masks --format parquet
  cxr-attn-unet segment s3://bucket/radiographs/ -o s3://bucket/masks --ray local --shard-size 1000

The same command, run again, resumes where it was stopped. Exit status: 0 all segmented, 1 some failed (see
failures.csv), 2 nothing could be started, 130 interrupted. For research; not a medical device, not for diagnosis.

formats:
""" + "\n".join(f"  {name:15} {form.description}" for name, form in (FORMATS | COLLECTIONS).items())


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's options to a parser."""
    parser.add_argument(
        "inputs", nargs="+", metavar="FILE_OR_FOLDER", help="radiographs; - reads paths from standard input"
    )
    parser.add_argument("-o", "--output", required=True, help="folder for all results")
    parser.add_argument(
        "--format",
        nargs="+",
        choices=[*FORMATS, *COLLECTIONS],
        metavar="FORMAT",
        dest="formats",
        help="one or more of those below (default: png)",
    )
    add_segmenter_arguments(parser)
    parser.add_argument(
        "--batch-size", type=int, help="radiographs per batch; more is faster on GPUs (default: 1, on a GPU 8)"
    )
    parser.add_argument(
        "--uids",
        choices=UIDS,
        default=REPRODUCIBLE,
        help="of DICOM results: the same whenever the same results are written, or fresh ones (default: reproducible)",
    )
    parser.add_argument(
        "--workers",
        type=int,
        help="processes that each read, segment and write; 1 is this one alone (default: by cores, memory and number "
        "of radiographs)",
    )
    parser.add_argument("--overwrite", action="store_true", help="segment again what is finished already")
    parser.add_argument(
        "--with-identifiers",
        action="store_true",
        help="add patient, accession number and UIDs of DICOM radiographs to measurements.csv and parquet; without it, "
        "nothing but DICOM results holds them",
    )
    bulk = parser.add_argument_group(
        "any number of radiographs, on any number of machines",
        "see docs/scale.md; needs pip install 'cxr-attn-unet[ray,formats]', for s3:// [s3], for gs:// [gs]",
    )
    bulk.add_argument(
        "--ray",
        metavar="ADDRESS",
        help="through Ray Data, on the cluster at ADDRESS or, with local, on this machine: measurements and masks as "
        "Parquet in OUTPUT/segmentations, a file per shard; inputs and output may be URLs such as s3://bucket/folder/",
    )
    bulk.add_argument("--shard-size", type=int, default=256, help="radiographs per shard (default: 256)")
    bulk.add_argument(
        "--ray-workers",
        type=int,
        metavar="N",
        help="processes that segment at a time, each with its own networks (default: one per GPU, or without one per "
        "core)",
    )
    parser.add_argument("--no-report", action="store_true", help="do not write report.html")


def add_segmenter_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of :func:`load_segmenter` to a parser."""
    parser.add_argument("--structures", nargs="+", metavar="NAME", help="such as lungs heart (default: all)")
    parser.add_argument("--bundles", help="folder of the bundles (default: those of this package, or $CXR_BUNDLES)")
    parser.add_argument(
        "--trust",
        action="store_true",
        help="run bundles that did not come with this package, whose configs can run code; remembered by checksums in "
        "$XDG_CONFIG_HOME/cxr-attn-unet/trusted_bundles.json",
    )
    parser.add_argument(
        "--engine",
        choices=[TORCH, *ENGINES, AUTO],
        default=TORCH,
        help="what runs the networks; auto measures once what is installed, and remembers the fastest, but never takes "
        f"{EIGHT_BITS}, which changes masks a little (default: torch)",
    )
    parser.add_argument(
        "--calibration",
        metavar="FOLDER",
        help=f"for --engine {EIGHT_BITS}: radiographs like those to segment, by which it rounds; no masks needed",
    )
    parser.add_argument("--device", help="such as cpu, cuda:1 (default: a GPU where there is one)")
    parser.add_argument(
        "--threshold", type=float, help="probability above which a pixel is part of a structure (default: 0.5)"
    )
    parser.add_argument(
        "--tta", action="store_true", help="test-time augmentation: average five views of each radiograph"
    )
    parser.add_argument(
        "--parts",
        action="store_true",
        help="tell parts apart too: ribs by side and number, lungs and clavicles by side; needs bundles whose "
        "networks can",
    )
    parser.add_argument(
        "--max-pixels",
        type=int,
        metavar="N",
        help="refuse radiographs of more pixels by their header, before memory is spent on them (default: "
        f"${MAX_PIXELS_VARIABLE}, or {DEFAULT_MAX_PIXELS}, which 4 GB can hold)",
    )


def main(options: argparse.Namespace) -> int:
    """Run the command; returns the exit status."""
    if options.ray is not None:
        return _in_bulk(options)
    formats = options.formats or [DEFAULT_FORMAT]
    output = Path(options.output)
    try:
        _check_numbers(options)
        load = segmenter_loader(options, formats)
        segmenter = load()
        _check_output(output)
    except (OSError, ImportError, ValueError, RuntimeError) as error:
        return _stop(str(error))
    found = find_inputs(_given(options.inputs), output)
    if not found.inputs:
        for failure in found.failures:
            print(failure.reason, file=sys.stderr)
        return _stop("there is nothing to segment")
    try:
        return segment_files(
            segmenter,
            found.inputs,
            output,
            formats,
            failures=found.failures,
            batch_size=options.batch_size,
            workers=options.workers,
            overwrite=options.overwrite,
            report=not options.no_report,
            ignored=found.ignored,
            with_identifiers=options.with_identifiers,
            uids=options.uids,
            load=load,
        )
    except (OSError, NoProcessError) as error:
        return _stop(str(error))


def _in_bulk(options: argparse.Namespace) -> int:
    """Run the command through Ray Data; returns the exit status."""
    try:
        _check_numbers(options)
        if options.formats not in (None, [BULK_FORMAT]):
            raise ValueError(f"with --ray results are Parquet tables; leave --format out, or give {BULK_FORMAT}")
        structures = bundle_structures(options.structures, options.bundles)
        check_formats([BULK_FORMAT], structures)
        if options.trust:
            _remember(structures, options.bundles)
        wanted = Wanted(
            structures=structures,
            bundles=None if options.bundles is None else os.path.abspath(options.bundles),
            threshold=options.threshold,
            tta=options.tta,
            parts=options.parts,
            max_pixels=options.max_pixels,
            trust=options.trust,
            engine=options.engine,
            calibration=None if options.calibration is None else os.path.abspath(options.calibration),
            with_identifiers=options.with_identifiers,
            shard_size=options.shard_size,
        )
        return segment_in_bulk(
            _given(map(with_slash, options.inputs)),
            options.output,
            wanted,
            options.ray,
            options.ray_workers,
            options.device,
            options.batch_size,
            options.overwrite,
        )
    except (OSError, ImportError, ValueError, RuntimeError) as error:
        return _stop(str(error))


def load_segmenter(options: argparse.Namespace) -> Segmenter:
    """The segmenter that a command's options ask for; ``options.formats`` are those of its results.

    Raises:
        OSError: no such folder, bundle or weights.
        ImportError: a format needs a package that is not installed.
        ValueError: a value that cannot be, or a bundle that is not trusted.
    """
    return segmenter_loader(options, options.formats)()


def segmenter_loader(options: argparse.Namespace, formats: Sequence[str]) -> Callable[[], Segmenter]:
    """What makes the segmenter that a command's options ask for, here or in another process.

    Args:
        options: those of :func:`add_segmenter_arguments`.
        formats: of the results.

    Raises:
        OSError: no such folder or bundle.
        ImportError: a format needs a package that is not installed.
        ValueError: no bundle of a structure.
    """
    # before weights are loaded, for that takes longer
    structures = bundle_structures(options.structures, options.bundles)
    check_formats(formats, structures)
    if options.trust:
        _remember(structures, options.bundles)
    return partial(
        Segmenter.from_bundles,
        options.structures,
        options.bundles,
        options.device,
        options.threshold,
        options.tta,
        options.parts,
        options.max_pixels,
        options.trust,
        options.engine,
        options.calibration,
    )


def _remember(structures: Sequence[str], bundles: str | None) -> None:
    """Remember that the bundles of structures are trusted; say so if that cannot be."""
    root = bundles_folder() if bundles is None else Path(bundles)
    try:
        remember(root / f"{structure}{BUNDLE_SUFFIX}" for structure in structures)
    except OSError as error:
        print(f"cxr-attn-unet: trust could not be remembered in {trust_file()} ({error})", file=sys.stderr)


def _check_numbers(options: argparse.Namespace) -> None:
    """Make sure that numbers are in range.

    Raises:
        ValueError: one is not.
    """
    for name in ("batch_size", "workers", "max_pixels", "shard_size", "ray_workers"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} is {value}, must be 1 or more")
    max_pixels()  # of the environment


def _check_output(output: Path) -> None:
    """Make sure that results can be written.

    Raises:
        ValueError: they cannot.
    """
    try:
        (output / STATE_FOLDER).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=output).close()
    except OSError as error:
        raise ValueError(f"cannot write to {output} ({error.strerror}); name another folder with --output") from error


def _given(inputs: Iterable[str]) -> Iterator[str]:
    """The inputs as given, with the lines of standard input in place of ``-``."""
    for entry in inputs:
        if entry == "-":
            yield from (line.rstrip("\r\n") for line in sys.stdin if line.strip())
        else:
            yield entry


def _stop(message: str) -> int:
    print(f"cxr-attn-unet: {message}", file=sys.stderr)
    return NOT_STARTED
