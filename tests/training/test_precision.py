"""Half precision on a CPU: logits stay float32 and close, gradients flow."""

import torch

from cxr_attn_unet.networks import build_network
from cxr_attn_unet.training.precision import BFloat16Inferer, DepthwiseConv2d, half_precision_pays, on_device


def test_bfloat16_is_near_and_is_used():
    torch.manual_seed(0)
    network = build_network("full_spatial_attention_unet", width=4, scale_attention=True).eval()
    image = torch.rand(2, 1, 32, 32)
    plain, exact = BFloat16Inferer(enabled=False)(image, network), network(image)
    half = BFloat16Inferer()(image, network)
    assert torch.equal(plain, exact)
    assert half.dtype == torch.float32
    assert not torch.equal(half, exact)
    assert torch.allclose(half, exact, atol=0.05)
    half.square().mean().backward()
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in network.parameters())


def test_it_pays_where_the_processor_has_it(monkeypatch):
    assert half_precision_pays("cuda")
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    assert not half_precision_pays("cpu")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    assert half_precision_pays(torch.device("cpu"))


def test_depthwise_convolutions_keep_float32_on_a_cpu_and_nothing_else_changes():
    torch.manual_seed(0)
    network = build_network("efficientnet_attention_unet", width=4).eval()
    names, image = list(network.state_dict()), torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        exact = network(image)
        half = on_device(network, "cpu", amp=True)
        assert half is network
        assert list(half.state_dict()) == names
        assert torch.allclose(half(image), exact, atol=1e-5)
    depthwise = [module for module in half.modules() if isinstance(module, DepthwiseConv2d)]
    assert len(depthwise) == 16  # one in each inverted residual block
    assert all(module.groups == module.in_channels for module in depthwise)
    seen = []
    depthwise[3].register_forward_hook(lambda module, inputs, output: seen.append((inputs[0].dtype, output.dtype)))
    BFloat16Inferer()(image, half).square().mean().backward()
    assert seen == [(torch.bfloat16, torch.bfloat16)]
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in half.parameters())


def test_depthwise_convolutions_give_the_values_of_float32_in_half_precision():
    torch.manual_seed(0)
    plain = torch.nn.Sequential(torch.nn.Conv2d(6, 6, 5, padding=2, groups=6, bias=False))
    expected = plain[0].weight.detach().clone()
    image = torch.rand(1, 6, 9, 9)
    reference = torch.nn.functional.conv2d(image, expected, padding=2, groups=6)
    network = on_device(plain, "cpu", amp=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(network(image), reference)


def test_without_half_precision_convolutions_are_plain():
    network = on_device(build_network("efficientnet_attention_unet", width=4), "cpu", amp=False)
    assert not any(isinstance(module, DepthwiseConv2d) for module in network.modules())
