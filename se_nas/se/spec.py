"""The settings of an SE block: those that a search chooses, and those that a whole space shares. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SESpec:
    """The searched settings of one SE block; ``None`` in its place stands for "no SE here".

    Attributes:
        reduction: r; the hidden width is ``max(1, C // r)`` (SENet, eq. 3).
        squeeze: name of a squeeze operator, see `se_nas.se.block.SQUEEZES`.
        gate: name of a gate, see `se_nas.se.block.GATES`.
        placement: where in a residual block it sits (SENet, section 6.5 and fig. 5).
    """

    reduction: int
    squeeze: str = "avg"
    gate: str = "sigmoid"
    placement: str = "standard"

    def __str__(self) -> str:
        return f"r{self.reduction} {self.squeeze} {self.gate} {self.placement}"


@dataclass(frozen=True)
class SEOptions:
    """What all SE blocks of a space have in common and no search changes.

    Attributes:
        bias: biases in both linear layers (the paper's ablations have none, its released models have both).
        divisor: the hidden width is rounded to a multiple of it (timm's ``rd_divisor``); 1 leaves ``C // r``.
        init: ``default``, or ``identity``: one learned scalar a block starts it as the identity function.
    """

    bias: bool = False
    divisor: int = 1
    init: str = "default"


PAPER = SESpec(reduction=16)
"""The paper's default: r = 16, average squeeze, sigmoid, before the sum."""


def hidden_width(channels: int, reduction: int, divisor: int = 1) -> int:
    """Width between the two linear layers: ``max(1, C // r)``, rounded to the nearest multiple of ``divisor``."""
    width = channels // reduction
    return max(divisor, (width + divisor // 2) // divisor * divisor)
