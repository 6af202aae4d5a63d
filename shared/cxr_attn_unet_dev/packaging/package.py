"""A bundle as a zip for strangers: with the package that its configs use, TorchScript, and checksums."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import shutil
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from monai.bundle import ConfigParser, ckpt_export

import cxr_attn_unet
from cxr_attn_unet.fetch import unpack_bundle
from cxr_attn_unet.files import written
from cxr_attn_unet.networks import load_weights
from cxr_attn_unet.networks.checkpoint import sha256
from cxr_attn_unet.trust import RELEASED, fingerprint

from ..json_style import read_json, write_styled_json

__all__ = [
    "LARGEST_FILE",
    "SUMS",
    "large_files",
    "leave_out_large_exports",
    "package_bundle",
    "record_release",
    "released_config",
    "unpack",
    "write_unit_test",
]

PACKAGE = Path(cxr_attn_unet.__file__).resolve().parent
SUMS = "SHA256SUMS"
EXPORTS = ("models/model.ts", "models/model.pt2")  # of the weights, by TorchScript and torch.export
LARGEST_FILE = 25 * 2**20  # of the model zoo, in bytes; what is larger is named in large_files.yml
CONTENT = ("LICENSE", "configs/*", "docs/*", "models/model.pt")
# Where a config finds the bundle: MONAI tells it to a config only as bundle_root, which is "." unless someone sets it,
# but its workflow knows the folder of the config, and its tools put the bundle on sys.path.
FIND_PACKAGE = (
    "$runpy.run_path(next(filter(os.path.isfile, [os.path.join(str(root), 'carried.py') for root in "
    "[frame.frame.f_locals['self'].config_root_path.parent for frame in inspect.stack(0) if "
    "isinstance(frame.frame.f_locals.get('self'), monai.bundle.ConfigWorkflow)] + [@bundle_root] + sys.path]), "
    "'carried.py (name the folder of the bundle with --bundle_root)'))['package']"
)
IMPORT = "$import "
IMPORTS = tuple(f"{IMPORT}{name}" for name in ("inspect", "os", "runpy", "sys", "monai"))  # that FIND_PACKAGE uses
PACKAGE_IMPORT = f"{IMPORT}{PACKAGE.name}"
PACKAGE_NAME = re.compile(rf"(?<![\w.@]){PACKAGE.name}\.")


def released_config(config: Any) -> Any:
    """A config of the repository as it is released: what it takes from the package, it takes from the carried one.

    Args:
        config: content of the JSON file, or a part of it.

    Returns:
        the changed content; the order of its keys is kept.
    """
    if isinstance(config, list):
        return [released_config(value) for value in config]
    if isinstance(config, str):
        return PACKAGE_NAME.sub("@package.", config) if config.startswith("$") else config
    if not isinstance(config, dict):
        return config
    released: dict[str, Any] = {}
    for key, value in config.items():
        if key == "_target_" and str(value).startswith(f"{PACKAGE.name}."):
            released["_requires_"] = "@package"
            released[key] = value
        elif key == "imports" and PACKAGE_IMPORT in value:
            released[key] = _released_imports(value)
        else:
            released[key] = released_config(value)
        if key == "bundle_root":
            released["package"] = FIND_PACKAGE
    return released


def _released_imports(imports: Sequence[str]) -> list[str]:
    """Imports without that of the package, with those that finding it needs."""
    kept = [line for line in imports if line != PACKAGE_IMPORT]
    return kept + [line for line in IMPORTS if line not in kept]


def large_files(folder: Path, url: str | None, largest: int = LARGEST_FILE) -> list[str]:
    """Take files above a size out of a bundle and name them in ``large_files.yml``, as the model zoo has it.

    Args:
        folder: the bundle.
        url: where the files lie, with their path inside the bundle behind it.
        largest: in bytes.

    Returns:
        their paths inside the bundle.

    Raises:
        ValueError: there are some, and no ``url``.
    """
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.stat().st_size > largest]
    names = [path.relative_to(folder).as_posix() for path in paths]
    if not names:
        return []
    if url is None:
        raise ValueError(f"{', '.join(names)}: above {largest / 2**20:.0f} MB. Name where they will lie with --url.")
    entries = [
        {"path": name, "url": f"{url.rstrip('/')}/{name}", "hash_val": sha256(path), "hash_type": "sha256"}
        for name, path in zip(names, paths, strict=True)
    ]
    (folder / "large_files.yml").write_text(yaml.safe_dump({"large_files": entries}, sort_keys=False), encoding="utf-8")
    for path in paths:
        path.unlink()
    return names


def leave_out_large_exports(folder: Path, largest: int = LARGEST_FILE) -> None:
    """Take exports above a size out of a bundle, and say so; ``ckpt_export`` makes them again from the weights.

    Args:
        folder: the bundle.
        largest: in bytes.
    """
    for name in EXPORTS:
        path = folder / name
        if path.stat().st_size > largest:
            path.unlink()
            limit = largest // 2**20
            print(f"{folder.name}: {name} is above {limit} MB and left out; --url keeps it outside the zip.")


def write_unit_test(bundle: Path, output: Path) -> Path:
    """Write a bundle's test for the model zoo, ``unit_tests/test_NAME.py``, which goes to its ``ci/unit_tests``.

    Args:
        bundle: its folder in the repository.
        output: folder of the zips.
    """
    path = output / "unit_tests" / f"test_{bundle.resolve().name}.py"
    with written(path) as temporary:
        shutil.copyfile(Path(__file__).with_name("zoo_unit_test.py"), temporary)
    return path


def package_bundle(bundle: Path, output: Path, url: str | None = None) -> Path:
    """Write the zip of a bundle.

    Args:
        bundle: its folder in the repository.
        output: folder for the zip.
        url: of large files, see :func:`large_files`.

    Returns:
        ``NAME_vVERSION.zip``, whose top folder is ``NAME``; equal for equal content.

    Raises:
        FileNotFoundError: no bundle, or one without weights.
        ValueError: the weights are not those on record in its metadata, or a file is too large.
    """
    metadata = bundle / "configs" / "metadata.json"
    weights = bundle / "models" / "model.pt"
    for path in (metadata, weights):
        if not path.is_file():
            raise FileNotFoundError(f"{path}: no such file. Name a bundle's folder, with its weights.")
    about = json.loads(metadata.read_text(encoding="utf-8"))
    if sha256(weights) != about["weights"]["sha256"]:
        raise ValueError(
            f"{weights} is not what {metadata} has on record. Release weights with "
            "python -m cxr_attn_unet_dev.tools.release_weights."
        )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / bundle.resolve().name
        for pattern in CONTENT:
            for path in sorted(bundle.glob(pattern)):
                target = folder / path.relative_to(bundle)
                target.parent.mkdir(parents=True, exist_ok=True)
                if path.suffix == ".json" and path.parent.name == "configs" and path.name != "metadata.json":
                    write_styled_json(target, released_config(read_json(path)))
                else:
                    shutil.copyfile(path, target)
        # without the list of released bundles, which cannot name the zip that it lies in
        left_out = shutil.ignore_patterns("__pycache__", "*.pyc", RELEASED)
        shutil.copytree(PACKAGE, folder / PACKAGE.name, ignore=left_out)
        shutil.copyfile(Path(__file__).with_name("carried.py"), folder / "carried.py")
        configs = folder / "configs"
        logging.getLogger("monai.bundle.scripts").setLevel(logging.WARNING)
        with contextlib.redirect_stdout(io.StringIO()):
            ckpt_export(
                net_id="network_def",
                filepath=str(folder / "models" / "model.ts"),
                ckpt_file=str(folder / "models" / "model.pt"),
                meta_file=str(configs / "metadata.json"),
                config_file=str(configs / "inference.json"),
                bundle_root=str(folder),
            )
        _export(bundle, folder / "models" / "model.pt2")
        if url is None:
            leave_out_large_exports(folder)
        large_files(folder, url)
        target = output / f"{folder.name}_v{about['version']}.zip"
        with written(target) as path:
            _zip(folder, path)
    return target


def _export(bundle: Path, target: Path) -> None:
    """Write a bundle's network with its weights as PyTorch's exported program, for any number of radiographs at a time.

    Args:
        bundle: its folder in the repository.
        target: the file.
    """
    parser = ConfigParser()
    parser.read_config(bundle / "configs" / "inference.json")
    parser["bundle_root"] = str(bundle)
    network = load_weights(parser.get_parsed_content("network_def"), bundle / "models" / "model.pt").eval()
    side = int(parser.get_parsed_content("image_size"))
    # of two: what is true of one radiograph alone would become part of the program
    example = torch.rand(2, network.in_channels, side, side)
    program = torch.export.export(network, (example,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names the folders of this machine
    torch.export.save(program, target)


def _zip(folder: Path, target: Path) -> None:
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    sums = "".join(f"{sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in paths)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        content = {path.relative_to(folder.parent).as_posix(): path.read_bytes() for path in paths}
        content[f"{folder.name}/{SUMS}"] = sums.encode()
        for name, data in content.items():
            entry = zipfile.ZipInfo(name)  # of 1980: the same content gives the same zip
            entry.compress_type, entry.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
            archive.writestr(entry, data, compresslevel=9)


def unpack(archive: Path, output: Path) -> Path:
    """Unpack a zip of :func:`package_bundle`.

    Args:
        archive: the zip.
        output: folder to unpack into; made if missing.

    Returns:
        the bundle's folder.

    Raises:
        ValueError: a file is not the one that ``SHA256SUMS`` names, or what
            :func:`~cxr_attn_unet.fetch.unpack_bundle` refuses.
        FileExistsError: the bundle's folder is there.
    """

    def check_sums(folder: Path) -> None:
        record = folder / SUMS
        lines = record.read_text(encoding="utf-8").splitlines() if record.is_file() else []
        sums = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder).as_posix()
            if path.is_file() and inside != SUMS and sha256(path) != sums.get(inside):
                raise ValueError(f"{archive}: {inside} is not the file of {SUMS}. Get the zip again.")

    output.mkdir(parents=True, exist_ok=True)
    return unpack_bundle(archive, output, check=check_sums)


def record_release(archive: Path, record: Path = PACKAGE / RELEASED) -> str:
    """Write down that a bundle is released, so that this package and later ones run it without being asked.

    Args:
        archive: zip of :func:`package_bundle`, as it is released.
        record: the list, see :mod:`cxr_attn_unet.trust`; what is in it stays.

    Returns:
        its name in the list, such as ``heart_attn_unet_v0.2.0``.

    Raises:
        ValueError: the zip is damaged, or one of its name but of other content was released before.
    """
    with tempfile.TemporaryDirectory() as temporary:
        digest = fingerprint(unpack(archive, Path(temporary)))
    content = read_json(record)
    if content["bundles"].setdefault(archive.stem, digest) != digest:
        raise ValueError(f"{archive.stem} was released before, with other content. Raise the version.")
    write_styled_json(record, content)
    return archive.stem
