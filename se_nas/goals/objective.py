"""Objectives: metrics with a direction, and the Pareto front under them. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from operator import gt

from se_nas.errors import InputError
from se_nas.space.budget import LATENCY, PROFILE
from se_nas.text import shown


@dataclass(frozen=True)
class Objective:
    """A metric, and whether to maximise or minimise it.

    Attributes:
        name: name of a metric of the evaluator, or of a cost.
        direction: ``max`` or ``min``.
        budget: limit in the metric's unit: an upper limit if it is minimised, a lower limit if it is maximised. For a known
            objective, nothing beyond the budget is proposed. For a measured one, values beyond it count as no improvement.
        known: whether the architecture alone determines the value, so that it costs nothing to compute before training.
        unit: unit for display.
        compared: whether strategies prefer better values. If not, the objective only sets a budget (`se_nas.goals.trade`).
    """

    name: str
    direction: str
    budget: float | None = None
    known: bool = False
    unit: str = ""
    compared: bool = True

    def __post_init__(self) -> None:
        if self.direction not in ("max", "min"):
            raise InputError(f"direction {shown(self.direction)} of objective {self.name}", "take max or min", "objectives")
        if self.budget is not None and not (is_number(self.budget) and math.isfinite(self.budget)):
            raise InputError(
                f"budget {shown(self.budget)} of objective {self.name} is not a number", "give a number, or None", "objectives"
            )

    def loss(self, value: float) -> float:
        """The value, negated if it is maximised: smaller is better."""
        return -value if self.direction == "max" else value


@dataclass(frozen=True)
class Reward(Objective):
    """A weighted product of several objectives: quality x (cost / target) ^ weight for each cost, see `se_nas.goals.trade`.

    Attributes:
        quality: the objective that is maximised; its values are 0 or more.
        costs: (objective, target) pairs, targets above 0. For an objective that is maximised, the inverse counts as the cost.
        weight: exponent, below 0.
    """

    quality: Objective = field(kw_only=True)
    costs: tuple[tuple[Objective, float], ...] = field(kw_only=True)
    weight: float = field(kw_only=True)

    @property
    def parts(self) -> tuple[Objective, ...]:
        """The objectives that it combines, the quality first."""
        return self.quality, *(cost for cost, _ in self.costs)

    def of(self, values: Mapping[str, float]) -> float:
        """The reward of an architecture with these values (objective's name -> value).

        Raises:
            InputError: for a negative quality, or a cost that is not above 0.
        """
        reward = float(values[self.quality.name])
        for cost, target in self.costs:
            value = float(values[cost.name])
            if value <= 0 or reward < 0:
                fix = "weigh what is above 0, such as accuracy, params and macs; or trade as pareto"
                raise InputError(
                    f"{self.quality.name} {values[self.quality.name]} and {cost.name} {value} cannot be weighted", fix, "trade"
                )
            reward *= (value / target) ** (self.weight if cost.direction == "min" else -self.weight)
        return reward


def is_number(value: object) -> bool:
    """Whether this is a real number. A bool is not."""
    return isinstance(value, Real) and not isinstance(value, bool)


STANDARD = {
    objective.name: objective
    for objective in (
        Objective("accuracy", "max"),
        Objective("loss", "min"),
        Objective("params", "min", known=True, unit="parameters"),
        Objective("macs", "min", known=True, unit="MACs"),
        Objective("elementwise", "min", known=True, unit="elementwise operations"),
        Objective("reductions", "min", known=True, unit="reduction operations"),
        Objective("bytes", "min", known=True, unit="bytes"),
    )
}


def parse_objectives(names: Sequence[str], units: Mapping[str, str] | None = None) -> tuple[Objective, ...]:
    """The objectives with these names.

    Args:
        names: each a name in `STANDARD`, a further cost of the space, or ``max:NAME`` or ``min:NAME`` for a metric of your own
            evaluator.
        units: further cost of the space -> its unit.

    Raises:
        InputError: for an unknown name, a repeated name, or an empty list.
    """
    known = {**STANDARD, **{name: Objective(name, "min", known=True, unit=unit) for name, unit in (units or {}).items()}}
    parsed = []
    for text in names:
        direction, _, own = text.rpartition(":")
        if own not in known and not direction:
            if own == LATENCY:
                raise InputError("nothing is known of the latency", PROFILE, "objectives")
            raise InputError(
                f"unknown objective {shown(text)}",
                f"take one of {', '.join(known)}, or max:NAME or min:NAME for a metric of your evaluator",
                "objectives",
            )
        if direction and own in (units or {}):
            raise InputError(f"{own} is a cost of the space", f"name it without {direction}:, or call your metric otherwise", "objectives")
        parsed.append(Objective(own, direction) if direction else known[own])
    if not parsed:
        raise InputError("no objective", "name at least one, accuracy for instance", "objectives")
    if len({objective.name for objective in parsed}) < len(parsed):
        raise InputError(f"an objective is named twice in {', '.join(names)}", "name each once", "objectives")
    return tuple(parsed)


def pareto(points: Sequence[Mapping[str, float]], objectives: Sequence[Objective]) -> list[int]:
    """Indices of the points that no other point dominates, in order. Of equal points, all are kept.

    One point dominates another if it is nowhere worse and somewhere better.
    """
    losses = [tuple(o.loss(point[o.name]) for o in objectives) for point in points]
    front: list[tuple[float, ...]] = []
    for loss in sorted(set(losses)):  # a point that dominates another sorts before it
        if not any(dominates(other, loss) for other in front):
            front.append(loss)
    kept = set(front)
    return [i for i, loss in enumerate(losses) if loss in kept]


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether losses ``a`` are nowhere worse than ``b``, and somewhere better."""
    return a != b and not any(map(gt, a, b))
