"""Imports go down only, there are no circles, and docs and tests show the rooms that there are."""

import ast
import re
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from conftest import BUNDLES, REPOSITORY

SHARED = REPOSITORY / "shared"
APP = REPOSITORY / "apps" / "monailabel"
# from the ground up: a room imports from itself and from those before it
ROOMS = {
    "cxr_attn_unet": [
        *("former_names", "structures", "files", "system", "statistics", "figures", "bundle", "trust", "process"),
        *("io", "transforms", "networks", "datasets", "training"),
        *("analysis", "output", "inference", "segment", "dicom_network", "serve", "fetch", "__main__"),
    ],
    "cxr_attn_unet_dev": ["json_style", "configs", "packaging", "benchmark", "tools"],
}


def modules_in(folder: Path) -> dict[str, Path]:
    """Python files below a folder by the name under which they are imported."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        found[name] = path
    return found


def imports_of(name: str, path: Path, modules: dict[str, Path]) -> set[str]:
    """Modules that a module imports anywhere, in functions and under ``TYPE_CHECKING`` too; itself not."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    top = name.split(".")[0]
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            # the package as a whole gives access to all of its rooms
            found |= {f"{top}.*" if alias.name == top else alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            origin = _origin(node, package)
            for alias in node.names:
                inside = f"{origin}.{alias.name}"
                looked_up_later = origin == top and alias.name != "__version__"
                found.add(inside if inside in modules or looked_up_later else origin)
    return found - {name}


def _origin(node: ast.ImportFrom, package: str) -> str:
    """The module behind ``from``, without leading dots."""
    parts = package.split(".")
    parents = parts[: len(parts) + 1 - node.level] if node.level else []
    return ".".join([*parents, *filter(None, [node.module])])


def arrows_in(folder: Path, package: str) -> dict[str, set[str]]:
    """What each module of a package imports; the package's own ``__init__`` is left out, see below."""
    modules = modules_in(folder)
    inside = [name for name in modules if name.startswith(f"{package}.")]
    return {name: imports_of(name, modules[name], modules) for name in inside}


def faults(folder: Path, package: str, rooms: list[str], foreign: tuple[str, ...] = ()) -> list[str]:
    """Arrows that lead back up, to a room that is not listed, or to a foreign package; and a circle if there is one."""
    rank = {f"{package}.{room}": place for place, room in enumerate(rooms)}
    arrows = arrows_in(folder, package)
    found = []
    for source, targets in arrows.items():
        own = rank.get(_room(source), -1)
        for target in sorted(targets):
            if target.split(".")[0] in foreign:
                found.append(f"{source} imports {target}")
            elif target.startswith(f"{package}.") and rank.get(_room(target), len(rank)) > own:
                found.append(f"{source} imports {target}, which is not below it")
    try:
        TopologicalSorter(arrows).prepare()
    except CycleError as error:
        found.append(f"circle: {' -> '.join(error.args[1])}")
    return found


def _room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def test_imports_of_the_package_go_down_only():
    foreign = ("cxr_attn_unet_dev", "lib", "monailabel", "conftest")
    assert faults(SHARED, "cxr_attn_unet", ROOMS["cxr_attn_unet"], foreign) == []


def test_imports_of_the_development_package_go_down_only():
    foreign = ("lib", "monailabel", "conftest")
    assert faults(SHARED, "cxr_attn_unet_dev", ROOMS["cxr_attn_unet_dev"], foreign) == []


def test_the_app_does_not_import_the_development_package():
    modules = modules_in(APP)
    imported = {target for name, path in modules.items() for target in imports_of(name, path, modules)}
    assert not [target for target in imported if target.startswith("cxr_attn_unet_dev")]


def test_the_package_itself_loads_former_names_only():
    """The one exception: ``cxr_attn_unet.Segmenter`` and the modules that configs name are looked up when used."""
    tree = ast.parse((SHARED / "cxr_attn_unet" / "__init__.py").read_text(encoding="utf-8"))
    loaded = {node.module for node in tree.body if isinstance(node, ast.ImportFrom) and node.level}
    assert loaded <= {"former_names"}


@pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)
def test_configs_do_not_name_the_development_package(bundle):
    configs = sorted((bundle / "configs").glob("*.json"))
    assert not [path.name for path in configs if "cxr_attn_unet_dev" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("package", ROOMS)
def test_every_room_is_listed(package):
    there = {name.split(".")[1] for name in modules_in(SHARED) if name.startswith(f"{package}.")}
    assert there == set(ROOMS[package])


@pytest.mark.parametrize("package", ROOMS)
def test_the_tree_in_the_docs_names_every_room_in_order(package):
    text = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
    tree = re.search(rf"^shared/{package}/.*\n((?:    .*\n)+)", text, re.MULTILINE).group(1)
    named = re.findall(r"^    ([a-z_]+)(?:\.py|/)", tree, re.MULTILINE)
    assert named == ROOMS[package]


@pytest.mark.parametrize(("package", "tests"), [("cxr_attn_unet", "tests"), ("cxr_attn_unet_dev", "tests/dev")])
def test_every_room_has_its_tests(package, tests):
    without = []
    for room in ROOMS[package]:
        # a folder has a folder of tests, a module has a file
        pattern = f"{room}/test_*.py" if (SHARED / package / room).is_dir() else f"test_{room.strip('_')}.py"
        if not list((REPOSITORY / tests).glob(pattern)):
            without.append(room)
    assert without == []


def write_tree(folder: Path, **files: str) -> Path:
    """A package ``p`` with the rooms ``low`` and ``high``."""
    content = {"__init__": "", "low/__init__": "", "high/__init__": "", "high/b": "", **files}
    for name, text in content.items():
        path = folder / "p" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def test_the_check_passes_an_arrow_down(tmp_path):
    tree = write_tree(tmp_path, **{"low/a": "import os", "high/b": "from ..low import a\nfrom .. import low"})
    assert faults(tree, "p", ["low", "high"]) == []


@pytest.mark.parametrize(
    "text",
    [
        "from ..high import b",
        "from ..high.b import anything",
        "from .. import high",
        "from .. import Lazy",
        "import p",
        "import p.high.b",
        "from p.high import b",
        "def later():\n    from ..high import b",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..high import b",
        "from ..elsewhere import b",
    ],
)
def test_the_check_finds_an_arrow_up(tmp_path, text):
    tree = write_tree(tmp_path, **{"low/a": text, "elsewhere": ""})
    assert [fault for fault in faults(tree, "p", ["low", "high"]) if fault.startswith("p.low.a imports")]


def test_the_check_finds_a_circle(tmp_path):
    tree = write_tree(tmp_path, **{"low/a": "from . import c", "low/c": "from .a import anything"})
    assert any(fault.startswith("circle: ") for fault in faults(tree, "p", ["low", "high"]))


def test_the_check_finds_a_foreign_package(tmp_path):
    tree = write_tree(tmp_path, **{"low/a": "def later():\n    import q_dev.tools"})
    assert faults(tree, "p", ["low", "high"], ("q_dev",)) == ["p.low.a imports q_dev.tools"]
