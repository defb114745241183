"""What a search makes better: metrics with a direction, and which points no other beats. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from se_nas.errors import InputError


@dataclass(frozen=True)
class Objective:
    """A metric and which way is better.

    Attributes:
        name: of a metric of the evaluator, or of a cost.
        direction: ``max`` or ``min``.
        known: whether it is a function of the architecture alone, free before training.
        unit: what it is counted in, for display.
    """

    name: str
    direction: str
    known: bool = False
    unit: str = ""

    def __post_init__(self) -> None:
        if self.direction not in ("max", "min"):
            raise InputError(f"direction {self.direction!r} of objective {self.name}", "take max or min", "objectives")

    def loss(self, value: float) -> float:
        """The value, turned so that smaller is better."""
        return -value if self.direction == "max" else value


STANDARD = {
    objective.name: objective
    for objective in (
        Objective("accuracy", "max"),
        Objective("loss", "min"),
        Objective("params", "min", known=True, unit="parameters"),
        Objective("macs", "min", known=True, unit="MACs"),
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
