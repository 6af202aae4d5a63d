"""Released bundles: what is in a zip, the rules it keeps or breaks, the index, and what would go to the hub.

What a stranger does with the zips, in a fresh environment, is tests/acceptance/released_bundles.py (make test-package).
"""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest
import torch

from conftest import BUNDLES, REPOSITORY, head
from cxr_attn_unet.networks import build_network, save_weights
from cxr_attn_unet.networks.checkpoint import sha256
from cxr_attn_unet.trust import RELEASED, fingerprint
from cxr_attn_unet_dev.packaging import build_index, check, package_bundle, push, record_release, unpack
from cxr_attn_unet_dev.packaging.__main__ import main
from cxr_attn_unet_dev.packaging.hub import TOKEN_VARIABLE
from cxr_attn_unet_dev.packaging.package import SUMS, large_files, leave_out_large_exports, released_config
from cxr_attn_unet_dev.tools.release_weights import release


def small_network():
    """The lungs' network, of the smallest width."""
    return build_network("efficientnet_attention_unet", width=4, out_channels=4)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """The lungs' bundle with a small network, as a repository has it."""
    folder = tmp_path_factory.mktemp("source") / "lungs_attn_unet"
    shutil.copytree(
        next(path for path in BUNDLES if path.name == folder.name), folder, ignore=shutil.ignore_patterns("eval")
    )
    side = head(folder)["image_size"]
    for name in ("train", "inference", "metadata"):
        path = folder / "configs" / f"{name}.json"
        text = path.read_text().replace('"width": 16', '"width": 4')
        text = text.replace(f'"image_size": {side}', '"image_size": 64').replace(f"[{side}, {side}]", "[64, 64]")
        path.write_text(text)
    torch.manual_seed(0)
    release(small_network().state_dict(), folder)
    return folder


@pytest.fixture(scope="module")
def archive(source, tmp_path_factory):
    return package_bundle(source, tmp_path_factory.mktemp("dist"))


@pytest.fixture
def bundle(archive, tmp_path):
    return unpack(archive, tmp_path)


def run(folder, code):
    """Python in a process of its own in a folder, without this process's package on its path."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], cwd=folder, env=environment, text=True, capture_output=True
    )
    return done.returncode, done.stdout, done.stderr


def test_zip_holds_what_a_stranger_needs(archive, bundle, source):
    with zipfile.ZipFile(archive) as content:
        names = content.namelist()
    assert archive.name == "lungs_attn_unet_v0.2.0.zip"
    assert {name.split("/")[0] for name in names} == {"lungs_attn_unet"}
    models = [f"models/model.{ending}" for ending in ("pt", "ts", "pt2")]
    for name in ("LICENSE", SUMS, "carried.py", *models, "docs/README.md"):
        assert (bundle / name).is_file(), name
    assert (bundle / "cxr_attn_unet" / "networks" / "gates.py").is_file()
    assert not [name for name in names if "__pycache__" in name or "/eval/" in name]
    assert sha256(bundle / "models" / "model.pt") == sha256(source / "models" / "model.pt")


def test_same_content_gives_the_same_zip(archive, source, tmp_path):
    again = package_bundle(source, tmp_path)
    with zipfile.ZipFile(archive) as one, zipfile.ZipFile(again) as two:
        assert one.namelist() == two.namelist()
        for name in one.namelist():
            # TorchScript and exported programs have a name of their own inside
            if not name.endswith(("model.ts", "model.pt2", SUMS)):
                assert one.read(name) == two.read(name), name


@pytest.mark.parametrize("batch", [1, 3])
def test_the_exported_program_gives_the_logits_of_torchscript(bundle, batch):
    images = torch.rand(batch, 1, 64, 64)
    program = torch.export.load(bundle / "models" / "model.pt2").module()
    scripted = torch.jit.load(bundle / "models" / "model.ts", map_location="cpu").eval()
    with torch.inference_mode():
        torch.testing.assert_close(program(images), scripted(images), rtol=0, atol=1e-4)


def test_the_exported_program_names_no_folder_of_the_machine_that_wrote_it(bundle):
    with zipfile.ZipFile(bundle / "models" / "model.pt2") as content:
        written = b"".join(content.read(name) for name in content.namelist() if name.endswith(".json"))
    assert written
    assert str(REPOSITORY).encode() not in written


def test_configs_take_the_package_that_is_carried(bundle):
    for path in (bundle / "configs").glob("*.json"):
        text = path.read_text()
        assert not re.search(r"\$(import )?cxr_attn_unet", text), path
        if path.name != "metadata.json":
            assert text.count('"_target_": "cxr_attn_unet') == text.count('"_requires_": "@package"'), path


def test_only_the_package_of_that_name_is_replaced():
    config = {"a": "$f(cxr_attn_unet.io.read, my.cxr_attn_unet.io)", "_desc_": "cxr_attn_unet. is the package"}
    assert released_config(config) == {**config, "a": "$f(@package.io.read, my.cxr_attn_unet.io)"}


@pytest.mark.parametrize("own", ["inspect", "os", "runpy", "sys"])
def test_a_module_that_a_config_imports_itself_is_imported_once(own):
    config = {"imports": [f"$import {own}", "$import cxr_attn_unet"], "bundle_root": "."}
    imports = released_config(config)["imports"]
    assert sorted(imports) == [f"$import {name}" for name in ("inspect", "monai", "os", "runpy", "sys")]


def test_a_component_of_the_package_asks_for_it_first():
    released = released_config({"x": [{"_target_": "cxr_attn_unet.io.A", "keys": 1}]})
    assert next(iter(released["x"][0].items())) == ("_requires_", "@package")


def test_loads_from_anywhere_with_its_own_code(bundle, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    code = f"""
import sys
from monai.bundle import load
for kind in ("train", "inference"):
    network = load("lungs_attn_unet", bundle_dir={str(bundle.parent)!r}, source="github", workflow_type=kind)
assert network.width == 4
print(sys.modules["cxr_attn_unet"].__file__)
"""
    status, out, err = run(empty, code)
    assert status == 0, err
    assert out.splitlines()[-1] == str(bundle / "cxr_attn_unet" / "__init__.py")


def test_other_version_is_refused(bundle, tmp_path):
    other = tmp_path / "other" / "lungs_attn_unet"
    shutil.copytree(bundle, other)
    code = other / "cxr_attn_unet" / "__init__.py"
    code.write_text(code.read_text().replace('__version__ = "', '__version__ = "9.'))
    status, _, err = run(
        tmp_path,
        f"""
import runpy
runpy.run_path({str(bundle / "carried.py")!r})
runpy.run_path({str(bundle / "carried.py")!r})
runpy.run_path({str(other / "carried.py")!r})
""",
    )
    assert status != 0
    assert f"{other} needs cxr_attn_unet 9.0.2.0, but 0.2.0 is loaded from {bundle}" in err


def test_elsewhere_without_bundle_root_nothing_is_written(bundle, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    config = bundle / "configs" / "inference.json"
    status, out, err = run(
        empty, f"from monai.bundle import run\nrun(config_file={str(config)!r}, dataset_dir={str(bundle / 'docs')!r})"
    )
    assert status != 0
    assert "is not a bundle" in out + err
    assert "--bundle_root" in out + err
    assert not list(empty.iterdir())


def test_released_bundle_keeps_all_rules(bundle):
    assert check(bundle) == []


def edit(path: Path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


BREAKS = {
    "files": lambda root: (root / "LICENSE").unlink(),
    "name": lambda root: edit(root / "configs" / "metadata.json", lambda data: data.update(task="Something")),
    "schema": lambda root: edit(root / "configs" / "metadata.json", lambda data: data.pop("copyright")),
    "version": lambda root: edit(
        root / "configs" / "metadata.json", lambda data: data.update(changelog={"0.0.1": "before"})
    ),
    "requirements": lambda root: edit(
        root / "configs" / "metadata.json", lambda data: data.update(numpy_version="2.4.0")
    ),
    "size": lambda root: (root / "docs" / "film.avi").write_bytes(bytes(26 * 2**20)),
    "card": lambda root: (root / "docs" / "README.md").write_text("# Nothing\n"),
    "paths": lambda root: (root / "docs" / "data_license.txt").write_text("see /home/me/data\n"),
    "ids": lambda root: edit(root / "configs" / "train.json", lambda data: data.pop("val_interval")),
    "weights": lambda root: save_weights(small_network(), root / "models" / "model.pt"),
    "channels": lambda root: edit(
        root / "configs" / "metadata.json",
        lambda data: data["network_data_format"]["outputs"]["pred"].update(
            channel_def={"0": "background", "1": "lung"}
        ),
    ),
    "network": lambda root: edit(root / "configs" / "inference.json", lambda data: data.update(network_name="none")),
}


@pytest.mark.parametrize("rule", BREAKS)
def test_broken_rule_is_named(bundle, rule):
    (bundle / SUMS).unlink()  # which every change below breaks as well
    BREAKS[rule](bundle)
    assert {broken.rule for broken in check(bundle)} == {rule}


def test_published_version_and_changed_file_are_named(bundle):
    published = {"lungs_attn_unet_v0.2.0": {}}
    assert [broken.rule for broken in check(bundle, published)] == ["version"]
    (bundle / "LICENSE").write_text("")
    assert [str(broken) for broken in check(bundle) if broken.rule == "weights"] == [
        f"weights: LICENSE is not the file of {SUMS}"
    ]


def test_damaged_zip_is_refused(archive, tmp_path):
    damaged = tmp_path / archive.name
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(damaged, "w") as target:
        for name in source.namelist():
            target.writestr(name, b"" if name.endswith("LICENSE") else source.read(name))
    with pytest.raises(ValueError, match=f"LICENSE is not the file of {SUMS}"):
        unpack(damaged, tmp_path)
    with zipfile.ZipFile(damaged, "w") as target:
        target.writestr("../escape", b"")
    with pytest.raises(ValueError, match="leads out of the folder"):
        unpack(damaged, tmp_path)


def test_weights_that_are_not_on_record_are_not_released(source, tmp_path, capsys):
    copy = tmp_path / source.name
    shutil.copytree(source, copy)
    save_weights(small_network(), copy / "models" / "model.pt")
    assert main(["package", str(copy), str(tmp_path / "none"), "--output", str(tmp_path / "dist")]) == 1
    lines = capsys.readouterr().err
    assert "is not what" in lines
    assert "none" in lines
    assert not (tmp_path / "dist").exists()


def test_large_exports_are_left_out_and_weights_stay(tmp_path, capsys):
    models = tmp_path / "models"
    models.mkdir()
    for name, size in (("model.ts", 3 * 2**20), ("model.pt2", 2**20), ("model.pt", 3 * 2**20)):
        (models / name).write_bytes(bytes(size))
    leave_out_large_exports(tmp_path, largest=2 * 2**20)
    assert sorted(path.name for path in models.iterdir()) == ["model.pt", "model.pt2"]
    assert "models/model.ts is above 2 MB and left out" in capsys.readouterr().out


def test_large_files_are_named_instead(bundle):
    with pytest.raises(ValueError, match="--url"):
        large_files(bundle, None, largest=2**16)
    names = large_files(bundle, "https://example.org/files/", largest=2**16)
    assert "models/model.pt" in names
    assert not (bundle / "models" / "model.pt").exists()
    text = (bundle / "large_files.yml").read_text()
    assert "url: https://example.org/files/models/model.pt" in text
    assert "hash_val" in text
    assert not [broken for broken in check(bundle) if broken.rule in ("files", "size", "weights")]


def test_index(archive, tmp_path, capsys):
    output = tmp_path / "zoo"
    arguments = ["index", str(archive), "--output", str(output), "--base-url", "https://example.org/zoo/"]
    assert main(arguments) == 0
    entry = json.loads((output / "model_info.json").read_text())["lungs_attn_unet_v0.2.0"]
    assert entry["source"] == "https://example.org/zoo/lungs_attn_unet_v0.2.0.zip"
    assert entry["sha256"] == sha256(archive) == sha256(output / archive.name)
    page = (output / "index.html").read_text()
    assert "lungs_attn_unet_v0.2.0/cases.jpg" in page
    assert entry["sha256"] in page
    card = (output / "lungs_attn_unet_v0.2.0" / "index.html").read_text()
    assert "<table>" in card
    assert 'src="cases.jpg"' in card
    assert "data_license.txt</a>" not in card
    assert build_index([output / archive.name], output).is_file()  # again, in place
    assert len(json.loads((output / "model_info.json").read_text())) == 1


def test_what_would_go_to_the_hub(archive, bundle, capsys, monkeypatch):
    monkeypatch.setenv(TOKEN_VARIABLE, "a-secret")
    assert main(["push", str(archive), "--repo", "me/lungs", "--dry-run"]) == 0
    out = capsys.readouterr().out
    files = {line.split()[1] for line in out.splitlines() if line.startswith("file ")}
    there = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert files == (there | {"README.md"}) - {SUMS}
    assert "tag 0.2.0" in out
    assert "tag latest_version" in out
    assert "a-secret" not in out
    monkeypatch.delenv(TOKEN_VARIABLE)
    assert main(["push", str(archive), "--repo", "me/lungs"]) == 1
    assert f"set {TOKEN_VARIABLE}" in capsys.readouterr().err
    with pytest.raises(ValueError, match="OWNER/NAME"):
        push(archive, "lungs", dry_run=True)


class Hub:
    """Stands in for the Hugging Face client, which needs the network; keeps what it is asked."""

    tags: ClassVar[list] = []
    asked: ClassVar[list] = []

    def __init__(self, token):
        assert token == "a-secret"

    def create_repo(self, **arguments):
        self.asked.append(("create", arguments["private"]))

    def list_repo_refs(self, repository):
        return SimpleNamespace(tags=[SimpleNamespace(name=tag) for tag in self.tags])

    def upload_folder(self, repo_id, folder_path, commit_message):
        files = {path.relative_to(folder_path).as_posix() for path in Path(folder_path).rglob("*") if path.is_file()}
        assert {"README.md", "configs/metadata.json", "models/model.pt", "carried.py"} <= files
        card = (Path(folder_path) / "README.md").read_text()
        assert card.startswith("---\nlibrary_name: monai\n")
        assert "](docs/cases.jpg)" in card
        assert "type: dice" in card
        self.asked.append(("upload", repo_id))

    def delete_tag(self, repo_id, tag):
        self.asked.append(("delete tag", tag))

    def create_tag(self, repo_id, tag):
        self.asked.append(("tag", tag))


def test_push_uploads_and_tags(archive, monkeypatch, capsys):
    monkeypatch.setenv(TOKEN_VARIABLE, "a-secret")
    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    monkeypatch.setattr(Hub, "tags", ["0.0.9", "latest_version"])
    monkeypatch.setattr(Hub, "asked", [])
    assert main(["push", str(archive), "--repo", "me/lungs", "--public"]) == 0
    new = [("tag", "0.2.0"), ("tag", "latest_version")]
    assert Hub.asked == [("create", False), ("upload", "me/lungs"), ("delete tag", "latest_version"), *new]
    monkeypatch.setattr(Hub, "tags", ["0.2.0"])
    assert main(["push", str(archive), "--repo", "me/lungs"]) == 1
    printed = capsys.readouterr()
    assert "has a version 0.2.0" in printed.err
    assert "a-secret" not in printed.out + printed.err


@pytest.fixture
def record(tmp_path):
    """A list of released bundles in which there is one."""
    path = tmp_path / "released.json"
    path.write_text(json.dumps({"about": "", "bundles": {"lungs_attn_unet_v0.0.1": "0" * 64}}))
    return path


def test_a_recorded_zip_is_trusted(archive, bundle, record):
    name = record_release(archive, record)
    assert json.loads(record.read_text())["bundles"][name] == fingerprint(bundle)


def test_what_was_released_before_stays_on_record(archive, record):
    record_release(archive, record)
    assert "lungs_attn_unet_v0.0.1" in json.loads(record.read_text())["bundles"]


def test_recording_twice_changes_nothing(archive, record):
    record_release(archive, record)
    before = record.read_text()
    record_release(archive, record)
    assert record.read_text() == before


def test_a_released_version_is_not_recorded_with_other_content(archive, record):
    record.write_text(json.dumps({"about": "", "bundles": {archive.stem: "0" * 64}}))
    with pytest.raises(ValueError, match="was released before, with other content"):
        record_release(archive, record)


def test_the_package_in_a_zip_has_no_record_of_releases(bundle):
    assert not (bundle / "cxr_attn_unet" / RELEASED).exists()
