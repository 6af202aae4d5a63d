"""What configs compute by name: steps, averages, patches, starting weights, precision, places."""

import pytest
import torch
from ignite.handlers import EMAHandler

from cxr_attn_unet.networks import build_network, save_weights
from cxr_attn_unet.training.precision import on_cpu, on_cuda, on_device
from cxr_attn_unet.training.schedule import ema_momentum, patch_size, start_from, total_steps


def test_steps_of_a_run():
    assert total_steps(3, ["batch"] * 7) == 21


@pytest.mark.parametrize(("share", "momentum"), [(0.1, 1 / 20), (0.5, 1 / 100), (0, 0.999), (0.001, 0.999)])
def test_momentum_of_the_average(share, momentum):
    assert ema_momentum(share, 200) == pytest.approx(momentum)


def test_ignite_takes_the_largest_momentum():
    EMAHandler(torch.nn.Linear(1, 1), momentum=ema_momentum(0, 200))


@pytest.mark.parametrize(("shares", "size"), [([0.5, 1.0], [256, 512]), ([0.7, 1.0], [358, 512])])
def test_patches_are_shares_of_the_sides(shares, size):
    assert patch_size(shares, 512) == size


def test_training_starts_from_named_weights(tmp_path):
    other = build_network("unet", width=4)
    save_weights(other, tmp_path / "model.pt")
    network = start_from(build_network("unet", width=4), tmp_path / "model.pt")
    assert torch.equal(network.state_dict()["head.weight"], other.state_dict()["head.weight"])


def test_training_starts_from_random_weights_if_none_are_named():
    network = build_network("unet", width=4)
    before = network.state_dict()["head.weight"].clone()
    assert torch.equal(start_from(network, None).state_dict()["head.weight"], before)


@pytest.mark.parametrize(
    ("amp", "device", "expected"),
    [(True, "cpu", (False, True)), (True, "cuda:1", (True, False)), (False, "cuda", (False, False))],
)
def test_half_precision_is_for_one_kind_of_device_at_a_time(amp, device, expected):
    assert (on_cuda(amp, device), on_cpu(amp, torch.device(device))) == expected


@pytest.mark.parametrize("synchronised", [True, False])
@pytest.mark.parametrize(("amp", "layout"), [(True, torch.channels_last), (False, torch.contiguous_format)])
def test_channels_come_last_where_half_precision_is_used(amp, layout, synchronised):
    network = on_device(torch.nn.Conv2d(4, 4, 3), "cpu", amp, synchronised)
    assert network.weight.is_contiguous(memory_format=layout)
