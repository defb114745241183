"""SE blocks that share weights: the weights are those of the widest block, and each setting uses a part of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from se_nas.se.block import GATES, SQUEEZES, SEBlock, as_image, make_block
from se_nas.se.spec import SEOptions, SESpec, hidden_width

Weights = Sequence[tuple[Any, Tensor | float]]
"""(value, weight) pairs. A weight that is the float 0 is skipped; a tensor never is."""


class SharedSE(nn.Module):
    """SE blocks of several reductions, squeezes and gates with one set of weights, mixed by weights.

    Hidden unit i is scaled by the total weight of the reductions that have it. The squeezed inputs are mixed, and so are the
    gates. If one value has all the weight, the result is that of its block.

    Args:
        channels: C of the gated tensor (N, C, H, W).
        reductions: all candidates; the smallest has the most hidden units.
        options: of the SE blocks.
    """

    def __init__(self, channels: int, reductions: Iterable[int], options: SEOptions) -> None:
        super().__init__()
        self.channels, self.options = channels, options
        self.widths = {r: hidden_width(channels, r, options.divisor) for r in reductions}
        widest = max(self.widths.values())
        self.fc1 = nn.Linear(channels, widest, options.bias)
        self.fc2 = nn.Linear(widest, channels, options.bias)
        self.strength = nn.Parameter(torch.zeros(())) if options.init == "identity" else None

    def forward(self, x: Tensor, reductions: Weights, squeezes: Weights, gates: Weights, share: Tensor | float = 1.0) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W), and so (N, C, L) and (N, C, D, H, W).

        Args:
            x: the gated tensor.
            reductions: weight of each reduction.
            squeezes: weight of each squeeze, by name.
            gates: weight of each gate, by name.
            share: weight of the block in the result, 0..1; the rest is x.
        """
        if not _counts(share):
            return x
        if x.ndim != 4:
            return self(as_image(x), reductions, squeezes, gates, share).reshape(x.shape)  # type: ignore[no-any-return]
        units = torch.arange(self.fc1.out_features, device=x.device)
        mask = _total((share_of, (units < self.widths[r]).to(x.dtype)) for r, share_of in reductions if _counts(share_of))
        spatial = any(SQUEEZES[name].spatial for name, weight in squeezes if _counts(weight))
        pooled = _total((weight, _squeeze(x, name, spatial)) for name, weight in squeezes if _counts(weight))
        hidden = torch.relu(_linear(pooled, self.fc1)) * (mask[:, None, None] if spatial else mask)
        logits = _linear(hidden, self.fc2)
        scale = _total((weight, GATES[name](logits)) for name, weight in gates if _counts(weight))
        if self.strength is not None:
            scale = 1 + self.strength * (scale - 1)
        if isinstance(share, Tensor) or share != 1:
            scale = share * scale + (1 - share)
        return x * (scale if spatial else scale[:, :, None, None])

    def frozen(self, spec: SESpec) -> SEBlock:
        """The plain block of one setting, with a copy of its part of the weights."""
        block = make_block(self.channels, spec, self.options)
        hidden = self.widths[spec.reduction]
        parts = {"fc1.weight": self.fc1.weight[:hidden], "fc2.weight": self.fc2.weight[:, :hidden]}
        if self.options.bias:
            parts |= {"fc1.bias": self.fc1.bias[:hidden], "fc2.bias": self.fc2.bias}
        if self.strength is not None:
            parts["strength"] = self.strength
        with torch.no_grad():
            for name, parameter in block.named_parameters():
                parameter.copy_(parts[name].reshape(parameter.shape))
        return block


def _counts(weight: Tensor | float) -> bool:
    return isinstance(weight, Tensor) or weight != 0


def _total(terms: Iterable[tuple[Tensor | float, Tensor]]) -> Tensor:
    """The weighted sum. A weight that is the float 1 costs no multiplication."""
    products = [value if not isinstance(weight, Tensor) and weight == 1 else weight * value for weight, value in terms]
    return products[0] if len(products) == 1 else torch.stack(products).sum(0)


def _squeeze(x: Tensor, name: str, spatial: bool) -> Tensor:
    squeezed = SQUEEZES[name].function(x)
    return squeezed[:, :, None, None].expand_as(x) if spatial and not SQUEEZES[name].spatial else squeezed


def _linear(x: Tensor, layer: nn.Linear) -> Tensor:
    """Apply a linear layer to (N, C), or to each position of (N, C, H, W)."""
    return F.conv2d(x, layer.weight[:, :, None, None], layer.bias) if x.ndim == 4 else layer(x)
