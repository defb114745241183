"""The verdict of a confirmation: which finalists are better than the references, from fresh paired seeds. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from se_nas.goals.objective import Objective
from se_nas.run.race import Race, hold_race
from se_nas.run.trial import Trial
from se_nas.space.architecture import REFERENCES, Architecture

if TYPE_CHECKING:
    import numpy.typing as npt

UNSEEN = ("elementwise", "reductions", "bytes")
"""Costs that no verdict tells."""


@dataclass(frozen=True)
class Difference:
    """How much better than a reference, in the metric's unit; positive is better.

    Attributes:
        estimate: mean of the differences within a seed.
        low: lower end of the interval. All intervals against one reference hold together in 95 of 100 confirmations.
        high: upper end.
    """

    estimate: float
    low: float
    high: float

    @property
    def told(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class Confirmed:
    """A finalist or a reference.

    Attributes:
        name: ``plain``, ``paper``, ``trial 17``, ``best predicted`` or ``no site that does not pay``.
        architecture: its choices.
        costs: parameters and MACs.
        scores: the metric of each seed that all have completed.
        over_plain: None for plain itself, and before two seeds are complete.
        over_paper: None for the references, and before two seeds are complete.
    """

    name: str
    architecture: Architecture
    costs: Mapping[str, float]
    scores: tuple[float, ...] = ()
    over_plain: Difference | None = None
    over_paper: Difference | None = None

    @property
    def mean(self) -> float | None:
        return sum(self.scores) / len(self.scores) if self.scores else None


@dataclass(frozen=True)
class Verdict:
    """What a confirmation says so far.

    Attributes:
        metric: what is compared.
        test: whether that is on the test split.
        epochs: of each training.
        seeds: that all have completed.
        planned: seeds.
        rows: the references, then the finalists.
        failed: names of those that failed; their seeds are left out for all, unless they failed with every seed. They leave
            a race.
        race: who is still in it, if it is one.
    """

    metric: str
    test: bool
    epochs: int
    seeds: tuple[int, ...]
    planned: int
    rows: tuple[Confirmed, ...]
    failed: tuple[str, ...]
    race: Race | None = None

    @property
    def complete(self) -> bool:
        return len(self.seeds) == self.planned or (self.race is not None and self.race.over)

    @property
    def finalists(self) -> tuple[Confirmed, ...]:
        return tuple(row for row in self.rows if row.name not in REFERENCES)

    def to_json(self) -> dict[str, Any]:
        rows = [{**asdict(row), "architecture": row.architecture.to_json(), "mean": row.mean} for row in self.rows]
        correction = "Bonferroni and Lan-DeMets" if self.race else "Dunnett"
        race = {"left": self.race.left, "out": self.race.out} if self.race else None
        correction = f"{correction}, two-sided 95 %, seeds as blocks"
        return {**vars(self), "complete": self.complete, "correction": correction, "rows": rows, "race": race}


def judge(confirmation: Mapping[str, Any], trials: Sequence[Trial], measured: Objective) -> Verdict:
    """The verdict of these trials.

    Args:
        confirmation: what ``run.yaml`` says of it: ``architectures`` (name -> JSON), ``seeds``, ``epochs``.
        trials: those with role ``confirm``.
        measured: what is compared: on the test split, where all trials have scores there.
    """
    architectures = {name: Architecture.from_json(data) for name, data in confirmation["architectures"].items()}
    names = {architecture.id: name for name, architecture in architectures.items()}
    test = on_test_split(trials, measured)
    costs: dict[str, Mapping[str, float]] = {name: {} for name in architectures}
    for trial in trials:
        costs[names[trial.architecture.id]] = {key: trial.costs[key] for key in trial.costs if key not in UNSEEN}
    known = scores(confirmation, trials, measured)
    failed = dict.fromkeys(names[trial.architecture.id] for trial in trials if not trial.complete)
    race = race_so_far(confirmation, trials, measured) if confirmation.get("race") else None
    if race:
        seeds = list(race.looks)
        counts = {name: race.out.get(name) or len(seeds) for name in architectures}
        values = {name: tuple(v for seed in seeds[: counts[name]] if (v := of.get(seed)) is not None) for name, of in known.items()}
        against = {reference: _gains(race, reference) for reference in REFERENCES}
    else:
        left = [name for name in architectures if name not in failed or any(v is not None for v in known[name].values())]
        seeds = [seed for seed in confirmation["seeds"] if all(known[name].get(seed) is not None for name in left)]
        values = {name: tuple(v for seed in seeds if (v := known[name][seed]) is not None) for name in left}
        against = {reference: differences(values, reference, measured) if reference in values else {} for reference in REFERENCES}
    rows = [
        Confirmed(
            name,
            architecture,
            costs[name],
            values.get(name, ()),
            against["plain"].get(name),
            against["paper"].get(name) if name not in REFERENCES else None,
        )
        for name, architecture in architectures.items()
    ]
    planned = len(confirmation["seeds"])
    return Verdict(measured.name, test, confirmation["epochs"], tuple(seeds), planned, tuple(rows), tuple(failed), race)


def on_test_split(trials: Sequence[Trial], measured: Objective) -> bool:
    """Whether all that are complete have scores on the test split."""
    done = [trial for trial in trials if trial.complete]
    return bool(done) and all(f"test_{measured.name}" in trial.metrics for trial in done)


def scores(confirmation: Mapping[str, Any], trials: Sequence[Trial], measured: Objective) -> dict[str, dict[int, float | None]]:
    """Name -> seed -> the metric that is compared; None for a training that failed."""
    names = {Architecture.from_json(data).id: name for name, data in confirmation["architectures"].items()}
    metric = f"test_{measured.name}" if on_test_split(trials, measured) else measured.name
    found: dict[str, dict[int, float | None]] = {name: {} for name in names.values()}
    for trial in trials:
        found[names[trial.architecture.id]][trial.seed] = trial.metrics[metric] if trial.complete else None
    return found


def race_so_far(confirmation: Mapping[str, Any], trials: Sequence[Trial], measured: Objective) -> Race:
    """Where the race of these trials stands."""
    known = scores(confirmation, trials, measured)
    better = {name: {seed: None if v is None else -measured.loss(v) for seed, v in of.items()} for name, of in known.items()}
    return hold_race(better, confirmation["seeds"], REFERENCES)


def _gains(race: Race, reference: str) -> dict[str, Difference]:
    told = {name: of[reference] for name, of in race.gains.items() if reference in of}
    return {name: Difference(gain, gain - half, gain + half) for name, (gain, half) in told.items()}


def differences(values: Mapping[str, Sequence[float]], reference: str, measured: Objective) -> dict[str, Difference]:
    """Simultaneous 95 % intervals of everyone's difference from a reference; empty below two seeds, or with nothing to compare.

    Dunnett's intervals (1955) in a design of blocks: a seed is a block, and what seeds have in common cancels. The noise is
    that of all of them together, what is left of the values after means by name and by seed.

    Args:
        values: name -> the metric of each seed, all of the same seeds.
        reference: one of the names.
        measured: which way is better.
    """
    import numpy as np

    # finalists only are compared with paper: the family of a reference has no member that is asked of another one
    others = [name for name in values if name != reference and not (reference == "paper" and name == "plain")]
    table = np.array([[-measured.loss(value) for value in row] for row in values.values()])
    count = table.shape[1] if table.ndim == 2 else 0
    if count < 2 or not others:
        return {}
    freedom = (len(table) - 1) * (count - 1)
    rest = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    half = dunnett_quantile(len(others), freedom) * float(np.sqrt(2 * (rest**2).sum() / freedom / count))
    means = dict(zip(values, table.mean(1).tolist(), strict=True))
    gains = {name: means[name] - means[reference] for name in others}
    return {name: Difference(gain, gain - half, gain + half) for name, gain in gains.items()}


@cache
def dunnett_quantile(count: int, freedom: int, share: float = 0.95) -> float:
    """The value that the largest of |t| stays below with probability ``share``, for comparisons of so many with one reference.

    The statistics share the reference, so each two of them correlate by 1/2, and the estimate of the noise.
    """
    import numpy as np
    from scipy.special import chdtri, ndtr

    nodes, weights = np.polynomial.hermite_e.hermegauss(60)
    weights = weights / weights.sum()
    levels = (np.arange(2000) + 0.5) / 2000
    deviations = np.sqrt(chdtri(freedom, levels) / freedom)[:, None]

    def below(value: float) -> float:
        shift: npt.NDArray[np.float64] = np.sqrt(2) * value * deviations
        within = (ndtr(nodes + shift) - ndtr(nodes - shift)) ** count
        return float((within @ weights).mean())

    low, high = 0.0, 1.0
    while below(high) < share:
        high *= 2
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if below(middle) < share else (low, middle)
    return (low + high) / 2
