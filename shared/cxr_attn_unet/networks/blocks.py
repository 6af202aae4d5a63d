"""Building blocks that every network shares: input checks and padding, double convolution, decoder level."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from .checkpoint import check_fit


class SegmentationNetwork(nn.Module):
    """Base of all networks: checks the image, pads it inside, calls :meth:`logits`, crops back.

    A subclass implements ``logits(image)`` for images whose height and width are multiples of ``multiple``.

    Args:
        in_channels: channels of the image, 1 for a radiograph.
        out_channels: channels of the logits, 2 for background and structure.
        width: channels at the finest scale, at least 2 (64 in the published work).
        multiple: the multiple to which height and width are padded.

    Attributes:
        square_only: whether the architecture holds only for images with height equal to width; False unless a
            subclass sets it.
        options: what else the architecture was given, such as ``scale_attention``.

    Raises:
        ValueError: ``in_channels`` or ``out_channels`` below 1, or ``width`` below 2.
    """

    def __init__(self, in_channels: int, out_channels: int, width: int, multiple: int):
        super().__init__()
        for name, value, least in (
            ("in_channels", in_channels, 1),
            ("out_channels", out_channels, 1),
            ("width", width, 2),
        ):
            if not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.width = width
        self.multiple = multiple
        self.square_only = False
        self.options: dict[str, Any] = {}

    def settings(self) -> dict[str, Any]:
        """Name, width and the options that are on; kept with every state dict, for shapes do not tell them."""
        name = getattr(type(self), "registered_name", type(self).__name__)
        on = {key: value for key, value in self.options.items() if value is True or isinstance(value, str)}
        return {"name": name, "width": self.width, **on}

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """As in :class:`torch.nn.Module`, with :meth:`settings` in its metadata."""
        found = super().state_dict(*args, **kwargs)
        if hasattr(found, "_metadata"):
            found._metadata.setdefault(kwargs.get("prefix", "").rstrip("."), {})["network"] = self.settings()
        return found

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As in :class:`torch.nn.Module`, but weights of another network are refused without ``strict`` too.

        MONAI Label loads without it, and would use a network of random weights.

        Raises:
            RuntimeError: the weights are not this network's; the message names both.
        """
        check_fit(self, state_dict)
        return super().load_state_dict(state_dict, strict, assign)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Segment a batch of radiographs.

        Args:
            image: ``(N, in_channels, H, W)``, values in [0, 1]; any H and W unless the network is square-only.

        Returns:
            Logits ``(N, out_channels, H, W)``, unbounded; softmax over the channels gives probabilities.

        Raises:
            ValueError: not four axes, another number of channels, or not square where the network needs it
                (``torch.jit.Error`` with the same text once the network is scripted).
        """
        if image.dim() != 4:
            raise ValueError(f"expected an image batch (N, C, H, W), got shape {list(image.shape)}")
        if image.shape[1] != self.in_channels:
            raise ValueError(
                f"expected {self.in_channels} image channel(s), got {image.shape[1]} (shape {list(image.shape)})"
            )
        height, width = image.shape[2], image.shape[3]
        if self.square_only and height != width:
            raise ValueError(
                f"this network takes square images only, got height {height} and width {width}: letter-box the image "
                "to a square first, or use full_spatial_attention_unet or three_head_attention_unet"
            )
        # Replicate, unlike reflect, may pad by more than the image's own size, and makes no false border.
        bottom = (self.multiple - height % self.multiple) % self.multiple
        right = (self.multiple - width % self.multiple) % self.multiple
        padded = F.pad(image, [0, right, 0, bottom], mode="replicate")
        return self.logits(padded)[:, :, :height, :width]

    def without_parts(self) -> "SegmentationNetwork":
        """A network with the same logits of background and structure that makes none of parts, to save their time.

        This one, where it has none, or nothing that could be saved.
        """
        return self

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        """Logits of an image whose sides are multiples of ``self.multiple``; same height and width."""
        raise NotImplementedError


class DoubleConv(nn.Module):
    """Twice a 3x3 convolution without bias, batch normalisation and ReLU: ``(N, in, H, W) -> (N, out, H, W)``.

    The block of the U-Net (Ronneberger et al., MICCAI 2015), with padding and batch normalisation.
    """

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, in, H, W) -> (N, out, H, W)``."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        return F.relu(self.bn2(self.conv2(x)), inplace=True)


class DecoderLevel(nn.Module):
    """One step up the decoder: upsample by two, gate the skip, concatenate, convolve.

    ``y = up(below)``, ``a = gate(skip, y, g)``, feature ``= DoubleConv([a, y])``.

    Args:
        below_channels: channels of the level below.
        skip_channels: channels of the encoder's skip.
        out_channels: channels of ``y`` and of the feature returned.
        gate: module with ``gate(x, y, g)`` that returns a tensor of the skip's shape.
    """

    def __init__(self, below_channels: int, skip_channels: int, out_channels: int, gate: nn.Module):
        super().__init__()
        self.up = nn.ConvTranspose2d(below_channels, out_channels, kernel_size=2, stride=2)
        self.gate = gate
        self.conv = DoubleConv(skip_channels + out_channels, out_channels)

    def forward(self, below: torch.Tensor, skip: torch.Tensor, g: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the feature ``(N, out, 2h, 2w)`` and the gate's output, from which the next gate takes its ``g``."""
        y = self.up(below)
        a = self.gate(skip, y, g)
        return self.conv(torch.cat([a, y], dim=1)), a


def check_options(owner: str, allowed: Iterable[str], given: Iterable[str]) -> None:
    """Raise TypeError if an option in ``given`` is not one of ``allowed``."""
    allowed = list(allowed)
    unknown = [option for option in given if option not in allowed]
    if unknown:
        raise TypeError(f"{owner} has no option {', '.join(unknown)}; its options are: {', '.join(allowed) or 'none'}")
