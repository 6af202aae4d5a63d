"""The command-line tools, and that no figure in the texts is typed by hand."""

import json
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from conftest import BUNDLES, REPOSITORY, phantom
from cxr_attn_unet.files import radiograph_stem, written
from cxr_attn_unet.networks import build_network, load_weights
from cxr_attn_unet.networks.checkpoint import sha256
from cxr_attn_unet_dev.json_style import format_json
from cxr_attn_unet_dev.packaging import check
from cxr_attn_unet_dev.tools import overview, release_weights, reliability, render_examples, tables, training_curve
from part_bundles import write_bundle


def test_figures_in_the_texts_are_those_of_the_result_files(capsys):
    assert tables.main(["--root", str(REPOSITORY), "--check"]) == 0, capsys.readouterr().out


def test_a_changed_result_is_noticed_and_written(tmp_path):
    shutil.copy(REPOSITORY / "README.md", tmp_path)
    shutil.copytree(REPOSITORY / "docs", tmp_path / "docs")
    for bundle in BUNDLES:
        for name in ("docs", "configs"):
            shutil.copytree(bundle / name, tmp_path / "bundles" / bundle.name / name)
    path = sorted((tmp_path / "bundles" / BUNDLES[0].name / "docs").glob("results_*.json"))[0]
    result = json.loads(path.read_text())
    result["summary"]["val_mean_dice"]["mean"] = 0.12345
    path.write_text(json.dumps(result))
    assert tables.main(["--root", str(tmp_path), "--check"]) == 1
    assert "0.123" not in (tmp_path / "README.md").read_text()
    assert tables.main(["--root", str(tmp_path)]) == 0
    assert "0.123" in (tmp_path / "README.md").read_text()
    metadata = json.loads((tmp_path / "bundles" / BUNDLES[0].name / "configs" / "metadata.json").read_text())
    assert 0.1235 in [round(value, 4) for value in metadata["eval_metrics"].values()]
    assert tables.main(["--root", str(tmp_path), "--check"]) == 0


def test_findings_of_a_soak_are_a_table_in_the_text(tmp_path):
    path = tmp_path / "kills.json"
    reliability.write_findings(path, "Kills", "make soak", "Seed 0", [{"command": "segment", "kills": 1500}])
    assert reliability.findings_text(tmp_path) == (
        "### Kills\n\n| command | kills |\n|---|---|\n| segment | 1,500 |\n\nSeed 0. Measured with `make soak`.\n"
    )


def test_findings_with_unequal_rows_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"kills\.json: expected rows that all have the same columns"):
        reliability.write_findings(tmp_path / "kills.json", "Kills", "make soak", "Seed 0", [{"a": 1}, {"b": 2}])


def test_a_file_of_findings_that_is_none_is_named(tmp_path):
    (tmp_path / "kills.json").write_text('{"title": "Kills"}')
    with pytest.raises(ValueError, match=r"kills\.json: expected the keys title, command, setting, rows"):
        reliability.findings_text(tmp_path)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"test_time_augmentation": [[0, 1], [0, 1.3]]}, "32 x 32, mean of 2 views |"),
        ({"views": [[0, 1], [5, 1], [-5, 1]]}, "32 x 32, mean of 3 views |"),
        ({"test_time_augmentation": [[0, 1]]}, "32 x 32 |"),
        ({}, "32 x 32 |"),
    ],
    ids=["now", "in version 0.1.0", "one view", "before"],
)
def test_a_row_says_how_many_views_were_averaged(settings, said):
    run = {"structure": "heart", "network": "unet", "width": 4, "image_size": 32, "data": "jsrt", "section": "testing"}
    dice = {"cases": 1, "mean": 0.5, "min": 0.5}
    assert said in tables.row({"run": {**run, **settings}, "summary": {"val_mean_dice": dice}})


def test_overview(tmp_path, capsys):
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    masks.mkdir()
    for index in range(3):
        image, mask = phantom(index)
        Image.fromarray(image).save(images / f"{index}.png")
        Image.fromarray(mask.astype(np.uint8)).save(masks / f"{index}_heart.png")
    arguments = ["--images", str(images), "--masks", str(masks), "--output", str(tmp_path / "o.png"), "--columns", "3"]
    assert overview.main(arguments) == 0
    assert capsys.readouterr().out.strip() == str(tmp_path / "o.png")
    sheet = np.asarray(Image.open(tmp_path / "o.png"))
    assert sheet.shape[1] == 3 * 384
    assert (sheet == (230, 159, 0)).all(-1).sum() > 300  # outlines in the first colour
    (masks / "1_heart.png").unlink()
    assert overview.main(arguments) == 1
    assert "1_heart.png: no such file" in capsys.readouterr().err


def test_rendering_names_the_package_it_needs(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "diffdrr.data", None)  # as if it were not installed
    assert render_examples.main(["--output", str(tmp_path)]) == 1
    assert "cxr-attn-unet[render]" in capsys.readouterr().err


def test_release_weights_averages_and_halves(tmp_path, capsys):
    bundle = tmp_path / "heart_attn_unet"
    shutil.copytree(REPOSITORY / "bundles" / "heart_attn_unet" / "configs", bundle / "configs")
    config = json.loads((bundle / "configs" / "inference.json").read_text())
    settings = {"network_name": "unet", "width": 4, "scale_attention": False}
    (bundle / "configs" / "inference.json").write_text(json.dumps({**config, **settings}))
    metadata = bundle / "configs" / "metadata.json"
    metadata.write_text(
        json.dumps({"weights": {"file": "models/model.pt", "sha256": "", "network": {"name": "unet", "width": 4}}})
    )
    states = [build_network("unet", width=4).state_dict() for _ in range(2)]
    paths = [tmp_path / "a.pt", tmp_path / "b.pt"]
    for path, state in zip(paths, states, strict=True):
        torch.save(state, path)
    arguments = [*map(str, paths), "--bundle", str(bundle)]
    assert release_weights.main(arguments) == 0
    released = torch.load(bundle / "models" / "model.pt", weights_only=True)
    for name, value in released.items():
        if value.is_floating_point():
            assert value.dtype == torch.float16
            assert torch.allclose(value.float(), (states[0][name] + states[1][name]) / 2, atol=1e-3)
    assert len(json.loads(metadata.read_text())["weights"]["sha256"]) == 64
    load_weights(build_network("unet", width=4), bundle / "models" / "model.pt")  # which checks it
    torch.save(build_network("unet", width=8).state_dict(), paths[1])
    assert release_weights.main(arguments) == 1
    assert "b.pt is of another architecture" in capsys.readouterr().err
    assert release_weights.main([str(paths[1]), "--bundle", str(bundle)]) == 1
    assert "do not fit the network unet, width 4" in capsys.readouterr().err


def write_half(target):
    with written(target) as path:
        path.write_text("half")
        raise RuntimeError


def test_release_weights_changes_the_checksum_of_the_weights_alone(tmp_path):
    bundle = tmp_path / "heart_attn_unet"
    shutil.copytree(REPOSITORY / "bundles" / "heart_attn_unet" / "configs", bundle / "configs")
    path = bundle / "configs" / "metadata.json"
    before = {"data": {"sha256": "abc"}, **json.loads(path.read_text())}
    path.write_text(json.dumps(before))
    network = build_network("efficientnet_attention_unet", width=16)
    weights = release_weights.release(network.state_dict(), bundle)
    digest = sha256(weights)
    expected = {**before, "weights": {**before["weights"], "sha256": digest}}
    assert path.read_text() == format_json(expected)


def test_release_weights_names_the_channels_of_parts(tmp_path):
    bundle = write_bundle(tmp_path, "lungs")
    output = json.loads((bundle / "configs" / "metadata.json").read_text())["network_data_format"]["outputs"]["pred"]
    assert (output["num_channels"], output["channel_def"]["3"]) == (4, "left_lung")


def test_release_weights_joins_the_networks_of_a_structure_and_of_its_parts():
    structure = build_network("three_head_attention_unet", width=4)
    parts = build_network("efficientnet_attention_unet", width=3, out_channels=5)
    both = build_network("two_scale_attention_unet", width=4, out_channels=5)
    both.load_state_dict(release_weights.joined(structure.state_dict(), parts.state_dict()))
    for name, value in structure.state_dict().items():
        assert torch.equal(both.structure.state_dict()[name], value)
    assert torch.equal(both.parts.parts[1].weight, parts.parts[1].weight)


@pytest.mark.parametrize(("name", "channels"), [("efficientnet_attention_unet", 2), ("two_scale_attention_unet", 4)])
def test_release_weights_cuts_masks_at_another_probability(name, channels):
    torch.manual_seed(0)
    network = build_network(name, width=4, out_channels=channels).eval()
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        before = network(image)
        probability = before[:, :2].softmax(1)[:, 1]
        cut = float(probability.median())
        network.load_state_dict(release_weights.with_cut(network.state_dict(), cut))
        after = network(image)
    expected = probability > cut
    sure = (probability - cut).abs() > 1e-5
    assert 0.01 < expected.float().mean() < 0.99
    assert torch.equal((after[:, 1] > after[:, 0])[sure], expected[sure])
    assert torch.equal(after[:, 2:], before[:, 2:])


def test_release_weights_refuses_what_is_no_cut():
    state = build_network("unet", width=4).state_dict()
    assert torch.equal(release_weights.with_cut(state, 0.5)["head.bias"], state["head.bias"])
    for cut in (0, 1, float("nan")):
        with pytest.raises(ValueError, match="is no probability to cut at"):
            release_weights.with_cut(state, cut)
    with pytest.raises(ValueError, match=r"none of head\.bias, structure\.head\.bias"):
        release_weights.with_cut({"other": torch.zeros(2)}, 0.4)


def test_a_released_network_with_parts_fits_its_metadata_and_scripts(tmp_path):
    bundle = write_bundle(tmp_path, "lungs")
    names = ("channels", "network")
    assert [str(broken) for broken in check(bundle) if broken.rule in names] == []


def test_nothing_half_written(tmp_path):
    target = tmp_path / "new" / "a.png"
    with pytest.raises(RuntimeError):
        write_half(target)
    assert list(target.parent.iterdir()) == []


def test_what_is_written_whole_appears_at_the_end(tmp_path):
    target = tmp_path / "new" / "a.png"
    with written(target) as path:
        path.write_text("whole")
        assert path.suffix == ".png"
        assert not target.exists()
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(
    ("name", "stem"),
    [("a.png", "a"), ("a.nii.gz", "a"), ("1.2.840.7", "1.2.840.7"), ("b.c.DCM", "b.c"), (".png", ".png")],
)
def test_stem(name, stem):
    assert radiograph_stem(name) == stem


def test_training_curve(tmp_path, capsys):
    from torch.utils.tensorboard import SummaryWriter

    for run, start in (("coarse", 0.5), ("fine", 0.8)):
        with SummaryWriter(str(tmp_path / run)) as writer:
            for step in range(1, 7):
                writer.add_scalar("train_loss", 1 / step, step)
            for epoch in range(1, 4):
                writer.add_scalar("val_mean_dice", start + epoch / 20, epoch)
    assert training_curve.curve(tmp_path / "coarse", "val_mean_dice")[-1] == (3, pytest.approx(0.65))
    # a resumed run writes a second log, whose values count
    with SummaryWriter(str(tmp_path / "fine")) as writer:
        writer.add_scalar("val_mean_dice", 0.99, 3)
        writer.add_scalar("val_mean_dice", 0.98, 4)
    values = [value for _, value in training_curve.curve(tmp_path / "fine", "val_mean_dice")]
    assert values == pytest.approx([0.85, 0.9, 0.99, 0.98])
    output = tmp_path / "curve.png"
    folders = [str(tmp_path / "coarse"), str(tmp_path / "fine")]
    assert training_curve.main([*folders, "--names", "coarse", "fine", "--output", str(output)]) == 0
    picture = np.asarray(Image.open(output).convert("RGB"))
    assert (picture == (0, 114, 178)).all(-1).sum() > 100
    (tmp_path / "empty").mkdir()
    assert training_curve.main([str(tmp_path / "empty"), "--output", str(output)]) == 1
    assert "no TensorBoard log" in capsys.readouterr().err
