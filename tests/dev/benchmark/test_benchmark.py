"""The benchmark: its scales, one cell from training to result, what happens when it is killed, and the report."""

import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import create_workflow
from monai.transforms import Compose, SpatialPad

from conftest import write_folder
from cxr_attn_unet.files import claimed
from cxr_attn_unet.networks import COMPARED
from cxr_attn_unet.structures import REGISTRY
from cxr_attn_unet.training.precision import half_precision_pays
from cxr_attn_unet.transforms import CropToFieldd, LoadRadiographd, OrientUprightd, ResizeLongestd
from cxr_attn_unet_dev.benchmark import cells_of, load_protocol, run_cell
from cxr_attn_unet_dev.benchmark.__main__ import main
from cxr_attn_unet_dev.benchmark.cells import PUBLISHED, Cell, protocol_names
from cxr_attn_unet_dev.benchmark.report import blocks, compared, draw, holm, interval
from cxr_attn_unet_dev.benchmark.run import BUSY, _configuration, data_hash, result_path, run_in_process

TINY = {"width": 4, "image_size": 32, "epochs": 2, "batch_size": 4, "num_workers": 0}


@pytest.fixture
def data(tmp_path):
    return str(write_folder(tmp_path / "data", "heart", 10))


def tiny(network="unet", protocol="small", **changes):
    return Cell(load_protocol(protocol), network, "heart", changes={**TINY, **changes})


def test_every_cell_has_a_published_value():
    assert set(PUBLISHED) == set(COMPARED)
    assert all(set(values) == set(REGISTRY) for values in PUBLISHED.values())
    assert PUBLISHED["resnet_unet_18"]["ribs"] == 0.424
    assert PUBLISHED["full_spatial_attention_unet"]["heart"] == 0.817


@pytest.mark.parametrize("name", ["small", "modern", "published"])
def test_protocols(name):
    assert name in protocol_names()
    protocol = load_protocol(name)
    cells = cells_of(protocol, seeds=(0, 1))
    assert len(cells) == 72 == len({cell.name for cell in cells})
    assert cells[0].name == f"{name}/{cells[0].structure}_unet_seed0"
    assert all(stage["network_name"] == cell.network for cell in cells for stage in cell.stages())
    assert set(protocol.data) == set(REGISTRY)
    # an encoder's weights are of the bundle's own network
    assert not [key for cell in cells for stage in cell.stages() for key in stage if key.startswith("network_def#")]


@pytest.mark.parametrize("section", ["train", "validate"])
def test_as_published_the_network_sees_the_image_divided_by_its_maximum(data, section):
    cell = tiny(protocol="published")
    workflow = create_workflow(
        config_file=str(cell.bundle_root / "configs" / "train.json"),
        workflow_type="train",
        bundle_root=str(cell.bundle_root),
        **{**cell.stages()[0], "dataset_dir": data},
    )
    dataset = workflow.parser.get_parsed_content(f"{section}#dataset")
    side = TINY["image_size"]
    steps = [LoadRadiographd("image"), OrientUprightd("image"), CropToFieldd("image"), ResizeLongestd("image", side)]
    image = Compose(steps)(dataset.data[0])["image"]
    expected = SpatialPad([side, side])(image / image.max())
    torch.testing.assert_close(dataset[0]["image"], expected, check_stride=False)


def test_protocols_that_are_none(tmp_path):
    with pytest.raises(ValueError, match=r"no protocol 'large'. There are: modern, published, small"):
        load_protocol("large")
    own = tmp_path / "own.json"
    own.write_text('{"about": "mine", "epochs": 3}')
    with pytest.raises(ValueError, match=r"own\.json: not a protocol"):
        load_protocol(str(own))


def test_a_protocol_is_chosen_by_its_former_option_too(capsys):
    with pytest.raises(SystemExit):
        main(["--scale", "none"])
    assert "no protocol 'none'. There are: modern, published, small" in capsys.readouterr().err


def test_remarks_of_a_protocol_are_read_by_their_former_name_too(tmp_path):
    own = tmp_path / "own.json"
    own.write_text('{"about": "mine", "marks": {"unet": "half the images"}}')
    assert load_protocol(str(own)).remarks == {"unet": "half the images"}


def test_the_head_in_a_result_is_what_was_trained_with():
    cell = tiny(learning_rate=0.5)
    head = _configuration(cell, cell.stages())["head"]
    assert (head["learning_rate"], head["structure"], "_desc_" in head) == (0.5, "heart", False)


@pytest.mark.parametrize("key", ["remark", "mark"])
def test_a_remark_stands_beside_the_dice(results, key):
    path = results / "small" / "heart_unet.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: "half the images"}))
    assert "(half the images) / 0.798" in blocks(results)["cells"]


def test_modern_is_the_recipe():
    cell = Cell(load_protocol("modern"), "unet", "ribs")
    recipe = json.loads((cell.bundle_root / "configs" / "recipe.json").read_text())["stages"]
    assert [stage["image_size"] for stage in cell.stages()] == [stage["image_size"] for stage in recipe]


@pytest.mark.parametrize("protocol", ["small", "modern", "published"])
def test_networks_are_compared_without_parts(protocol):
    assert all(stage["parts"] == [] for stage in Cell(load_protocol(protocol), "unet", "lungs").stages())


@pytest.mark.parametrize("protocol", ["small", "published"])
def test_result_of_a_cell(data, tmp_path, protocol):
    cell = tiny(protocol=protocol, epochs=1)
    assert run_cell(cell, data, tmp_path / "results", tmp_path / "runs")
    path = result_path(tmp_path / "results", cell)
    result = json.loads(path.read_text())
    assert (result["network"], result["structure"], result["protocol"], result["seed"]) == (
        "unet",
        "heart",
        protocol,
        0,
    )
    assert result["dice"] == pytest.approx(np.mean(list(result["images"].values())), abs=1e-4)
    assert result["published"] == 0.798
    assert result["parameters"] > 1000
    assert len(result["images"]) == 1
    assert result["configuration"]["head"]["image_size"] == 32
    assert result["training_images"] >= 8
    assert min(result[key] for key in ("training_seconds_per_image", "inference_seconds_per_image")) > 0
    assert result["half_precision"] == half_precision_pays("cuda" if torch.cuda.is_available() else "cpu")
    assert result["memory_bytes"] > 1e7
    assert len(result["data"]["sha256"]) == 64
    state = torch.load(tmp_path / "runs" / cell.name / "stage_1" / "last.pt", weights_only=True)
    kind = "momentum_buffer" if protocol == "published" else "exp_avg"  # RMSprop with momentum, or AdamW
    assert kind in state["optimizer"]["state"][0]
    if protocol == "published":
        assert state["optimizer"]["param_groups"][0]["lr"] == 1e-5
        assert "num_bad_epochs" in state["lr_scheduler"]
    before = path.stat().st_mtime_ns
    assert run_cell(cell, data, tmp_path / "results", tmp_path / "runs")
    assert path.stat().st_mtime_ns == before


def test_killed_cell_goes_on(data, tmp_path, caplog):
    cell = tiny(epochs=60, val_interval=60)
    arguments = (cell, data, tmp_path / "results", tmp_path / "runs")
    process = multiprocessing.get_context("spawn").Process(target=run_in_process, args=arguments)
    process.start()
    last = tmp_path / "runs" / cell.name / "stage_1" / "last.pt"
    for _ in range(1200):
        time.sleep(0.05)
        if last.is_file() and torch.load(last, weights_only=True)["run"]["epoch"] >= 2:
            break
    assert not run_cell(*arguments), "taken from a process that has it in hand"
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    done = torch.load(last, weights_only=True)["run"]["epoch"]
    assert 2 <= done < 60
    assert not result_path(tmp_path / "results", cell).exists()
    with caplog.at_level(logging.INFO):
        assert run_cell(*arguments)
    trained = "Epoch[{}] Metrics -- train_mean_dice"
    assert trained.format(done + 1) in caplog.text
    assert trained.format(1) not in caplog.text
    assert result_path(tmp_path / "results", cell).is_file()


def test_cell_in_hand_is_left_alone(data, tmp_path):
    cell = tiny()
    with claimed(tmp_path / "runs" / cell.name) as ours:
        assert ours
        with pytest.raises(SystemExit) as end:
            run_in_process(cell, data, tmp_path / "results", tmp_path / "runs")
        assert end.value.code == BUSY


def test_hash_follows_the_data(data):
    before = data_hash(data, "heart")
    assert data_hash(data, "heart") == before
    mask = next((Path(data) / "masks" / "heart").iterdir())
    mask.write_bytes(mask.read_bytes() + b"\0")
    assert data_hash(data, "heart") != before


def test_command_line(data, tmp_path, capfd, monkeypatch):
    own = tmp_path / "own.json"
    own.write_text(json.dumps({"about": "tiny", "overrides": {**TINY, "epochs": 1}, "data": {"heart": "data"}}))
    common = ["--protocol", str(own), "--structures", "heart", "--dataset_dir", str(tmp_path)]
    places = ["--results", str(tmp_path / "results"), "--runs", str(tmp_path / "runs")]
    costs = tmp_path / "small_costs.json"
    # as a command: a process that it starts cannot import what only its __main__ has
    command = [
        sys.executable,
        "-m",
        "cxr_attn_unet_dev.benchmark",
        *common,
        *places,
        "--dry-run",
        "--costs",
        str(costs),
    ]
    assert subprocess.call([*command, "--networks", "unet", "three_head_attention_unet"]) == 0
    assert "2 cells, 0.0 hours" in capfd.readouterr().out
    assert not (tmp_path / "results").exists()
    rows = json.loads(costs.read_text())["costs"]
    assert [row["network"] for row in rows] == ["unet", "three_head_attention_unet"]
    assert all(min(row[key] for key in ("training", "inference", "parameters")) > 0 for row in rows)
    assert rows[0]["memory_bytes"] > 1e7
    table = blocks(tmp_path)["costs"]
    assert "| network | parameters | heart, 32 x 32 | memory" in table
    assert f"| `unet` | {rows[0]['parameters']:,} |" in table
    assert "Measured on: " in table
    # a width that one network cannot have: the other goes on, the run ends with 1 and a list
    change = ["--variant", "odd", "--set", "in_vain", "1", "--set", "scale_attention", "true"]
    assert main([*common, *places, *change, "--networks", "unet", "spatial_attention_unet"]) == 1
    found = sorted(path.name for path in (tmp_path / "results" / "own").iterdir())
    assert found == ["heart_spatial_attention_unet_odd_seed0.json"]
    assert "1 of 2 cells failed: own/heart_unet_odd_seed0" in capfd.readouterr().err
    for wrong in (
        ["--costs", "x"],
        ["--set", "width", "8"],
        ["--variant", "x"],
        ["--data", "heart=nowhere"],
        ["--protocol", "none"],
    ):
        with pytest.raises(SystemExit) as end:
            main([*common, *places, *wrong])
        assert end.value.code == 2


@pytest.fixture
def results(tmp_path):
    """Made-up results: every network on the heart, the three-head one always better by .01, and one variant."""
    rng = np.random.default_rng(0)
    base = {f"case_{number}": float(value) for number, value in enumerate(rng.uniform(0.8, 0.95, 24))}
    for network in COMPARED:
        for variant in ("", "no_average") if network == "unet" else ("",):
            shift = 0.01 if network == "three_head_attention_unet" else -0.02 if variant else rng.normal(0, 0.001)
            images = {name: value + shift + rng.normal(0, 1e-4) for name, value in base.items()}
            result = {
                **{"network": network, "structure": "heart", "scale": "small", "variant": variant, "seed": 0},
                **{"dice": float(np.mean(list(images.values()))), "images": images, "mark": None},
                **{"parameters": 10**6, "training_seconds": 3600, "training_seconds_per_image": 0.1},
                **{"inference_seconds_per_image": 0.05, "memory_bytes": 10**9, "hardware": "a computer"},
                **{"configuration": {"head": {"image_size": 160, "epochs": 24}}, "versions": {"torch": "2.13"}},
                **{"data": {"name": "jsrt", "sha256": ""}},
            }
            path = tmp_path / "small" / f"heart_{network}{variant}.json"
            path.parent.mkdir(exist_ok=True)
            path.write_text(json.dumps(result))
    return tmp_path


def test_report(results):
    text = blocks(results)
    assert "9 of 36 cells were run; 9 of them pass" in text["cells"]
    assert "not run yet / 0.930" in text["cells"]
    rows = {line.split("`")[1]: line for line in text["tests"].splitlines() if "`" in line}
    assert set(rows) == set(COMPARED) - {"unet"}
    better = rows["three_head_attention_unet"]
    assert "24 of 24" in better
    assert float(better.split("|")[-2]) < 0.001
    assert "`three_head_attention_unet` | `full_spatial_attention_unet`" in text["ranking"]
    (variant,) = (line for line in text["variants"].splitlines() if "| heart | `unet` | no average |" in line)
    assert "-0.02" in variant
    assert "0 of 24" in variant
    assert float(variant.split("|")[-2]) < 0.001
    assert "9.0 hours" in text["measured"]
    assert "Not measured" in text["costs"]
    draw(results, results / "plot.png")
    assert (results / "plot.png").stat().st_size > 10_000


def test_ranking_is_over_the_seeds_that_all_networks_have(results):
    """A bad second seed of one network says nothing of the others, which were not run with it."""
    before = blocks(results)["ranking"]
    assert "| heart | 9 |" in before
    best = json.loads((results / "small" / "heart_three_head_attention_unet.json").read_text())
    worse = {**best, "seed": 1, "images": {name: dice / 4 for name, dice in best["images"].items()}}
    (results / "small" / "heart_three_head_attention_unet_1.json").write_text(json.dumps(worse))
    after = blocks(results)
    assert after["ranking"] == before
    assert "2 seeds" in after["cells"]


def test_report_of_the_published_settings(results):
    (results / "published").mkdir()
    result = json.loads((results / "small" / "heart_unet.json").read_text())
    head = {"image_size": 224, "epochs": 14, "width": 16}
    changed = {"scale": "published", "variant": "small", "configuration": {"head": head}}
    for seed, dice in enumerate((0.71, 0.72)):
        run = {**result, **changed, "seed": seed, "dice": dice, "worst": dice / 2}
        (results / "published" / f"heart_unet_small_seed{seed}.json").write_text(json.dumps(run))
    table = blocks(results)["settings"]
    assert "| heart | `unet` | 224 x 224 | 16 | 14 | 0.710, 0.720 | 0.355 | 0.798 |" in table


def test_report_of_nothing(tmp_path):
    text = blocks(tmp_path)
    assert "0 of 36 cells" in text["cells"]
    assert all("not run yet" in value.lower() or value for value in text.values())
    draw(tmp_path, tmp_path / "plot.png")


def test_interval_holds_the_mean():
    values = np.random.default_rng(1).normal(0.9, 0.03, 40)
    low, high = interval(values)
    assert low < values.mean() < high
    assert high - low == pytest.approx(4 * 0.03 / np.sqrt(40), rel=0.3)


def test_comparison_is_of_the_same_seeds():
    def run(seed, shift):
        return {"seed": seed, "images": {str(number): number / 100 + shift for number in range(10)}}

    base = [run(0, 0.0), run(1, 0.5), run(2, 0.7)]
    difference = compared([run(0, 0.1)], base)
    assert difference.mean == pytest.approx(0.1)
    assert (difference.better, difference.patients) == (10, 10)
    assert difference.p == pytest.approx(2 / 2**10)
    assert compared([run(0, 0.1), run(1, 0.4)], base).mean == pytest.approx(0)
    assert compared([run(3, 0.1)], base) is None


def test_holm():
    # Holm, Scandinavian Journal of Statistics 6 (1979): the smallest times 3, the next times 2, never falling
    assert holm([0.03, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
