"""Batch normalisation folded into convolutions: the same answer without it."""

import pytest
import torch
from torch import nn

from cxr_attn_unet.networks import NETWORKS, build_network, fold_batch_norm


def trained_network(name):
    """A network whose batch normalisation does something."""
    torch.manual_seed(0)
    network = build_network(name, width=4).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    return network


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "swin_unet_base"])
def test_a_folded_network_gives_the_same_answer_without_batch_normalisation(name):
    image = torch.rand(1, 1, 64, 64)
    network = trained_network(name)
    with torch.inference_mode():
        before = network(image).softmax(1)
        after = fold_batch_norm(network)(image).softmax(1)
    assert not [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    torch.testing.assert_close(after, before, rtol=0, atol=1e-4)


def test_a_network_in_training_is_not_folded():
    with pytest.raises(ValueError, match="evaluation mode"):
        fold_batch_norm(build_network("unet", width=4).train())
