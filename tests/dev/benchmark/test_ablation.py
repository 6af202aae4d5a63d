"""Networks with a part of every gate left out."""

import json

import pytest
import torch

from conftest import write_folder
from cxr_attn_unet.networks import Gate, build_network
from cxr_attn_unet_dev.benchmark import Cell, ablated, load_protocol, run_cell
from cxr_attn_unet_dev.benchmark.ablation import PARTS
from cxr_attn_unet_dev.benchmark.run import result_path

ATTENTION = ("three_head_attention_unet", "spatial_attention_unet", "double_spatial_attention_unet")
ATTENTION += ("full_spatial_attention_unet",)


@pytest.mark.parametrize("name", ATTENTION)
@pytest.mark.parametrize("without", PARTS)
def test_the_part_is_gone_and_the_rest_is_there(name, without):
    torch.manual_seed(0)
    whole, less = build_network(name, width=16), ablated(without, name, width=16)
    lost = set(whole.state_dict()) - set(less.state_dict())
    assert lost
    assert all(f".{PARTS[without][0]}." in key for key in lost)
    assert set(less.state_dict()) < set(whole.state_dict())
    less(torch.rand(2, 1, 48, 48)).sum().backward()
    assert less.settings() == {"name": name, "width": 16, f"without_{without}": True}
    with pytest.raises(
        RuntimeError, match=f"{name}, width 16, the network is {name}, width 16, without_{without} True"
    ):
        less.load_state_dict(whole.state_dict(), strict=False)


@pytest.mark.parametrize("name", ATTENTION)
def test_without_the_gate_below_nothing_comes_from_there(name):
    torch.manual_seed(0)
    gates = {
        kind: next(m for m in network.modules() if isinstance(m, Gate) and m.channels == 16)
        for kind, network in (("whole", build_network(name, width=16)), ("less", ablated("gate_below", name, width=16)))
    }
    x, y = torch.rand(2, 16, 8, 8), torch.rand(2, 16, 8, 8)
    below = torch.rand(2, 2, 32, 4, 4)
    same = {kind: torch.equal(gate.eval()(x, y, below[0]), gate(x, y, below[1])) for kind, gate in gates.items()}
    assert same == {"whole": False, "less": True}


def test_without_channel_attention_no_channel_is_weakened():
    gate = next(m for m in ablated("channel_attention", "full_spatial_attention_unet").modules() if isinstance(m, Gate))
    weights = gate.channel(torch.rand(2, gate.channels, 4, 4))
    assert weights.shape == (2, gate.channels, 1, 1)
    assert (weights == 1).all()


def test_what_cannot_be_left_out():
    with pytest.raises(ValueError, match="without is 'head', must be one of: channel_attention, gate_below"):
        ablated("head", "spatial_attention_unet")
    with pytest.raises(ValueError, match="the gates of unet have no gate below to leave out"):
        ablated("gate_below", "unet", width=4)


def test_as_a_variant_of_the_benchmark(tmp_path):
    changes = {"width": 4, "image_size": 32, "epochs": 1, "batch_size": 4, "num_workers": 0}
    changes |= {"network_def#_target_": "cxr_attn_unet_dev.benchmark.ablated", "network_def#without": "gate_below"}
    cell = Cell(load_protocol("small"), "full_spatial_attention_unet", "heart", 0, "without_gate_below", changes)
    data = write_folder(tmp_path / "data", "heart", 10)
    assert run_cell(cell, str(data), tmp_path / "results", tmp_path / "runs")
    result = json.loads(result_path(tmp_path / "results", cell).read_text())
    whole = sum(p.numel() for p in build_network("full_spatial_attention_unet", width=4).parameters())
    assert result["variant"] == "without_gate_below"
    assert result["parameters"] < whole
