import copy

import pytest
import torch

from cxr_attn_unet.networks import NETWORKS, build_network
from cxr_attn_unet.training.recompute import recompute_activations


def network_of(name):
    torch.manual_seed(0)
    if name == "swin_unet_base":
        pytest.importorskip("einops")
    return build_network(name, width=4).train()


def step(network):
    """Loss of one training step; gradients and running statistics are left in the network."""
    torch.manual_seed(1)
    loss = network(torch.rand(2, 1, 64, 64)).square().mean()
    loss.backward()
    return loss


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_is_the_same_to_the_bit(name):
    kept = network_of(name)
    again = recompute_activations(copy.deepcopy(kept))
    assert torch.equal(step(kept), step(again))
    for (key, expected), found in zip(kept.named_parameters(), again.parameters(), strict=True):
        assert (expected.grad is None) == (found.grad is None), key
        assert expected.grad is None or torch.equal(expected.grad, found.grad), key


@pytest.mark.parametrize("name", NETWORKS)
def test_running_statistics_count_a_batch_once(name):
    kept = network_of(name)
    again = recompute_activations(copy.deepcopy(kept))
    step(kept)
    step(again)
    for (key, expected), found in zip(kept.named_buffers(), again.buffers(), strict=True):
        assert torch.equal(expected, found), key


@pytest.mark.parametrize("name", NETWORKS)
def test_less_is_kept_for_the_gradient(name):
    def bytes_kept(network):
        sizes = {}

        def note(tensor):
            if not isinstance(tensor, torch.nn.Parameter):
                sizes[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
            return tensor

        kept_alive = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept_alive.append(t) or note(t), lambda t: t):
            network(torch.rand(2, 1, 64, 64))
        return sum(sizes.values())

    network = network_of(name)
    assert bytes_kept(recompute_activations(copy.deepcopy(network))) < 0.6 * bytes_kept(network)


def test_names_of_weights_stay():
    network = network_of("unet")
    names = list(network.state_dict())
    assert list(recompute_activations(network).state_dict()) == names


def test_a_copy_computes_with_weights_of_its_own():
    """The average of the weights is a copy of the network."""
    network = recompute_activations(network_of("unet"))
    duplicate = copy.deepcopy(network)
    image = torch.rand(1, 1, 32, 32)
    before = duplicate(image)
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
    assert torch.equal(duplicate(image), before)
