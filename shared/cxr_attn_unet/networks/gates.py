"""Attention gates: small modules ``gate(x, y, g) -> a`` that replace the skip of a U-Net.

A new gate is one class: derive it from :class:`Gate`, put ``@register_gate("name")`` above it, and
``AttentionUNet("name")`` builds the network. Keyword arguments of its constructor after ``channels`` become options
of the network.

The formulas are those published; the documentation has them side by side in a table. In them ``sigma`` is the
sigmoid, ``GAP`` the mean over height and width, ``@`` the matrix product of the last two axes, channel by channel,
and ``T`` swaps these axes. All convolutions are 3x3 with padding 1 and without bias. That a gate takes the encoder's
feature together with one from below goes back to Attention U-Net (Oktay et al., MIDL 2018).
"""

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn

from ..former_names import renamed_parameter
from .blocks import DoubleConv

GATES: dict[str, type["Gate"]] = {}


def register_gate(name: str):
    """Class decorator: make a :class:`Gate` known as ``name``. Raises ValueError if the name is taken."""

    def register(gate_class):
        if name in GATES:
            raise ValueError(f"gate {name!r} is registered already, by {GATES[name].__name__}")
        GATES[name] = gate_class
        return gate_class

    return register


class Gate(nn.Module):
    """Interface of all gates.

    ``forward(x, y, g)`` takes, and returns ``a`` of the shape of ``x``:

    - ``x`` ``(N, c, H, W)``: the encoder's output at this level (not negative, it comes from a ReLU);
    - ``y`` ``(N, c, H, W)``: the decoder's feature of the level below, upsampled;
    - ``g`` ``(N, 2c, H/2, W/2)``: the gate's output at the level below, or the bottleneck at the deepest level.

    Args:
        channels: ``c``.

    Attributes:
        square_only: whether the formula holds only for H equal to W.
    """

    square_only = False

    def __init__(self, channels: int):
        super().__init__()
        self.channels = channels

    def forward(self, x: torch.Tensor, y: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        """Gate a skip; see the class."""
        raise NotImplementedError


def _conv3x3(in_channels: int, out_channels: int) -> nn.Conv2d:
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)


def _two_convs(channels: int) -> nn.Sequential:
    """``sigma(conv(sigma(conv(.))))``; the convolutions are named 1 and 2."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for index in ("1", "2"):
        layers[index] = _conv3x3(channels, channels)
        layers[f"sigmoid{index}"] = nn.Sigmoid()
    return nn.Sequential(layers)


class SqueezeExcitation(nn.Module):
    """Channel weights ``(N, c, H, W) -> (N, c, 1, 1)`` in (0, 1) (Hu et al., CVPR 2018), without biases.

    ``sigma(FC2(ReLU(FC1(GAP(x)))))``, hidden width ``max(1, c // 16)``. With ``rectify`` a further ReLU comes before
    the sigmoid, as the spatial gates have it; the weights are then in [0.5, 1).
    """

    def __init__(self, channels: int, rectify: bool = False):
        super().__init__()
        hidden = max(1, channels // 16)
        self.reduce = nn.Linear(channels, hidden, bias=False)
        self.expand = nn.Linear(hidden, channels, bias=False)
        self.rectify = rectify

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weights ``(N, c, 1, 1)`` of the channels of ``x``."""
        weights = self.expand(F.relu(self.reduce(x.mean(dim=(2, 3)))))
        if self.rectify:
            weights = F.relu(weights)
        return torch.sigmoid(weights).unsqueeze(-1).unsqueeze(-1)


@register_gate("none")
class PassGate(Gate):
    """``a = x``: the plain skip of the U-Net. It has no parameters."""

    def forward(self, x: torch.Tensor, y: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        """The skip as it is."""
        return x


class MapHead(DoubleConv):
    """``sigma(conv c->1(DoubleConv(x)))``: a map ``(N, 1, H, W)`` with values in (0, 1)."""

    def __init__(self, channels: int):
        super().__init__(channels, channels)
        self.to_map = _conv3x3(channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Map ``(N, 1, H, W)`` of ``x``."""
        x = F.relu(self.bn1(self.conv1(x)), inplace=True)
        x = F.relu(self.bn2(self.conv2(x)), inplace=True)
        return torch.sigmoid(self.to_map(x))


@register_gate("three_head")
class ThreeHeadGate(Gate):
    """Three-Head gate: ``a = s * Wc * Ws``, for any height and width.

    As published; see the table in the documentation::

        s  = x + y
        Wc = sigma(FC2(ReLU(FC1(GAP(s)))))
        W1 = sigma(conv c->1(DoubleConv(x)))
        W2 = sigma(conv c->1(DoubleConv(up(g))))
        Ws = sigma(conv 2->1([W1, W2]))
    """

    def __init__(self, channels: int):
        super().__init__(channels)
        self.upsample = nn.ConvTranspose2d(2 * channels, channels, kernel_size=2, stride=2)
        self.channel = SqueezeExcitation(channels)
        self.encoder_head = MapHead(channels)
        self.gate_head = MapHead(channels)
        self.spatial = nn.Sequential(OrderedDict(merge=_conv3x3(2, 1), sigmoid=nn.Sigmoid()))

    def forward(self, x: torch.Tensor, y: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        """Gate a skip; see :class:`Gate`."""
        s = x + y
        maps = torch.cat([self.encoder_head(x), self.gate_head(self.upsample(g))], dim=1)
        return s * self.channel(s) * self.spatial(maps)


def _scores(left: torch.Tensor, query: torch.Tensor, right: torch.Tensor | None) -> torch.Tensor:
    scores = left @ query.transpose(-2, -1)
    if right is not None:
        scores = scores @ right
    return scores


def channel_attention(left: torch.Tensor, query: torch.Tensor, right: torch.Tensor | None, scale: bool) -> torch.Tensor:
    """``softmax_over_channels(left @ queryT [@ right])``, computed in float32 at least.

    The products sum over a whole side of the image, twice with ``right``: beyond what half precision holds.

    Args:
        left: ``(N, c, H, W)``.
        query: ``(N, c, H, W)``.
        right: ``(N, c, H, W)`` or None.
        scale: whether to divide the product by ``sqrt(H * W)`` before the softmax.

    Returns:
        ``(N, c, H, W)`` with ``right``, else ``(N, c, H, H)``; values in [0, 1], of the type of ``left``.
    """
    dtype = left.dtype
    size = left.shape[2] * left.shape[3]
    left, query = left.float(), query.float()
    if right is not None:
        right = right.float()
    if torch.jit.is_scripting():
        scores = _scores(left, query, right)
        # TorchScript cannot switch an autocast around it off, but autocast leaves float64 alone.
        if scores.dtype != torch.float32:
            scores = _scores(left.double(), query.double(), None if right is None else right.double())
    else:
        with torch.autocast(left.device.type, enabled=False):
            scores = _scores(left, query, right)
    if scale:
        scores = scores / size**0.5
    return torch.softmax(scores, dim=1).to(dtype)


class _SpatialGate(Gate):
    """What the spatial gates share: channel weights C, keys K1 and K2, query Q, value V; ``a = A * V * C``."""

    def __init__(self, channels: int, scale_attention: bool = False):
        super().__init__(channels)
        half = channels // 2
        self.scale_attention = scale_attention
        self.upsample = nn.ConvTranspose2d(2 * channels, channels, kernel_size=2, stride=2)
        self.channel = SqueezeExcitation(channels, rectify=True)
        self.key_encoder = _conv3x3(channels, half)
        self.key_gate = _conv3x3(channels, half)
        self.query = _two_convs(channels)
        self.value = _two_convs(channels)

    def forward(self, x: torch.Tensor, y: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        key_encoder = torch.sigmoid(self.key_encoder(x))
        key_gate = torch.sigmoid(self.key_gate(self.upsample(g)))
        attention = self.attention(key_encoder, key_gate, self.query(y))
        return attention * self.value(x) * self.channel(x)

    def attention(self, key_encoder: torch.Tensor, key_gate: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


@register_gate("spatial")
class SpatialGate(_SpatialGate):
    """Spatial gate: ``a = softmax_over_channels(K @ QT) * V * C``, for square features only.

    As published; see the table in the documentation::

        C  = sigma(ReLU(FC2(ReLU(FC1(GAP(x))))))
        K1 = sigma(conv c->c/2(x));   K2 = sigma(conv c->c/2(up(g)));   K = sigma(conv c->c([K1, K2]))
        Q  = sigma(conv(sigma(conv(y))));   V = sigma(conv(sigma(conv(x))))

    ``K @ QT`` is H x H and is multiplied element by element with V, which is H x W: hence square features only.

    Args:
        channels: ``c``.
        scale_attention: divide the matrix product by ``sqrt(H * W)`` before the softmax, as the published figure does;
            the published code does not, and that is the default.
    """

    square_only = True

    @renamed_parameter("scale", "scale_attention")
    def __init__(self, channels: int, scale_attention: bool = False):
        super().__init__(channels, scale_attention)
        self.key_merge = _conv3x3(channels // 2 * 2, channels)

    def attention(self, key_encoder: torch.Tensor, key_gate: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
        """Attention ``(N, c, H, H or W)`` from keys and query; see the class."""
        key = torch.sigmoid(self.key_merge(torch.cat([key_encoder, key_gate], dim=1)))
        return channel_attention(key, query, None, self.scale_attention)


@register_gate("full_spatial")
class FullSpatialGate(_SpatialGate):
    """Full Spatial gate: ``a = softmax_over_channels(K1' @ QT @ K2') * V * C``, for any height and width.

    As published; see the table in the documentation. C, K1, K2, Q and V are those of :class:`SpatialGate`, and
    ``K1' = sigma(conv c/2->c(K1))``, ``K2' = sigma(conv c/2->c(K2))``.

    Args:
        channels: ``c``.
        scale_attention: divide the matrix product by ``sqrt(H * W)`` before the softmax, as the published figure does;
            the published code does not, and that is the default.
    """

    @renamed_parameter("scale", "scale_attention")
    def __init__(self, channels: int, scale_attention: bool = False):
        super().__init__(channels, scale_attention)
        self.key_encoder_expand = _conv3x3(channels // 2, channels)
        self.key_gate_expand = _conv3x3(channels // 2, channels)

    def attention(self, key_encoder: torch.Tensor, key_gate: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
        """Attention ``(N, c, H, H or W)`` from keys and query; see the class."""
        left = torch.sigmoid(self.key_encoder_expand(key_encoder))
        right = torch.sigmoid(self.key_gate_expand(key_gate))
        return channel_attention(left, query, right, self.scale_attention)


@register_gate("double_spatial")
class DoubleSpatialGate(Gate):
    """Double Spatial gate: ``x' = Spatial(x, x, x)``, then ``a = Spatial(x', y, g)``, for square features only.

    As published; see the table in the documentation. Both steps are a :class:`SpatialGate` with its own weights; in
    the first one ``up`` keeps size and channels (kernel 1, stride 1).

    Args:
        channels: ``c``.
        scale_attention: as in :class:`SpatialGate`, for both steps.
    """

    square_only = True

    @renamed_parameter("scale", "scale_attention")
    def __init__(self, channels: int, scale_attention: bool = False):
        super().__init__(channels)
        self.first = SpatialGate(channels, scale_attention)
        # Its g is x itself, which is at this level's size already.
        self.first.upsample = nn.ConvTranspose2d(channels, channels, kernel_size=1)
        self.second = SpatialGate(channels, scale_attention)

    def forward(self, x: torch.Tensor, y: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
        """Gate a skip; see :class:`Gate`."""
        return self.second(self.first(x, x, x), y, g)
