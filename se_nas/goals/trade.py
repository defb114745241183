"""Three ways to trade objectives against each other: what strategies compare, and which architecture is the best. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from se_nas.errors import InputError, known
from se_nas.goals.objective import Objective, Reward
from se_nas.space.budget import parse_amount

TRADES = ("pareto", "weighted", "constrained")

WEIGHT = -0.07
"""MnasNet's weight: twice the cost is worth a 5 % higher accuracy, relatively (2 ^ 0.07 = 1.05)."""


@dataclass(frozen=True)
class Trade:
    """How to compare architectures by several objectives.

    - ``pareto``: keep the Pareto front. "Best" is the one that is best in the first objective.
    - ``weighted``: maximise the first objective x (cost / target) ^ weight for each other objective (Tan et al., 2019, MnasNet,
      arXiv 1807.11626, eq. 2, with one exponent on both sides of the target; the target then only scales the value).
    - ``constrained``: optimise the first objective within hard budgets (the same paper, eq. 1).

    Attributes:
        kind: one of `TRADES`.
        targets: for ``weighted``: objective's name -> target above 0, for every objective but the first.
        weight: for ``weighted``: the exponent, below 0.
    """

    kind: str = "pareto"
    targets: Mapping[str, float] = field(default_factory=dict)
    weight: float = WEIGHT

    def compared(self, objectives: Sequence[Objective]) -> tuple[Objective, ...]:
        """The objectives to pass to a strategy. Budgets of known objectives stay as limits.

        Raises:
            InputError: if these objectives cannot be traded this way.
        """
        first, *others = objectives
        if self.kind == "pareto":
            return tuple(objectives)
        for other in others:
            if not other.known and other.budget is not None:
                raise InputError(f"{other.name} is measured, so its budget is not hard", "leave it out, or trade as pareto", "trade")
        limits = tuple(replace(other, compared=False) for other in others if other.budget is not None)
        return (self.reward(objectives) if self.kind == "weighted" else first, *limits)

    def reward(self, objectives: Sequence[Objective]) -> Reward:
        """The objective of a ``weighted`` trade: one value for all objectives.

        Raises:
            InputError: if these objectives cannot be weighted, or targets do not match them.
        """
        first, *others = objectives
        if first.direction != "max" or first.known or not others:
            fix = "put a measured objective that is maximised first, accuracy for instance, and costs after it"
            raise InputError(f"{', '.join(o.name for o in objectives)} cannot be weighted", fix, "trade")
        for other in others:
            if other.name not in self.targets:
                raise InputError(f"{other.name} has no target", f"give one: targets: {{{other.name}: ...}}", "targets")
        if odd := [name for name in self.targets if name not in [other.name for other in others]]:
            raise InputError(f"{odd[0]} is not an objective after the first", f"take {', '.join(o.name for o in others)}", "targets")
        parts = tuple((other, float(self.targets[other.name])) for other in others)
        return Reward("reward", "max", quality=first, costs=parts, weight=self.weight)

    def value(self, objectives: Sequence[Objective], values: Mapping[str, float]) -> float | None:
        """The weighted value of an architecture; None for the other kinds of trade."""
        return self.reward(objectives).of(values) if self.kind == "weighted" else None

    def loss(self, objectives: Sequence[Objective], values: Mapping[str, float]) -> float:
        """A value that orders the front: the best architecture has the smallest."""
        value = self.value(objectives, values)
        return objectives[0].loss(values[objectives[0].name]) if value is None else -value


PARETO = Trade()


def resolve_trade(section: Mapping[str, Any], objectives: Sequence[Objective], plain: Mapping[str, Any], budgets: int) -> Trade:
    """The trade of a search.

    Args:
        section: the search's settings, with the keys ``trade``, ``targets`` and ``weight``.
        objectives: the search's objectives.
        plain: costs of the plain backbone. Percentages are relative to them, and they are the default targets.
        budgets: number of budgets.

    Raises:
        InputError: for a trade that does not fit these objectives or budgets.
    """
    kind, targets, weight = section.get("trade", "pareto"), section.get("targets") or {}, section.get("weight", WEIGHT)
    known(kind, TRADES, "trade")
    if targets and kind != "weighted":
        raise InputError(f"a {kind} search uses no targets", "take trade: weighted, or leave them out", "targets")
    if kind == "constrained" and not budgets:
        raise InputError("constrained without a budget", "give one: --budget 'params<=+5%'", "trade")
    if kind != "weighted":
        return Trade(kind)
    if not (math.isfinite(weight) and weight < 0):
        raise InputError(f"weight {weight} is not below 0", f"take MnasNet's {WEIGHT}, or a stronger one", "weight")
    if odd := [o.name for o in objectives[1:] if plain.get(o.name, 1) == 0]:
        raise InputError(f"the plain backbone has 0 {odd[0]}, so there is no ratio to it", "weigh params or macs", "trade")
    found = {o.name: float(plain[o.name]) for o in objectives[1:] if plain.get(o.name)}
    units = {o.name: o.unit for o in objectives}
    for name, text in targets.items():
        found[str(name)] = parse_amount(text, plain.get(name), f"targets.{name}", units.get(name, ""))
        if not found[str(name)] > 0:
            raise InputError(f"{text} is not above 0", "write the cost that you aim at", f"targets.{name}")
    trade = Trade(kind, found, float(weight))
    trade.reward(objectives)
    return trade
