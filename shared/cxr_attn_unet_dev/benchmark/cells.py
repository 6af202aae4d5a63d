"""What a benchmark runs: scales, and their cells of network, structure and seed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Any

from cxr_attn_unet.bundle import bundles_folder
from cxr_attn_unet.networks import NETWORKS
from cxr_attn_unet.structures import REGISTRY

__all__ = ["PUBLISHED", "Cell", "Scale", "cells_of", "load_scale"]

# Dice as published, by network: lungs (Montgomery + Shenzhen), ribs (VinDr-RibCXR), heart, clavicles (JSRT + SCR)
PUBLISHED: dict[str, dict[str, float]] = {
    name: dict(zip(("lungs", "ribs", "heart", "clavicles"), values, strict=True))
    for name, values in {
        "unet": (0.930, 0.876, 0.798, 0.481),
        "resnet_unet_18": (0.951, 0.424, 0.812, 0.525),
        "resnet_unet_34": (0.953, 0.862, 0.815, 0.515),
        "resnet_unet_50": (0.949, 0.859, 0.815, 0.522),
        "swin_unet_base": (0.933, 0.782, 0.768, 0.469),
        "three_head_attention_unet": (0.948, 0.880, 0.812, 0.485),
        "spatial_attention_unet": (0.959, 0.870, 0.807, 0.475),
        "double_spatial_attention_unet": (0.946, 0.863, 0.803, 0.493),
        "full_spatial_attention_unet": (0.959, 0.872, 0.817, 0.489),
    }.items()
}


@dataclass(frozen=True)
class Scale:
    """A size of the benchmark, read from ``scales/NAME.json``.

    Attributes:
        name: of the file.
        about: a sentence.
        overrides: values for the bundles' ``train.json``, for every cell.
        structures: the same by structure, over those.
        networks: the same by network, over both.
        marks: what to say of a network that is shown less than the others, by network.
        data: name of the data set, by structure.
        recipe: train in the stages of each bundle's ``recipe.json``.
    """

    name: str
    about: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    structures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    networks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    marks: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    recipe: bool = False


@dataclass(frozen=True)
class Cell:
    """One training: a network, a structure, a seed."""

    scale: Scale
    network: str
    structure: str
    seed: int = 0
    variant: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Names its folder and its result, such as ``small/heart_unet_seed0``."""
        variant = f"_{self.variant}" if self.variant else ""
        return f"{self.scale.name}/{self.structure}_{self.network}{variant}_seed{self.seed}"

    @property
    def bundle_root(self) -> Path:
        return bundles_folder() / f"{self.structure}_attn_unet"

    def stages(self) -> list[dict[str, Any]]:
        """The overrides of each run of ``train.json``, in their order; all but the recipe's scales have one."""
        recipe = [{}]
        if self.scale.recipe:
            recipe = json.loads((self.bundle_root / "configs" / "recipe.json").read_text(encoding="utf-8"))["stages"]
        common = {
            **self.scale.overrides,
            **self.scale.structures.get(self.structure, {}),
            **self.scale.networks.get(self.network, {}),
            **self.changes,
        }
        return [{**stage, **common, "network_name": self.network, "seed": self.seed} for stage in recipe]


def load_scale(name: str) -> Scale:
    """Read a scale of this package, or one's own file.

    Args:
        name: ``small``, ``modern``, ``published``, or the path of a JSON file.

    Raises:
        ValueError: no such scale, or it does not read as one.
    """
    own = Path(name)
    source = own if own.suffix == ".json" else resources.files(__package__) / "scales" / f"{name}.json"
    if not source.is_file():
        raise ValueError(f"no scale '{name}'. There are: {', '.join(scale_names())}; or name a JSON file.")
    try:
        return Scale(name=own.stem, **json.loads(source.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{source}: not a scale ({error}). Write it as those in benchmark/scales are.") from error


def scale_names() -> list[str]:
    """The scales of this package."""
    return sorted(Path(file.name).stem for file in (resources.files(__package__) / "scales").iterdir())


def cells_of(
    scale: Scale,
    networks: Iterable[str] = tuple(NETWORKS),
    structures: Iterable[str] = tuple(REGISTRY),
    seeds: Iterable[int] = (0,),
    variant: str = "",
    changes: Mapping[str, Any] | None = None,
) -> list[Cell]:
    """All combinations, seed by seed.

    Args:
        scale, networks, structures, seeds: what to combine.
        variant: name of a change of configuration, for an ablation.
        changes: the overrides that make it.
    """
    return [
        Cell(scale, network, structure, seed, variant, dict(changes or {}))
        for seed, structure, network in product(seeds, structures, networks)
    ]
