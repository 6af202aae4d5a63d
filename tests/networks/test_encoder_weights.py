"""The ResNet encoders take torchvision's weights; the files here are made up, in torchvision's naming."""

import sys
from types import SimpleNamespace

import pytest
import torch

from cxr_attn_unet.networks import build_network

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


def torchvision_shapes(depth):
    """Names and shapes of torchvision's ``resnet18/34/50().state_dict()``, written out from its definition."""
    shapes = {}

    def conv(name, outputs, inputs, kernel):
        shapes[f"{name}.weight"] = (outputs, inputs, kernel, kernel)

    def norm(name, channels):
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{name}.{part}"] = (channels,)
        shapes[f"{name}.num_batches_tracked"] = ()

    conv("conv1", 64, 3, 7)
    norm("bn1", 64)
    expansion = 4 if depth == 50 else 1
    inputs = 64
    for stage, blocks in enumerate(BLOCKS[depth]):
        planes = 64 * 2**stage
        for i in range(blocks):
            name = f"layer{stage + 1}.{i}"
            kernels = (1, 3, 1) if depth == 50 else (3, 3)
            sides = [inputs, *[planes] * (len(kernels) - 1), planes * expansion]
            for j, kernel in enumerate(kernels):
                conv(f"{name}.conv{j + 1}", sides[j + 1], sides[j], kernel)
                norm(f"{name}.bn{j + 1}", sides[j + 1])
            if i == 0 and (stage > 0 or depth == 50):
                conv(f"{name}.downsample.0", planes * expansion, inputs, 1)
                norm(f"{name}.downsample.1", planes * expansion)
            inputs = planes * expansion
    shapes["fc.weight"], shapes["fc.bias"] = (1000, inputs), (1000,)
    return shapes


def torchvision_weights(depth):
    generator = torch.Generator().manual_seed(0)
    return {
        key: torch.tensor(5) if key.endswith("tracked") else 0.01 * torch.rand(shape, generator=generator)
        for key, shape in torchvision_shapes(depth).items()
    }


def assert_encoder_is(network, weights, in_channels):
    expected = {key: value for key, value in weights.items() if not key.startswith("fc.")}
    if in_channels == 1:
        expected["conv1.weight"] = sum(weights["conv1.weight"][:, i : i + 1] for i in range(3))
    loaded = network.encoder.state_dict()
    assert set(loaded) >= set(expected)
    for key, value in expected.items():
        torch.testing.assert_close(loaded[key], value, msg=key)


@pytest.mark.parametrize("depth", [18, 34, 50])
def test_names_and_shapes_are_those_of_torchvision(depth):
    with torch.device("meta"):
        network = build_network(f"resnet_unet_{depth}", in_channels=3)
    shapes = {key: tuple(value.shape) for key, value in network.encoder.state_dict().items()}
    assert shapes == {k: v for k, v in torchvision_shapes(depth).items() if not k.startswith("fc.")}


@pytest.mark.parametrize("in_channels", [1, 3])
def test_local_file(tmp_path, in_channels):
    weights = torchvision_weights(18)
    # Files of the first torchvision releases have no batch counters.
    torch.save({k: v for k, v in weights.items() if in_channels == 3 or not k.endswith("tracked")}, tmp_path / "r.pth")
    network = build_network("resnet_unet_18", in_channels=in_channels, encoder_weights=str(tmp_path / "r.pth"))
    if in_channels == 1:
        weights = {key: value for key, value in weights.items() if not key.endswith("tracked")}
    assert_encoder_is(network, weights, in_channels)


def test_file_that_does_not_fit(tmp_path):
    path = tmp_path / "r.pth"
    with pytest.raises(FileNotFoundError, match=r"no weight file .*r\.pth"):
        build_network("resnet_unet_18", encoder_weights=str(path))
    weights = torchvision_weights(18)
    del weights["layer4.1.conv2.weight"]
    weights["layer1.0.conv1.weight"] = torch.zeros(32, 64, 3, 3)
    torch.save(weights, path)
    words = (
        r"r\.pth do not fit ResNet-18 .*1 missing: layer4\.1\.conv2\.weight; "
        r"1 of another shape: layer1\.0\.conv1\.weight \(32, 64, 3, 3\) for \(64, 64, 3, 3\)"
    )
    with pytest.raises(ValueError, match=words):
        build_network("resnet_unet_18", encoder_weights=str(path))


@pytest.mark.parametrize("options", [{"width": 8}, {"in_channels": 2}])
def test_only_the_trained_width_and_channels(options):
    with pytest.raises(ValueError, match="encoder_weights need width 64 and 1 or 3 image channels"):
        build_network("resnet_unet_18", encoder_weights="imagenet", **options)


def fake_torchvision(monkeypatch, get_weight):
    monkeypatch.setitem(sys.modules, "torchvision", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "torchvision.models", SimpleNamespace(get_weight=get_weight))


def test_imagenet_by_torchvision(monkeypatch):
    weights = torchvision_weights(18)
    asked = []

    def get_weight(name):
        asked.append(name)
        return SimpleNamespace(get_state_dict=lambda progress: weights)

    fake_torchvision(monkeypatch, get_weight)
    assert_encoder_is(build_network("resnet_unet_18", encoder_weights="imagenet"), weights, 1)
    assert asked == ["ResNet18_Weights.IMAGENET1K_V1"]


def test_imagenet_without_torchvision_or_network(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torchvision.models", None)
    with pytest.raises(ImportError, match="pip install torchvision, or give the path"):
        build_network("resnet_unet_18", encoder_weights="imagenet")

    def get_weight(name):
        raise OSError("no route to host")

    fake_torchvision(monkeypatch, get_weight)
    with pytest.raises(OSError, match=r"could not download .*ResNet-18 \(no route to host\)"):
        build_network("resnet_unet_18", encoder_weights="imagenet")
