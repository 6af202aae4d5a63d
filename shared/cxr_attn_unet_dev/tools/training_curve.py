"""Draw the training curve of one or more runs from their TensorBoard logs, one after the other."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from cxr_attn_unet.files import written

LOSS, DICE = "train_loss", "val_mean_dice"


def curve(folder: Path, tag: str) -> list[tuple[int, float]]:
    """Epoch and value of one figure of one run; a resumed run continues where it stopped, later values count.

    Args:
        folder: the run's ``output_dir``.
        tag: name of the figure; a figure of each iteration is taken at the end of its epoch.

    Raises:
        FileNotFoundError: no log in the folder.
    """
    from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

    values: dict[int, float] = {}
    logs = sorted(folder.glob("events.out.tfevents.*"), key=lambda path: path.stat().st_mtime)
    if not logs:
        raise FileNotFoundError(f"{folder}: no TensorBoard log. Name the output_dir of a training.")
    for log in logs:
        events = EventAccumulator(str(log), size_guidance={SCALARS: 0})
        events.Reload()
        if tag in events.Tags()["scalars"]:
            values.update((event.step, event.value) for event in events.Scalars(tag))
    return sorted(values.items())


def draw(folders: list[Path], output: Path, names: list[str] | None = None) -> None:
    """Loss and validation Dice over the epochs of all runs, in one picture.

    Raises:
        ImportError: matplotlib is not installed.
        FileNotFoundError: a folder without a log.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("drawing needs matplotlib: pip install 'cxr-attn-unet[figures]'") from error
    figure = Figure(figsize=(8, 3.2), dpi=100, layout="constrained")
    loss_axes = figure.subplots()
    dice_axes = loss_axes.twinx()
    start = 0
    for index, folder in enumerate(folders):
        dice = curve(folder, DICE)
        loss = curve(folder, LOSS)
        epochs = max((step for step, _ in dice), default=0)
        if loss:
            per_epoch = max(1, loss[-1][0] / max(1, epochs))
            loss_axes.plot([start + step / per_epoch for step, _ in loss], [v for _, v in loss], color="0.75", lw=0.8)
        dice_axes.plot([start + step for step, _ in dice], [value for _, value in dice], color="#0072B2", marker=".")
        if index:
            loss_axes.axvline(start, color="0.5", lw=0.8, ls=":")
        if names:
            loss_axes.text(start, 1.02, f" {names[index]}", transform=loss_axes.get_xaxis_transform(), fontsize=8)
        start += epochs
    loss_axes.set_xlabel("epoch")
    loss_axes.set_ylabel("training loss (grey)")
    dice_axes.set_ylabel("validation Dice (blue)")
    with written(output) as temporary:
        figure.savefig(temporary, format="png")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m cxr_attn_unet_dev.tools.training_curve",
        description=__doc__,
        epilog="Example: python -m cxr_attn_unet_dev.tools.training_curve runs/coarse runs/fine --output training.png",
    )
    parser.add_argument("folders", nargs="+", type=Path, help="output_dir of each run, in their order")
    parser.add_argument("--names", nargs="+", help="written above each run")
    parser.add_argument("--output", type=Path, required=True, help="PNG file to write")
    options = parser.parse_args(arguments)
    if options.names and len(options.names) != len(options.folders):
        parser.error(f"{len(options.names)} names for {len(options.folders)} folders")
    try:
        draw(options.folders, options.output, options.names)
    except (ImportError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
