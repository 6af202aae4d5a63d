import pytest
import torch
import torch.distributed as dist
from monai.data import DataLoader, Dataset, MetaTensor
from torch import nn

from cxr_attn_unet.networks import build_network
from cxr_attn_unet.training.processes import JointBatchNorm2d, SectionSampler, with_joint_batch_norm


@pytest.fixture
def one_process():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def after_a_batch(norm):
    """Output, gradients and running statistics."""
    torch.manual_seed(0)
    image = (3 + 2 * torch.randn(4, 3, 5, 6)).requires_grad_()
    output = norm.train()(image)
    (output * torch.rand(4, 3, 5, 6)).sum().backward()
    statistics = norm.running_mean, norm.running_var, norm.num_batches_tracked
    return output, image.grad, norm.weight.grad, norm.bias.grad, *statistics


def test_joint_normalisation_of_one_process_is_that_of_pytorch(one_process):
    for expected, found in zip(after_a_batch(nn.BatchNorm2d(3)), after_a_batch(JointBatchNorm2d(3)), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_joint_normalisation_evaluates_as_that_of_pytorch():
    image = torch.rand(2, 3, 4, 4)
    assert torch.equal(JointBatchNorm2d(3).eval()(image), nn.BatchNorm2d(3).eval()(image))


def test_joint_normalisation_takes_radiographs_with_metadata_that_differ(one_process):
    batch = MetaTensor(torch.rand(3, 3, 4, 4), meta={"sizes": [torch.zeros(size) for size in (1, 2, 3)]})
    batch.is_batch = True
    expected = nn.BatchNorm2d(3).train()(batch.as_tensor())
    torch.testing.assert_close(JointBatchNorm2d(3).train()(batch), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.skipif(torch.cuda.is_available(), reason="GPUs have PyTorch's own")
def test_every_normalisation_of_a_network_becomes_joint():
    network = build_network("efficientnet_attention_unet", width=4)
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    joint = with_joint_batch_norm(network)
    norms = [module for module in joint.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert all(type(norm) is JointBatchNorm2d for norm in norms)
    assert all(torch.equal(value, weights[name]) for name, value in joint.state_dict().items())
    assert {norm.eps for norm in norms} == {1e-5, 1e-3}


def test_radiographs_come_in_the_order_of_one_process(one_process):
    data = Dataset(list(range(20)))

    def order(**options):
        torch.manual_seed(3)
        return torch.cat(list(DataLoader(data, batch_size=4, **options))).tolist()

    shared = SectionSampler(data, section="training", shuffle=True)
    assert order(sampler=shared) == order(shuffle=True) != list(range(20))
