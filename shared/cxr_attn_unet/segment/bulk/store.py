"""A folder on a disk or in an object store, through fsspec; its files appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import IO, Any

from ...files import written

__all__ = ["Store", "is_url", "open_url"]


def is_url(path: str) -> bool:
    """Whether a path names a place in an object store, such as ``s3://bucket/folder``."""
    return "://" in path


def open_url(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path in it.

    Credentials and addresses are those that fsspec and the store's own library find in the environment.

    Raises:
        ValueError: a kind of URL that is not known.
        ImportError: its package is missing.
    """
    import fsspec

    try:
        # what was listed is not kept: it may be long, and others write there meanwhile
        return fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        kind = url.split("://")[0]
        raise ImportError(
            f"{url}: {error}; for s3:// pip install 'cxr-attn-unet[s3]', for gs:// 'cxr-attn-unet[gs]', for others "
            f"what fsspec names for {kind}://"
        ) from error


class Store:
    """A folder of results.

    Args:
        place: a folder, or a URL such as ``s3://bucket/folder``; made when something is written.
    """

    def __init__(self, place: str) -> None:
        self.place = place.rstrip("/") if is_url(place) else os.path.abspath(place)

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return Store, (self.place,)  # connections are not for other processes

    def __str__(self) -> str:
        return self.place

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        return open_url(self.place)

    def _path(self, name: str) -> str:
        return f"{self._opened[1]}/{name}"

    @contextmanager
    def _used(self) -> Iterator[Any]:
        """The file system; what a store's own library raises becomes an error that names the place."""
        filesystem, _ = self._opened
        try:
            yield filesystem
        except OSError:
            raise
        except Exception as error:  # of as many kinds as there are stores
            raise OSError(f"{self.place} cannot be used ({error})") from error

    def names(self, folder: str) -> set[str]:
        """Names of the files in a subfolder; none if it is not there.

        Raises:
            OSError: it cannot be listed.
        """
        with self._used() as filesystem:
            try:
                return {path.rsplit("/", 1)[-1] for path in filesystem.ls(self._path(folder), detail=False)}
            except FileNotFoundError:
                return set()

    def has(self, name: str) -> bool:
        """Whether there is a file.

        Raises:
            OSError: that cannot be known.
        """
        with self._used() as filesystem:
            try:
                filesystem.info(self._path(name))
            except FileNotFoundError:
                return False
            return True

    def open(self, name: str) -> IO[bytes]:
        """A file, to read.

        Raises:
            OSError: it cannot be read.
        """
        with self._used() as filesystem:
            return filesystem.open(self._path(name), "rb")

    @contextmanager
    def written(self, name: str) -> Iterator[Path]:
        """A temporary path whose file becomes that of the name when the block ends without an error.

        Raises:
            OSError: it cannot be written.
        """
        if not is_url(self.place):
            with written(Path(self.place) / name) as temporary:
                yield temporary
            return
        with tempfile.TemporaryDirectory() as folder:
            temporary = Path(folder) / os.path.basename(name)
            yield temporary
            with self._used() as filesystem:
                # an object store shows an object when all of it is there
                filesystem.put_file(str(temporary), self._path(name))

    def remove(self, name: str) -> None:
        """Remove a file, if it is there.

        Raises:
            OSError: it cannot be removed.
        """
        with self._used() as filesystem, suppress(FileNotFoundError):
            filesystem.rm_file(self._path(name))

    def remove_unfinished(self, folder: str) -> None:
        """Remove what writers that were killed have left in a subfolder of a disk.

        Raises:
            OSError: it cannot be removed.
        """
        if not is_url(self.place):
            for name in self.names(folder):
                if name.startswith("."):
                    self.remove(f"{folder}/{name}")
