"""The Squeeze-and-Excitation block and its operators (Hu et al., arXiv 1709.01507)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from se_nas.errors import InputError, known
from se_nas.se.spec import SEOptions, SESpec, hidden_width
from se_nas.text import shown

Operator = Callable[[Tensor], Tensor]


# Squeeze operators: (N, C, H, W) -> (N, C). A signal comes as (N, C, L, 1), a volume as (N, C, D, H * W). The exporter copies
# their source, so each may use torch only.


def avg_squeeze(x: Tensor) -> Tensor:
    """Mean of each channel (eq. 2)."""
    return x.mean((2, 3))


def max_squeeze(x: Tensor) -> Tensor:
    """Maximum of each channel (table 11)."""
    return x.amax((2, 3))


def avg_max_squeeze(x: Tensor) -> Tensor:
    """Mean of the average and the maximum of each channel."""
    return 0.5 * (x.mean((2, 3)) + x.amax((2, 3)))


def avg_pool_squeeze(x: Tensor) -> Tensor:
    """Mean of each channel (eq. 2), as one window of average pooling."""
    return nn.functional.avg_pool2d(x, x.shape[2:]).flatten(1)


def avg_adaptive_squeeze(x: Tensor) -> Tensor:
    """Mean of each channel (eq. 2), as adaptive average pooling."""
    return nn.functional.adaptive_avg_pool2d(x, 1).flatten(1)


def max_pool_squeeze(x: Tensor) -> Tensor:
    """Maximum of each channel (table 11), as one window of maximum pooling."""
    return nn.functional.max_pool2d(x, x.shape[2:]).flatten(1)


def max_adaptive_squeeze(x: Tensor) -> Tensor:
    """Maximum of each channel (table 11), as adaptive maximum pooling."""
    return nn.functional.adaptive_max_pool2d(x, 1).flatten(1)


def std_squeeze(x: Tensor) -> Tensor:
    """Mean plus standard deviation of each channel (the two statistics of SRM, arXiv 1903.10829)."""
    variance, mean = torch.var_mean(x, (2, 3), correction=0)
    return mean + (variance + 1e-5).sqrt()


def no_squeeze(x: Tensor) -> Tensor:
    """No pooling: each position gets its own gate (NoSqueeze, table 16)."""
    return x


# Gates: elementwise, any shape.


def sigmoid_gate(x: Tensor) -> Tensor:
    return torch.sigmoid(x)


def hard_sigmoid_gate(x: Tensor) -> Tensor:
    return nn.functional.hardsigmoid(x)


def tanh_gate(x: Tensor) -> Tensor:
    return torch.tanh(x)


def relu_gate(x: Tensor) -> Tensor:
    return torch.relu(x)


def twice_sigmoid_gate(x: Tensor) -> Tensor:
    return 2 * torch.sigmoid(x)


@dataclass(frozen=True)
class Squeeze:
    """A squeeze operator.

    Attributes:
        function: computes it.
        spatial: whether it keeps the shape (N, C, H, W); the block then uses 1x1 convolutions.
        spellings: name -> another function that computes the same. Which one is quicker depends on the runtime.
    """

    function: Operator
    spatial: bool = False
    spellings: Mapping[str, Operator] = field(default_factory=dict)


SQUEEZES: dict[str, Squeeze] = {
    "avg": Squeeze(avg_squeeze, spellings={"pool": avg_pool_squeeze, "adaptive": avg_adaptive_squeeze}),
    "max": Squeeze(max_squeeze, spellings={"pool": max_pool_squeeze, "adaptive": max_adaptive_squeeze}),
    "avg+max": Squeeze(avg_max_squeeze),
    "std": Squeeze(std_squeeze),
    "none": Squeeze(no_squeeze, spatial=True),
}
GATES: dict[str, Operator] = {
    "sigmoid": sigmoid_gate,
    "hard-sigmoid": hard_sigmoid_gate,
    "tanh": tanh_gate,
    "relu": relu_gate,
    "twice-sigmoid": twice_sigmoid_gate,
}


def register_squeeze(name: str, function: Operator, spatial: bool = False) -> None:
    """Register a squeeze operator under a name, for YAML and Python.

    Args:
        name: the new name.
        function: (N, C, H, W) -> (N, C), or -> (N, C, H, W) if ``spatial``. It has no parameters.
        spatial: whether the function keeps height and width (this decides the block's MACs).

    Raises:
        InputError: if the name is taken.
    """
    SQUEEZES[_free(name, SQUEEZES, "squeeze")] = Squeeze(function, spatial)


def register_gate(name: str, function: Operator) -> None:
    """Register a gate (an elementwise function) under a name, for YAML and Python.

    Raises:
        InputError: if the name is taken.
    """
    GATES[_free(name, GATES, "gate")] = function


def _free(name: str, registry: dict[str, object] | dict[str, Squeeze] | dict[str, Operator], kind: str) -> str:
    if name in registry:
        raise InputError(f"{kind} {shown(name)} exists already", "choose another name")
    return name


class SEBlock(nn.Module):
    """Scale each channel of x by a gate computed from x: ``x * gate(W2 relu(W1 squeeze(x)))`` (eq. 2 to 4).

    Shapes: (N, C, H, W) -> (N, C, H, W), and so (N, C, L) and (N, C, D, H, W).

    With ``init="identity"`` the scale is ``1 + strength * (gate - 1)``. ``strength`` is one learned scalar that starts at 0:
    at first the block returns exactly x, for any gate, and it learns from the first step on.

    Args:
        channels: C of the input.
        reduction: r; the hidden width is ``max(1, C // r)``.
        squeeze: a name in `SQUEEZES`.
        gate: a name in `GATES`.
        bias: whether both linear layers have biases.
        divisor: round the hidden width to a multiple of this.
        init: ``default`` or ``identity``.

    Raises:
        InputError: for an unknown operator or initialisation.
    """

    def __init__(
        self,
        channels: int,
        reduction: int = 16,
        squeeze: str = "avg",
        gate: str = "sigmoid",
        bias: bool = False,
        divisor: int = 1,
        init: str = "default",
    ) -> None:
        super().__init__()
        self.spec: SESpec | None = None  # set for a block that a search placed
        known(squeeze, SQUEEZES, "squeeze")
        known(gate, GATES, "gate")
        known(init, ("default", "identity"), "init")
        hidden = hidden_width(channels, reduction, divisor)
        self.extra = f"{channels} -> {hidden} -> {channels}, squeeze={squeeze}, gate={gate}"
        self.spatial = SQUEEZES[squeeze].spatial
        self.squeeze = SQUEEZES[squeeze].function
        self.gate = GATES[gate]
        self.fc1 = _linear(channels, hidden, bias, self.spatial)
        self.fc2 = _linear(hidden, channels, bias, self.spatial)
        self.strength = nn.Parameter(torch.zeros(())) if init == "identity" else None

    def forward(self, x: Tensor) -> Tensor:
        return self.scale(x) if x.ndim == 4 else self.scale(as_image(x)).reshape(x.shape)

    def scale(self, x: Tensor) -> Tensor:
        """Of an image, (N, C, H, W) -> (N, C, H, W)."""
        scale = self.gate(self.fc2(torch.relu(self.fc1(self.squeeze(x)))))
        if self.strength is not None:
            scale = 1 + self.strength * (scale - 1)
        return x * (scale if self.spatial else scale[:, :, None, None])

    def extra_repr(self) -> str:
        return self.extra


def as_image(x: Tensor) -> Tensor:
    """A signal (N, C, L) as (N, C, L, 1), a volume (N, C, D, H, W) as (N, C, D, H * W): another view of the same numbers."""
    return x.unsqueeze(-1) if x.ndim == 3 else x.flatten(3)


def _linear(inputs: int, outputs: int, bias: bool, spatial: bool) -> nn.Module:
    return nn.Conv2d(inputs, outputs, 1, bias=bias) if spatial else nn.Linear(inputs, outputs, bias=bias)


def make_block(channels: int, spec: SESpec, options: SEOptions) -> SEBlock:
    """The SE block of a setting, for an input with ``channels`` channels."""
    block = SEBlock(channels, spec.reduction, spec.squeeze, spec.gate, options.bias, options.divisor, options.init)
    block.spec = spec
    return block


def respell(network: nn.Module, spelling: Mapping[str, str]) -> nn.Module:
    """Let the SE blocks that a search placed compute their squeeze by another function, in place.

    Args:
        network: any network.
        spelling: squeeze -> name of the spelling, see `Squeeze`. Blocks with other squeezes stay as they are.

    Raises:
        InputError: for a squeeze or a spelling that is not known.
    """
    for squeeze, name in spelling.items():
        known(squeeze, SQUEEZES, "squeeze")
        known(name, SQUEEZES[squeeze].spellings, f"spelling of squeeze {squeeze}")
    for block in network.modules():
        if isinstance(block, SEBlock) and block.spec and block.spec.squeeze in spelling:
            block.squeeze = SQUEEZES[block.spec.squeeze].spellings[spelling[block.spec.squeeze]]
    return network
