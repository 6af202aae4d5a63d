"""Every bundle through MONAI's own workflows: trained, resumed, evaluated, run over a folder."""

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser, create_workflow
from monai.data import Dataset
from PIL import Image

import cxr_attn_unet
from conftest import REPOSITORY, head, phantom, write_folder
from cxr_attn_unet.bundle import cause_of, start_processes
from cxr_attn_unet.datasets import DatasetError
from cxr_attn_unet.former_names import MODULES, current_module
from cxr_attn_unet.inference.folder import FolderError
from cxr_attn_unet.io import RadiographError
from cxr_attn_unet.networks import build_network, save_weights
from cxr_attn_unet.training import recipe
from cxr_attn_unet.training.processes import SectionSampler
from samples import picture, write_dicom, write_nifti

SMALL = {"width": 4, "image_size": 32, "batch_size": 4, "num_workers": 0, "device": "cpu"}
VERSION_0_1_0 = Path(__file__).with_name("version_0_1_0")
TRAIN = {**SMALL, "epochs": 2}


def config(bundle, *names):
    return [str(bundle / "configs" / f"{name}.json") for name in names]


def run(bundle, *names, run_id="run", **overrides):
    """Initialise, run and finalise, as ``python -m monai.bundle run`` does."""
    workflow = create_workflow(
        config_file=config(bundle, *names), workflow_type="train", run_id=run_id, bundle_root=str(bundle), **overrides
    )
    workflow.run()
    workflow.finalize()
    return workflow


@contextmanager
def raises(error, message):
    """``pytest.raises`` for what MONAI wraps in errors of its own."""
    with pytest.raises(Exception) as caught:  # noqa: PT011
        yield caught
    cause = cause_of(caught.value)
    assert isinstance(cause, error), repr(cause)
    assert re.search(message, str(cause)), str(cause)


def data_for(bundle, folder, count=10):
    return str(write_folder(folder, head(bundle)["structure"], count))


@pytest.fixture
def trained(bundle, tmp_path):
    """A bundle after two epochs on ten radiographs, its data set, and where it wrote."""
    output = tmp_path / "out"
    data = data_for(bundle, tmp_path / "data")
    before = (bundle / "models" / "model.pt").read_bytes()
    workflow = run(
        bundle,
        "train",
        run_id="training",
        dataset_dir=data,
        output_dir=str(output),
        ckpt_dir=str(bundle / "models"),
        **TRAIN,
    )
    return bundle, data, output, before, workflow


def test_training_leaves_weights_state_and_pictures(trained):
    bundle, _, output, before, workflow = trained
    weights = torch.load(bundle / "models" / "model.pt", weights_only=True)
    assert set(weights) == set(workflow.parser.get_parsed_content("network").state_dict())
    best = workflow.parser.get_parsed_content("train#handlers")[-1].best
    assert best == pytest.approx(max(workflow.evaluator.state.best_metric, 0))
    assert "val_hd95_mm" in workflow.evaluator.state.metrics
    state = torch.load(output / "last.pt", weights_only=True)
    assert state["run"]["epoch"] == 2
    assert any(not torch.equal(state["average"][name], value) for name, value in state["model"].items())
    for epoch in (1, 2):
        assert Image.open(output / f"worst_{epoch:04d}.png").size[0] >= 384
    assert list(output.glob("events.out.tfevents*"))
    assert (bundle / "models" / "model.previous.pt").read_bytes() == before
    assert not [path for path in output.rglob(".*") if path.is_file()]


@pytest.mark.parametrize(("amp", "layout"), [(True, torch.channels_last), (False, torch.contiguous_format)])
def test_training_is_set_up_to_be_fast(bundle, tmp_path, amp, layout):
    tiny = torch.full((4,), 1e-30)
    if not torch.set_flush_denormal(True):
        pytest.skip("this processor cannot flush denormal numbers")
    torch.set_flush_denormal(False)
    assert (tiny * 1e-10 > 0).all()
    data = data_for(bundle, tmp_path / "data")
    workflow = run(bundle, "train", run_id="initialize", dataset_dir=data, amp=amp, **SMALL)
    try:
        assert (tiny * 1e-10 == 0).all()
    finally:
        torch.set_flush_denormal(False)
    weights = [p for p in workflow.parser.get_parsed_content("network").parameters() if p.dim() == 4]
    assert all(p.is_contiguous(memory_format=layout) for p in weights)


def test_training_without_validation_saves_its_weights(bundle, tmp_path):
    """MONAI Label overrides the data, and may have nothing to validate on."""
    root = write_folder(tmp_path / "data", "any", 4)
    items = [
        {"image": str(path), "label": str(root / "masks" / "any" / path.name)}
        for path in sorted((root / "images").iterdir())
    ]
    overrides = {
        "train#dataset#data": items,
        "validate#dataset#data": [],
        "train#trainer#max_epochs": 1,
        "val_interval": 5,
    }
    run(bundle, "train", output_dir=str(tmp_path / "o"), ckpt_dir=str(tmp_path / "c"), **TRAIN, **overrides)
    names = torch.load(tmp_path / "c" / "model.pt", weights_only=True)
    assert any(name.endswith("head.weight") for name in names)


def test_training_on_patches(bundle, tmp_path):
    parser = ConfigParser(head(bundle, "train"))
    parser.update({"dataset_dir": data_for(bundle, tmp_path / "data"), **TRAIN, "patch": [0.5, 0.75], "parts": []})
    batch = next(iter(parser.get_parsed_content("train#dataloader")))
    assert batch["image"].shape == batch["label"].shape == (4, 1, 16, 24)
    assert batch["label"].any()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_resumed_run_is_bit_for_bit_the_uninterrupted_one(bundle, tmp_path, num_workers):
    data = data_for(bundle, tmp_path / "data")
    options = {**TRAIN, "epochs": 4, "dataset_dir": data, "num_workers": num_workers}

    def state(name, **more):
        folder = str(tmp_path / name)
        run(bundle, "train", output_dir=folder, ckpt_dir=folder, **{**options, **more})
        return torch.load(tmp_path / name / "last.pt", weights_only=True)

    whole = state("whole")
    with pytest.raises(KeyboardInterrupt):
        state("cut", **{"train#handlers#2": {"_target_": "test_workflows.Interrupt", "epoch": 3}})
    assert torch.load(tmp_path / "cut" / "last.pt", weights_only=True)["run"]["epoch"] == 2
    resumed = state("cut", resume=True)
    assert resumed["run"] == whole["run"]
    assert resumed["lr_scheduler"] == whole["lr_scheduler"]
    for key, value in whole["model"].items():
        assert torch.equal(resumed["model"][key], value), key
    assert (tmp_path / "cut" / "model.pt").stat().st_size == (tmp_path / "whole" / "model.pt").stat().st_size


class Interrupt:
    """Ends a run in the middle of an epoch, as a user or a scheduler does."""

    def __init__(self, epoch):
        self.epoch = epoch

    def attach(self, engine):
        from ignite.engine import Events

        engine.add_event_handler(Events.ITERATION_COMPLETED, self)

    def __call__(self, engine):
        if engine.state.epoch == self.epoch:
            raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 3}, r"is from a run of 2 epochs, this one has 3"),
        ({"width": 8}, "is of another network"),
        ({"output_dir": "elsewhere"}, "nothing to resume from"),
        ("corrupt", "not a checkpoint to resume from"),
    ],
)
def test_resume_refuses_another_run(trained, change, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    bundle, data, output, *_ = trained
    options = {**TRAIN, "dataset_dir": data, "output_dir": str(output), "ckpt_dir": str(output), "resume": True}
    if change == "corrupt":
        (output / "last.pt").write_bytes(b"half a file")
    else:
        options.update(change)
    with raises((ValueError, FileNotFoundError), message):
        run(bundle, "train", **options)


def test_loss_that_is_not_finite_stops_the_run(bundle, tmp_path):
    data = data_for(bundle, tmp_path / "data")
    with raises(FloatingPointError, "loss is nan in epoch 1.*learning_rate"):
        run(
            bundle,
            "train",
            dataset_dir=data,
            output_dir=str(tmp_path / "o"),
            ckpt_dir=str(tmp_path / "c"),
            **TRAIN,
            loss="$lambda prediction, label: prediction.sum() * float('nan')",
        )
    assert list((tmp_path / "c").glob("*.*")) == []


def test_evaluation_writes_every_case(trained):
    bundle, data, output, *_ = trained
    run(bundle, "train", "evaluate", dataset_dir=data, output_dir=str(output), section="training", **SMALL)
    results = json.loads((output / "results_folder_training.json").read_text())
    assert len(results["cases"]) == 9
    dice = [case["val_mean_dice"] for case in results["cases"].values()]
    assert results["summary"]["val_mean_dice"]["mean"] == pytest.approx(np.mean(dice), abs=1e-4)
    assert results["summary"]["val_mean_dice"]["min"] == pytest.approx(min(dice))
    assert results["run"]["width"] == 4


def test_evaluation_of_a_section_that_is_not_there(bundle, tmp_path):
    data = data_for(bundle, tmp_path / "data")
    with raises(DatasetError, "no section 'testing' in this data set. Choose one of: training, validation"):
        run(bundle, "train", "evaluate", dataset_dir=data, section="testing", output_dir=str(tmp_path), num_workers=0)


@pytest.fixture
def mixed_folder(tmp_path):
    """Good radiographs in four formats and a subfolder, and four files that are not."""
    folder = tmp_path / "radiographs"
    (folder / "ward").mkdir(parents=True)
    Image.fromarray(phantom(0)[0]).save(folder / "one.png")
    Image.fromarray(phantom(1)[0]).save(folder / "ward" / "one.jpg")
    write_dicom(folder / "1.2.840.7", picture(64, 48).astype(np.uint16) * 16)
    write_nifti(folder / "two.nii.gz", picture(50, 70), np.eye(4))
    (folder / "cut.png").write_bytes((folder / "one.png").read_bytes()[:200])
    Image.fromarray(np.full((64, 64), 9, np.uint8)).save(folder / "flat.png")
    Image.fromarray(phantom(2)[0]).save(folder / "one.bmp")
    nib.save(nib.Nifti1Image(np.random.default_rng(0).random((40, 40, 9), np.float32), np.eye(4)), folder / "ct.nii")
    return folder


def test_inference_over_a_folder(trained, mixed_folder, tmp_path):
    bundle, *_ = trained
    masks = tmp_path / "masks"
    with raises(FolderError, "4 of 8 radiographs could not be segmented") as caught:
        run(bundle, "inference", dataset_dir=str(mixed_folder), output_dir=str(masks), **{**SMALL, "batch_size": 1})
    for name in (
        "cut.png: damaged",
        "flat.png: all pixels",
        "ct.nii: a volume",
        "one.png: its mask would have the same",
    ):
        assert name in str(cause_of(caught.value))
    structure = head(bundle)["structure"]
    sizes = {
        f"one_{structure}.png": (80, 96),
        f"ward/one_{structure}.png": (80, 96),
        f"1.2.840.7_{structure}.png": (48, 64),
        f"two_{structure}.png": (70, 50),
    }
    assert {str(path.relative_to(masks)) for path in masks.rglob("*") if path.is_file()} == set(sizes)
    for name, size in sizes.items():
        mask = Image.open(masks / name)
        assert (mask.size, mask.mode) == (size, "L")
        assert set(np.unique(np.asarray(mask))) <= {0, 255}


def test_inference_mask_lies_where_the_network_sees_the_structure(bundle, tmp_path):
    """With a network that marks what is bright, the mask is the bright part of the file, finer than the network."""
    image, _ = phantom(3, 240, 160)
    image[:] = 40
    image[30:110, 90:150] = 220  # upper right
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(image).save(folder / "a.png")
    structure = head(bundle)["structure"]
    run(
        bundle,
        "inference",
        dataset_dir=str(folder),
        output_dir=str(tmp_path / "out"),
        **{**SMALL, "image_size": 96},
        parts=[],
        network="$lambda x: torch.cat([0.5 - x, x - 0.5], 1) * 20",
        run=["$@evaluator.run()"],
        inferer="$lambda x, network: network(x)",
    )
    mask = np.asarray(Image.open(tmp_path / "out" / f"a_{structure}.png")) > 0
    truth = image > 100
    assert 2 * (mask & truth).sum() / (mask.sum() + truth.sum()) > 0.97


@pytest.mark.parametrize("names", [("train",), ("inference",), ("train", "evaluate")], ids="+".join)
@pytest.mark.parametrize("where", ["inside", "outside with bundle_root"])
def test_check_properties(bundle, names, where, monkeypatch, tmp_path):
    monkeypatch.chdir(bundle if where == "inside" else tmp_path)
    overrides = {"dataset_dir": data_for(bundle, tmp_path / "data"), "output_dir": str(tmp_path / "o"), **SMALL}
    if where != "inside":
        overrides["bundle_root"] = str(bundle)
    kind = "inference" if names == ("inference",) else "train"
    if kind == "inference":
        overrides["dataset_dir"] += "/images"
    workflow = create_workflow(config_file=config(bundle, *names), workflow_type=kind, **overrides)
    assert workflow.check_properties() == []
    for name in ("device", "network_def", "bundle_root", "dataset_dir"):
        assert getattr(workflow, name) is not None


@pytest.mark.parametrize("names", [("train",), ("inference",), ("train", "evaluate")], ids="+".join)
def test_elsewhere_without_bundle_root_nothing_is_written(bundle, names, tmp_path, monkeypatch):
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    with raises(FileNotFoundError, "is not a bundle.*--bundle_root"):
        create_workflow(config_file=config(bundle, *names), workflow_type="train", dataset_dir="data").run()
    assert not list(empty.iterdir())


@pytest.mark.parametrize(
    ("name", "overrides", "error", "message"),
    [
        ("train", {"dataset_dir": "{tmp}/none"}, DatasetError, "none: no such folder"),
        ("train", {"dataset_dir": "{tmp}/empty"}, DatasetError, "no radiographs with masks"),
        ("inference", {"dataset_dir": "{tmp}/none"}, RadiographError, "none: no such folder"),
        ("inference", {"dataset_dir": "{tmp}/empty"}, RadiographError, "no radiographs here"),
        ("inference", {"checkpoint": "{tmp}/none.pt"}, FileNotFoundError, "none.pt"),
        ("inference", {"checkpoint": "{tmp}/corrupt.pt"}, ValueError, "corrupt.pt"),
        ("inference", {"network_name": "unet"}, ValueError, "model.pt"),
        ("inference", {"width": 12}, ValueError, "model.pt"),
        ("train", {"network_name": "vnet"}, ValueError, "unet, resnet_unet_18, .* full_spatial_attention_unet"),
    ],
)
def test_bad_input(bundle, tmp_path, name, overrides, error, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "corrupt.pt").write_bytes(b"PK\x03\x04 half a file")
    options = {"dataset_dir": data_for(bundle, tmp_path / "data"), "output_dir": str(tmp_path / "o"), "device": "cpu"}
    if name == "inference":
        options["dataset_dir"] += "/images"
    options |= {
        key: value.format(tmp=tmp_path) if isinstance(value, str) else value for key, value in overrides.items()
    }
    with raises(error, message):
        run(bundle, name, ckpt_dir=str(tmp_path / "c"), **options)
    assert not list(tmp_path.glob("o/*.png"))
    assert not (tmp_path / "c").exists()


def command(bundle, *arguments, cwd, launcher=(), **environment):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", *launcher, "monai.bundle", "run", *arguments],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


def flags(**options):
    return [part for name, value in options.items() for part in (f"--{name}", str(value))]


def test_command_line_inside_the_bundle(bundle, tmp_path):
    """The exact commands of the card; training needs nothing but the data, and evaluation finds its weights."""
    data = data_for(bundle, tmp_path / "data")
    small = flags(dataset_dir=data, **{**SMALL, "epochs": 1})
    result = command(bundle, "training", "--config_file", "configs/train.json", *small, cwd=bundle)
    assert result.returncode == 0, result.stderr
    assert {"last.pt", "worst_0001.png"} <= {path.name for path in (bundle / "eval").iterdir()}
    both = "['configs/train.json','configs/evaluate.json']"
    result = command(bundle, "--config_file", both, *small, cwd=bundle)
    assert result.returncode == 0, result.stderr
    assert len(json.loads((bundle / "eval" / "results_folder_validation.json").read_text())["cases"]) == 1


def test_command_line_on_a_folder(bundle, tmp_path):
    """With the shipped weights; a bad file makes the exit code non-zero and is named last."""
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(phantom(0)[0]).save(folder / "a.png")
    arguments = ["--config_file", "configs/inference.json", *flags(dataset_dir=folder, output_dir=tmp_path / "out")]
    result = command(bundle, *arguments, cwd=bundle)
    assert result.returncode == 0, result.stderr
    assert "Segmented 1 radiographs" in result.stdout
    assert "nvImageCodec" not in result.stdout + result.stderr
    (folder / "b.png").write_bytes(b"no picture")
    result = command(bundle, *arguments, cwd=bundle)
    assert result.returncode != 0
    assert "b.png: not a picture" in result.stderr.splitlines()[-1]
    assert "Segmented 1 radiographs" in result.stdout


@pytest.fixture
def released(tmp_path):
    """The heart's bundle with the configs of version 0.1.0."""
    copy = tmp_path / "heart_attn_unet"
    shutil.copytree(REPOSITORY / "bundles" / copy.name, copy, ignore=shutil.ignore_patterns("eval", "data"))
    for path in VERSION_0_1_0.glob("*.json"):
        shutil.copyfile(path, copy / "configs" / path.name)
    (copy / "models" / "model.pt").unlink()
    torch.manual_seed(0)
    save_weights(build_network("full_spatial_attention_unet", width=16, scale_attention=True), copy / "models/model.pt")
    # a former name is warned of when it is first imported, so each test starts without
    for name in [name for name in sys.modules if current_module(name)]:
        del sys.modules[name]
    for name in MODULES:
        vars(cxr_attn_unet).pop(name, None)
    return copy


def test_training_config_of_version_0_1_0_runs(released, tmp_path):
    with pytest.warns(FutureWarning, match=r"cxr_attn_unet.handlers is now called cxr_attn_unet.training.handlers"):
        run(released, "train", dataset_dir=data_for(released, tmp_path / "data"), **{**TRAIN, "epochs": 1})
    assert "head.weight" in torch.load(released / "models" / "model.pt", weights_only=True)


def test_evaluation_config_of_version_0_1_0_runs(released, tmp_path):
    data = data_for(released, tmp_path / "data")
    run(released, "train", "evaluate", dataset_dir=data, **{**SMALL, "width": 16})
    results = json.loads((released / "eval" / "results_folder_validation.json").read_text())
    assert len(results["cases"]) == 1


def test_inference_config_of_version_0_1_0_gives_the_same_mask(released, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(phantom(0)[0]).save(folder / "a.png")
    common = {"dataset_dir": str(folder), "device": "cpu"}
    run(released, "inference", output_dir=str(tmp_path / "old"), **common)
    run(
        REPOSITORY / "bundles" / released.name,
        "inference",
        output_dir=str(tmp_path / "new"),
        checkpoint=str(released / "models" / "model.pt"),
        network_name="full_spatial_attention_unet",
        image_size=192,
        test_time_augmentation=[[0, 1], [0, 1.3]],
        **common,
    )
    old, new = (Image.open(tmp_path / name / "a_heart.png").tobytes() for name in ("old", "new"))
    assert old == new


def test_several_gpu_config_of_version_0_1_0_still_names_what_it_calls(released):
    config_0_1_0 = ConfigParser.load_config_file(released / "configs" / "multi_gpu_train.json")
    assert "$cxr_attn_unet.bundle.start_processes()" in config_0_1_0["initialize"]
    assert callable(start_processes)


@pytest.mark.parametrize(
    ("old", "value", "where", "new"),
    [
        ("views", [[0, 1], [5, 1]], "validate#inferer#views", "test_time_augmentation"),
        ("average", 0, "averaged_share", "ema_share"),
        ("scale", False, "network_def#scale_attention", "scale_attention"),
    ],
)
def test_training_takes_a_value_by_its_former_name(old, value, where, new, caplog):
    parser = ConfigParser(head(REPOSITORY / "bundles" / "heart_attn_unet"))
    parser.update({old: value})
    with caplog.at_level("WARNING"):
        found = parser.get_parsed_content(where)
    assert (found, f"--{old} is now called --{new}" in caplog.text) == (value, True)


@pytest.mark.parametrize(
    ("old", "value", "where"),
    [("views", [[0, 1]], "inferer#views"), ("scale", False, "network_def#scale_attention")],
)
def test_inference_takes_a_value_by_its_former_name(old, value, where):
    parser = ConfigParser(head(REPOSITORY / "bundles" / "heart_attn_unet", "inference"))
    parser.update({old: value})
    assert parser.get_parsed_content(where) == value


def test_a_recipe_takes_a_value_by_its_former_name(released, tmp_path, capsys):
    shutil.copyfile(REPOSITORY / "bundles" / released.name / "configs" / "train.json", released / "configs/train.json")
    stage = {**TRAIN, "epochs": 1, "average": 0, "dataset_dir": data_for(released, tmp_path / "data")}
    recipe.train_stage(released, stage, tmp_path / "stage", None)
    state = torch.load(tmp_path / "stage" / "last.pt", weights_only=True)
    # without averaging, what is saved is all but the last step's weights
    name = "head.weight"
    torch.testing.assert_close(state["average"][name], state["model"][name], rtol=0, atol=1e-4)
    assert "--average is now called --ema_share; its value 0 is used." in capsys.readouterr().out


def test_a_stage_of_other_settings_is_not_taken_for_a_result(released, tmp_path):
    shutil.copyfile(REPOSITORY / "bundles" / released.name / "configs" / "train.json", released / "configs/train.json")
    stage = {**TRAIN, "epochs": 1, "dataset_dir": data_for(released, tmp_path / "data")}
    folder = tmp_path / "stage"
    weights = recipe.train_stage(released, stage, folder, None)
    written = weights.stat().st_mtime_ns
    assert recipe.train_stage(released, {**stage, "cache_dir": str(tmp_path / "cache")}, folder, None) == weights
    assert weights.stat().st_mtime_ns == written
    with pytest.raises(ValueError, match=r"trained with learning_rate None, not 0\.5\. Name another --output"):
        recipe.train_stage(released, {**stage, "learning_rate": 0.5}, folder, None)
    with pytest.raises(ValueError, match="trained with initial_weights None"):
        recipe.train_stage(released, stage, folder, weights)
    (folder / "stage.json").write_text("{")
    with pytest.raises(ValueError, match=r"stage.json: damaged .* train the stage again"):
        recipe.train_stage(released, stage, folder, None)


def test_the_command_says_what_replaces_a_former_name(tmp_path):
    bundle = REPOSITORY / "bundles" / "heart_attn_unet"
    folder = tmp_path / "in"
    folder.mkdir()
    Image.fromarray(phantom(0)[0]).save(folder / "a.png")
    options = flags(dataset_dir=folder, output_dir=tmp_path / "out", views="[[0,1]]", image_size=64)
    result = command(bundle, "--config_file", "configs/inference.json", *options, cwd=bundle)
    assert "--views is now called --test_time_augmentation; its value [[0, 1]] is used." in result.stdout


@pytest.mark.parametrize(("amp", "layout"), [(True, torch.channels_last), (False, torch.contiguous_format)])
def test_several_processes_train_in_the_memory_layout_of_one(bundle, amp, layout):
    parser = ConfigParser()
    parser.read_config(config(bundle, "train", "multi_gpu_train"))
    parser.update({"amp": amp, "width": 4, "device": "cpu", "network": "$" + parser["network"]["module"][1:]})
    weights = [p for p in parser.get_parsed_content("network").parameters() if p.dim() == 4]
    assert all(p.is_contiguous(memory_format=layout) for p in weights)


@pytest.mark.parametrize("sections", [("training", 1), ("validation", 0)], ids=lambda pair: pair[0])
def test_a_section_smaller_than_the_processes_is_named(sections):
    section, radiographs = sections
    with pytest.raises(DatasetError, match=f"{section}: {radiographs} radiographs for 2 processes. Start at most"):
        SectionSampler(Dataset([0] * radiographs), section=section, num_replicas=2, rank=0)


@pytest.mark.slow
@pytest.mark.parametrize("evaluate", [False, True], ids=["train", "evaluate"])
def test_two_processes(bundle, tmp_path, evaluate):
    """torchrun with two processes: NCCL where there are two GPUs, Gloo otherwise; only the first one writes."""
    data = data_for(bundle, tmp_path / "data", 20)
    small = {
        **SMALL,
        "dataset_dir": data,
        "bundle_root": bundle,
        "output_dir": tmp_path / "o",
        "ckpt_dir": tmp_path / "c",
    }
    small["batch_size"] = 2
    environment = {"CUDA_VISIBLE_DEVICES": ""} if torch.cuda.device_count() < 2 else {}
    del small["device"]
    names = ("train", "multi_gpu_train")
    result = command(
        bundle,
        "training",
        "--config_file",
        str(config(bundle, *names)),
        *flags(epochs=2, **small),
        cwd=tmp_path,
        launcher=("torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m"),
        **environment,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert (tmp_path / "c" / "model.pt").is_file()
    assert len(list((tmp_path / "o").glob("worst_*.png"))) == 2
    assert len(list((tmp_path / "o").glob("events*"))) == 2  # of the trainer and the evaluator, of one process
    state = torch.load(tmp_path / "o" / "last.pt", weights_only=True)
    assert state["run"]["iterations an epoch"] == 4  # 18 radiographs, 2 a batch, 2 processes, the rest dropped
    assert not any(key.startswith("module.") for key in state["model"])
    if evaluate:
        result = command(
            bundle,
            "--config_file",
            str(config(bundle, "train", "evaluate", "multi_gpu_evaluate")),
            *flags(checkpoint=tmp_path / "c" / "model.pt", section="training", **small),
            cwd=tmp_path,
            launcher=("torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m"),
            **environment,
        )
        assert result.returncode == 0, result.stderr[-3000:]
        results = json.loads((tmp_path / "o" / "results_folder_training.json").read_text())
        assert len(results["cases"]) == 18


@pytest.mark.parametrize("components", [0, 1, 2])
def test_largest_parts_are_kept_and_filled_if_asked(bundle, tmp_path, components):
    Image.fromarray(phantom(0, 32, 32)[0]).save(tmp_path / "a.png")
    parser = ConfigParser(head(bundle, "inference"))
    parser.update({"bundle_root": str(bundle), "output_dir": str(tmp_path / "o"), "dataset_dir": str(tmp_path)})
    parser.update({"image_size": 32, "components": components, "parts": []})
    item = parser.get_parsed_content("preprocessing")({"image": str(tmp_path / "a.png")})
    wanted = torch.zeros(32, 32)
    wanted[4:16, 4:16], wanted[8:10, 8:10] = 1, 0  # the largest part, with a hole
    wanted[20:28, 20:28] = 1
    wanted[28:30, 2:4] = 1  # the smallest
    item["pred"] = item["image"].clone()
    item["pred"].set_array(torch.stack([1 - wanted, wanted]) * 20)
    parser.get_parsed_content("postprocessing")(item)
    saved = np.asarray(Image.open(tmp_path / "o" / f"a_{head(bundle)['structure']}.png")) > 0
    assert saved[5, 5]
    assert saved[8, 8] == (components > 0)
    assert saved[24, 24] == (components != 1)
    assert saved[29, 3] == (components == 0)


def test_recipe_is_run_stage_by_stage_and_continued(bundle, tmp_path, capsys):
    listed = {"stages": [{"epochs": 1, "image_size": 32}, {"epochs": 2, "image_size": 48, "learning_rate": 1e-4}]}
    for stage in recipe.stages(bundle):  # the shipped one
        assert {key.split("#")[0] for key in stage} <= set(head(bundle))
    (bundle / "configs" / "recipe.json").write_text(json.dumps(listed))
    data, output = data_for(bundle, tmp_path / "data"), tmp_path / "runs"
    arguments = [str(bundle), "--dataset_dir", data, "--output", str(output)]
    for key in ("width", "batch_size", "num_workers"):
        arguments += ["--set", key, json.dumps(SMALL[key])]
    assert recipe.main([*arguments, "--set", "device", '"cpu"']) == 0
    assert capsys.readouterr().out.strip().endswith(str(output / "stage_2" / "model.pt"))
    first, second = (torch.load(output / f"stage_{n}" / "last.pt", weights_only=True)["run"] for n in (1, 2))
    assert (first["epoch"], second["epoch"]) == (1, 2)
    # what is finished is left alone
    before = {path: path.stat().st_mtime_ns for path in output.rglob("last.pt")}
    shutil.rmtree(output / "stage_2")
    assert recipe.main([*arguments, "--set", "device", '"cpu"']) == 0
    first = output / "stage_1" / "last.pt"
    assert first.stat().st_mtime_ns == before[first]
    assert (output / "stage_2" / "model.pt").is_file()
    (bundle / "configs" / "recipe.json").write_text('{"stages": [{}]}')
    assert recipe.main(arguments) == 1
    assert "each stage needs its epochs" in capsys.readouterr().err
