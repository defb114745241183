"""What a search chooses: an SE setting for each group of sites. Needs no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from se_nas.errors import InputError


@dataclass(frozen=True)
class SESpec:
    """The searched settings of one SE block; ``None`` in its place stands for "no SE here".

    Attributes:
        reduction: r; the hidden width is ``max(1, C // r)`` (SENet, eq. 3).
        squeeze: name of a squeeze operator, see `se_nas.se.SQUEEZES`.
        gate: name of a gate, see `se_nas.se.GATES`.
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


@dataclass(frozen=True)
class Architecture:
    """One choice per group of sites: immutable, hashable, the same in JSON.

    A `SearchSpace` makes them canonical: two genotypes that build the same network give equal architectures.

    Attributes:
        choices: (group, setting) pairs in the order of the space.
    """

    choices: tuple[tuple[str, SESpec | None], ...]

    @classmethod
    def of(cls, choices: Mapping[str, SESpec | None]) -> Architecture:
        return cls(tuple(choices.items()))

    @cached_property
    def id(self) -> str:
        """A digest of the choices: the same on every machine and in every version."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def __getitem__(self, group: str) -> SESpec | None:
        return dict(self.choices)[group]

    def __iter__(self) -> Iterator[tuple[str, SESpec | None]]:
        return iter(self.choices)

    def __str__(self) -> str:
        return "; ".join(f"{group}: {spec or 'no SE'}" for group, spec in self.choices)

    def to_json(self) -> dict[str, dict[str, Any] | None]:
        return {group: asdict(spec) if spec else None for group, spec in self.choices}

    @classmethod
    def from_json(cls, data: Any) -> Architecture:
        """Inverse of `to_json`.

        Raises:
            InputError: if ``data`` is not of that form.
        """
        form = 'an architecture is {"group": {"reduction": 16, "squeeze": "avg", "gate": "sigmoid", "placement": "standard"}}'
        if not isinstance(data, Mapping):
            raise InputError(f"{data!r} is not an architecture", form)
        try:
            return cls(tuple((str(group), SESpec(**spec) if spec is not None else None) for group, spec in data.items()))
        except TypeError as error:
            raise InputError(f"not an architecture: {error}", form) from None
