"""``Containerfile``: what it copies is there, who it runs as; where images can be built, that it builds and runs."""

import argparse
import json
import re
import shutil
import subprocess
import sys

import pytest

from conftest import REPOSITORY
from cxr_attn_unet.serve import add_arguments

FILE = REPOSITORY / "Containerfile"
INSTRUCTIONS = {"ARG", "FROM", "ENV", "WORKDIR", "RUN", "COPY", "USER", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"}
TAG = "localhost/cxr-attn-unet-test"


def instructions() -> list[tuple[str, str]]:
    """Instructions with their arguments, continued lines joined."""
    text = FILE.read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines()]
    return [tuple(line.split(maxsplit=1)) for line in lines if line and not line.startswith("#")]


def last_stage() -> list[tuple[str, str]]:
    """Those of the image that is kept."""
    found = instructions()
    start = max(index for index, (name, _) in enumerate(found) if name == "FROM")
    return found[start:]


def test_every_line_is_an_instruction_that_is_known():
    assert {name for name, _ in instructions()} <= INSTRUCTIONS


def test_what_is_copied_is_there_and_not_ignored():
    kept = {line[1:] for line in (REPOSITORY / ".containerignore").read_text().splitlines() if line.startswith("!")}
    copied = [arguments.split()[:-1] for name, arguments in instructions() if name == "COPY"]
    sources = {source for one in copied if not one[0].startswith("--from") for source in one}
    assert sources == kept
    assert [source for source in sources if not (REPOSITORY / source).exists()] == []


def test_it_runs_as_a_number_that_is_not_root():
    (user,) = [arguments for name, arguments in last_stage() if name == "USER"]
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", user)


def test_its_base_has_a_version():
    (base,) = [arguments for name, arguments in instructions() if name == "ARG" and arguments.startswith("BASE=")]
    assert re.search(r":\d+\.\d+", base)


def test_the_version_of_torch_is_that_of_the_constraints():
    pinned = re.search(r"^torch==\S+", (REPOSITORY / "constraints.txt").read_text(), re.MULTILINE).group()
    assert ("ARG", f"TORCH={pinned}") in instructions()


def test_its_extras_are_those_of_the_package():
    extras = re.search(r'"\.\[([\w,]+)\]"', FILE.read_text(encoding="utf-8")).group(1).split(",")
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    assert [extra for extra in extras if not re.search(rf"^{extra} = \[", project, re.MULTILINE)] == []


def test_the_health_check_asks_for_the_port_that_is_exposed():
    stage = dict(last_stage())
    command = json.loads(stage["HEALTHCHECK"].split("CMD ", 1)[1])
    assert f"http://127.0.0.1:{stage['EXPOSE']}/health" in command[-1]
    compile(command[-1], "HEALTHCHECK", "exec")


def test_the_exposed_port_is_the_default_of_the_command():
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert dict(last_stage())["EXPOSE"] == str(parser.parse_args([]).port)


def test_it_starts_the_command_without_a_shell():
    stage = dict(last_stage())
    assert json.loads(stage["ENTRYPOINT"]) == ["cxr-attn-unet"]
    assert json.loads(stage["CMD"]) == ["serve", "--host", "0.0.0.0"]


@pytest.fixture(scope="module")
def engine():
    """Podman or Docker with the base image at hand; pulling it here would make a test depend on the internet."""
    found = next(filter(None, map(shutil.which, ("podman", "docker"))), None)
    if found is None:
        pytest.skip("needs podman or docker")
    base = re.search(r"^ARG BASE=(\S+)", FILE.read_text(), re.MULTILINE).group(1)
    if subprocess.run([found, "image", "inspect", base], capture_output=True).returncode:
        pytest.skip(f"needs an engine that runs, and the image: {found} pull {base}")
    return found


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_it_builds_and_segments_on_a_read_only_root(engine, tmp_path):
    form = ["--format", "docker"] if engine.endswith("podman") else []
    subprocess.run([engine, "build", *form, "--tag", TAG, "--file", FILE, REPOSITORY], check=True)
    (tmp_path / "out").mkdir(mode=0o777)
    radiographs = REPOSITORY / "examples" / "open_radiographs"
    volumes = ["-v", f"{radiographs}:/in:ro", "-v", f"{tmp_path / 'out'}:/out"]
    safe = ["--rm", "--read-only", "--tmpfs", "/tmp", "--network", "none", "--cap-drop", "all"]
    subprocess.run([engine, "run", *safe, *volumes, TAG, "segment", "/in", "-o", "/out"], check=True)
    assert (tmp_path / "out" / "00cfd1c1_heart.png").is_file()


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 reads no TOML")
def test_what_is_packaged_for_monai_deploy_needs_what_the_package_needs():
    import tomllib

    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    needed = {*project["dependencies"], *extras["dicom"], *extras["formats"]}
    lines = (REPOSITORY / "apps" / "monai_deploy" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert needed - set(lines) == set()
