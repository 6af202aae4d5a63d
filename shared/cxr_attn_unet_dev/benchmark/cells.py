"""What a benchmark runs: protocols, and their cells of network, structure and seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from itertools import product
from pathlib import Path
from typing import Any

from cxr_attn_unet.bundle import bundles_folder, setting
from cxr_attn_unet.networks import COMPARED
from cxr_attn_unet.structures import REGISTRY
from cxr_attn_unet.training.recipe import stages

from ..json_style import read_json

__all__ = ["PUBLISHED", "Cell", "Protocol", "cells_of", "load_protocol"]

PROTOCOLS = Path(str(resources.files(__package__))) / "protocols"
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
class Protocol:
    """How all cells of a benchmark are trained, read from ``protocols/NAME.json``.

    Attributes:
        name: of the file.
        about: a sentence.
        overrides: values for the bundles' ``train.json``, for every cell.
        structures: the same by structure, over those.
        networks: the same by network, over both.
        remarks: what to say of a network that is shown less than the others, by network.
        data: name of the data set, by structure.
        recipe: train in the stages of each bundle's ``recipe.json``.
    """

    name: str
    about: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    structures: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    networks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    remarks: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    recipe: bool = False


@dataclass(frozen=True)
class Cell:
    """One training: a network, a structure, a seed."""

    protocol: Protocol
    network: str
    structure: str
    seed: int = 0
    variant: str = ""
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Names its folder and its result, such as ``small/heart_unet_seed0``."""
        variant = f"_{self.variant}" if self.variant else ""
        return f"{self.protocol.name}/{self.structure}_{self.network}{variant}_seed{self.seed}"

    @property
    def bundle_root(self) -> Path:
        """Folder of the bundle whose config is run."""
        return bundles_folder() / f"{self.structure}_attn_unet"

    def stages(self) -> list[dict[str, Any]]:
        """The overrides of each run of ``train.json``, in their order; all but those of the recipe have one."""
        recipe: list[dict[str, Any]] = [{}]
        if self.protocol.recipe:
            recipe = stages(self.bundle_root)
        common = {
            **self.protocol.overrides,
            **self.protocol.structures.get(self.structure, {}),
            **self.protocol.networks.get(self.network, {}),
            **self.changes,
        }
        # networks are compared on whole structures, whatever parts the bundle's own tells apart
        own = {"network_name": self.network, "parts": [], "seed": self.seed}
        # what a recipe says of the network, such as the weights of its encoder, is of the bundle's own one alone
        of_all = [
            {key: value for key, value in stage.items() if not key.startswith("network_def#")} for stage in recipe
        ]
        return [{**stage, **common, **own} for stage in of_all]


def load_protocol(name: str) -> Protocol:
    """Read a protocol of this package, or one's own file.

    Args:
        name: ``small``, ``modern``, ``published``, or the path of a JSON file.

    Raises:
        ValueError: no such protocol, or it does not read as one.
    """
    own = Path(name)
    source = own if own.suffix == ".json" else PROTOCOLS / f"{name}.json"
    if not source.is_file():
        raise ValueError(f"no protocol '{name}'. There are: {', '.join(protocol_names())}; or name a JSON file.")
    try:
        content = read_json(source)
        remarks = setting("remarks", content.pop("remarks", {}), marks=content.pop("marks", None))
        return Protocol(name=own.stem, remarks=remarks, **content)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{source}: not a protocol ({error}). Write it as those in benchmark/protocols are."
        ) from error


def protocol_names() -> list[str]:
    """The protocols of this package."""
    return sorted(file.stem for file in PROTOCOLS.iterdir())


def cells_of(
    protocol: Protocol,
    networks: Iterable[str] = tuple(COMPARED),
    structures: Iterable[str] = tuple(REGISTRY),
    seeds: Iterable[int] = (0,),
    variant: str = "",
    changes: Mapping[str, Any] | None = None,
) -> list[Cell]:
    """All combinations, seed by seed.

    Args:
        protocol: how to train.
        networks: names of networks.
        structures: names of structures.
        seeds: of each combination.
        variant: name of a change of configuration, for an ablation.
        changes: the overrides that make it.
    """
    return [
        Cell(protocol, network, structure, seed, variant, dict(changes or {}))
        for seed, structure, network in product(seeds, structures, networks)
    ]
