"""The gates against the published formulas in numbers, and the parts that the numbers do not reach."""

from pathlib import Path

import numpy as np
import pytest
import torch

from cxr_attn_unet.networks import GATES, AttentionUNet, Gate, register_gate
from cxr_attn_unet.networks.gates import SqueezeExcitation, channel_attention

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit")

VECTORS = Path(__file__).with_name("attention_gates.npz")
BATCH_NORM = {"mean": "running_mean", "var": "running_var"}


def state_dict_name(name):
    """``a.conv1 -> a.conv1.weight``, ``a.bn1.mean -> a.bn1.running_mean``; weight and bias as they are."""
    stem, _, last = name.rpartition(".")
    if last in BATCH_NORM:
        return f"{stem}.{BATCH_NORM[last]}"
    return name if last in ("weight", "bias") else f"{name}.weight"


@pytest.mark.parametrize("name", ["three_head", "spatial", "full_spatial", "double_spatial"])
@torch.no_grad()
def test_gate_agrees_with_the_reference_vectors(name):
    with np.load(VECTORS) as file:
        arrays = {
            key.removeprefix(f"{name}/"): torch.from_numpy(file[key]) for key in file if key.startswith(f"{name}/")
        }
    prefix = "weights/"
    weights = {state_dict_name(k.removeprefix(prefix)): v for k, v in arrays.items() if k.startswith(prefix)}
    gate = GATES[name](arrays["x"].shape[1]).eval()
    counters = {key: value for key, value in gate.state_dict().items() if key.endswith("num_batches_tracked")}
    gate.load_state_dict({**weights, **counters}, strict=True)
    for module in (gate, torch.jit.script(gate)):
        a = module(arrays["x"], arrays["y"], arrays["g"])
        assert a.shape == arrays["a"].shape
        assert (a - arrays["a"]).abs().max() < 1e-5


@pytest.mark.parametrize("scripted", [False, True], ids=["eager", "scripted"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_attention_does_not_overflow_under_autocast(scripted, dtype):
    function = torch.jit.script(channel_attention) if scripted else channel_attention
    ones = torch.ones(1, 2, 300, 300)  # 300 * 300 is beyond float16
    ones[:, 1] -= 1e-4  # nine apart after the two products, if they are exact
    exact = torch.softmax((ones.double() @ ones.double().mT @ ones.double()), dim=1).float()
    assert exact[0, 0, 0, 0] > 0.999
    for _ in range(3):  # the scripting profiler changes the graph after the first calls
        with torch.autocast("cpu", dtype=dtype):
            attention = function(ones, ones, ones, False)
        assert attention.dtype == torch.float32
        torch.testing.assert_close(attention, exact, atol=1e-3, rtol=1e-3)


def test_attention_keeps_the_type_of_its_input():
    half = torch.ones(1, 2, 300, 300, dtype=torch.float16)
    attention = channel_attention(half, half, half, False)
    assert attention.dtype == torch.float16
    assert torch.equal(attention, torch.full_like(half, 0.5))


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (2, 3, 4, 9)])
def test_scale_divides_the_product_by_the_root_of_the_size(shape):
    left, query, right = torch.rand(3, *shape, generator=torch.Generator().manual_seed(0))
    product = torch.einsum("nchw,ncgw,ncgv->nchv", left, query, right)
    for scale, divisor in ((False, 1), (True, (shape[2] * shape[3]) ** 0.5)):
        expected = torch.softmax(product / divisor, dim=1)
        torch.testing.assert_close(channel_attention(left, query, right, scale), expected)
    product = torch.einsum("nchw,ncgw->nchg", left, query)
    expected = torch.softmax(product / (shape[2] * shape[3]) ** 0.5, dim=1)
    torch.testing.assert_close(channel_attention(left, query, None, True), expected)


@pytest.mark.parametrize(("channels", "hidden"), [(4, 1), (16, 1), (31, 1), (32, 2), (64, 4)])
def test_squeeze_excitation_hidden_width(channels, hidden):
    assert SqueezeExcitation(channels).reduce.weight.shape == (hidden, channels)


def test_a_new_gate_is_a_class_and_its_registration():
    class Doubling(Gate):
        def __init__(self, channels, factor=2.0):
            super().__init__(channels)
            self.factor = factor

        def forward(self, x, y, g):
            return self.factor * x

    try:
        register_gate("doubling")(Doubling)
        torch.manual_seed(0)
        network = AttentionUNet("doubling", width=4, factor=1.0).eval()
        plain = AttentionUNet("none", width=4).eval()
        plain.load_state_dict(network.state_dict())
        image = torch.rand(1, 1, 20, 30)
        assert torch.equal(network(image), plain(image))
        doubled = AttentionUNet("doubling", width=4).eval()
        doubled.load_state_dict(network.state_dict())
        assert not torch.allclose(doubled(image), plain(image))
        with pytest.raises(ValueError, match="gate 'doubling' is registered already"):
            register_gate("doubling")(Doubling)
    finally:
        GATES.pop("doubling", None)
