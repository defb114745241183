"""The settings of an SE block: `SESpec` is searched, `SEOptions` is the same for a whole space. Needs no torch."""

from __future__ import annotations

from dataclasses import dataclass, fields


@dataclass(frozen=True)
class SESpec:
    """The searched settings of one SE block. ``None`` in place of a spec means no SE block.

    Attributes:
        reduction: r; the hidden width is ``max(1, C // r)`` (SENet, eq. 3).
        squeeze: name of a squeeze operator, see `se_nas.se.block.SQUEEZES`.
        gate: name of a gate, see `se_nas.se.block.GATES`.
        placement: where in a residual block the SE block sits (SENet, section 6.5 and fig. 5).
    """

    reduction: int
    squeeze: str = "avg"
    gate: str = "sigmoid"
    placement: str = "standard"

    def __str__(self) -> str:
        return f"r{self.reduction} {self.squeeze} {self.gate} {self.placement}"


FIELDS = tuple(field.name for field in fields(SESpec))
"""Names of the searched settings."""


@dataclass(frozen=True)
class SEOptions:
    """Settings that are the same for all SE blocks of a space, and not searched.

    Attributes:
        bias: whether both linear layers have biases (the paper's ablations have none, its released models have both).
        divisor: round the hidden width to a multiple of this (timm's ``rd_divisor``); 1 keeps ``C // r``.
        init: ``default``, or ``identity``: each block starts as the identity function, by one learned scalar.
    """

    bias: bool = False
    divisor: int = 1
    init: str = "default"


PAPER = SESpec(reduction=16)
"""The paper's default: r = 16, average squeeze, sigmoid, placed before the residual sum."""


def hidden_width(channels: int, reduction: int, divisor: int = 1) -> int:
    """Width between the two linear layers: ``max(1, C // r)``, rounded to the nearest multiple of ``divisor`` (at least one)."""
    width = channels // reduction
    return max(divisor, (width + divisor // 2) // divisor * divisor)
