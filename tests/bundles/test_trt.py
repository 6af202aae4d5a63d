"""The config that has TensorRT run a bundle's network, where there is none."""

import pytest
import torch
from monai.bundle import ConfigParser

from conftest import BUNDLES
from cxr_attn_unet.networks import SegmentationNetwork


@pytest.fixture(scope="module", params=BUNDLES, ids=lambda path: path.name)
def parser(request):
    configs = request.param / "configs"
    parser = ConfigParser()
    parser.read_config([str(configs / "inference.json"), str(configs / "inference_trt.json")])
    parser["bundle_root"] = str(request.param)
    parser["device"] = torch.device("cpu")
    return parser


@pytest.mark.skipif(torch.cuda.is_available(), reason="TensorRT may be there")
def test_without_tensorrt_the_network_is_pytorchs(parser):
    assert isinstance(parser.get_parsed_content("network"), SegmentationNetwork)


def test_a_plan_is_for_batches_of_the_size_that_is_given(parser):
    parser["dataloader#batch_size"] = 4
    assert parser.get_parsed_content("trt_args") == {"dynamic_batchsize": [1, 4, 4]}
