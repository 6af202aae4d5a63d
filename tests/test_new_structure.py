"""A fifth structure, the trachea: a registry line, a head with a bundle folder, and a data list are all that it takes.

It is trained for some seconds on phantoms, and put through every format of ``segment``, the label app's list and the
model zoo's rules.
"""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import create_workflow
from PIL import Image
from pydicom.uid import generate_uid

from conftest import BUNDLES, REPOSITORY, head, phantom, write_folder
from cxr_attn_unet import Segmenter
from cxr_attn_unet.__main__ import main
from cxr_attn_unet.bundle import BUNDLES_VARIABLE
from cxr_attn_unet.datasets import load_data
from cxr_attn_unet.output import COLLECTIONS, FORMATS
from cxr_attn_unet.structures import OTHER_COLOUR, REGISTRY, Code, Structure, colour_of, label_values
from cxr_attn_unet.trust import remember
from cxr_attn_unet_dev.configs import NAMES, configs_of
from cxr_attn_unet_dev.json_style import format_json
from cxr_attn_unet_dev.packaging import check, package_bundle, unpack
from cxr_attn_unet_dev.tools.release_weights import release
from samples import write_dicom

# the registry line
TRACHEA = Structure("trachea", 5, (0, 114, 178), Code("44567001", "Trachea"), components=1)
SIZE = 32
# the head of its configs
HEAD = {
    "structure": "trachea",
    "network_name": "unet",
    "width": 4,
    "image_size": SIZE,
    "epochs": 12,
    "learning_rate": 0.02,
    "augmentation": 0,
    "components": 1,
}
TRAINING = {"batch_size": 3, "val_interval": 12}
IMAGE, MASK = phantom(100)  # one that it is not trained on
MACHINE = {"num_workers": 0, "device": "cpu"}


@pytest.fixture(scope="module", autouse=True)
def registered():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(REGISTRY, TRACHEA.name, TRACHEA)
        yield


def write_bundle(folder: Path) -> Path:
    """The heart's folder with configs, metadata and card of its own."""
    shutil.copytree(
        next(path for path in BUNDLES if path.name == "heart_attn_unet"),
        folder,
        ignore=shutil.ignore_patterns("eval", "models", "results_*.json"),
    )
    (folder / "models").mkdir()
    for name, config in configs_of(HEAD).items():
        (folder / "configs" / f"{name}.json").write_text(format_json(config))
    text = json.dumps(head(folder, "metadata")).replace("Heart", "Trachea").replace("heart", "trachea")
    about = json.loads(text)
    about["eval_metrics"] = {}
    about["weights"]["network"] = {"name": "unet", "width": 4}
    data_format = about["network_data_format"]
    data_format["inputs"]["image"]["spatial_shape"] = [SIZE, SIZE]
    data_format["outputs"]["pred"]["spatial_shape"] = [SIZE, SIZE]
    (folder / "configs" / "metadata.json").write_text(json.dumps(about, indent=4))
    card = folder / "docs" / "README.md"
    card.write_text(re.sub("heart", "trachea", card.read_text(encoding="utf-8"), flags=re.IGNORECASE), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def data_list(tmp_path_factory):
    """Ten phantoms with masks, as the file that ``python -m cxr_attn_unet.datasets --output`` writes."""
    folder = tmp_path_factory.mktemp("data")
    data = load_data(write_folder(folder, "trachea", 10), "trachea")
    path = folder / "trachea.json"
    path.write_text(json.dumps(data))
    return path


@pytest.fixture(scope="module")
def trachea(data_list, tmp_path_factory):
    """The bundle after a few seconds of its own train.json, its weights released."""
    bundle = write_bundle(tmp_path_factory.mktemp("bundles") / "trachea_attn_unet")
    run = tmp_path_factory.mktemp("run")
    workflow = create_workflow(
        config_file=str(bundle / "configs" / "train.json"),
        workflow_type="train",
        run_id="training",
        bundle_root=str(bundle),
        dataset_dir=str(data_list),
        output_dir=str(run),
        ckpt_dir=str(run),
        **TRAINING,
        **MACHINE,
    )
    workflow.run()
    workflow.finalize()
    release(torch.load(run / "model.pt", weights_only=True), bundle)
    return bundle


@pytest.fixture(scope="module")
def segmented(trachea, tmp_path_factory):
    """A DICOM radiograph segmented by the command into every format, and the folder of the results."""
    for package in ("highdicom", "pyarrow", "pycocotools"):
        pytest.importorskip(package)
    folder = tmp_path_factory.mktemp("segmented")
    study = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    file = write_dicom(folder / "chest.dcm", IMAGE.astype(np.uint16) * 16, **study)
    out = folder / "out"
    formats = [*FORMATS, *COLLECTIONS]
    status = main(
        ["segment", str(file), "-o", str(out), "--bundles", str(trachea.parent), "--trust", "--format", *formats]
    )
    assert status == 0
    return out


def test_the_registry_line_is_free_to_take():
    others = [structure for structure in REGISTRY.values() if structure is not TRACHEA]
    assert TRACHEA.label not in [structure.label for structure in others]


def test_it_has_its_own_colour():
    assert colour_of("trachea") not in {OTHER_COLOUR, *(one.colour for one in REGISTRY.values() if one is not TRACHEA)}


def test_it_has_its_own_label_value():
    assert label_values()["trachea"] == 5


@pytest.mark.parametrize("name", NAMES)
def test_only_values_of_the_head_differ(trachea, name):
    heart = head(REPOSITORY / "bundles" / "heart_attn_unet", name)
    own = head(trachea, name)
    assert {key for key in heart if own[key] != heart[key]} <= set(HEAD) | {"test_time_augmentation"}


def test_it_finds_what_it_was_trained_on(trachea):
    found = Segmenter.from_bundles(bundles=trachea.parent, device="cpu", trust=True)(IMAGE).masks["trachea"]
    assert 2 * (found & MASK).sum() / (found.sum() + MASK.sum()) > 0.8


@pytest.mark.parametrize(
    "name",
    [
        "chest_trachea.png",
        "chest_labels.png",
        "chest_labels.nii.gz",
        "chest_trachea.nii.gz",
        "chest.seg.dcm",
        "chest_overlay.jpg",
        "chest_figure.png",
        "coco.json",
        "segmentations.parquet",
        "manifest.json",
        "measurements.csv",
        "report.html",
    ],
)
def test_every_format_is_written(segmented, name):
    assert (segmented / name).stat().st_size > 0


def test_every_format_was_tried(segmented):
    """A format that is added to the package belongs into the list above."""
    assert len([path for path in segmented.iterdir() if path.is_file()]) == len(FORMATS) + len(COLLECTIONS) + 3


def test_the_label_map_has_its_value(segmented):
    mask = np.asarray(Image.open(segmented / "chest_trachea.png"))
    labels = np.asarray(Image.open(segmented / "chest_labels.png"))
    assert np.array_equal(labels, mask.astype(bool) * TRACHEA.label)


def test_the_dicom_segmentation_has_its_code(segmented):
    import pydicom

    segment = pydicom.dcmread(segmented / "chest.seg.dcm").SegmentSequence[0]
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "44567001"


def test_the_coco_table_has_its_category(segmented):
    categories = json.loads((segmented / "coco.json").read_text())["categories"]
    assert [category["name"] for category in categories] == ["trachea"]


def test_the_parquet_table_has_its_masks(segmented):
    import pyarrow.parquet as pq

    assert "rle_trachea" in pq.read_schema(segmented / "segmentations.parquet").names


def test_the_measurements_have_its_confidence(segmented):
    columns = (segmented / "measurements.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    assert "confidence_trachea" in columns


def test_the_zoos_rules_are_kept(trachea, tmp_path):
    folder = unpack(package_bundle(trachea, tmp_path / "dist"), tmp_path / "unpacked")
    assert check(folder) == []


@pytest.fixture
def app(trachea, tmp_path, monkeypatch):
    pytest.importorskip("monailabel", reason="MONAI Label has an environment of its own: make test-label")
    monkeypatch.setenv(BUNDLES_VARIABLE, str(trachea.parent))
    for folder in ("site", "."):
        monkeypatch.syspath_prepend(REPOSITORY / "apps" / "monailabel" / folder)
    monkeypatch.setitem(sys.modules, "lib", None)
    monkeypatch.delitem(sys.modules, "lib")
    from lib.app import ChestRadiographApp

    remember([trachea])
    (tmp_path / "studies").mkdir()
    (tmp_path / "app").mkdir()
    return ChestRadiographApp(str(tmp_path / "app"), str(tmp_path / "studies"), {})


def test_the_label_app_lists_it_as_a_model(app):
    assert set(app.info()["models"]) == {"trachea_attn_unet", "chest_anatomy"}


def test_the_label_app_trains_it(app):
    assert set(app.info()["trainers"]) == {"trachea_attn_unet"}


def test_the_label_apps_map_has_its_value(app):
    assert app.info()["models"]["chest_anatomy"]["labels"] == {"trachea": TRACHEA.label}
