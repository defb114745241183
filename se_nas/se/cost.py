"""The cost of a network, and the exact cost of one SE block in closed form: parameters, MACs, and what MACs leave out.

Convention: count each PyTorch operator as `SEBlock` calls it, for one image in float32.

- MACs: those of the two linear layers. Their biases count as part of them, and nowhere else.
- Elementwise operations: one for each element that an operator writes (ReLU, gate, scaling H*W*C).
- Reductions: the number of elements reduced, times the number of results: H*W*C for a mean or a maximum, twice that for an
  operator that returns variance and mean.
- Bytes: 4 for each element that an operator reads or writes. A broadcast tensor or a weight is read once. Views are free.
  Nothing is assumed to be fused or cached.

Anybody may register a squeeze or a gate, so their cost has no closed form. Each is run once for each shape, on the meta
device, and its operators are counted.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from se_nas.se.block import GATES, SQUEEZES, Operator
from se_nas.se.spec import SEOptions, SESpec, hidden_width


class Cost(NamedTuple):  # a tuple is fast: strategies make very many of them
    """Cost of one forward pass of one image. ``+`` and ``-`` work field by field.

    Attributes:
        params: parameters, frozen or not.
        macs: multiply-accumulates of convolutions and linear layers.
        elementwise: elementwise operations of the SE blocks, one for each element that an operator writes.
        reductions: reduction operations of the SE blocks, one for each element that an operator reduces.
        bytes: bytes that the SE blocks' operators read and write, in float32.
    """

    params: int = 0
    macs: int = 0
    elementwise: int = 0
    reductions: int = 0
    bytes: int = 0

    def __add__(self, other: Cost) -> Cost:  # type: ignore[override]
        return Cost(*(a + b for a, b in zip(self, other, strict=True)))

    def __sub__(self, other: Cost) -> Cost:
        return Cost(*(a - b for a, b in zip(self, other, strict=True)))


def se_cost(channels: int, height: int, width: int, spec: SESpec, options: SEOptions, maps: int = 1) -> Cost:
    """Cost of an SE block whose input has shape (channels, height, width); its parameters are eq. 5 of the paper.

    With ``maps`` it scales so many of them for one image, such as one for each head or frame.
    """
    squeeze = SQUEEZES[spec.squeeze]
    hidden = hidden_width(channels, spec.reduction, options.divisor)
    weights = 2 * channels * hidden
    biases = channels + hidden if options.bias else 0
    identity = options.init == "identity"
    positions = height * width if squeeze.spatial else 1
    gates, middle, image = channels * positions, hidden * positions, channels * height * width

    linear = Cost(weights + biases, weights * positions, bytes=4 * (2 * gates + 2 * middle + weights + biases))
    relu = Cost(elementwise=middle, bytes=4 * 2 * middle)
    soften = Cost(1, elementwise=3 * gates, bytes=4 * (6 * gates + 1)) if identity else Cost()  # minus 1, times strength, plus 1
    scale = Cost(elementwise=image, bytes=4 * (2 * image + gates))
    squeezing = operator_cost(squeeze.function, (1, channels, height, width))
    gating = operator_cost(GATES[spec.gate], (1, channels, height, width) if squeeze.spatial else (1, channels))
    params, macs, elementwise, reductions, moved = squeezing + linear + relu + gating + soften + scale
    read = 4 * params  # once, however many maps there are
    return Cost(params, maps * macs, maps * elementwise, maps * reductions, maps * (moved - read) + read)


@cache
def operator_cost(operator: Operator, shape: tuple[int, ...]) -> Cost:
    """Elementwise operations, reductions and bytes of a squeeze or a gate on a tensor of ``shape``."""
    for device in ("meta", "cpu"):  # meta computes nothing; cpu is for an operator that looks at values
        counter = _OperatorCounter()
        try:
            with torch.no_grad(), counter:
                operator(torch.zeros(shape, device=device))
            break
        except Exception:
            if device == "cpu":
                raise
    return counter.cost


class _OperatorCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up the operators that run inside ``with``. Each counts either as elementwise or as a reduction."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.cost = Cost()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        read = [leaf.numel() for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        written = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if read and not func.is_view:
            moved = 4 * (sum(read) + sum(written))
            if max(written, default=0) < max(read):
                self.cost += Cost(reductions=max(read) * max(1, len(written)), bytes=moved)
            else:
                self.cost += Cost(elementwise=sum(written), bytes=moved)
        return result
