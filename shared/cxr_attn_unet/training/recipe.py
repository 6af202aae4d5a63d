"""Train a bundle as its shipped weights were trained: in the stages of its configs/recipe.json, coarse to fine.

Each stage is one run of configs/train.json with a few overrides, from the best weights of the stage before. Whatever is
finished is skipped and whatever was interrupted is resumed by the same command.

Another recipe may name further configs, each read over those before it:
{"configs": ["train", "train_strong"], "stages": [{"epochs": 12, "image_size": 256}]}.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow, create_workflow

from ..bundle import cause_of
from ..datasets import DatasetError
from ..files import sha256, write_json
from .handlers.checkpoints import read_last

__all__ = ["configs", "stages", "train_stage"]

logger = logging.getLogger(__name__)
LAST, BEST, SETTINGS = "last.pt", "model.pt", "stage.json"
# what changes how fast a stage runs, not what it gives
_OF_THE_MACHINE = ("num_workers", "cache_dir", "checkpointing", "device")
TRAIN = "train"  # the config that others are read over


def stages(bundle_root: Path, recipe: Path | None = None) -> list[dict[str, Any]]:
    """The overrides of each stage.

    Args:
        bundle_root: folder of the bundle.
        recipe: file of another recipe than the bundle's own.

    Raises:
        FileNotFoundError: there is no recipe.
        ValueError: the recipe is no list of overrides.
    """
    path = _file_of(bundle_root, recipe)
    listed = _read(path)["stages"]
    if not listed or not all(isinstance(stage, dict) and "epochs" in stage for stage in listed):
        raise ValueError(f"{path}: each stage needs its epochs. Correct it.")
    return listed


def configs(bundle_root: Path, recipe: Path | None = None) -> list[Path]:
    """The configs of each stage, the first read first: those that the recipe names, or ``train.json`` alone.

    Args:
        bundle_root: folder of the bundle.
        recipe: file of another recipe than the bundle's own.

    Raises:
        FileNotFoundError: there is no recipe.
        ValueError: the bundle has no config of a name, or ``train`` is not among them.
    """
    path = _file_of(bundle_root, recipe)
    names = _read(path).get("configs", [TRAIN])
    if TRAIN not in names:
        raise ValueError(f"{path}: configs needs '{TRAIN}', which the others are read over. Add it as the first.")
    files = [bundle_root / "configs" / f"{name}.json" for name in names]
    for name, file in zip(names, files, strict=True):
        if not file.is_file():
            raise ValueError(f"{path}: no config '{name}' in {file.parent}. Correct the name.")
    return files


def _file_of(bundle_root: Path, recipe: Path | None) -> Path:
    return recipe or bundle_root / "configs" / "recipe.json"


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file. Name a bundle's folder.")
    try:
        recipe = json.loads(path.read_text(encoding="utf-8"))
        recipe["stages"]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f'{path}: expected {{"stages": [{{...}}, ...]}} ({error}). Correct it.') from error
    return recipe


def train_stage(
    bundle_root: Path,
    overrides: dict[str, Any],
    folder: Path,
    start: Path | None,
    prepare: Callable[[ConfigWorkflow], None] | None = None,
    config_files: Sequence[Path] = (),
) -> Path:
    """Run one stage, or the rest of it, unless it is finished.

    Args:
        bundle_root: folder of the bundle.
        overrides: values for the head of ``train.json``.
        folder: for its logs, pictures and weights.
        start: weights to start from.
        prepare: called with the workflow before it runs.
        config_files: each read over those before it, see :func:`configs`; ``train.json`` alone if not given.

    Returns:
        the best weights of the stage.

    Raises:
        ValueError: the folder holds a stage of other settings.
    """
    _claim(folder, overrides, [path.stem for path in config_files], start)
    done = 0
    if (folder / LAST).is_file():
        done = read_last(folder / LAST)["run"]["epoch"]
    if done < overrides["epochs"] or not (folder / BEST).is_file():
        workflow = create_workflow(
            config_file=[str(path) for path in config_files or [bundle_root / "configs" / f"{TRAIN}.json"]],
            workflow_type="train",
            bundle_root=str(bundle_root),
            output_dir=str(folder),
            ckpt_dir=str(folder),
            initial_weights=None if start is None else str(start),
            resume=done > 0,
            **overrides,
        )
        if prepare is not None:
            prepare(workflow)
        workflow.run()
        workflow.finalize()
    return folder / BEST


def _claim(folder: Path, overrides: Mapping[str, Any], config_names: Sequence[str], start: Path | None) -> None:
    """Note in a stage's folder by which settings it is trained, unless it was by others."""
    settings = {name: value for name, value in overrides.items() if name not in _OF_THE_MACHINE}
    settings["configs"] = list(config_names)
    settings["initial_weights"] = sha256(start) if start is not None and start.is_file() else None
    wanted = json.loads(json.dumps(settings, default=str))
    path = folder / SETTINGS
    if path.is_file() and (folder / LAST).is_file():
        try:
            there = dict(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: damaged ({error}). Delete its folder and train the stage again.") from error
        differing = sorted(name for name in {*there, *wanted} if there.get(name) != wanted.get(name))
        if differing:
            name = differing[0]
            raise ValueError(
                f"{folder}: holds a stage that was trained with {name} {there.get(name)}, not {wanted.get(name)}. "
                f"Name another --output, or delete {path.name} there if it is the same run all the same."
            )
    write_json(path, wanted)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m cxr_attn_unet.training.recipe",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Example:\n"
        "  python -m cxr_attn_unet.training.recipe bundles/heart_attn_unet --dataset_dir JSRT --output out",
    )
    parser.add_argument("bundle", type=Path, help="folder of the bundle")
    parser.add_argument(
        "--dataset_dir", required=True, action="append", help="folder of a data set, or a data list; may be repeated"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for the stages")
    parser.add_argument("--recipe", type=Path, help="another recipe than the bundle's own configs/recipe.json")
    parser.add_argument("--initial_weights", type=Path, help="weights that the first stage starts from")
    parser.add_argument("--set", nargs=2, action="append", default=[], metavar=("KEY", "JSON"), help="in every stage")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        common = {key: json.loads(value) for key, value in options.set}
        listed = stages(options.bundle, options.recipe)
        config_files = configs(options.bundle, options.recipe)
        weights = options.initial_weights
        for number, overrides in enumerate(listed, 1):
            logger.info(f"Stage {number} of {len(listed)}: {overrides}")
            folder = options.output / f"stage_{number}"
            values = {**overrides, **common, "dataset_dir": options.dataset_dir}
            weights = train_stage(options.bundle, values, folder, weights, config_files=config_files)
    except Exception as error:
        cause = cause_of(error)  # MONAI wraps what a config raises
        if not isinstance(cause, (DatasetError, OSError, ValueError)):
            raise
        print(cause, file=sys.stderr)
        return 1
    print(weights)
    return 0


if __name__ == "__main__":
    sys.exit(main())
