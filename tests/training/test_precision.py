"""Half precision on a CPU: logits stay float32 and close, gradients flow."""

import torch

from cxr_attn_unet.networks import build_network
from cxr_attn_unet.training.precision import BFloat16Inferer, half_precision_pays


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
