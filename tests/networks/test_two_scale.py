"""The structure at full size, its parts from a smaller picture."""

import pytest
import torch

from cxr_attn_unet.networks import build_network
from cxr_attn_unet.networks.efficientnet_unet import RARE

NAME = "two_scale_attention_unet"


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build_network(NAME, width=4, out_channels=26).eval()


@torch.no_grad()
def test_no_part_is_more_probable_than_the_structure(network):
    network.parts.parts[1].bias.fill_(9)
    logits = network(torch.rand(1, 1, 64, 96))
    structure = logits[:, :2].softmax(1)[:, 1:]
    assert bool((logits[:, 2:].sigmoid() <= structure + 1e-6).all())


@torch.no_grad()
def test_the_structure_is_that_of_its_network_alone(network):
    image = torch.rand(1, 1, 64, 64)
    assert torch.equal(network(image)[:, :2], network.structure(image))


@torch.no_grad()
def test_parts_are_seen_at_three_quarters_of_the_size(network):
    seen = []
    network.parts.register_forward_hook(lambda module, given, found: seen.append(tuple(given[0].shape)))
    assert network(torch.rand(2, 1, 64, 96)).shape == (2, 26, 64, 96)
    assert seen == [(2, 1, 48, 72)]


@torch.no_grad()
def test_parts_begin_improbable(network):
    assert float(network(torch.rand(1, 1, 64, 64))[:, 2:].max()) < RARE / 2


def test_without_parts_it_is_the_network_of_the_structure():
    assert list(build_network(NAME, width=4).parts.parameters()) == []


@pytest.mark.parametrize("name", [NAME, "efficientnet_attention_unet"])
@torch.no_grad()
def test_a_network_without_parts_gives_the_same_structure(name):
    torch.manual_seed(0)
    network = build_network(name, width=4, out_channels=26).eval()
    image = torch.rand(1, 1, 64, 64)
    alone = network.without_parts()
    assert torch.equal(alone(image), network(image)[:, :2])
    assert not alone.training
    assert sum(p.numel() for p in alone.parameters()) < sum(p.numel() for p in network.parameters())


def test_a_network_that_has_no_parts_is_itself():
    network = build_network("efficientnet_attention_unet", width=4)
    assert network.without_parts() is network
