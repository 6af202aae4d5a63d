"""Make the weights file of a bundle from one or several training runs: averaged, in half precision.

The weights of runs that were fine-tuned from the same start can be averaged, which is often better than each of them
(Wortsman et al., Model soups, ICML 2022). Half precision halves the file; the network computes in full precision as
before. The weights of a Two-Scale Attention U-Net may come from two runs, one of the structure's network and one of the
parts'. `--cut` moves the edge of the masks to where the Dice is greatest: where labels are not sure, that is below a
probability of a half, at half the Dice that can be reached (Lipton et al., Optimal thresholding of classifiers to
maximize F1 measure, ECML PKDD 2014). The weights must fit the network of the bundle's inference.json; their checksum
goes into its metadata.json, as do the names of the network's channels.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from monai.bundle import ConfigParser

from cxr_attn_unet.files import written
from cxr_attn_unet.networks.checkpoint import check_fit, describe_mismatch, read_state_dict, sha256

from ..configs import channel_def
from ..json_style import read_json, write_styled_json

__all__ = ["average", "joined", "release", "with_cut"]

ONLY_STRUCTURE = ("expand.", "head.")  # in an EfficientNet Attention U-Net, what makes background and structure
LAST_BIAS = ("head.bias", "structure.head.bias")  # of background and structure; the latter with a network for parts


def average(paths: Sequence[str | Path]) -> dict[str, torch.Tensor]:
    """Mean of the weights in several files, tensor by tensor.

    Raises:
        FileNotFoundError, ValueError: a file cannot be read, or is of another architecture than the first.
    """
    states = [read_state_dict(path) for path in paths]
    first = states[0]
    for path, state in zip(paths, states, strict=True):
        mismatch = describe_mismatch(first, state)
        if mismatch:
            raise ValueError(f"{path} is of another architecture than {paths[0]}: {mismatch}")
    mean = {}
    for name, value in first.items():
        if value.is_floating_point():
            mean[name] = torch.stack([state[name].double() for state in states]).mean(0).to(torch.float32)
        else:
            mean[name] = value
    return mean


def joined(structure: Mapping[str, torch.Tensor], parts: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights of a Two-Scale Attention U-Net.

    Args:
        structure: of a Three-Head Attention U-Net.
        parts: of an EfficientNet Attention U-Net of three quarters of its width, with outputs for the parts.
    """
    state = {f"structure.{name}": value for name, value in structure.items()}
    state.update({f"parts.{name}": value for name, value in parts.items() if not name.startswith(ONLY_STRUCTURE)})
    return state


def with_cut(state: Mapping[str, torch.Tensor], cut: float) -> dict[str, torch.Tensor]:
    """Weights whose masks are those of the pixels that were structure with a probability above ``cut``.

    Args:
        state: of a network for background and structure, with or without parts.
        cut: above 0 and below 1; 0.5 changes nothing.

    Raises:
        ValueError: no such probability, or a network without a bias in its last layer.
    """
    if not 0 < cut < 1:
        raise ValueError(f"{cut} is no probability to cut at; name one above 0 and below 1")
    if cut == 0.5:
        return dict(state)
    name = next((name for name in LAST_BIAS if name in state), None)
    if name is None:
        raise ValueError(f"--cut: these weights have none of {', '.join(LAST_BIAS)}, the bias of their last layer")
    bias = state[name].clone()
    bias[1] -= math.log(cut / (1 - cut))
    return {**state, name: bias}


def release(state: Mapping[str, torch.Tensor], bundle: Path) -> Path:
    """Write the weights of a bundle in half precision, and their SHA-256, network and channels into its metadata.

    Args:
        state: the weights.
        bundle: folder of the bundle.

    Returns:
        ``models/model.pt``.

    Raises:
        FileNotFoundError: no bundle.
        RuntimeError: the weights are not of the network of its ``inference.json``.
        ValueError: the metadata have no place for a checksum.
    """
    config, metadata = bundle / "configs" / "inference.json", bundle / "configs" / "metadata.json"
    if not config.is_file() or not metadata.is_file():
        raise FileNotFoundError(f"{bundle}: no bundle, it has no configs/inference.json or metadata.json.")
    parser = ConfigParser(ConfigParser.load_config_file(config))
    network = parser.get_parsed_content("network_def")
    check_fit(network, state)
    half = network.state_dict()
    half.update({name: _halved(value) for name, value in state.items()})
    about = read_json(metadata)
    if "sha256" not in about.get("weights", {}):
        raise ValueError(f'{metadata}: has no "sha256" under "weights". Add it, empty.')
    target = bundle / "models" / "model.pt"
    with written(target) as path:
        torch.save(half, path)
        about["weights"]["sha256"] = sha256(path)
        about["weights"]["network"] = network.settings()
    if "network_data_format" in about:
        parts = parser.get_parsed_content("parts") if "parts" in parser else ()
        output = about["network_data_format"]["outputs"]["pred"]
        output["channel_def"] = channel_def(parser.get_parsed_content("structure"), parts)
        output["num_channels"] = len(output["channel_def"])
    write_styled_json(metadata, about)
    target.with_suffix(".json").unlink(missing_ok=True)  # the record of a training run, which would take precedence
    return target


def _halved(value: torch.Tensor) -> torch.Tensor:
    return value.half() if value.is_floating_point() else value


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m cxr_attn_unet_dev.tools.release_weights",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Example: python -m cxr_attn_unet_dev.tools.release_weights runs/a/model.pt runs/b/model.pt "
        "--bundle bundles/heart_attn_unet",
    )
    parser.add_argument("weights", nargs="+", help="model.pt of each run")
    parser.add_argument("--bundle", type=Path, required=True, help="folder of the bundle")
    parser.add_argument("--parts_weights", nargs="+", help="model.pt of each run of the network of the parts")
    parser.add_argument(
        "--cut", type=float, default=0.5, help="probability above which a pixel is structure (%(default)s)"
    )
    options = parser.parse_args(arguments)
    try:
        state = average(options.weights)
        if options.parts_weights:
            state = joined(state, average(options.parts_weights))
        state = with_cut(state, options.cut)
        path = release(state, options.bundle)
    except (FileNotFoundError, RuntimeError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{path}: {path.stat().st_size / 2**20:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
