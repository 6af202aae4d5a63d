"""U-Nets on a ResNet or Swin encoder, both with the same decoder."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from monai.networks.nets.resnet import ResNet
from monai.networks.nets.swin_unetr import SwinTransformer
from torch import nn

from .blocks import DecoderLevel, DoubleConv, SegmentationNetwork
from .checkpoint import describe_mismatch, read_state_dict
from .gates import PassGate


class EncoderUNet(SegmentationNetwork):
    """An encoder, a DoubleConv bottleneck of ``16 * width`` channels, and a U-Net decoder up to full size.

    The decoder has ``8, 4, 2, 1 * width`` channels and then ``width`` again as long as there are skips; above the
    last skip it doubles the size without one, with ``width // 2`` channels, until the image's own size is reached.

    Args:
        in_channels, out_channels, width: as in :class:`SegmentationNetwork`.
        skip_channels: channels of the encoder's skips, finest first.
        deepest_channels: channels that enter the bottleneck, at half the size of the last skip.
        upsamplings: doublings from the finest skip to full size.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int,
        skip_channels: Sequence[int],
        deepest_channels: int,
        upsamplings: int,
    ):
        super().__init__(in_channels, out_channels, width, multiple=2 ** (len(skip_channels) + upsamplings))
        self.bottleneck = DoubleConv(deepest_channels, 16 * width)
        self.decoder = nn.ModuleList()  # deepest level first, in the order of the forward pass
        below = 16 * width
        for skip in reversed(skip_channels):
            here = max(below // 2, width)
            self.decoder.append(DecoderLevel(below, skip, here, PassGate(skip)))
            below = here
        self.expand = nn.Sequential()
        for _ in range(upsamplings):
            here = width // 2
            self.expand.append(nn.ConvTranspose2d(below, here, kernel_size=2, stride=2))
            self.expand.append(DoubleConv(here, here))
            below = here
        self.head = nn.Conv2d(below, out_channels, kernel_size=1)

    def decode(self, deepest: torch.Tensor, skips: list[torch.Tensor]) -> torch.Tensor:
        """Logits at full size from the encoder's deepest feature and its skips, finest first."""
        x = self.bottleneck(deepest)
        for level in self.decoder:
            x, _ = level(x, skips.pop(), x)
        return self.head(self.expand(x))


class ResNetEncoder(ResNet):
    """MONAI's two-dimensional ResNet (He et al., CVPR 2016) without its classifier, returning five features.

    Features at 1/2, 1/4, 1/8, 1/16 and 1/32 of the image's size. Names and shapes of the weights at width 64 are
    those of torchvision.
    """

    def __init__(self, block: str, layers: list[int], in_channels: int, width: int):
        super().__init__(
            block,
            layers,
            [width * 2**stage for stage in range(4)],
            spatial_dims=2,
            n_input_channels=in_channels,
            conv1_t_size=7,
            conv1_t_stride=2,
            feed_forward=False,
            bias_downsample=False,
        )

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:  # type: ignore[override]
        """The features of an image ``(N, in_channels, H, W)``, finest first."""
        x = self.act(self.bn1(self.conv1(x)))
        features = [x]
        x = self.layer1(self.maxpool(x))
        features.append(x)
        x = self.layer2(x)
        features.append(x)
        x = self.layer3(x)
        features.append(x)
        features.append(self.layer4(x))
        return features


# Depth -> block and number of blocks in each stage (He et al., CVPR 2016, table 1).
RESNETS = {18: ("basic", [2, 2, 2, 2]), 34: ("basic", [3, 4, 6, 3]), 50: ("bottleneck", [3, 4, 6, 3])}


class ResNetUNet(EncoderUNet):
    """U-Net on a ResNet encoder (He et al., CVPR 2016); ``(N, in_channels, H, W)`` in [0, 1] to logits, any H and W.

    Skips come from all five encoder scales (1/2 to 1/32); below them are a max-pool and the bottleneck at 1/64.

    Args:
        depth: 18, 34 or 50.
        in_channels: channels of the image.
        out_channels: channels of the logits.
        width: channels of the stem (64 in the published ResNets).
        encoder_weights: None for random weights; the path of a state dict with torchvision's names; or "imagenet"
            for torchvision's own weights, which torchvision downloads at first use. The first convolution is summed
            over red, green and blue for images of one channel; the classifier is ignored.

    Raises:
        ValueError: a depth other than 18, 34 and 50, or ``encoder_weights`` with a width other than 64, with other
            than 1 or 3 image channels, or of another depth.
        FileNotFoundError: no file at ``encoder_weights``.
        ImportError: "imagenet" without torchvision installed.
        OSError: "imagenet" and the download failed.
    """

    def __init__(
        self,
        depth: int,
        in_channels: int = 1,
        out_channels: int = 2,
        width: int = 64,
        encoder_weights: str | None = None,
    ):
        if depth not in RESNETS:
            raise ValueError(f"unknown ResNet depth {depth!r}; the depths are: {', '.join(map(str, RESNETS))}")
        block, layers = RESNETS[depth]
        expansion = 4 if block == "bottleneck" else 1
        super().__init__(
            in_channels,
            out_channels,
            width,
            skip_channels=[width, *(expansion * width * 2**stage for stage in range(4))],
            deepest_channels=expansion * 8 * width,
            upsamplings=1,
        )
        self.encoder = ResNetEncoder(block, layers, in_channels, width)
        if encoder_weights is not None:
            if width != 64 or in_channels not in (1, 3):
                raise ValueError(
                    "encoder_weights need width 64 and 1 or 3 image channels, as the ResNets were trained; "
                    f"got width {width} and in_channels {in_channels}"
                )
            shipped = encoder_weights == "imagenet"
            weights = _torchvision_weights(depth) if shipped else read_state_dict(encoder_weights)
            self._load_encoder(weights, f"encoder weights {encoder_weights}", depth)

    def _load_encoder(self, state: Mapping[str, torch.Tensor], source: str, depth: int) -> None:
        weights = {key: value for key, value in state.items() if not key.startswith("fc.")}
        expected = self.encoder.state_dict()
        # Batch counters are missing in older files and mean nothing to the network.
        for key, value in expected.items():
            if key.endswith("num_batches_tracked"):
                weights.setdefault(key, value)
        stem = weights.get("conv1.weight")
        if self.in_channels == 1 and stem is not None and stem.dim() == 4 and stem.shape[1] == 3:
            # A grey image stands for three equal colours, so the sum gives the same response.
            weights["conv1.weight"] = stem.sum(dim=1, keepdim=True)
        mismatch = describe_mismatch(expected, weights)
        if mismatch:
            raise ValueError(f"{source} do not fit ResNet-{depth} in torchvision's naming ({mismatch})")
        self.encoder.load_state_dict(weights)

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        """See :meth:`SegmentationNetwork.logits`."""
        features = self.encoder(image)
        return self.decode(F.max_pool2d(features[-1], 2), features)


def _torchvision_weights(depth: int) -> dict[str, torch.Tensor]:
    try:
        from torchvision.models import get_weight
    except ImportError as error:
        raise ImportError(
            'encoder_weights "imagenet" needs torchvision: pip install torchvision, or give the path of a state dict'
        ) from error
    try:
        return dict(get_weight(f"ResNet{depth}_Weights.IMAGENET1K_V1").get_state_dict(progress=False))
    except OSError as error:
        raise OSError(
            f"torchvision could not download the ImageNet weights of ResNet-{depth} ({error}); "
            "without a network, give the path of a state dict as encoder_weights"
        ) from error


class ResNetUNet18(ResNetUNet):
    """:class:`ResNetUNet` of depth 18; arguments and errors are described there."""

    def __init__(
        self, in_channels: int = 1, out_channels: int = 2, width: int = 64, encoder_weights: str | None = None
    ):
        super().__init__(18, in_channels, out_channels, width, encoder_weights)


class ResNetUNet34(ResNetUNet):
    """:class:`ResNetUNet` of depth 34; arguments and errors are described there."""

    def __init__(
        self, in_channels: int = 1, out_channels: int = 2, width: int = 64, encoder_weights: str | None = None
    ):
        super().__init__(34, in_channels, out_channels, width, encoder_weights)


class ResNetUNet50(ResNetUNet):
    """:class:`ResNetUNet` of depth 50; arguments and errors are described there."""

    def __init__(
        self, in_channels: int = 1, out_channels: int = 2, width: int = 64, encoder_weights: str | None = None
    ):
        super().__init__(50, in_channels, out_channels, width, encoder_weights)


class SwinUNetBase(EncoderUNet):
    """U-Net on a Swin-Base encoder (Liu et al., ICCV 2021); ``(N, in_channels, H, W)`` in [0, 1] to logits.

    Patch 4, window 7, depths 2-2-18-2, heads 4-8-16-32, embedding ``2 * width`` (128 at width 64). The features at
    1/4 to 1/32 are the skips, that at 1/64 enters the bottleneck. Any H and W; traces with ``torch.jit.trace``, for
    the size it was traced with, but does not script.

    Args:
        in_channels: channels of the image.
        out_channels: channels of the logits.
        width: half the embedding; must be even, so that the heads divide the channels.

    Raises:
        ValueError: ``width`` is odd.
        ImportError: einops is not installed.
    """

    def __init__(self, in_channels: int = 1, out_channels: int = 2, width: int = 64):
        try:
            import einops  # noqa: F401  MONAI's encoder imports it only when it runs
        except ImportError as error:
            raise ImportError("swin_unet_base needs einops: pip install einops") from error
        heads = (4, 8, 16, 32)
        embedding = 2 * width
        super().__init__(
            in_channels,
            out_channels,
            width,
            skip_channels=[embedding * 2**stage for stage in range(4)],
            deepest_channels=16 * embedding,
            upsamplings=2,
        )
        if embedding % heads[0]:
            raise ValueError(f"width must be even, so that the heads {heads} divide the channels; got width {width}")
        self.encoder = SwinTransformer(
            in_chans=in_channels,
            embed_dim=embedding,
            window_size=(7, 7),
            patch_size=(4, 4),
            depths=(2, 2, 18, 2),
            num_heads=heads,
            spatial_dims=2,
        )

    def logits(self, image: torch.Tensor) -> torch.Tensor:
        """See :meth:`SegmentationNetwork.logits`."""
        features = self.encoder(image)
        return self.decode(features[-1], features[:-1])
