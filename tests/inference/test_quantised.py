"""Networks in eight bits: nearly the same masks, quantised once, never with results of another calibration."""

import logging
import shutil
from itertools import pairwise

import numpy as np
import pytest
import torch

from conftest import EXAMPLES
from cxr_attn_unet import Segmenter
from cxr_attn_unet.__main__ import main
from cxr_attn_unet.inference import quantised
from cxr_attn_unet.inference.engines import EIGHT_BITS, ENGINES, cache_folder
from cxr_attn_unet.inference.quantised import MOST, Calibration
from cxr_attn_unet.io import read_radiograph
from cxr_attn_unet.statistics import mask_dice

OPEN = EXAMPLES / "open_radiographs"
RADIOGRAPHS = sorted(OPEN.glob("*.png"))
STRUCTURES = ("lungs", "heart", "clavicles", "ribs")


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def others(tmp_path):
    """A folder with one radiograph."""
    return folder_of(tmp_path / "others", RADIOGRAPHS[:1])


def folder_of(folder, radiographs):
    folder.mkdir(parents=True)
    for path in radiographs:
        shutil.copy(path, folder)
    return folder


# what is asked for before anything is quantised, with or without NNCF


def refused(capsys, tmp_path, *options):
    """What the command says; it must not start."""
    status = main(["segment", str(RADIOGRAPHS[0]), "-o", str(tmp_path / "out"), "--structures", "heart", *options])
    assert status == 2
    return capsys.readouterr().err


def test_without_radiographs_the_command_asks_for_them(capsys, tmp_path):
    said = refused(capsys, tmp_path, "--engine", EIGHT_BITS)
    assert "openvino-int8 needs --calibration FOLDER" in said


@pytest.mark.parametrize("engine", ["torch", "openvino", "auto"])
def test_radiographs_for_another_engine_are_refused(engine, capsys, tmp_path):
    said = refused(capsys, tmp_path, "--engine", engine, "--calibration", str(OPEN))
    assert f"--calibration is for --engine openvino-int8, the engine is {engine}" in said


def test_a_folder_that_is_not_there_is_named(capsys, tmp_path):
    said = refused(capsys, tmp_path, "--engine", EIGHT_BITS, "--calibration", str(tmp_path / "nowhere"))
    assert f"{tmp_path / 'nowhere'}: no such folder" in said


def test_a_folder_without_radiographs_is_named(capsys, tmp_path):
    folder = folder_of(tmp_path / "texts", [OPEN / "ATTRIBUTION.csv"])
    said = refused(capsys, tmp_path, "--engine", EIGHT_BITS, "--calibration", str(folder))
    assert f"{folder}: no radiographs here" in said


def test_a_folder_of_which_nothing_can_be_read_is_named(capsys, tmp_path):
    folder = folder_of(tmp_path / "bad", [])
    for name in ("a.png", "b.png"):
        (folder / name).write_text("no picture")
    said = refused(capsys, tmp_path, "--engine", EIGHT_BITS, "--calibration", str(folder))
    assert (f"{folder}: none of 2 radiographs can be read" in said, "a.png" in said) == (True, True)


@pytest.mark.parametrize("package", ["nncf", "openvino"])
def test_a_missing_package_names_the_extra(package, capsys, tmp_path, monkeypatch):
    missing = type(ENGINES[EIGHT_BITS]).missing
    monkeypatch.setattr(
        "cxr_attn_unet.inference.engines._Engine.missing", lambda self: sorted({*missing(self), package})
    )
    said = refused(capsys, tmp_path, "--engine", EIGHT_BITS, "--calibration", str(OPEN))
    assert (package in said, "pip install 'cxr-attn-unet[openvino-int8]'" in said) == (True, True)


def test_one_bad_radiograph_is_warned_of_once_and_passed_over(tmp_path, caplog):
    folder = folder_of(tmp_path / "mixed", RADIOGRAPHS[:2])
    (folder / "0.png").write_text("no picture")
    calibration = Calibration(folder)
    with caplog.at_level(logging.WARNING):
        read = [len(list(calibration.radiographs())) for _ in range(2)]
    assert (read, [record.getMessage().count("0.png") for record in caplog.records]) == ([2, 2], [1])


@pytest.mark.parametrize("count", [1, MOST, MOST + 1, 3 * MOST])
def test_radiographs_are_taken_evenly_in_sorted_order(count):
    paths = [f"{place:03}.png" for place in range(count)]
    taken = quantised.evenly(paths, quantised.MOST)
    places = [int(path[:3]) for path in taken]
    steps = {after - before for before, after in pairwise(places)}
    assert (len(taken), places[0], max(steps, default=1) - min(steps, default=1) <= 1) == (min(MOST, count), 0, True)


def test_paths_are_known_by_contents_in_whatever_order(others):
    given = Calibration(RADIOGRAPHS[:1]).checksum
    # the same content elsewhere
    assert given == Calibration(others).checksum
    assert Calibration(RADIOGRAPHS[1::-1]).checksum == Calibration(RADIOGRAPHS[:2]).checksum != given


def test_another_limit_on_pixels_is_another_calibration():
    assert Calibration(OPEN).checksum != Calibration(OPEN, 1000).checksum


# with NNCF


def skip_without_nncf():
    for package in ENGINES[EIGHT_BITS].packages:
        pytest.importorskip(package, reason="eight bits need pip install 'cxr-attn-unet[openvino-int8]'")


def in_eight_bits(calibration=OPEN, structures=("heart",)):
    skip_without_nncf()
    return Segmenter.from_bundles(structures, device="cpu", engine=EIGHT_BITS, calibration=calibration)


@pytest.fixture
def times_quantised(monkeypatch):
    """Grows by one each time that a network is quantised."""
    times = []
    real = quantised.quantised

    def counted(*given, **named):
        times.append(len(given[1]))
        return real(*given, **named)

    monkeypatch.setattr(quantised, "quantised", counted)
    return times


def networks_kept():
    return sorted(cache_folder().glob("*.zip"))


# one network is enough for a fast test; all of them take minutes
@pytest.mark.parametrize(
    "structure", [pytest.param(name, marks=() if name == "heart" else pytest.mark.slow) for name in STRUCTURES]
)
def test_masks_are_nearly_those_of_pytorch(structure):
    in_full = Segmenter.from_bundles([structure], device="cpu")
    found = in_eight_bits(structures=[structure])
    radiographs = [read_radiograph(path) for path in RADIOGRAPHS]
    pairs = [(in_full(one).masks[structure], found(one).masks[structure]) for one in radiographs]
    assert min(mask_dice(one, other) for one, other in pairs) > 0.98


def test_a_network_is_quantised_once(times_quantised):
    in_eight_bits()
    times_quantised.clear()
    in_eight_bits()
    # and the same radiographs under other names are the same calibration
    in_eight_bits(RADIOGRAPHS)
    assert times_quantised == []


def test_other_radiographs_quantise_again(times_quantised, others):
    first = in_eight_bits().identity
    times_quantised.clear()
    second = in_eight_bits(others).identity
    assert (times_quantised, first != second) == ([1], True)


def test_the_identity_is_another_than_that_of_openvino(others):
    identity = in_eight_bits(others).identity
    plain = Segmenter.from_bundles(["heart"], device="cpu", engine="openvino").identity
    assert (in_eight_bits(others).identity, identity != plain) == (identity, True)


def test_the_identity_of_a_bundle_names_engine_and_checksum(others):
    (model,) = in_eight_bits(others)._models
    engine, checksum = model.identity.split()[1:]
    assert (engine, [path.name.startswith(checksum) for path in networks_kept()].count(True)) == (EIGHT_BITS, 1)


@pytest.mark.parametrize("content", [b"", b"PK cut off"])
def test_a_network_that_was_damaged_is_made_again(content, times_quantised, others):
    before = in_eight_bits(others)(RADIOGRAPHS[1]).masks["heart"]
    times_quantised.clear()
    for path in networks_kept():
        path.write_bytes(content)
    after = in_eight_bits(others)(RADIOGRAPHS[1]).masks["heart"]
    assert (times_quantised, (before == after).all()) == ([1], True)


def test_what_is_kept_is_one_file_and_no_part_of_it_is_left(others):
    in_eight_bits(others)
    assert {path.suffix for path in cache_folder().iterdir()} <= {".zip", ".onnx"}


def test_a_picture_of_another_size_is_refused(others):
    (model,) = in_eight_bits(others)._models
    with pytest.raises(ValueError, match="quantised for pictures of 256 x 256, this one has 64 x 96"):
        model.network(torch.zeros(1, 1, 64, 96))


def test_first_and_last_convolution_and_linear_layers_stay_in_full():
    skip_without_nncf()
    import openvino

    layers = [torch.nn.Conv2d(1, 4, 3), torch.nn.Conv2d(4, 4, 3), torch.nn.Conv2d(4, 4, 3), torch.nn.Linear(26, 4)]
    network = torch.nn.Sequential(*layers).eval()
    model = openvino.convert_model(network, example_input=torch.zeros(1, 1, 32, 32), input=[1, 1, 32, 32])
    examples = [np.random.default_rng(seed).random((1, 1, 32, 32), np.float32) for seed in range(2)]

    def rounded(everything):
        found = quantised.quantised(model, examples, everything)
        names = [operation.get_type_name() for operation in found.get_ordered_ops()]
        return names.count("FakeQuantize")

    whole, part = rounded(True), rounded(False)
    untouched = [operation.get_type_name() for operation in model.get_ordered_ops()].count("FakeQuantize")
    assert (len(quantised.kept_in_full(model)), 0 < part < whole, untouched) == (3, True, 0)


def test_a_resumed_run_takes_no_results_of_another_calibration(tmp_path, others, capsys):
    skip_without_nncf()
    out = tmp_path / "out"

    def segment(calibration):
        options = ["--structures", "heart", "--engine", EIGHT_BITS, "--calibration", str(calibration), "--no-report"]
        status = main(["segment", str(RADIOGRAPHS[1]), "-o", str(out), *options])
        (mask,) = out.glob("*_heart.png")
        return status, mask.stat().st_mtime_ns

    first, again, other = segment(OPEN), segment(OPEN), segment(others)
    assert (first[0], again == first, other[0], other[1] > first[1]) == (0, True, 0, True)
