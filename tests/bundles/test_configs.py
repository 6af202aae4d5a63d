"""What a bundle says of itself: complete, true of its weights, and made from the template that all bundles share."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser, load, verify_metadata, verify_net_in_out

from conftest import REPOSITORY, head
from cxr_attn_unet import __version__
from cxr_attn_unet.networks import load_weights
from cxr_attn_unet_dev.configs import NAMES, channel_def, head_of, texts
from cxr_attn_unet_dev.json_style import format_json

BOTH = (
    "structure",
    "network_name",
    "width",
    "parts",
    "scale_attention",
    "image_size",
    "components",
    "smallest_piece",
    "test_time_augmentation",
)
LARGEST_WEIGHTS = 16 * 2**20


def metadata(bundle: Path) -> dict:
    return head(bundle, "metadata")


def test_files(bundle):
    for name in ("LICENSE", "docs/README.md", "docs/data_license.txt", "configs/logging.conf", "models/model.pt"):
        assert (bundle / name).stat().st_size > 0, name
    assert (bundle / "models" / "model.pt").stat().st_size <= LARGEST_WEIGHTS


def test_metadata_passes_the_schema(bundle, tmp_path):
    # MONAI downloads the schema unless the file is there
    schema = tmp_path / "schema.json"
    shutil.copy(REPOSITORY / "shared" / "cxr_attn_unet_dev" / "packaging" / "meta_schema_20240725.json", schema)
    verify_metadata(meta_file=str(bundle / "configs" / "metadata.json"), filepath=str(schema))
    broken = json.loads((bundle / "configs" / "metadata.json").read_text())
    del broken["required_packages_version"]
    path = tmp_path / "broken.json"
    path.write_text(json.dumps(broken))
    with pytest.raises(ValueError, match="required_packages_version"):
        verify_metadata(meta_file=str(path), filepath=str(schema))


def test_metadata_fits_package_and_configs(bundle):
    data = metadata(bundle)
    assert data["version"] == __version__
    assert data["version"] in data["changelog"]
    image, pred = data["network_data_format"]["inputs"]["image"], data["network_data_format"]["outputs"]["pred"]
    for name in ("train", "inference"):
        values = head(bundle, name)
        assert image["spatial_shape"] == pred["spatial_shape"] == [values["image_size"]] * 2
        assert pred["channel_def"]["1"] == values["structure"]


def test_metadata_has_the_references_of_the_card(bundle):
    section = (bundle / "docs" / "README.md").read_text(encoding="utf-8").split("\n## References\n")[1]
    entries = re.split(r"^\d+\. ", section.split("\n## ")[0], flags=re.MULTILINE)[1:]
    assert metadata(bundle)["references"] == [" ".join(entry.split()) for entry in entries]


@pytest.mark.parametrize("key", BOTH)
def test_inference_is_set_as_training_is(bundle, key):
    assert head(bundle, "train")[key] == head(bundle, "inference")[key]


def test_metadata_name_every_channel(bundle):
    parser = ConfigParser(head(bundle, "inference"))
    channels = channel_def(head(bundle, "inference")["structure"], parser.get_parsed_content("parts"))
    assert metadata(bundle)["network_data_format"]["outputs"]["pred"]["channel_def"] == channels


def test_network_takes_and_gives_what_the_metadata_says(bundle):
    for name in ("train", "inference"):
        verify_net_in_out(
            net_id="network_def",
            meta_file=str(bundle / "configs" / "metadata.json"),
            config_file=str(bundle / "configs" / f"{name}.json"),
            device="cpu",
        )


def test_shipped_weights_fit_and_are_read_by_monai(bundle, monkeypatch, tmp_path):
    parser = ConfigParser(head(bundle, "inference"))
    network = parser.get_parsed_content("network_def")
    load_weights(network, bundle / "models" / "model.pt")
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())
    monkeypatch.chdir(tmp_path)  # load() knows the folder of the bundle, the config does not
    for kind in ("train", "inference"):
        loaded = load(bundle.name, bundle_dir=str(bundle.parent), source="github", workflow_type=kind)
        for key, value in network.state_dict().items():
            assert torch.equal(loaded.state_dict()[key], value), key


def test_shipped_network_scripts(bundle):
    network = ConfigParser(head(bundle, "inference")).get_parsed_content("network_def").eval()
    image = torch.rand(1, 1, 64, 64)
    with torch.no_grad():
        assert torch.allclose(torch.jit.script(network)(image), network(image), atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_config_is_that_of_its_template_and_head(bundle, name):
    path = bundle / "configs" / f"{name}.json"
    assert path.read_text(encoding="utf-8") == texts(bundle)[path], "differs; run make bundles"


@pytest.mark.parametrize("name", ["train", "inference"])
def test_what_a_user_overrides_stands_above_the_first_component(bundle, name):
    config = head(bundle, name)
    keys = list(config)
    first_component = next(key for key in keys if isinstance(config[key], dict))
    own = [key for key in head_of(config["structure"]) if key in config]
    assert max(map(keys.index, own)) < keys.index(first_component)


@pytest.mark.parametrize("name", NAMES)
def test_config_says_what_it_is_for(bundle, name):
    assert len(head(bundle, name)["_desc_"]) > 40


@pytest.mark.parametrize("name", NAMES)
def test_long_expressions_are_functions_of_the_package(bundle, name):
    text = (bundle / "configs" / f"{name}.json").read_text(encoding="utf-8")
    assert max(map(len, re.findall(r'"\$[^"]*"', text))) <= 100


@pytest.mark.parametrize("path", ["metadata", "recipe"])
def test_other_json_files_have_the_style_of_the_configs(bundle, path):
    text = (bundle / "configs" / f"{path}.json").read_text(encoding="utf-8")
    assert text == format_json(json.loads(text))


@pytest.mark.parametrize(("names", "alias"), [(("train",), "training"), (("train", "evaluate"), "evaluating")])
def test_run_has_a_second_name(bundle, names, alias):
    parser = ConfigParser()
    parser.read_config([bundle / "configs" / f"{name}.json" for name in names])
    parser.parse()
    assert parser[alias] == parser["run"]


def test_ids_that_others_call(bundle):
    inference = head(bundle, "inference")
    assert {"initialize", "network_def", "preprocessing", "postprocessing", "inferer", "device", "output_dir"} <= set(
        inference
    )
    assert isinstance(inference["postprocessing"]["transforms"][-2], dict)
    assert inference["postprocessing"]["transforms"][-2]["_target_"] == "SaveImaged"


def test_no_path_of_a_machine():
    for path in [*REPOSITORY.glob("bundles/*/configs/*"), *REPOSITORY.glob("*.md"), REPOSITORY / "Makefile"]:
        text = path.read_text(encoding="utf-8")
        assert not re.search("/home/|/work" + "/", text), path
