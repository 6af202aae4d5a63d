"""What holds for any array, text and option that Hypothesis makes up."""

import contextlib
import csv
import io
import os
from dataclasses import replace

import numpy as np
import pytest

from cxr_attn_unet.__main__ import main
from cxr_attn_unet.analysis import quality
from cxr_attn_unet.analysis.measurements import measure
from cxr_attn_unet.figures import overlay, to_grey
from cxr_attn_unet.io import Orientation
from cxr_attn_unet.output import decode, encode
from cxr_attn_unet.segment.inputs import find_inputs
from cxr_attn_unet.segment.journal import Journal
from cxr_attn_unet.segment.record import Record
from cxr_attn_unet.transforms.field import clean_field
from part_bundles import write_bundle

hypothesis = pytest.importorskip("hypothesis")
from hypothesis import given, settings, strategies  # noqa: E402
from hypothesis.extra import numpy as arrays  # noqa: E402

# the same examples each time, without a folder for those that failed
settings.register_profile("steady", derandomize=True, database=None, deadline=None, max_examples=40)
settings.load_profile("steady")

SIDES = arrays.array_shapes(min_dims=2, max_dims=2, min_side=32, max_side=48)
# training, in the same process, lets the processor take subnormal numbers for 0
FINITE = strategies.floats(-1e6, 1e6, width=32, allow_subnormal=False)
pictures = arrays.arrays(np.float32, SIDES, elements=FINITE)
masks = arrays.arrays(bool, SIDES)


@given(pictures)
def test_the_field_lies_within_the_picture(pixels):
    cleaned, (top, bottom, left, right) = clean_field(pixels)
    assert np.isfinite(cleaned).all()
    assert 0 <= top < bottom <= pixels.shape[0]
    assert 0 <= left < right <= pixels.shape[1]


@given(pictures)
def test_any_picture_becomes_grey(pixels):
    grey = to_grey(pixels)
    assert (grey.shape, grey.dtype) == (pixels.shape, np.uint8)


@given(pictures)
def test_any_picture_is_outlined(pixels):
    assert overlay(pixels, [pixels > 0], "title").size[0] > 0


@given(masks, strategies.tuples(strategies.floats(0.01, 5), strategies.floats(0.01, 5)) | strategies.none())
def test_measurements_are_finite_and_not_negative(mask, spacing):
    values = measure({"heart": mask, "lungs": ~mask, "clavicles": mask, "ribs": mask}, spacing)
    assert -1 <= (values.pop("clavicle_asymmetry") or 0) <= 1
    numbers = [value for value in values.values() if isinstance(value, float)]
    assert np.isfinite(numbers).all()
    assert all(value >= 0 for value in numbers)


@given(pictures)
def test_quality_control_has_sentences_for_any_picture(pixels):
    found = {"heart": pixels > 0, "lungs": pixels <= 0}
    assert all(isinstance(warning, str) for warning in quality.check(pixels, found, {"heart": 0.5, "lungs": 0.5}))


@given(masks)
def test_a_mask_is_decoded_as_it_was_encoded(mask):
    assert np.array_equal(decode(encode(mask)), mask)


@given(pictures, strategies.booleans(), strategies.booleans(), strategies.booleans())
def test_turning_upright_loses_no_pixel(pixels, transpose, flip_rows, flip_columns):
    upright = Orientation(transpose, flip_rows, flip_columns).apply(pixels)
    assert np.array_equal(np.sort(upright, axis=None), np.sort(pixels, axis=None))


RECORD = Record(
    path="/in/a.png",
    stem="a",
    identity="x",
    state=(1, 2),
    files=("a_heart.png",),
    rows=1,
    columns=1,
    spacing=None,
    spacing_source=None,
    measurements={},
    confidences={"heart": 0.5},
    agreements={},
    warnings=(),
)
# also names of files that are no UTF-8
names = strategies.text(min_size=1) | strategies.binary(min_size=1).map(os.fsdecode)


@given(strategies.lists(names, min_size=1, max_size=5, unique=True), strategies.lists(strategies.text(), max_size=3))
def test_a_journal_gives_back_any_text(tmp_path_factory, stems, warnings):
    path = tmp_path_factory.mktemp("journal") / "journal.jsonl"
    journal = Journal(path)
    written = [replace(RECORD, stem=stem, warnings=tuple(warnings)) for stem in stems]
    for record in written:
        journal.add(record)
    assert [*Journal(path).records(stems)] == written


file_names = strategies.text(
    strategies.characters(exclude_categories=["Cs", "Cc"], exclude_characters="/\0"), min_size=1
)


@given(strategies.lists(file_names.filter(lambda name: name not in (".", "..")), min_size=1, max_size=6))
def test_no_two_inputs_share_a_name(bare):
    found = find_inputs([f"/nowhere/{folder}/{name}" for folder in "ab" for name in bare], "/nowhere/out")
    stems = [os.path.normpath(entry.stem).casefold() for entry in found.inputs]
    assert len({*stems}) == len(stems) == len({entry.name for entry in found.inputs})


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("bundles"), "lungs").parent


numbers = (
    strategies.integers(-3, 3).map(str)
    | strategies.floats(-2, 2, allow_subnormal=False).map(str)
    | strategies.sampled_from(["", "nan"])
)
options = strategies.dictionaries(
    strategies.sampled_from(["--threshold", "--batch-size", "--workers", "--max-pixels", "--device", "--uids"]),
    numbers | strategies.sampled_from(["cpu", "fresh"]),
    max_size=3,
)


@settings(max_examples=20)
@given(options)
def test_any_option_is_taken_or_refused_in_a_sentence(bundles, tmp_path_factory, options):
    out = tmp_path_factory.mktemp("out")
    given_options = [f"{name}={value}" for name, value in options.items()]
    with contextlib.redirect_stderr(io.StringIO()) as printed:
        try:
            status = main(
                ["segment", "none.png", "-o", str(out), "--bundles", str(bundles), "--no-report", *given_options]
            )
        except SystemExit as refused:  # by argparse
            status = refused.code
    assert printed.getvalue()
    if status == 2:
        return
    assert status == 1
    with open(out / "failures.csv", newline="") as file:
        assert [row["file"] for row in csv.DictReader(file)] == ["none.png"]
