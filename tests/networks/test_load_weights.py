"""Loading weight files: the kinds that load, and one clear error for each kind that does not."""

import hashlib
import json

import pytest
import torch

from cxr_attn_unet.networks import build_network, load_weights, save_weights
from cxr_attn_unet.networks.checkpoint import record_of


@pytest.fixture
def network():
    torch.manual_seed(0)
    return build_network("unet", width=4)


@pytest.mark.parametrize("wrapper", [None, "model", "network", "state_dict"])
def test_bare_and_wrapped_state_dicts_load(network, tmp_path, wrapper):
    weights = network.state_dict()
    torch.save(weights if wrapper is None else {"epoch": 3, wrapper: weights}, tmp_path / "model.pt")
    other = build_network("unet", width=4)
    assert load_weights(other, tmp_path / "model.pt") is other
    assert all(torch.equal(other.state_dict()[key], value) for key, value in weights.items())


def test_half_precision_weights_become_float32(network, tmp_path):
    half = {key: v.half() if v.is_floating_point() else v for key, v in network.state_dict().items()}
    torch.save(half, tmp_path / "model.pt")
    loaded = load_weights(build_network("unet", width=4), str(tmp_path / "model.pt")).state_dict()
    assert {v.dtype for v in loaded.values()} == {torch.float32, torch.int64}
    assert all(torch.equal(loaded[key], value.to(loaded[key].dtype)) for key, value in half.items())


def test_missing_file(network, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no weight file .*nothing\.pt"):
        load_weights(network, tmp_path / "nothing.pt")
    with pytest.raises(FileNotFoundError, match="no weight file"):
        load_weights(network, tmp_path)


def truncated(path, weights):
    torch.save(weights, path)
    path.write_bytes(path.read_bytes()[:-2000])


def bit_of_text(path, weights):
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n")


def empty(path, weights):
    path.write_bytes(b"")


class Payload:
    pass


def foreign_class(path, weights):
    torch.save({"model": weights, "extra": Payload()}, path)


@pytest.mark.parametrize("damage", [truncated, bit_of_text, empty, foreign_class])
def test_damaged_file(network, tmp_path, damage):
    path = tmp_path / "broken.pt"
    damage(path, network.state_dict())
    with pytest.raises(ValueError, match=r"broken\.pt cannot be read as a PyTorch weight file"):
        load_weights(network, path)


def test_a_changed_number_is_noticed_without_a_record(network, tmp_path):
    path = tmp_path / "broken.pt"
    torch.save(network.state_dict(), path)
    content = bytearray(path.read_bytes())
    weight = network.state_dict()["head.weight"].numpy().tobytes()
    content[content.index(weight)] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"broken\.pt cannot be read .*\(the checksum of broken/data/"):
        load_weights(network, path)


def test_a_weight_file_from_before_there_were_checksums_is_read(network, tmp_path):
    torch.save(network.state_dict(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert load_weights(build_network("unet", width=4), tmp_path / "old.pt")


@pytest.mark.parametrize("content", [{}, [1, 2], {"epoch": 3}, {"model": {}}, torch.zeros(3)], ids=str)
def test_file_without_a_state_dict(network, tmp_path, content):
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other\.pt holds no state dict"):
        load_weights(network, tmp_path / "other.pt")


@pytest.mark.parametrize(
    ("name", "width", "words"),
    [
        ("unet", 8, r"of another shape: encoder\.0\.conv1\.weight \(8, 1, 3, 3\) for \(4, 1, 3, 3\), .*, \.\.\."),
        ("three_head_attention_unet", 4, r"\d+ unexpected: decoder\.0\.gate\..*, \.\.\."),
        (
            "resnet_unet_18",
            4,
            r"\d+ missing: encoder\.0\.conv1\.weight, .*, \.\.\.; \d+ unexpected: .*; \d+ of another",
        ),
    ],
)
def test_weights_of_another_network_change_nothing(network, tmp_path, name, width, words):
    torch.save(build_network(name, width=width).state_dict(), tmp_path / "model.pt")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(
        ValueError,
        match=rf"model\.pt do not fit: they are of {name}, width {width}, the .* unet, width 4 \(.*{words}.*; set ",
    ):
        load_weights(network, tmp_path / "model.pt")
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_saved_weights_have_a_record(tmp_path):
    network = build_network("spatial_attention_unet", width=4, scale_attention=True)
    path = tmp_path / "model.pt"
    save_weights(network, path)
    source, record = record_of(path)
    assert source == tmp_path / "model.json"
    assert record["network"] == {"name": "spatial_attention_unet", "width": 4, "scale_attention": True}
    assert record["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    load_weights(build_network("spatial_attention_unet", width=4, scale_attention=True), path)
    save_weights(network, path)
    assert json.loads(source.read_text())["before"] == record["sha256"]


@pytest.mark.parametrize("with_record", [True, False])
@pytest.mark.parametrize(
    ("name", "scale"), [("full_spatial_attention_unet", True), ("spatial_attention_unet", False)], ids=("gate", "scale")
)
def test_weights_that_fit_by_shape_alone_are_refused(tmp_path, name, scale, with_record):
    path = tmp_path / "model.pt"
    save_weights(build_network("spatial_attention_unet", width=4, scale_attention=True), path)
    if not with_record:  # the file itself knows, too
        path.with_suffix(".json").unlink()
    other = build_network(name, width=4, scale_attention=scale)
    whose = "they are of spatial_attention_unet, width 4, scale_attention True"
    with pytest.raises(ValueError, match=rf"model\.pt do not fit: {whose}, the config makes {name}, width 4"):
        load_weights(other, path)
    with pytest.raises(RuntimeError, match="the weights are of spatial_attention_unet"):
        other.load_state_dict(torch.load(path, weights_only=True), strict=False)


@pytest.mark.parametrize("with_record", [True, False])
def test_weights_that_name_the_option_as_version_0_1_0_did_are_read(tmp_path, with_record):
    network = build_network("spatial_attention_unet", width=4, scale_attention=True)
    state = network.state_dict()
    former = {"name": "spatial_attention_unet", "width": 4, "scale": True}
    state._metadata[""]["network"] = former
    path = tmp_path / "model.pt"
    torch.save(state, path)
    if with_record:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        path.with_suffix(".json").write_text(json.dumps({"sha256": digest, "network": former}))
    other = build_network("spatial_attention_unet", width=4, scale_attention=True)
    load_weights(other, path)
    assert torch.equal(other.state_dict()["head.weight"], state["head.weight"])


def test_weights_of_another_width_are_refused_without_strict_too():
    """MONAI Label loads so, and would go on with random weights."""
    with pytest.raises(RuntimeError, match="unet, width 8, the network is unet, width 4"):
        build_network("unet", width=4).load_state_dict(build_network("unet", width=8).state_dict(), strict=False)
    with pytest.raises(RuntimeError, match=r"do not fit the network unet, width 4 .*missing"):
        build_network("unet", width=4).load_state_dict({}, strict=False)


def test_changed_file_is_refused(tmp_path):
    network = build_network("unet", width=4)
    path = tmp_path / "models" / "model.pt"
    save_weights(network, path)
    record = path.with_suffix(".json")
    metadata = tmp_path / "configs" / "metadata.json"
    metadata.parent.mkdir()
    for source in (record, metadata):
        if source == metadata:
            content = {"weights": {"file": "models/model.pt", **json.loads(record.read_text())}}
            metadata.write_text(json.dumps(content))
            record.unlink()
        load_weights(network, path)
        sound = path.read_bytes()
        torch.save(build_network("unet", width=4).state_dict(), path)
        with pytest.raises(ValueError, match=f"{path} is not the file on record in {source}: its SHA-256 is"):
            load_weights(network, path)
        path.write_bytes(sound)
    metadata.write_text("{")
    with pytest.raises(ValueError, match=r"metadata\.json: no record"):
        load_weights(network, path)


def test_file_without_a_record(tmp_path):
    path = tmp_path / "mine.pt"
    torch.save(build_network("unet", width=4).state_dict(), path)
    path.with_suffix(".json").write_text('{"about": "something else"}')
    assert record_of(path) is None
    load_weights(build_network("unet", width=4), path)
    assert record_of("/mine.pt") is None
