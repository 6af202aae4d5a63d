import numpy as np
import pytest
import torch
from PIL import Image

from conftest import write_folder
from cxr_attn_unet.datasets import DatasetError, DecodedDataset, load_data
from cxr_attn_unet.datasets.cache import content_hash
from cxr_attn_unet.transforms import LoadMaskd, LoadRadiographd, ResizeLongestd


@pytest.fixture
def items(tmp_path):
    return load_data(str(write_folder(tmp_path / "data", "heart", 4)), "heart")["training"]


def transforms(size=32):
    return [
        LoadRadiographd(keys="image"),
        LoadMaskd(keys="label"),
        ResizeLongestd(keys="image", spatial_size=size),
    ]


def files(folder):
    return {path: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_a_second_run_reads_what_the_first_has_kept(items, tmp_path):
    first = DecodedDataset(items, transforms(), cache_dir=tmp_path / "kept", track_meta=True, progress=False)
    kept = files(tmp_path / "kept")
    assert len(kept) == len(items)
    for path in kept:  # what a second run shows comes from here
        stored = torch.load(path, weights_only=True)
        stored["image"] += 1
        torch.save(stored, path)
    second = DecodedDataset(items, transforms(), cache_dir=tmp_path / "kept", track_meta=True, progress=False)
    for before, after in zip(first, second, strict=True):
        assert torch.equal(after["image"], before["image"] + 1)
        assert torch.equal(after["label"], before["label"])
        assert after["label"].meta["radiograph"] == before["label"].meta["radiograph"]


def test_kept_items_are_those_of_a_run_without(items, tmp_path):
    options = {"track_meta": True, "progress": False}
    without = DecodedDataset(items, transforms(), **options)
    DecodedDataset(items, transforms(), cache_dir=tmp_path / "kept", **options)
    kept = DecodedDataset(items, transforms(), cache_dir=tmp_path / "kept", **options)
    for expected, found in zip(without, kept, strict=True):
        assert set(found) == set(expected)
        for key in ("image", "label"):
            assert torch.equal(found[key], expected[key])
            assert found[key].dtype == expected[key].dtype


def test_a_mask_that_changed_is_read_again(items, tmp_path):
    DecodedDataset(items, transforms(), cache_dir=tmp_path / "kept", progress=False)
    mask = np.asarray(Image.open(items[0]["label"]))
    Image.fromarray(255 - mask).save(items[0]["label"])
    again = DecodedDataset(items, transforms(), cache_dir=tmp_path / "kept", progress=False)
    assert len(files(tmp_path / "kept")) == len(items) + 1
    assert float(again[0]["label"].sum()) == (255 - mask > 0).sum()


def test_other_transforms_are_not_mixed_up(items, tmp_path):
    DecodedDataset(items, transforms(32), cache_dir=tmp_path / "kept", progress=False)
    larger = DecodedDataset(items, transforms(48), cache_dir=tmp_path / "kept", progress=False)
    assert max(larger[0]["image"].shape) == 48


def test_a_damaged_file_is_made_again(items, tmp_path):
    first = DecodedDataset(items, transforms(), cache_dir=tmp_path / "kept", progress=False)
    for path in files(tmp_path / "kept"):
        path.write_bytes(path.read_bytes()[:100])
    again = DecodedDataset(items, transforms(), cache_dir=tmp_path / "kept", progress=False)
    assert torch.equal(again[0]["image"], first[0]["image"])


def test_a_folder_that_cannot_be_is_named(items, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match=r"file/kept: cannot keep decoded radiographs there.*--cache_dir"):
        DecodedDataset(items, transforms(), cache_dir=tmp_path / "file" / "kept", progress=False)


def test_the_file_beside_a_header_counts(tmp_path):
    (tmp_path / "a.mhd").write_text("ElementDataFile = a.raw")
    (tmp_path / "a.raw").write_bytes(b"1")
    before = content_hash({"image": str(tmp_path / "a.mhd")})
    (tmp_path / "a.raw").write_bytes(b"2")
    assert content_hash({"image": str(tmp_path / "a.mhd")}) != before
