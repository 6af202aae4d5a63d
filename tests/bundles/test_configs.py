"""What a bundle says of itself: complete, true of its weights, and the same as the other bundles below the head."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from monai.bundle import ConfigParser, load, verify_metadata, verify_net_in_out

from conftest import BUNDLES, REPOSITORY, head
from cxr_attn_unet import __version__
from cxr_attn_unet.networks import load_weights

CONFIGS = ("train", "evaluate", "inference", "multi_gpu_train", "multi_gpu_evaluate")
# the only values in which bundles may differ
HEAD = {
    "structure",
    "network_name",
    "width",
    "image_size",
    "epochs",
    "batch_size",
    "learning_rate",
    "augmentation",
    "patch",
    "zoom",
    "flip",
    "views",
    "fade",
    "components",
}
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
    for key in ("structure", "network_name", "width", "scale", "image_size", "components", "views"):
        assert head(bundle, "train")[key] == head(bundle, "inference")[key], key


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


@pytest.mark.parametrize("name", CONFIGS)
def test_bundles_differ_only_at_the_head(name):
    def below(bundle):
        return {key: value for key, value in head(bundle, name).items() if key not in HEAD}

    for other in BUNDLES[1:]:
        assert below(other) == below(BUNDLES[0]), other.name


@pytest.mark.parametrize("name", CONFIGS)
def test_head_comes_first(bundle, name):
    """What a user overrides stands above the first component, as plain values or one-line expressions."""
    keys = list(head(bundle, name))
    values = [key for key in keys if key in HEAD]
    if values:
        first = next(i for i, key in enumerate(keys) if isinstance(head(bundle, name)[key], dict))
        assert max(keys.index(key) for key in values) < first


def test_ids_that_others_call(bundle):
    train, inference, evaluate = (head(bundle, name) for name in ("train", "inference", "evaluate"))
    assert train["run"] == train["training"]
    assert train["initialize"] and inference["initialize"]
    assert evaluate["run"] == evaluate["evaluating"]
    assert {"network_def", "preprocessing", "postprocessing", "inferer", "device", "output_dir"} <= set(inference)
    assert isinstance(inference["postprocessing"]["transforms"][-2], dict)
    assert inference["postprocessing"]["transforms"][-2]["_target_"] == "SaveImaged"


def test_no_path_of_a_machine():
    for path in [*REPOSITORY.glob("bundles/*/configs/*"), *REPOSITORY.glob("*.md"), REPOSITORY / "Makefile"]:
        text = path.read_text(encoding="utf-8")
        assert "/home/" not in text and "/work" + "/" not in text, path
