"""The same masks again: exactly on one machine with the same settings, nearly with other threads and batches."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import EXAMPLES
from cxr_attn_unet import Segmenter
from cxr_attn_unet.io import read_radiograph
from cxr_attn_unet.structures import REGISTRY
from cxr_attn_unet.system import hardware, processor
from cxr_attn_unet_dev.tools.reliability import write_findings

FILES = sorted((EXAMPLES / "open_radiographs").glob("*.png"))[:3]
MOST_DIFFERENT = 1e-5  # share of a picture's pixels, as docs/segment.md says
COMMAND = "make test ARGS=tests/inference/test_determinism.py CXR_RELIABILITY=docs/reliability"


@pytest.fixture(scope="module")
def segmenter():
    return Segmenter.from_bundles(device="cpu")


@pytest.fixture(scope="module")
def radiographs():
    return [read_radiograph(path) for path in FILES]


def masks(segmenter, radiographs, threads: int = 1, batch: int = 1) -> dict[str, list[np.ndarray]]:
    """By structure, the masks of all radiographs."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        found = []
        for start in range(0, len(radiographs), batch):
            found += segmenter.segment(radiographs[start : start + batch])
    finally:
        torch.set_num_threads(before)
    return {structure: [one.masks[structure] for one in found] for structure in segmenter.structures}


def share_that_differs(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    """Of the pixels of all masks."""
    differing = sum(int((first != second).sum()) for first, second in zip(one, other, strict=True))
    return differing / sum(mask.size for mask in one)


@pytest.fixture(scope="module")
def reference(segmenter, radiographs):
    return masks(segmenter, radiographs)


@pytest.fixture(scope="module")
def others(segmenter, radiographs):
    """Masks with other numbers of threads and sizes of batches."""
    return {(threads, batch): masks(segmenter, radiographs, threads, batch) for threads, batch in ((2, 1), (1, 3))}


@pytest.fixture(scope="module", autouse=True)
def findings(reference, others):
    """Kept where CXR_RELIABILITY names a folder, whatever the tests say."""
    folder = os.environ.get("CXR_RELIABILITY")
    if not folder:
        return
    rows = []
    for structure in REGISTRY:
        for (threads, batch), found in others.items():
            share = share_that_differs(reference[structure], found[structure])
            rows.append(
                {
                    "structure": structure,
                    "threads": threads,
                    "radiographs a batch": batch,
                    "pixels that differ from one thread, one by one": f"{share:.1e}" if share else "none",
                }
            )
    pixels = sum(mask.size for mask in reference["heart"])
    setting = (
        f"{len(FILES)} radiographs of examples/open_radiographs, {pixels:,} pixels; shipped weights; {hardware()}, "
        f"{processor()}, PyTorch {torch.__version__}, {time.strftime('%Y-%m-%d')}"
    )
    write_findings(Path(folder) / "determinism.json", "The same masks again", COMMAND, setting, rows)


@pytest.mark.parametrize("structure", REGISTRY)
def test_masks_are_the_same_again(segmenter, radiographs, reference, structure):
    again = Segmenter.from_bundles([structure], device="cpu")
    for mask, radiograph in zip(reference[structure], radiographs, strict=True):
        assert np.array_equal(again.segment([radiograph])[0].masks[structure], mask)


@pytest.mark.parametrize("structure", REGISTRY)
@pytest.mark.parametrize("other", [(2, 1), (1, 3)], ids=["two threads", "a batch of three"])
def test_threads_and_batches_change_hardly_a_pixel(reference, others, structure, other):
    assert share_that_differs(reference[structure], others[other][structure]) <= MOST_DIFFERENT
