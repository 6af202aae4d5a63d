"""Networks run by other engines than PyTorch: the same masks; missing engines are named."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from conftest import EXAMPLES
from cxr_attn_unet import Segmenter
from cxr_attn_unet.__main__ import main
from cxr_attn_unet.inference.engines import (
    EIGHT_BITS,
    ENGINES,
    TORCH,
    cache_folder,
    check_engine,
    exported,
    fastest,
)
from cxr_attn_unet.io import read_radiograph
from cxr_attn_unet.networks import build_network
from cxr_attn_unet.statistics import mask_dice

CPU = torch.device("cpu")
ON_CPU = [name for name, engine in ENGINES.items() if engine.device == "cpu" and engine.same_masks]
RADIOGRAPH = EXAMPLES / "open_radiographs" / "00cfd1c1.png"


@pytest.fixture(autouse=True, scope="module")
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def skip_without(name):
    for package in ENGINES[name].packages:
        pytest.importorskip(package)


def heart(engine=TORCH):
    return Segmenter.from_bundles(["heart"], device="cpu", engine=engine)


@pytest.mark.parametrize("name", ON_CPU)
def test_an_engine_gives_the_masks_of_pytorch(name):
    skip_without(name)
    radiograph = read_radiograph(RADIOGRAPH)
    expected, found = heart()(radiograph), heart(name)(radiograph)
    difference = np.abs(expected.probabilities["heart"] - found.probabilities["heart"]).max()
    dice = mask_dice(expected.masks["heart"], found.masks["heart"])
    assert (difference < 1e-3, dice > 0.999) == (True, True)


@pytest.mark.parametrize("name", ON_CPU)
def test_an_engine_changes_the_identity_of_results(name):
    skip_without(name)
    assert heart(name).identity != heart().identity


def smallest():
    """A network, an input and what its weights are known by."""
    return torch.nn.Conv2d(1, 2, 3, padding=1).eval(), torch.rand(1, 1, 32, 32), "smallest"


def test_a_network_is_exported_once():
    skip_without("onnxruntime")
    written = exported(*smallest()).stat().st_mtime_ns
    assert exported(*smallest()).stat().st_mtime_ns == written


def damage(path):
    """Change one byte in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("change", [damage, cut_off])
def test_an_export_that_was_damaged_is_made_again(change):
    skip_without("onnxruntime")
    path = exported(*smallest_again())
    content = path.read_bytes()
    change(path)
    assert exported(*smallest_again()).read_bytes() == content


def smallest_again():
    """As ``smallest``, with the same weights each time."""
    torch.manual_seed(0)
    network, example, _ = smallest()
    return network, example, "the same again"


def test_auto_never_takes_eight_bits(monkeypatch):
    taken = []
    monkeypatch.setattr("cxr_attn_unet.inference.engines._seconds", lambda run, example: taken.append(run) or 1.0)
    monkeypatch.setattr("cxr_attn_unet.inference.engines._Engine.missing", lambda self: [])
    monkeypatch.setattr("cxr_attn_unet.inference.engines.version", lambda name: "1")
    for name in ON_CPU:
        monkeypatch.setitem(ENGINES, name, replace(ENGINES[name], load=lambda *given: "in full"))
    monkeypatch.setitem(ENGINES, EIGHT_BITS, replace(ENGINES[EIGHT_BITS], load=lambda *given: "in eight bits"))
    network, example, _ = smallest()
    fastest(network, example, "for auto")
    assert taken == [network, *["in full"] * len(ON_CPU)]


def test_other_weights_are_exported_to_another_file():
    skip_without("onnxruntime")
    network, example, _ = smallest()
    assert exported(network, example, "others") != exported(network, example, "smallest")


def test_a_network_without_its_parts_is_exported_to_another_file():
    skip_without("onnxruntime")
    whole = build_network("efficientnet_attention_unet", width=4, out_channels=4).eval()
    example = torch.rand(1, 1, 32, 32)
    assert exported(whole, example, "same") != exported(whole.without_parts(), example, "same")


def test_the_fastest_engine_is_remembered():
    skip_without("onnxruntime")
    assert fastest(*smallest()) in (TORCH, *ON_CPU)
    remembered = cache_folder() / "fastest.json"
    choices = json.loads(remembered.read_text())
    # what is written there counts, without another measurement
    remembered.write_text(json.dumps(dict.fromkeys(choices, "onnxruntime")))
    assert fastest(*smallest()) == "onnxruntime"


def test_without_engines_the_fastest_is_pytorch(monkeypatch):
    for name in ("openvino", "onnxruntime"):
        monkeypatch.setitem(sys.modules, name, None)
    assert fastest(*smallest()) == TORCH


@pytest.mark.parametrize("name", ON_CPU)
def test_an_engine_that_is_not_installed_names_the_remedy(name, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=rf"needs .*{name}.*cxr-attn-unet\[{name}\]"):
        check_engine(name, CPU)


def test_an_engine_for_gpus_is_refused_on_a_cpu():
    with pytest.raises(ValueError, match="tensorrt runs on cuda, the device is cpu"):
        check_engine("tensorrt", CPU)


def test_an_unknown_engine_is_refused():
    with pytest.raises(ValueError, match="must be one of torch, openvino"):
        check_engine("abacus", CPU)


def test_the_command_says_that_an_engine_is_missing(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "openvino", None)
    status = main(["segment", str(RADIOGRAPH), "-o", str(tmp_path), "--engine", "openvino"])
    assert (status, "pip install 'cxr-attn-unet[openvino]'" in capsys.readouterr().err) == (2, True)
