"""One number from several objectives: NNI's strategies maximise a single number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from se_nas.goals.objective import Objective
from se_nas.goals.trade import PARETO, Trade

WEIGHT = 0.07
"""Weight of each objective after the first. Twice the plain backbone's parameters cost 0.07 of accuracy, for instance.

It is the exponent of MnasNet's reward (Tan et al. 2019, section 3.1). Here it weights a sum instead of a product, so that
objectives may be zero or negative.
"""


@dataclass(frozen=True)
class Reward:
    """The number that NNI maximises.

    If the search trades its objectives for one value, it is that value (`se_nas.goals.trade`). In a Pareto search it is the
    first objective minus a penalty for each further one: `WEIGHT` times how much worse it is than the plain backbone's,
    as a share of the plain backbone's.

    Attributes:
        objectives: of the search.
        plain: metrics and costs of the plain backbone.
        trade: how the search trades its objectives.
    """

    objectives: Sequence[Objective]
    plain: Mapping[str, float]
    trade: Trade = PARETO

    def __call__(self, values: Mapping[str, float]) -> float:
        if self.trade.kind != "pareto":
            return -self.trade.loss(self.objectives, values)
        first, *others = self.objectives
        return -first.loss(values[first.name]) - sum(WEIGHT * self._excess(objective, values[objective.name]) for objective in others)

    def _excess(self, objective: Objective, value: float) -> float:
        plain = self.plain.get(objective.name, 0.0)
        return (objective.loss(value) - objective.loss(plain)) / (abs(plain) or 1.0)

    def __str__(self) -> str:
        first, *others = self.objectives
        if self.trade.kind == "weighted":
            powers = [f"({name} / {target:,g}) ^ {self.trade.weight:g}" for name, target in self.trade.targets.items()]
            return " x ".join([first.name, *powers])
        if self.trade.kind == "constrained":
            others = []
        terms = [f"{'-' if first.direction == 'min' else ''}{first.name}"]
        for objective in others:
            plain = self.plain.get(objective.name, 0.0)
            share = f"({objective.name} / {plain:,g} - 1)" if plain > 0 else f"{objective.name}"
            terms.append(f"{'-' if objective.direction == 'min' else '+'} {WEIGHT:g} {share}")
        return " ".join(terms)
