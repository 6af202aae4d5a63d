"""Radiographs that are decoded once, for this run or for every run."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import monai
import numpy as np
import torch
from monai.data import CacheDataset, PersistentDataset
from monai.data.utils import pickle_hashing
from monai.transforms import Compose, Transform, convert_to_contiguous
from monai.transforms.traits import RandomizableTrait
from monai.utils import TraceKeys

from .checks import DatasetError

__all__ = ["DecodedDataset", "content_hash"]

logger = logging.getLogger(__name__)
DECODING = ("io", "transforms")  # the rooms whose code makes what is kept
# what metadata hold beside what PyTorch reads by itself: arrays of numbers, and MONAI's traces of transforms
NUMBERS = {type(np.dtype(kind)) for kind in "?bBhHiIlLqQefd"}
METADATA: list[Any] = [np.ndarray, np.dtype, np.empty(0).__reduce__()[0], *NUMBERS, TraceKeys]
WITH_DATA_BESIDE = (".mhd", ".nhdr")  # headers whose pixels are in another file of the same stem


class DecodedDataset(CacheDataset):
    """``monai.data.CacheDataset`` that can keep what its deterministic transforms make in files for later runs.

    The files are written and read by ``monai.data.PersistentDataset``. Their names are checksums of the item, of the
    content of its files, and of the transforms with their code, so that a radiograph or mask that has changed is read
    again. Files that are damaged are made again. What is no longer of use stays until the folder is deleted.

    Args:
        data: items of a data list.
        transform: the deterministic ones first; those after the first random one run each time.
        cache_dir: folder for the files, shared by as many runs and data sets as one likes; ``None`` keeps nothing.
        track_meta: whether what the transforms make has metadata, which are then kept too.
        kwargs: for ``CacheDataset``.

    Raises:
        DatasetError: the folder cannot be written to.
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable | Sequence[Callable],
        cache_dir: str | os.PathLike | None = None,
        track_meta: bool = False,
        **kwargs: Any,
    ) -> None:
        self.cache_dir = None if cache_dir is None else Path(cache_dir)
        self.track_meta = track_meta
        super().__init__(data, transform, **kwargs)

    def _load_cache_item(self, idx: int) -> Any:
        if self.cache_dir is None:
            return super()._load_cache_item(idx)
        # not an attribute: what MONAI seeds in a data set, and so the augmentation, must not depend on it
        kept = self._kept(self.data[idx], self.cache_dir)
        try:
            item = kept[0]
        except RuntimeError as error:
            file = self.cache_dir / f"{content_hash(self.data[idx]).decode()}{kept.transform_hash}.pt"
            if not file.is_file():  # it was not the file that could not be read
                raise
            logger.warning(f"{file}: damaged ({str(error).splitlines()[0]}). It is made again.")
            file.unlink()
            item = kept[0]
        return convert_to_contiguous(item)

    def _kept(self, item: Mapping[str, Any], cache_dir: Path) -> PersistentDataset:
        """A data set of one item that is read from its file, if it has one."""
        torch.serialization.add_safe_globals(METADATA)
        try:
            return PersistentDataset(
                [item],
                Compose(_deterministic(self.transform)),
                cache_dir=cache_dir,
                hash_func=content_hash,
                hash_transform=_transforms_hash,
                track_meta=self.track_meta,
            )
        except OSError as error:
            raise DatasetError(
                f"{cache_dir}: cannot keep decoded radiographs there ({error}). Name another folder with --cache_dir."
            ) from error


def _deterministic(transform: Callable | Sequence[Callable]) -> list[Callable]:
    """The transforms before the first random one, as ``CacheDataset`` divides them."""
    steps = list(Compose(transform).flatten().transforms)
    for index, step in enumerate(steps):
        if isinstance(step, RandomizableTrait) or not isinstance(step, Transform):
            return steps[:index]
    return steps


def content_hash(item: Mapping[str, Any]) -> bytes:
    """Checksum of an item of a data list and of the content of every file that it names.

    Args:
        item: paths and values by key; a value may be a list of paths.
    """
    digest = hashlib.sha256(pickle_hashing(dict(item)))
    for path in _files_of(item):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest().encode()


def _files_of(item: Mapping[str, Any]) -> Iterator[Path]:
    for _, value in sorted(item.items()):
        for entry in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(entry, (str, os.PathLike)) and os.path.isfile(entry):
                path = Path(entry)
                yield path
                if path.suffix.lower() in WITH_DATA_BESIDE:
                    yield from sorted(beside for beside in path.parent.glob(f"{path.stem}.*") if beside != path)


def _transforms_hash(transforms: Sequence[Callable]) -> bytes:
    return hashlib.sha256(pickle_hashing(list(transforms)) + _code_hash()).hexdigest().encode()


@cache
def _code_hash() -> bytes:
    digest = hashlib.sha256(monai.__version__.encode())
    package = Path(__file__).resolve().parents[1]
    for room in DECODING:
        for path in sorted((package / room).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.digest()
