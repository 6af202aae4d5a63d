"""Make the weights file of a bundle from one or several training runs: averaged, in half precision.

The weights of runs that were fine-tuned from the same start can be averaged, which is often better than each of them
(Wortsman et al., Model soups, ICML 2022). Half precision halves the file; the network computes in full precision as
before.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from ..files import written
from ..networks.checkpoint import describe_mismatch, read_state_dict

__all__ = ["average"]


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


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m cxr_attn_unet.tools.release_weights",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="Example: python -m cxr_attn_unet.tools.release_weights runs/a/model.pt runs/b/model.pt "
        "--output bundles/heart_attn_unet/models/model.pt",
    )
    parser.add_argument("weights", nargs="+", help="model.pt of each run")
    parser.add_argument("--output", required=True, help="file to write")
    options = parser.parse_args(arguments)
    try:
        state = average(options.weights)
    except (FileNotFoundError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    half = {name: value.half() if value.is_floating_point() else value for name, value in state.items()}
    with written(options.output) as path:
        torch.save(half, path)
    print(f"{options.output}: {Path(options.output).stat().st_size / 2**20:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
