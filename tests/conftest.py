"""Fixtures that all tests share: one thread, generated data sets, copies of the bundles."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigWorkflow
from PIL import Image

REPOSITORY = Path(__file__).parents[1]
BUNDLES = sorted(path for path in (REPOSITORY / "bundles").iterdir() if path.is_dir())
EXAMPLES = REPOSITORY / "examples"


@pytest.fixture(autouse=True, scope="session")
def no_trust_but_that_of_the_tests(tmp_path_factory):
    # what a user has trusted must not change a test, and the other way round
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
        yield


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    # the tensors of the tests are small; threads that wait for each other on a busy machine are what takes long
    torch.set_num_threads(1)
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # of the commands that tests start


def run_inference(bundle: Path, radiographs: Path, output: Path) -> None:
    """Segment a folder by a bundle's own ``inference.json``, as MONAI does."""
    workflow = ConfigWorkflow(
        str(bundle / "configs" / "inference.json"),
        workflow_type="infer",
        logging_file=False,
        bundle_root=str(bundle),
        dataset_dir=str(radiographs),
        output_dir=str(output),
        device="$torch.device('cpu')",
    )
    for step in (workflow.initialize, workflow.run, workflow.finalize):
        step()


def phantom(seed: int, rows: int = 96, columns: int = 80) -> tuple[np.ndarray, np.ndarray]:
    """A bright ellipse, more of it on the right, on a dark noisy ground: 8-bit picture and mask."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:rows, :columns]
    row = rows * rng.uniform(0.5, 0.65)
    column = columns * rng.uniform(0.5, 0.65)
    mask = ((y - row) / (0.22 * rows)) ** 2 + ((x - column) / (0.25 * columns)) ** 2 < 1
    ground = 60 + 40 * np.abs(x - columns / 2) / columns
    image = ground + 90 * mask + rng.normal(0, 6, mask.shape)
    return image.clip(0, 255).astype(np.uint8), mask


def write_folder(root: Path, structure: str, count: int) -> Path:
    """A data set in the layout ``images/`` and ``masks/STRUCTURE/``."""
    for name in ("images", f"masks/{structure}"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for index in range(count):
        image, mask = phantom(index)
        Image.fromarray(image).save(root / "images" / f"case_{index:02d}.png")
        Image.fromarray(mask.astype(np.uint8) * 255).save(root / "masks" / structure / f"case_{index:02d}.png")
    return root


def write_jsrt(root: Path, ids: list[str], organs: tuple[str, ...] = ("heart",), image_suffix: str = ".png") -> Path:
    """A small JSRT of 96 x 96 pictures with SCR masks of 192 x 192 in the official two folds."""
    (root / "All247images").mkdir(parents=True)
    for index, image_id in enumerate(ids):
        image, mask = phantom(index, 96, 96)
        Image.fromarray(image).save(root / "All247images" / f"{image_id}{image_suffix}")
        for organ in organs:
            folder = root / "scratch" / f"fold{1 + index % 2}" / "masks" / organ
            folder.mkdir(parents=True, exist_ok=True)
            doubled = mask.astype(np.uint8).repeat(2, 0).repeat(2, 1)
            Image.fromarray(doubled * 255).save(folder / f"{image_id}.gif")
    return root


@pytest.fixture
def small_folder(tmp_path):
    """Ten radiographs with heart masks: nine to train on, one to validate on."""
    return write_folder(tmp_path / "data", "heart", 10)


@pytest.fixture(params=BUNDLES, ids=lambda path: path.name)
def bundle(request, tmp_path):
    """Each bundle in turn, as a copy that tests may write to."""
    copy = tmp_path / request.param.name
    shutil.copytree(request.param, copy, ignore=shutil.ignore_patterns("eval", "data"))
    return copy


def head(bundle_root: Path, config: str = "train") -> dict:
    """The plain values at the head of a bundle's config."""
    return json.loads((bundle_root / "configs" / f"{config}.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def browser():
    """A real browser without a window; where there is none, its tests are skipped."""
    playwright = pytest.importorskip("playwright.sync_api")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("needs Chromium")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
    quiet += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=program, args=quiet)
        yield chromium
        chromium.close()
