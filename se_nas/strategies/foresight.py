"""What so many trials would tell of the effects, before any is run: half the intervals that they would have.

The model is that of the effects of a run (`se_nas.run.mixed_model`) as it is before it sees a trial: choices of each kind together
make trials differ by as much as noise does. What a trial measures does not matter for how wide intervals are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from se_nas.goals.objective import parse_objectives
from se_nas.run.effects import Effects
from se_nas.run.estimate import make_design
from se_nas.run.mixed_model import Floats
from se_nas.run.trial import Trial
from se_nas.space.architecture import REFERENCES
from se_nas.strategies import create_strategy

if TYPE_CHECKING:
    from se_nas.space.architecture import Architecture
    from se_nas.space.space import SearchSpace

SIZES = (12, 24, 48, 96)
"""Numbers of trials that are designed, both references among them; more trials are taken to be as many times these."""

TIMES = 32
"""Largest multiple of the last."""

COMPARED = ("effects", "random")
"""Strategies whose trials are looked at."""


@dataclass(frozen=True)
class Outlook:
    """What trials of each strategy would tell.

    Attributes:
        sites: number of groups whose effects are meant.
        widths: strategy -> (trials, half of a typical site's 95 % interval), in the unit of the noise.
    """

    sites: int
    widths: dict[str, tuple[tuple[int, float], ...]]

    def trials_for(self, strategy: str, width: float) -> int | None:
        """How many trials make a typical interval so narrow to each side; None if more than were looked at."""
        return Effects("", 0, 0, 0, plan=self.widths[strategy]).trials_for(width)


def foresee(space: SearchSpace, noise: float = 1.0, seed: int = 0) -> Outlook:
    """What searches of a space would tell of SE at each site.

    Args:
        space: with its budgets.
        noise: standard deviation of a trial.
        seed: of the strategies.
    """
    return Outlook(len(space.groups), {name: tuple(_widths(space, name, noise, seed)) for name in COMPARED})


def _widths(space: SearchSpace, name: str, noise: float, seed: int) -> list[tuple[int, float]]:
    references = [space.reference(role) for role in REFERENCES]
    strategy = create_strategy(name, space, parse_objectives(["accuracy", "params"]), seed)
    for reference in references:
        strategy.tell(reference, {"accuracy": 0.0})
    architectures = [*references, *strategy.ask(SIZES[-1] - len(references))]
    whole = len(architectures)
    found = [(size, noise * _width(space, architectures[:size])) for size in SIZES if size <= whole]
    times = 2
    while times <= TIMES:
        found.append((times * whole, noise * _width(space, architectures, times)))
        times *= 2
    return found


def _width(space: SearchSpace, architectures: Sequence[Architecture], times: int = 1) -> float:
    """Half of a typical site's interval for noise of deviation 1, after so many times these trials."""
    trials = [Trial(number, "proposal", each, 0, {}, "complete", {}, {}, number) for number, each in enumerate(architectures)]
    design = make_design(trials, _config(space))
    kept = design.kept
    features, component = design.features(kept), design.component(kept)
    spread = np.array([math.sqrt(features[:, component == each].var(0).sum()) for each in range(component.max(initial=-1) + 1)])
    rows = np.column_stack([np.ones(len(features)), features])
    precision = np.diag(np.concatenate([[1e-6], spread[component] ** 2])) + times * rows.T @ rows
    typical = [index for index, effect in enumerate(design.effects) if effect.field is None]
    sites = [index for index in typical if design.effects[index].group is not None] or typical
    weights: Floats = np.column_stack([np.zeros(len(sites)), design.weights(kept)[sites]])
    return float(np.median(1.96 * np.sqrt((weights @ np.linalg.inv(precision) * weights).sum(1))))


def _config(space: SearchSpace) -> dict[str, Any]:
    """What the design needs to know of the space."""
    from se_nas.space.group import mean_costs

    return {"space": space.to_dict(), "backbone": {"groups": {group.name: {"settings": mean_costs(group)} for group in space.groups}}}
