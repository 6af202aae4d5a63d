"""Every command and block of code in README and docs is run, or listed with the reason; all options exist."""

import json
import multiprocessing
import os
import shutil
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydicom.uid import generate_uid

from conftest import EXAMPLES, phantom, write_folder, write_jsrt
from documents import (
    NOT_RUN,
    OTHERS,
    PAGES,
    REPOSITORY,
    Block,
    Command,
    blocks_of,
    commands_in,
    commands_of,
    faults_of,
    inline_commands,
    name_of,
    not_run,
    reason_not_to_run,
    runnable,
    unknown_in,
)
from samples import write_dicom

EVERY_PAGE = [*PAGES, *OTHERS]
RUN = [page for page in PAGES if any(runnable(block, not_run()) for block in blocks_of(page))]
BLOCK_SECONDS = 3600
PROGRAMS = {"python": "", "cxr-attn-unet": "-m cxr_attn_unet", "torchrun": "-m torch.distributed.run"}
COPIED = ("Makefile", "pyproject.toml", "constraints.txt", "LICENSE", "README.md", "CHANGELOG.md")
COPIED_FOLDERS = ("apps", "benchmarks", "bundles", "docs", "examples", "results", "shared")
LEFT_BEHIND = shutil.ignore_patterns("eval", "data", "model", "__pycache__", "*.egg-info")
# a run is short with these, whatever a bundle's own are
SMALL = {"epochs": 1, "image_size": 64, "batch_size": 2, "val_interval": 1, "patch": [1.0, 1.0]}
JSRT = ["JPCLN001", "JPCLN002", "JPCLN003", "JPCLN012", "JPCLN029"]  # the last two are of the validation split
# commands that do not exist, and what is said of them
WRONG = {
    "make nothing": "no target nothing",
    "make train BUNDEL=heart": "no variable BUNDEL",
    "cxr-attn-unet segment a.png -o OUT --formt png": "--formt",
    "python -m cxr_attn_unet.nothing": "no module cxr_attn_unet.nothing",
    "python benchmarks/nothing.py": "no benchmarks/nothing.py",
    "python -m monai.bundle run --config_file configs/inference.json --outptu_dir OUT": "outptu_dir",
    "python -m monai.bundle run --config_file configs/nothing.json": "no configs/nothing.json",
    "pip install cxr-attn-unet[nothing]": "no extra nothing",
}


@pytest.mark.parametrize("page", EVERY_PAGE, ids=name_of)
def test_every_block_is_run_or_listed_with_a_reason(page):
    assert [fault for block in blocks_of(page) for fault in unknown_in(block, not_run())] == []


def commands_in_pages() -> list[Command]:
    """All commands, in blocks and in prose."""
    commands = [command for page in EVERY_PAGE for command in inline_commands(page)]
    for page in EVERY_PAGE:
        commands += [command for block in blocks_of(page) if block.is_shell for command in commands_of(block)]
    return commands


@pytest.fixture(scope="module")
def faults():
    """What is wrong with the commands of the pages, and with :data:`WRONG`."""
    wrong = [command for line in WRONG for command in commands_in(line, "wrong")]
    # in a process of its own, for every module is run up to its options
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(faults_of, [*commands_in_pages(), *wrong]).result()


def test_the_options_of_all_commands_exist(faults):
    assert [fault for fault in faults if not fault.startswith("wrong: ")] == []


@pytest.mark.parametrize("line", WRONG)
def test_a_command_that_does_not_exist_is_found(line, faults):
    assert [fault for fault in faults if line in fault and WRONG[line] in fault]


def test_what_is_listed_is_still_in_a_page():
    listed = not_run()
    texts = [line.strip() for page in EVERY_PAGE for block in blocks_of(page) for line in block.text.splitlines()]
    texts += [command.text for command in commands_in_pages()]
    assert [entry for entry in listed if not any(reason_not_to_run(text, {entry: "it"}) for text in texts)] == []


def block_of(text: str, language: str = "") -> Block:
    return Block(REPOSITORY / "README.md", 7, language, text)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (block_of("frobnicate a.png"), "README.md, line 7: the tests do not know the program of 'frobnicate a.png'"),
        (block_of("All went well.\nmake test", "text"), "'make test' is a command, in a block of text"),
        (block_of("print(", "python"), "no Python"),
        (block_of('{"a": }', "json"), "no JSON"),
        (block_of("a", "ruby"), "not 'ruby'"),
    ],
)
def test_a_block_that_neither_runs_nor_is_listed_is_named(block, message):
    (fault,) = unknown_in(block, {})
    assert message in fault


def test_a_listed_command_may_be_of_any_program():
    assert unknown_in(block_of("frobnicate a.png"), {"frobnicate": "needs an account"}) == []


def test_what_is_not_listed_of_a_block_is_run():
    assert runnable(block_of("make label\nls \\\n    OUT"), {"make label": "starts a server"}) == "ls OUT"


def test_an_entry_covers_whole_words_alone():
    assert reason_not_to_run("make test-package", {"make test": "runs these tests"}) == ""


def make_small(bundles: Path) -> None:
    """Let the configs of bundles train for one short epoch."""
    for path in bundles.glob("*/configs/train.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | SMALL))
    for path in bundles.glob("*/configs/recipe.json"):
        recipe = json.loads(path.read_text())
        recipe["stages"] = [SMALL for _ in recipe["stages"]]
        path.write_text(json.dumps(recipe))


def write_programs(folder: Path) -> None:
    """Programs under the names that the pages call; they use the copy's code, and this environment."""
    folder.mkdir(parents=True)
    for name, options in PROGRAMS.items():
        path = folder / name
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {options} "$@"\n')
        path.chmod(0o755)
    (folder.parent / ".ready").touch()  # that make need not set it up


def write_data(folder: Path) -> None:
    """What the pages call by capital letters: data sets, radiographs, a bundle."""
    write_jsrt(folder / "JSRT", JSRT, ("heart", "left lung", "right lung", "left clavicle", "right clavicle"))
    data = folder / "DATA"
    shutil.copytree(folder / "JSRT", data / "jsrt")
    wingspan = write_folder(folder / "WINGSPAN", "heart", 0)
    for index, name in enumerate(("wingspan_001", "wingspan_002", "wingspan_011")):
        image, mask = phantom(index)
        Image.fromarray(image).save(wingspan / "images" / f"{name}.png")
        Image.fromarray(mask.astype(np.uint8) * 255).save(wingspan / "masks" / "heart" / f"{name}.png")
    shutil.copytree(wingspan, data / "wingspan")
    for name in ("RADIOGRAPHS", "FILES_OR_FOLDERS"):
        (folder / name).mkdir()
        for path in sorted((EXAMPLES / "open_radiographs").glob("*.png"))[:2]:
            shutil.copy(path, folder / name)
    with Image.open(next((EXAMPLES / "open_radiographs").glob("*.png"))) as picture:
        pixels = np.asarray(picture.convert("L"), np.uint16) * 16
    uids = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    write_dicom(folder / "radiograph.dcm", pixels, **uids)
    shutil.copytree(folder / "bundles" / "heart_attn_unet", folder / "FOLDER" / "heart_attn_unet")
    card = folder / "FOLDER" / "heart_attn_unet" / "configs" / "metadata.json"
    card.write_text(card.read_text().replace("heart", "Heart", 1))  # so that it is another bundle
    for bundle in (folder / "bundles").iterdir():
        for name in ("JSRT", "WINGSPAN", "DATA", "RADIOGRAPHS"):
            (bundle / name).symlink_to(folder / name)


def small_copy(folder: Path) -> Path:
    """The repository, with configs that train for seconds, small data sets, and programs that use it."""
    folder.mkdir(parents=True)
    for name in COPIED:
        shutil.copy2(REPOSITORY / name, folder)
    for name in COPIED_FOLDERS:
        shutil.copytree(REPOSITORY / name, folder / name, ignore=LEFT_BEHIND)
    make_small(folder / "bundles")
    write_programs(folder / ".venv" / "bin")
    write_data(folder)
    return folder


def environment_of(copy: Path) -> dict[str, str]:
    """The environment of a block: the copy's programs and code come first."""
    return {
        **{name: value for name, value in os.environ.items() if name not in ("CXR_DATA", "CXR_BUNDLES")},
        "PATH": os.pathsep.join([str(copy / ".venv" / "bin"), os.environ["PATH"]]),
        "PYTHONPATH": str(copy / "shared"),
        "XDG_CONFIG_HOME": str(copy / ".config"),
        "OMP_NUM_THREADS": "1",
    }


def failure_of(block: Block, script: str, copy: Path) -> str:
    """Run a block in a copy of the repository; what went wrong, empty if nothing."""
    for models in (REPOSITORY / "bundles").glob("*/models"):  # an earlier block may have trained others
        shutil.rmtree(copy / models.relative_to(REPOSITORY))
        shutil.copytree(models, copy / models.relative_to(REPOSITORY))
    program = ["python", "-"] if block.language == "python" else ["bash", "-euo", "pipefail"]
    done = subprocess.run(
        program,
        input=script,
        cwd=copy,
        env=environment_of(copy),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=BLOCK_SECONDS,
        check=False,
    )
    if done.returncode == 0:
        return ""
    return (
        f"{block} ends with {done.returncode}:\n{script}\n\n{done.stdout[-3000:]}\n"
        f"Correct it, or list it in tests/{NOT_RUN.name} with the reason why it is not run."
    )


@pytest.mark.slow
@pytest.mark.timeout(4 * BLOCK_SECONDS)
@pytest.mark.parametrize("page", RUN, ids=name_of)
def test_the_blocks_of_a_page_run(page, tmp_path):
    copy = small_copy(tmp_path / "repository")
    failures = []
    for block in blocks_of(page):
        if block.title:
            (copy / block.title).write_text(block.text)
        script = runnable(block, not_run())
        failure = failure_of(block, script, copy) if script else ""
        failures += [failure] if failure else []
    assert not failures, "\n\n".join(failures)
