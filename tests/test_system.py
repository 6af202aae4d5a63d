"""What is said of the machine."""

import os

import numpy as np
import pytest
import torch

from cxr_attn_unet.system import hardware, peak_memory, processor


@pytest.mark.skipif(torch.cuda.is_available(), reason="names the GPU where there is one")
def test_hardware_counts_the_cores():
    assert hardware().startswith(f"{os.cpu_count()} CPU cores, ")


def test_a_processor_has_a_name():
    assert processor()


@pytest.mark.skipif(torch.cuda.is_available(), reason="measures the GPU where there is one")
def test_peak_memory_is_in_bytes():
    held = np.ones(2**25, np.uint8)
    assert held.nbytes < peak_memory() < 2**40


@pytest.mark.skipif(torch.cuda.is_available(), reason="measures the GPU where there is one")
def test_peak_memory_does_not_fall():
    before = peak_memory()
    assert peak_memory() >= before
