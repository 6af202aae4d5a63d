"""One suite for all networks: every check runs on each of them."""

import copy
import pickle
import sys

import pytest
import torch
import torch.nn.functional as F
from monai.bundle import ConfigParser

from cxr_attn_unet import networks
from cxr_attn_unet.networks import NETWORKS, AttentionUNet, build_network

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit", "ignore::torch.jit.TracerWarning")

NAMES = [
    "unet",
    "resnet_unet_18",
    "resnet_unet_34",
    "resnet_unet_50",
    "swin_unet_base",
    "three_head_attention_unet",
    "spatial_attention_unet",
    "double_spatial_attention_unet",
    "full_spatial_attention_unet",
    "efficientnet_attention_unet",
    "two_scale_attention_unet",
]
PUBLISHED_SKELETON = ["unet", *(name for name in NAMES[:9] if "attention" in name)]
SQUARE_ONLY = {"spatial_attention_unet", "double_spatial_attention_unet"}
SCALABLE = SQUARE_ONLY | {"full_spatial_attention_unet"}
SIZES = [(1, 1), (33, 33), (64, 64), (37, 70), (65, 9)]
WIDTH = 4

every_network = pytest.mark.parametrize("name", NAMES)


@torch.no_grad()
def make(name, **options):
    """A small network whose batch norms have seen a batch, so that its logits are not next to constant."""
    torch.manual_seed(0)
    network = build_network(name, **{"width": WIDTH, **options})
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    network(images(4, network.in_channels, 64, 64))
    return network.eval()


def images(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1))


def allowed_sizes(name):
    return [(h, w) for h, w in SIZES if h == w or name not in SQUARE_ONLY]


def test_the_registry_holds_them_all():
    assert list(NETWORKS) == NAMES
    assert len(set(NETWORKS.values())) == 11


@every_network
@torch.no_grad()
def test_any_size_gives_the_logits_of_the_padded_image(name):
    network = make(name, in_channels=2, out_channels=3)
    for height, width in allowed_sizes(name):
        image = images(1, 2, height, width)
        logits = network(image)
        assert logits.shape == (1, 3, height, width)
        assert logits.dtype == torch.float32
        assert logits.isfinite().all()
        padded = F.pad(image, [0, -width % network.multiple, 0, -height % network.multiple], mode="replicate")
        assert torch.equal(network(padded)[:, :, :height, :width], logits)


@every_network
@torch.no_grad()
def test_the_output_depends_on_the_image_at_every_scale(name):
    network = make(name)
    image = images(1, 1, 64, 64)
    coarse = F.interpolate(F.avg_pool2d(image, 16), scale_factor=16)
    for other in (image.flip(3), coarse):
        assert not torch.allclose(network(image), network(other), atol=1e-6)


@every_network
@torch.no_grad()
def test_images_of_a_batch_do_not_mix(name):
    network = make(name)
    batch = images(3, 1, 40, 40)
    together = network(batch)
    for i in range(3):
        # other sizes of batch, other order of sums: 1.1e-5 on CPUs without AVX-512
        torch.testing.assert_close(network(batch[i : i + 1]), together[i : i + 1], atol=5e-5, rtol=1e-4)


@every_network
def test_gradients_reach_every_parameter(name):
    # Without the scale, the softmax of an untrained Full Spatial gate saturates at this size, and its gradient is 0.
    network = make(name, **({"scale_attention": True} if name in SCALABLE else {})).train()
    with torch.no_grad():
        for key, parameter in network.named_parameters():
            if ".channel." in key:
                parameter.abs_()  # random signs may switch the one hidden ReLU off, at this width
    logits = network(images(2, 1, 128, 128))
    (logits * torch.randn(logits.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    without = [key for key, p in network.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    assert not without
    assert all(p.grad.isfinite().all() for p in network.parameters())


@every_network
@torch.no_grad()
def test_save_and_load_give_the_same_output(name, tmp_path):
    network = make(name)
    image = images(1, 1, 48, 48)
    expected = network(image)
    torch.save(network.state_dict(), tmp_path / "model.pt")
    torch.manual_seed(99)
    other = build_network(name, width=WIDTH).eval()
    assert not torch.allclose(other(image), expected)
    assert torch.equal(networks.load_weights(other, tmp_path / "model.pt")(image), expected)
    for duplicate in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        assert torch.equal(duplicate(image), expected)


@pytest.mark.parametrize("name", [name for name in NAMES if name != "swin_unet_base"])
@torch.no_grad()
def test_scripted_network_equals_eager_at_any_size(name, tmp_path):
    network = make(name)
    torch.jit.script(network).save(tmp_path / "network.ts")
    scripted = torch.jit.load(tmp_path / "network.ts")
    for height, width in allowed_sizes(name):
        image = images(2, 1, height, width)
        torch.testing.assert_close(scripted(image), network(image), atol=1e-6, rtol=1e-5)
    with pytest.raises(torch.jit.Error, match="expected 1 image channel"):
        scripted(images(1, 3, 32, 32))


@every_network
@torch.no_grad()
def test_traced_network_equals_eager(name):
    network = make(name)
    traced = torch.jit.trace(network, images(1, 1, 40, 40), check_trace=False)
    image = images(2, 1, 40, 40)[1:]
    torch.testing.assert_close(traced(image), network(image), atol=1e-6, rtol=1e-5)


@every_network
@torch.no_grad()
def test_built_from_a_monai_config(name):
    target = f"cxr_attn_unet.networks.{NETWORKS[name].__name__}"
    network = ConfigParser({"net": {"_target_": target, "width": WIDTH}}).get_parsed_content("net")
    assert type(network) is NETWORKS[name]
    network.load_state_dict(make(name).state_dict())
    image = images(1, 1, 32, 32)
    assert torch.equal(network.eval()(image), make(name)(image))


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("unet", 31_036_546),
        ("three_head_attention_unet", 46_425_098),
        ("spatial_attention_unet", 52_666_946),
        ("double_spatial_attention_unet", 71_860_226),
        ("full_spatial_attention_unet", 52_666_946),
    ],
)
def test_parameter_count_is_the_published_one(name, count):
    with torch.device("meta"):
        network = build_network(name)
    assert sum(p.numel() for p in network.parameters()) == count


@pytest.mark.parametrize("name", PUBLISHED_SKELETON)
@torch.no_grad()
def test_the_skeleton_wires_the_gates_as_published(name):
    network = make(name)
    seen = {}
    for key, module in network.named_modules():
        module.register_forward_hook(lambda _, inputs, output, key=key: seen.update({key: (inputs, output)}))
    network(images(1, 1, 32, 32))
    g = seen["bottleneck"][1]
    for i in range(4):
        (x, y, given), a = seen[f"decoder.{i}.gate"]
        assert torch.equal(x, seen[f"encoder.{3 - i}"][1])
        assert torch.equal(y, seen[f"decoder.{i}.up"][1])
        assert torch.equal(given, g)
        assert torch.equal(seen[f"decoder.{i}.conv"][0][0], torch.cat([a, y], dim=1))
        assert torch.equal(
            seen["head"][0][0] if i == 3 else seen[f"decoder.{i + 1}.up"][0][0], seen[f"decoder.{i}"][1][0]
        )
        g = a
    assert torch.equal(seen["decoder.0.up"][0][0], seen["bottleneck"][1])


@pytest.mark.parametrize("name", sorted(SCALABLE))
@torch.no_grad()
def test_scale_reaches_every_gate(name):
    plain, scaled = make(name), make(name, scale_attention=True)
    scaled.load_state_dict(dict(plain.state_dict()))
    flags = {key: m.scale_attention for key, m in scaled.named_modules() if hasattr(m, "scale_attention")}
    assert len(flags) == (8 if name == "double_spatial_attention_unet" else 4)
    assert all(flags.values())
    assert not any(m.scale_attention for m in plain.modules() if hasattr(m, "scale_attention"))
    image = images(1, 1, 32, 32)
    assert not torch.allclose(scaled(image), plain(image))


@pytest.mark.parametrize("name", sorted(set(NAMES) - SCALABLE))
def test_scale_is_refused_by_the_others(name):
    with pytest.raises(
        TypeError, match=f"network '{name}' has no option scale_attention; its options are: (none|.*encoder_weights)"
    ):
        build_network(name, width=WIDTH, scale_attention=True)


@pytest.mark.parametrize("name", sorted(SQUARE_ONLY))
def test_square_only_networks_say_so(name):
    network = make(name)
    with pytest.raises(ValueError, match=r"height 32 and width 48.*letter-box.*full_spatial.*three_head"):
        network(images(1, 1, 32, 48))


@every_network
def test_wrong_images_are_refused(name):
    network = make(name)
    with pytest.raises(ValueError, match=r"expected an image batch \(N, C, H, W\), got shape \[1, 32, 32\]"):
        network(images(1, 32, 32))
    with pytest.raises(ValueError, match=r"expected 1 image channel\(s\), got 3"):
        network(images(1, 3, 32, 32))


def test_unknown_names_are_refused_with_the_names_there_are():
    with pytest.raises(ValueError, match="unknown network 'nope'") as caught:
        build_network("nope")
    assert all(name in str(caught.value) for name in NAMES)
    with pytest.raises(ValueError, match=r"unknown gate 'nope'; the gates are: .*three_head"):
        AttentionUNet("nope")
    with pytest.raises(TypeError, match="gate 'three_head' has no option scale_attention; its options are: none"):
        AttentionUNet("three_head", scale_attention=True)


@every_network
@pytest.mark.parametrize(("argument", "value"), [("in_channels", 0), ("out_channels", 0), ("width", 1), ("width", 4.0)])
def test_wrong_numbers_are_refused(name, argument, value):
    with pytest.raises(ValueError, match=f"{argument} must be a whole number of at least ., got {value}"):
        build_network(name, **{"width": WIDTH, argument: value})


def test_swin_refuses_what_its_heads_do_not_divide():
    with pytest.raises(ValueError, match=r"width must be even.*got width 5"):
        build_network("swin_unet_base", width=5)


def test_swin_names_einops_if_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "einops", None)
    with pytest.raises(ImportError, match="pip install einops"):
        build_network("swin_unet_base", width=WIDTH)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@every_network
def test_half_precision_on_cuda_is_finite_and_close(name):
    for options in [{}, {"scale_attention": True}] if name in SCALABLE else [{}]:
        network = make(name, width=8, **options).cuda()
        image = images(1, 1, 512, 512).cuda()
        with torch.no_grad():
            expected = network(image)
        with torch.autocast("cuda", dtype=torch.float16):
            logits = network(image)
        logits.float().square().mean().backward()
        assert logits.isfinite().all()
        assert all(p.grad.isfinite().all() for p in network.parameters())
    # Without the scale the softmax picks one channel, and rounding may change which: compare the last one only.
    assert (logits.float() - expected).abs().mean() < 0.1 * expected.std()
