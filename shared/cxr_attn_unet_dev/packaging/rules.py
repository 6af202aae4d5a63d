"""The rules of the MONAI model zoo, those of its checks and those that its reviewers ask for, one function each."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

import torch
import yaml
from monai.bundle import ConfigParser, verify_net_in_out

from cxr_attn_unet.networks.checkpoint import sha256

from ..configs import channel_def
from .package import LARGEST_FILE, SUMS

__all__ = ["RULES", "Broken", "check"]

SCHEMA = "meta_schema_20240725.json"
NUMPY = (2, 2, 6)  # the newest for Python 3.10, which the zoo's checks run on
SECTIONS = ("overview", "data", "training", "input", "performance", "command", "references", "license")
TRAIN_IDS = [
    "bundle_root",
    "device",
    "dataset_dir",
    "output_dir",
    "val_interval",
    "train#trainer",
    "train#trainer#max_epochs",
    "train#dataset",
    "train#dataset#data",
    "train#handlers",
    "train#preprocessing",
    "train#postprocessing",
    "train#inferer",
    "train#key_metric",
    "validate#evaluator",
    "validate#handlers",
    "validate#dataset",
    "validate#dataset#data",
    "validate#preprocessing",
    "validate#postprocessing",
    "validate#inferer",
    "validate#key_metric",
    "initialize",
    "run",
    "finalize",
]
INFERENCE_IDS = [
    "bundle_root",
    "device",
    "network_def",
    "inferer",
    "output_dir",
    "preprocessing",
    "postprocessing",
    "initialize",
    "run",
]


@dataclass(frozen=True)
class Broken:
    """A rule that a bundle breaks."""

    rule: str
    why: str

    def __str__(self) -> str:
        """As a line of text."""
        return f"{self.rule}: {self.why}"


@dataclass
class Bundle:
    """What the rules look at: a bundle's folder, unpacked from its zip, and what was published before."""

    folder: Path
    published: Mapping[str, Any]

    @cached_property
    def metadata(self) -> dict[str, Any]:
        path = self.folder / "configs" / "metadata.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    @cached_property
    def large(self) -> dict[str, dict[str, str]]:
        path = self.folder / "large_files.yml"
        if not path.is_file():
            return {}
        return {entry["path"]: entry for entry in yaml.safe_load(path.read_text())["large_files"]}

    def config(self, name: str) -> ConfigParser | None:
        path = self.folder / "configs" / f"{name}.json"
        return ConfigParser(ConfigParser.load_config_file(path)) if path.is_file() else None


def files(bundle: Bundle) -> Iterator[str]:
    """LICENSE, the configs, the card, the data's licence and the weights are there."""
    for name in (
        "LICENSE",
        "configs/metadata.json",
        "configs/inference.json",
        "docs/README.md",
        "docs/data_license.txt",
    ):
        if not (bundle.folder / name).is_file() or not (bundle.folder / name).stat().st_size:
            yield f"{name} is missing or empty"
    if not (bundle.folder / "models" / "model.pt").is_file() and "models/model.pt" not in bundle.large:
        yield "models/model.pt is missing, and large_files.yml does not name it"


def name(bundle: Bundle) -> Iterator[str]:
    """The folder is named in snake case after the anatomy; name and task say anatomy, modality and task."""
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)+", bundle.folder.name):
        yield f"{bundle.folder.name}: the folder's name is not in snake_case"
    if not bundle.metadata.get("name"):
        yield "the metadata have no name"
    anatomy = bundle.folder.name.split("_")[0]
    for word in (anatomy, "radiograph", "segment"):
        if word not in str(bundle.metadata.get("task", "")).lower():
            yield f"the metadata's task does not say '{word}'"


def schema(bundle: Bundle) -> Iterator[str]:
    """The metadata pass the newest schema."""
    import jsonschema

    rules = json.loads((resources.files(__package__) / SCHEMA).read_text(encoding="utf-8"))
    for error in jsonschema.Draft7Validator(rules).iter_errors(bundle.metadata):
        yield f"{'/'.join(map(str, error.path)) or 'metadata'}: {error.message[:200]}"
    if not str(bundle.metadata.get("schema", "")).endswith(SCHEMA):
        yield f"schema is not {SCHEMA}"


def version(bundle: Bundle) -> Iterator[str]:
    """The version is semantic, is in the changelog, and has not been published."""
    found = str(bundle.metadata.get("version"))
    if not re.fullmatch(r"\d+\.\d+\.\d+", found):
        yield f"'{found}' is not a version such as 1.2.3"
    if found not in bundle.metadata.get("changelog", {}):
        yield f"the changelog does not have {found}"
    if f"{bundle.folder.name}_v{found}" in bundle.published:
        yield f"{found} was published before; give this one a new version"


def requirements(bundle: Bundle) -> Iterator[str]:
    """Exact versions that exist for Python 3.10, under required_packages_version and not under the older key too."""
    metadata = bundle.metadata
    if "required_packages_version" not in metadata or "optional_packages_version" in metadata:
        yield "needs required_packages_version, and no optional_packages_version beside it"
    pins = {key: metadata.get(f"{key}_version", "") for key in ("monai", "pytorch", "numpy")}
    for package, pin in {**pins, **metadata.get("required_packages_version", {})}.items():
        if not re.fullmatch(r"\d+(\.\d+)+", str(pin)):
            yield f"{package} '{pin}' is not an exact version without a build's name"
    if tuple(int(part) for part in re.findall(r"\d+", str(pins["numpy"]))) > NUMPY:
        yield f"numpy {pins['numpy']} does not exist for Python 3.10; the newest is {'.'.join(map(str, NUMPY))}"


def size(bundle: Bundle) -> Iterator[str]:
    """No file is above 25 MB; what is, is named in large_files.yml with its address and checksum."""
    for path in sorted(bundle.folder.rglob("*")):
        if path.is_file() and path.stat().st_size > LARGEST_FILE:
            yield f"{path.relative_to(bundle.folder)} is above 25 MB; name it in large_files.yml"
    for entry in bundle.large.values():
        if not {"path", "url", "hash_val", "hash_type"} <= set(entry):
            yield f"large_files.yml: {entry.get('path')} needs path, url, hash_val and hash_type"


def card(bundle: Bundle) -> Iterator[str]:
    """docs/README.md has the template's sections."""
    path = bundle.folder / "docs" / "README.md"
    text = path.read_text(encoding="utf-8").lower() if path.is_file() else ""
    headings = " ".join(re.findall(r"^#+ (.+)$", text, re.MULTILINE))
    for section in SECTIONS:
        if section not in headings:
            yield f"docs/README.md has no section on {section}"


def paths(bundle: Bundle) -> Iterator[str]:
    """No path of somebody's machine."""
    for path in [*bundle.folder.glob("configs/*"), *bundle.folder.glob("docs/*.*")]:
        if path.suffix in (".json", ".md", ".txt", ".conf", ".yml"):
            for found in re.findall(r"(?:/home/|/Users/|/root/|/workspace/|[A-Z]:\\\\)\S*", path.read_text("utf-8")):
                yield f"{path.relative_to(bundle.folder)} has '{found}'"


def ids(bundle: Bundle) -> Iterator[str]:
    """The configs have the ids that MONAI's tools and applications ask for."""
    for config, wanted in (("train", TRAIN_IDS), ("inference", INFERENCE_IDS)):
        parser = bundle.config(config)
        if parser is None:
            yield f"configs/{config}.json is missing"
            continue
        for one in wanted:
            if one not in parser:
                yield f"configs/{config}.json has no {one}"


def weights(bundle: Bundle) -> Iterator[str]:
    """The weights are those whose SHA-256 the metadata have, and every file is that of SHA256SUMS."""
    entry = bundle.metadata.get("weights")
    path = bundle.folder / "models" / "model.pt"
    if not entry or not {"sha256", "network"} <= set(entry):
        yield "the metadata have no weights with sha256 and network"
    elif path.is_file() and sha256(path) != entry["sha256"]:
        yield "models/model.pt is not the file whose sha256 the metadata have"
    sums = bundle.folder / SUMS
    lines = sums.read_text(encoding="utf-8").splitlines() if sums.is_file() else []
    for line in lines:
        digest, _, inside = line.partition("  ")
        file = bundle.folder / inside
        if inside not in bundle.large and (not file.is_file() or sha256(file) != digest):
            yield f"{inside} is not the file of {SUMS}"


def channels(bundle: Bundle) -> Iterator[str]:
    """The metadata name the network's channels: background, structure, and the parts that inference.json has."""
    parser = bundle.config("inference")
    if parser is None or "structure" not in parser:
        return
    parser["bundle_root"] = str(bundle.folder)
    parts = parser.get_parsed_content("parts") if "parts" in parser else ()
    wanted = channel_def(parser.get_parsed_content("structure"), parts)
    output = bundle.metadata.get("network_data_format", {}).get("outputs", {}).get("pred", {})
    if output.get("channel_def") != wanted or output.get("num_channels") != len(wanted):
        yield f"pred needs num_channels {len(wanted)} and channel_def {json.dumps(wanted)}"


def network(bundle: Bundle) -> Iterator[str]:
    """The network takes and gives what the metadata say, scripts, and models/model.ts loads."""
    configs = bundle.folder / "configs"
    root = {"bundle_root": str(bundle.folder)}
    logging.getLogger("monai.bundle.scripts").setLevel(logging.WARNING)  # MONAI lists its arguments otherwise
    try:
        verify_net_in_out(
            net_id="network_def",
            meta_file=str(configs / "metadata.json"),
            config_file=str(configs / "inference.json"),
            device="cpu",
            **root,  # type: ignore[arg-type]
        )
        parser = ConfigParser(ConfigParser.load_config_file(configs / "inference.json"))
        parser.update(root)
        torch.jit.script(parser.get_parsed_content("network_def"))
        scripted = bundle.folder / "models" / "model.ts"
        if scripted.is_file():
            torch.jit.load(scripted, map_location="cpu")
    except Exception as error:  # whatever a bundle's own code raises
        yield f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


RULES: dict[str, Callable[[Bundle], Iterator[str]]] = {
    rule.__name__: rule
    for rule in (files, name, schema, version, requirements, size, card, paths, ids, weights, channels, network)
}


def check(folder: Path, published: Mapping[str, Any] | None = None) -> list[Broken]:
    """The rules that a bundle breaks; none if it may go to the zoo.

    Args:
        folder: the bundle, as unpacked from its zip.
        published: the zoo's ``model_info.json``.
    """
    bundle = Bundle(folder, published or {})
    return [Broken(rule, why) for rule, broken in RULES.items() for why in broken(bundle)]
