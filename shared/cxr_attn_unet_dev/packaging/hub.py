"""A bundle on the Hugging Face hub, laid out as MONAI downloads it: repository root = bundle root, tag = version."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from .index import metadata_of
from .package import SUMS, unpack

__all__ = ["TOKEN_VARIABLE", "hub_card", "push"]

TOKEN_VARIABLE = "HF_TOKEN"
LATEST = "latest_version"  # what MONAI downloads if no version is named
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")


def hub_card(folder: Path) -> str:
    """The card with the hub's header, for the repository's root: its links lead to ``docs/``.

    Args:
        folder: the unpacked bundle.
    """
    about = metadata_of(folder)
    text = (folder / "docs" / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"\]\((?!https?:|#|\.\./)", "](docs/", text).replace("](../", "](")
    structure = about["label_classes"].split("1 ", 1)[1]
    tags = ["monai", "medical", "chest-radiograph", "attention-u-net", structure]
    header = [
        "---",
        "library_name: monai",
        "license: apache-2.0",
        "pipeline_tag: image-segmentation",
        "tags:",
        *(f"- {tag}" for tag in tags),
        "model-index:",
        f"- name: {folder.name}",
        "  results:",
    ]
    for key, value in about.get("eval_metrics", {}).items():
        if key.endswith("mean_dice"):
            data = key.removesuffix("_mean_dice").removesuffix("_validation")
            header += [
                "  - task: {type: image-segmentation}",
                f"    dataset: {{name: {data}, type: {data}, split: validation}}",
                f"    metrics: [{{type: dice, value: {value}}}]",
            ]
    return "\n".join([*header, "---", "", text])


def push(archive: Path, repository: str, dry_run: bool = False, private: bool = True) -> list[str]:
    """Upload a bundle from its zip, and tag it with its version and as the latest one.

    Args:
        archive: the zip.
        repository: such as ``name/heart_attn_unet``; made if it does not exist.
        dry_run: only say what would be sent; no network, no token needed.
        private: whether a new repository is private.

    Returns:
        a line for each step and for each file, with its size.

    Raises:
        ValueError: no repository's name, the zip is damaged, or the repository has this version.
        PermissionError: no token in the environment (``HF_TOKEN``).
        ImportError: ``huggingface_hub`` is missing.
    """
    if not REPOSITORY.fullmatch(repository):
        raise ValueError(f"'{repository}' is not a repository: write OWNER/NAME.")
    token = os.environ.get(TOKEN_VARIABLE)
    if not dry_run and not token:
        raise PermissionError(f"no token: set {TOKEN_VARIABLE} to one that may write to {repository}.")
    with tempfile.TemporaryDirectory() as temporary:
        folder = unpack(archive, Path(temporary))
        version = metadata_of(folder)["version"]
        (folder / "README.md").write_text(hub_card(folder), encoding="utf-8")
        (folder / SUMS).unlink(missing_ok=True)  # the hub has its own
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        steps = [
            f"repository {repository}, {'private' if private else 'public'} if new",
            *(f"file {path.relative_to(folder).as_posix()} {path.stat().st_size}" for path in paths),
            f"tag {version}",
            f"tag {LATEST}",
        ]
        if dry_run:
            return steps
        try:
            from huggingface_hub import HfApi
        except ImportError as error:
            raise ImportError("the hub needs huggingface_hub: pip install cxr-attn-unet[zoo]") from error
        api = HfApi(token=token)
        api.create_repo(repo_id=repository, private=private, exist_ok=True)
        tags = {reference.name for reference in api.list_repo_refs(repository).tags}
        if version in tags:
            raise ValueError(f"{repository} has a version {version}. Give this one a new version, then package it.")
        api.upload_folder(repo_id=repository, folder_path=str(folder), commit_message=f"Version {version}")
        if LATEST in tags:
            api.delete_tag(repo_id=repository, tag=LATEST)
        for tag in (version, LATEST):
            api.create_tag(repo_id=repository, tag=tag)
        return steps
