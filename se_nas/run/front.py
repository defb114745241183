"""What a run's trials say: each architecture's mean, the noise between seeds, the front, and gains over the references.

Needs no torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist, fmean, variance

from se_nas.goals.objective import Objective, pareto
from se_nas.goals.trade import PARETO, Trade
from se_nas.run.trial import Trial
from se_nas.space.architecture import Architecture


@dataclass(frozen=True)
class Entry:
    """One architecture with all its complete trials of one fidelity (one trial a seed).

    Attributes:
        trials: in the order in which they ended.
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
        """Number of the first of its trials, by which a person names it."""
        return self.trials[0].number


@dataclass(frozen=True)
class Noise:
    """How much a metric varies between trials of one architecture.

    Attributes:
        deviation: standard deviation of a single trial.
        freedom: degrees of freedom of that estimate.
        source: what it was estimated from.
    """

    deviation: float
    freedom: int
    source: str

    def band(self, a: int, b: int) -> float:
        """Means of a and b trials that differ by no more than this are a tie: Student's 95 % interval of a difference of 0."""
        return t_quantile(self.freedom) * self.deviation * math.sqrt(1 / a + 1 / b)

    def ties(self, a: Entry, b: Entry, metric: str) -> bool:
        """Whether noise explains the difference of two means."""
        return abs(a.values[metric] - b.values[metric]) <= self.band(len(a.trials), len(b.trials))


def t_quantile(freedom: int) -> float:
    """97.5 % quantile of Student's t: exact for few degrees of freedom, else Cornish and Fisher's expansion (off by 0.01 at most)."""
    exact = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
    if freedom <= len(exact):
        return exact[freedom - 1]
    z = NormalDist().inv_cdf(0.975)
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)


@dataclass(frozen=True)
class Front:
    """The state of a search.

    Attributes:
        objectives: as searched.
        entries: every architecture with a complete trial at the run's fidelity.
        front: those within the budgets that none dominates, cheapest first.
        references: ``plain`` and ``paper``, once they are trained; they need not meet the budgets.
        noise: of the first measured objective, if it can be told.
        trade: of the objectives.
    """

    objectives: tuple[Objective, ...]
    entries: tuple[Entry, ...]
    front: tuple[Entry, ...]
    references: Mapping[str, Entry]
    noise: Noise | None
    trade: Trade = PARETO

    @property
    def measured(self) -> Objective | None:
        """The first objective that training decides."""
        return next((objective for objective in self.objectives if not objective.known), None)

    def best(self) -> Entry | None:
        """The front's best in the first objective, or in the weighted value; of equals, the cheapest."""
        return min(self.front, key=lambda entry: self.trade.loss(self.objectives, entry.values), default=None)

    def tied(self, a: Entry, b: Entry) -> bool:
        """Whether the two cannot be told apart in the measured objective."""
        return self.noise is not None and self.measured is not None and self.noise.ties(a, b, self.measured.name)


def make_front(
    trials: Sequence[Trial],
    objectives: Sequence[Objective],
    limits: Mapping[str, int],
    fidelity: Mapping[str, int],
    validation_images: int | None = None,
    trade: Trade = PARETO,
) -> Front:
    """The front of complete trials of one fidelity.

    Args:
        trials: the ledger.
        objectives: what to trade.
        limits: largest value allowed for each known cost with a budget.
        fidelity: others are left out.
        validation_images: size of the validation split, if that is what accuracy is measured on.
        trade: which of the front is best.
    """
    by_architecture: dict[Architecture, list[Trial]] = {}
    for trial in trials:
        if trial.complete and trial.fidelity == fidelity and all(o.name in trial.values for o in objectives):
            by_architecture.setdefault(trial.architecture, []).append(trial)
    entries = tuple(_entry(group) for group in by_architecture.values())
    feasible = [entry for entry in entries if all(entry.values[metric] <= limit for metric, limit in limits.items())]
    best = [feasible[i] for i in pareto([entry.values for entry in feasible], objectives)]
    best.sort(key=lambda entry: (entry.values.get("params", 0), entry.values.get("macs", 0), entry.number))
    references = {trial.role: entry for entry in entries for trial in entry.trials if trial.role != "proposal"}
    measured = next((objective for objective in objectives if not objective.known), None)
    noise = _noise(entries, measured.name, references.get("plain"), validation_images) if measured else None
    return Front(tuple(objectives), entries, tuple(best), references, noise, trade)


def _entry(trials: Sequence[Trial]) -> Entry:
    metrics = set.intersection(*(set(trial.metrics) for trial in trials))
    means = {name: fmean(trial.metrics[name] for trial in trials) for name in sorted(metrics)}
    return Entry(tuple(trials), {**trials[0].costs, **means})


def _noise(entries: Sequence[Entry], metric: str, plain: Entry | None, images: int | None) -> Noise | None:
    """Pooled deviation over repeated seeds; without any, the sampling error of the validation split."""
    repeated = [[trial.metrics[metric] for trial in entry.trials] for entry in entries if len(entry.trials) > 1]
    if repeated:
        freedom = sum(len(values) - 1 for values in repeated)
        pooled = sum(variance(values) * (len(values) - 1) for values in repeated) / freedom
        runs = sum(len(values) for values in repeated)
        return Noise(math.sqrt(pooled), freedom, f"{runs} trials of {len(repeated)} architectures with several seeds")
    if metric == "accuracy" and images and plain:
        p = plain.values[metric]
        source = f"a rough guide, the sampling error of {images:,} validation images: no seed was repeated"
        return Noise(math.sqrt(p * (1 - p) / images), images, source)
    return None
