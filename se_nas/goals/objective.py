"""What a search makes better: metrics with a direction, and which points no other beats. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real

from se_nas.errors import InputError


@dataclass(frozen=True)
class Objective:
    """A metric and which way is better.

    Attributes:
        name: of a metric of the evaluator, or of a cost.
        direction: ``max`` or ``min``.
        budget: what a value may not be worse than, in the metric's own unit: an upper limit of what is minimised, a lower
            limit of what is maximised. If the objective is known, nothing beyond it is proposed; if it is measured, only
            what is within it counts as an improvement.
        known: whether it is a function of the architecture alone, free before training.
        unit: what it is counted in, for display.
        compared: whether strategies prefer better values; if not, only its budget holds (`se_nas.goals.trade`).
    """

    name: str
    direction: str
    budget: float | None = None
    known: bool = False
    unit: str = ""
    compared: bool = True

    def __post_init__(self) -> None:
        if self.direction not in ("max", "min"):
            raise InputError(f"direction {self.direction!r} of objective {self.name}", "take max or min", "objectives")
        if self.budget is not None and not (is_number(self.budget) and math.isfinite(self.budget)):
            raise InputError(f"budget {self.budget!r} of objective {self.name} is not a number", "give a number, or None", "objectives")

    def loss(self, value: float) -> float:
        """The value, turned so that smaller is better."""
        return -value if self.direction == "max" else value


@dataclass(frozen=True)
class Reward(Objective):
    """One value made of several: quality x (cost / target) ^ weight for each cost, see `se_nas.goals.trade`.

    Attributes:
        quality: what is maximised, 0 or more.
        costs: each with its target, above 0; of one that is maximised, the inverse is the cost.
        weight: below 0.
    """

    quality: Objective = field(kw_only=True)
    costs: tuple[tuple[Objective, float], ...] = field(kw_only=True)
    weight: float = field(kw_only=True)

    @property
    def parts(self) -> tuple[Objective, ...]:
        """What it is made of."""
        return self.quality, *(cost for cost, _ in self.costs)

    def of(self, values: Mapping[str, float]) -> float:
        """The value of an architecture.

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
    """Whether it can be calculated with; truth values are no numbers."""
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


def parse_objectives(names: Sequence[str]) -> tuple[Objective, ...]:
    """Standard objectives by name, or ``max:NAME`` and ``min:NAME`` for a metric of one's own evaluator.

    Raises:
        InputError: for an unknown name, a repeated one, or none at all.
    """
    parsed = []
    for text in names:
        direction, _, own = text.rpartition(":")
        if own not in STANDARD and not direction:
            raise InputError(
                f"unknown objective {text!r}",
                f"take one of {', '.join(STANDARD)}, or max:NAME or min:NAME for a metric of your evaluator",
                "objectives",
            )
        parsed.append(Objective(own, direction) if direction else STANDARD[own])
    if not parsed:
        raise InputError("no objective", "name at least one, accuracy for instance", "objectives")
    if len({objective.name for objective in parsed}) < len(parsed):
        raise InputError(f"an objective is named twice in {', '.join(names)}", "name each once", "objectives")
    return tuple(parsed)


def pareto(points: Sequence[Mapping[str, float]], objectives: Sequence[Objective]) -> list[int]:
    """Indices of the points that none dominates (nowhere worse, somewhere better), in their order; equal points all stay."""
    losses = [tuple(o.loss(point[o.name]) for o in objectives) for point in points]
    front: list[tuple[float, ...]] = []
    for loss in sorted(set(losses)):  # what dominates a point sorts before it, and is dominated by nothing or by one of the front
        if not any(all(a <= b for a, b in zip(other, loss, strict=True)) for other in front):
            front.append(loss)
    kept = set(front)
    return [i for i, loss in enumerate(losses) if loss in kept]
