"""What is said of the machine."""

import os

import numpy as np
import pytest
import torch

from cxr_attn_unet import system
from cxr_attn_unet.system import free_memory, hardware, peak_memory, processor, usable_cores


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


@pytest.mark.parametrize(("quota", "expected"), [("100000 100000", 1), ("50000 100000", 1)])
def test_a_container_may_use_no_more_cores_than_its_quota(tmp_path, monkeypatch, quota, expected):
    (tmp_path / "cpu.max").write_text(f"{quota}\n")
    monkeypatch.setattr(system, "CGROUP", tmp_path)
    assert usable_cores() == expected


def test_without_a_quota_there_are_the_cores_of_the_machine(tmp_path, monkeypatch):
    (tmp_path / "cpu.max").write_text("max 100000\n")
    monkeypatch.setattr(system, "CGROUP", tmp_path)
    assert 1 <= usable_cores() <= os.cpu_count()


def test_a_container_has_no_more_memory_than_its_limit(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text("1000000\n")
    monkeypatch.setattr(system, "CGROUP", tmp_path)
    assert free_memory() == 1_000_000


def test_without_a_limit_there_is_the_memory_of_the_machine(tmp_path, monkeypatch):
    (tmp_path / "memory.max").write_text("max\n")
    monkeypatch.setattr(system, "CGROUP", tmp_path)
    assert free_memory() is None or free_memory() > 2**20
