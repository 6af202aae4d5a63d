"""What the texts name is there: files that they link to, modules and make targets of their commands."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest

from conftest import REPOSITORY

TEXTS = [
    *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    *sorted((REPOSITORY / "docs").glob("*.md")),
    *sorted((REPOSITORY / "bundles").glob("*/docs/README.md")),
    REPOSITORY / "examples" / "README.md",
]
every_text = pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(REPOSITORY)))


def headings_of(path: Path) -> set[str]:
    """Headings as links name them."""
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


@every_text
def test_links_lead_to_files(path):
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    inside = [link for link in links if "://" not in link]
    assert [link for link in inside if not (path.parent / link).exists()] == []


@every_text
def test_links_lead_to_headings(path):
    links = re.findall(r"\]\(([^)#:]*)#([^)]+)\)", path.read_text(encoding="utf-8"))
    missing = []
    for file, heading in links:
        target = path.parent / file if file else path
        if heading not in headings_of(target):
            missing.append(f"{file}#{heading}")
    assert missing == []


@every_text
def test_commands_run_modules_that_there_are(path):
    if path.name == "CHANGELOG.md":
        pytest.skip("tells of earlier versions")
    modules = set(re.findall(r"python (?:-W ignore )?-m (cxr_attn_unet[\w.]*\w)", path.read_text(encoding="utf-8")))
    assert [module for module in sorted(modules) if find_spec(module) is None] == []


@every_text
def test_commands_run_scripts_that_there_are(path):
    scripts = set(re.findall(r"python ((?:benchmarks|tests)/\S+\.py)", path.read_text(encoding="utf-8")))
    assert [script for script in sorted(scripts) if not (REPOSITORY / script).is_file()] == []


@every_text
def test_make_has_the_targets_that_are_named(path):
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    named = set(re.findall(r"(?:^ {4}|`)make ([a-z-]+)", path.read_text(encoding="utf-8"), re.MULTILINE))
    assert named - targets == set()


def test_the_citation_has_the_version_of_the_package():
    from cxr_attn_unet import __version__

    text = (REPOSITORY / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {__version__}\n" in text
