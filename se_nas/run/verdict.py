"""The verdict of a confirmation: which finalists are better than the references, from fresh paired seeds. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from se_nas.goals.objective import Objective
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
        failed: names of those that failed; their seeds are left out for all, unless they failed with every seed.
    """

    metric: str
    test: bool
    epochs: int
    seeds: tuple[int, ...]
    planned: int
    rows: tuple[Confirmed, ...]
    failed: tuple[str, ...]

    @property
    def complete(self) -> bool:
        return len(self.seeds) == self.planned

    @property
    def finalists(self) -> tuple[Confirmed, ...]:
        return tuple(row for row in self.rows if row.name not in REFERENCES)

    def to_json(self) -> dict[str, Any]:
        rows = [{**asdict(row), "architecture": row.architecture.to_json(), "mean": row.mean} for row in self.rows]
        correction = "Dunnett, two-sided 95 %, seeds as blocks"
        return {**vars(self), "complete": self.complete, "correction": correction, "rows": rows}


def judge(confirmation: Mapping[str, Any], trials: Sequence[Trial], measured: Objective) -> Verdict:
    """The verdict of these trials.

    Args:
        confirmation: what ``run.yaml`` says of it: ``architectures`` (name -> JSON), ``seeds``, ``epochs``.
        trials: those with role ``confirm``.
        measured: what is compared: on the test split, where all trials have scores there.
    """
    architectures = {name: Architecture.from_json(data) for name, data in confirmation["architectures"].items()}
    names = {architecture.id: name for name, architecture in architectures.items()}
    done = [trial for trial in trials if trial.complete]
    test_metric = f"test_{measured.name}"
    test = bool(done) and all(test_metric in trial.metrics for trial in done)
    scores: dict[str, dict[int, float]] = {name: {} for name in architectures}
    costs: dict[str, Mapping[str, float]] = {name: {} for name in architectures}
    for trial in trials:
        name = names[trial.architecture.id]
        costs[name] = {key: trial.costs[key] for key in trial.costs if key not in UNSEEN}
        if trial.complete:
            scores[name][trial.seed] = trial.metrics[test_metric if test else measured.name]
    failed = dict.fromkeys(names[trial.architecture.id] for trial in trials if not trial.complete)
    hopeless = {name for name in failed if not scores[name]}
    left = [name for name in architectures if name not in hopeless]
    seeds = [seed for seed in confirmation["seeds"] if all(seed in scores[name] for name in left)]
    values = {name: tuple(scores[name][seed] for seed in seeds) for name in left}
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
    return Verdict(measured.name, test, confirmation["epochs"], tuple(seeds), planned, tuple(rows), tuple(failed))


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
