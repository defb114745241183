"""The result of a run's trials: each architecture's mean, the noise between seeds, and the front. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist

from se_nas.goals.objective import Objective
from se_nas.goals.trade import PARETO, Trade
from se_nas.run.trial import Trial
from se_nas.space.architecture import Architecture


@dataclass(frozen=True)
class Entry:
    """One architecture with all its complete trials of one fidelity (one trial for each seed).

    Attributes:
        trials: the trials, in the order in which they ended.
        values: costs, and the mean of each metric over the trials.
    """

    trials: tuple[Trial, ...]
    values: Mapping[str, float]

    @property
    def architecture(self) -> Architecture:
        return self.trials[0].architecture

    @property
    def role(self) -> str:
        return self.trials[0].role

    @property
    def number(self) -> int:
        """Number of its first trial, which names the architecture on the command line."""
        return self.trials[0].number


@dataclass(frozen=True)
class Noise:
    """How much a metric varies between trials of one architecture.

    Attributes:
        deviation: standard deviation of a single trial, in the metric's unit.
        freedom: degrees of freedom of that estimate.
        source: what the estimate comes from, in words.
    """

    deviation: float
    freedom: int
    source: str

    def band(self, a: int, b: int) -> float:
        """Largest difference between the means of a and of b trials that is still a tie (Student's 95 % interval around 0)."""
        return t_quantile(self.freedom) * self.deviation * math.sqrt(1 / a + 1 / b)

    def ties(self, a: Entry, b: Entry, metric: str) -> bool:
        """Whether noise explains the difference between two architectures."""
        return abs(a.values[metric] - b.values[metric]) <= self.band(len(a.trials), len(b.trials))


def t_quantile(freedom: int) -> float:
    """97.5 % quantile of Student's t. Exact up to 10 degrees of freedom, then Cornish and Fisher's expansion (error at most 0.01)."""
    exact = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
    if freedom <= len(exact):
        return exact[freedom - 1]
    z = NormalDist().inv_cdf(0.975)
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


@dataclass(frozen=True)
class Front:
    """The result of a search so far.

    Attributes:
        objectives: the search's objectives.
        entries: every architecture with a complete trial at the run's fidelity.
        front: entries within the budgets that no other such entry dominates, cheapest first.
        references: ``plain`` and ``paper``, once they are trained. They need not meet the budgets.
        noise: noise of the first measured objective; None if there is no estimate.
        trade: how the objectives are traded.
    """

    objectives: tuple[Objective, ...]
    entries: tuple[Entry, ...]
    front: tuple[Entry, ...]
    references: Mapping[str, Entry]
    noise: Noise | None
    trade: Trade = PARETO

    @property
    def measured(self) -> Objective | None:
        """The first objective that must be measured; None if all are known."""
        return next((objective for objective in self.objectives if not objective.known), None)

    def best(self) -> Entry | None:
        """The best of the front in the first objective (or in the weighted value). Of equals, the cheapest."""
        return min(self.front, key=lambda entry: self.trade.loss(self.objectives, entry.values), default=None)

    def tied(self, a: Entry, b: Entry) -> bool:
        """Whether noise hides the difference between two architectures in the measured objective."""
        return self.noise is not None and self.measured is not None and self.noise.ties(a, b, self.measured.name)
