"""How far one trial can be trusted: from architectures that were tried with several seeds. Needs neither torch nor numpy.

A trial's value is taken as architecture + seed + rest. Within a seed, architectures share the seed's part (paired); between seeds
they do not. The share of the variance between trials that is between architectures is the intraclass correlation, ICC(3,1) paired
and ICC(1,1) unpaired (Shrout and Fleiss 1979, doi 10.1037/0033-2909.86.2.420).
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from statistics import fmean, variance
from typing import Any

from se_nas.run.front import t_quantile
from se_nas.run.trial import Trial

LEAST = 4
"""Architectures below which nothing is said."""

RESAMPLES = 400
"""Of the architectures, for intervals."""

WIDEST = 60
"""Architectures that intervals are computed from at most; more change little and take long."""

POWER = (1.96 + 0.84) ** 2
"""Of a comparison that finds a difference 80 % of the time at an error rate of 5 %: its square in standard errors."""

Row = Mapping[int, float]
"""Seed -> value of one architecture."""


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval, from resampled architectures; NaN bounds where that is not possible."""

    value: float
    low: float
    high: float

    @property
    def positive(self) -> bool:
        """Whether the interval excludes 0 from above."""
        return self.low > 0


@dataclass(frozen=True)
class Reliability:
    """How far one trial of an evaluation can be trusted.

    Attributes:
        architectures: how many were tried.
        repeated: how many of them with several seeds.
        freedom: degrees of freedom of the noise.
        spread: standard deviation between architectures, without noise, in the metric's unit.
        paired: standard deviation of a trial's noise within a seed.
        unpaired: the same where every trial has a seed of its own.
        icc, icc_unpaired: share of the variance between trials that is between architectures, 0..1.
        tau: Kendall's tau of the rankings by two seeds; None if fewer than `LEAST` architectures have both.
        truth: Kendall's tau of the ranking by one seed and by the truth; None without one.
        means: the same of the ranking by the mean of the seeds that all have; None without a truth, or without two such seeds.
    """

    architectures: int
    repeated: int
    freedom: int
    spread: float
    paired: float
    unpaired: float
    icc: Estimate
    icc_unpaired: Estimate
    tau: Estimate | None
    truth: Estimate | None
    means: Estimate | None

    def tells(self, paired: bool = True) -> float:
        """The smallest difference between two architectures with one trial each that is no tie."""
        return t_quantile(self.freedom) * math.sqrt(2) * (self.paired if paired else self.unpaired)

    @property
    def seeds_needed(self) -> float:
        """Paired seeds that tell two typical architectures apart (95 %, 4 times in 5); infinite if they do not differ."""
        return max(1.0, POWER * self.paired**2 / self.spread**2) if self.spread else math.inf


def rows_of(trials: Sequence[Trial], metric: str, fidelity: Mapping[str, int]) -> dict[str, dict[int, float]]:
    """Architecture's id -> seed -> value, of the complete trials of one fidelity."""
    rows: dict[str, dict[int, float]] = {}
    for trial in trials:
        if trial.complete and trial.fidelity == fidelity and metric in trial.values:
            rows.setdefault(trial.architecture.id, {})[trial.seed] = trial.values[metric]
    return rows


def measure(rows: Mapping[str, Row], truth: Mapping[str, Row] | None = None) -> Reliability | None:
    """What trials say of themselves; None if too few architectures, or none of them with several seeds.

    Args:
        rows: architecture -> seed -> value.
        truth: the same of the evaluation that counts in the end; its seeds are averaged.
    """
    values, names = list(rows.values()), list(rows)[:WIDEST]
    found = components(values)
    if len(values) < LEAST or found is None:
        return None
    some = values[:WIDEST]
    icc, unpaired = (_resampled(some, partial(_share, paired=paired)) for paired in (True, False))
    nothing = Estimate(math.nan, math.nan, math.nan)
    right = {name: fmean(row.values()) for name, row in (truth or {}).items() if row}
    judged = [name for name in names if name in right]
    common = set[int]().union(*rows.values()).intersection(*(rows[name] for name in judged))
    return Reliability(
        len(values),
        sum(len(row) > 1 for row in values),
        found.freedom,
        math.sqrt(found.between),
        math.sqrt(found.residual),
        math.sqrt(found.within),
        icc or nothing,
        unpaired or nothing,
        _resampled(some, _between_seeds),
        _resampled([(rows[name], right[name]) for name in judged], _against) if len(judged) >= LEAST else None,
        agreement([(fmean(rows[name][seed] for seed in common), right[name]) for name in judged]) if len(common) > 1 else None,
    )


@dataclass(frozen=True)
class Components:
    """Variances of a trial: between architectures, of the rest within a seed, and of all within an architecture."""

    between: float
    residual: float
    within: float
    freedom: int

    def icc(self, paired: bool) -> float:
        total = self.between + (self.residual if paired else self.within)
        return self.between / total if total else 0.0


def components(rows: Sequence[Row]) -> Components | None:
    """Variances by the method of moments, from tables with gaps too; None without repeated seeds or several architectures.

    For a full table they are those of the analysis of variance.
    """
    repeated = [row for row in rows if len(row) > 1]
    seeds = sorted({seed for row in repeated for seed in row})
    freedom = sum(map(len, repeated)) - len(repeated) - len(seeds) + 1
    columns = [column for seed in {s for row in rows for s in row} if len(column := [row[seed] for row in rows if seed in row]) > 1]
    if not repeated or freedom < 1 or not columns:
        return None
    within = sum(variance(row.values()) * (len(row) - 1) for row in repeated) / sum(len(row) - 1 for row in repeated)
    effects = _seed_effects(repeated, seeds)
    rests = [[value - effects[seed] for seed, value in row.items()] for row in repeated]
    residual = sum(variance(rest) * (len(rest) - 1) for rest in rests) / freedom
    total = sum(variance(column) * (len(column) - 1) for column in columns) / sum(len(column) - 1 for column in columns)
    return Components(max(0.0, total - residual), residual, within, freedom)


def paired_difference(row: Row, reference: Row, noise: Components) -> tuple[float, float, int] | None:
    """Mean difference from a reference within the seeds that both have, half its 95 % interval, and their number."""
    common = sorted(row.keys() & reference.keys())
    if not common:
        return None
    half = t_quantile(noise.freedom) * math.sqrt(2 * noise.residual / len(common))
    return fmean(row[seed] - reference[seed] for seed in common), half, len(common)


def agreement(pairs: Sequence[tuple[float, float]]) -> Estimate | None:
    """Kendall's tau of two values of each architecture; None for fewer than `LEAST`, or where one of both is constant."""
    boxed = [({0: first}, second) for first, second in pairs]
    return _resampled(boxed, _against) if len(boxed) >= LEAST else None


def kendall(a: Sequence[float], b: Sequence[float], units: Sequence[int] | None = None) -> float | None:
    """Kendall's tau-b; None if one of both is constant. Pairs of one unit, drawn twice by a resampling, are left out."""
    units = units or range(len(a))
    up = down = ties_a = ties_b = 0
    for i, j in combinations(range(len(a)), 2):
        if units[i] == units[j]:
            continue
        x, y = a[i] - a[j], b[i] - b[j]
        up += x * y > 0
        down += x * y < 0
        ties_a += x == 0 and y != 0
        ties_b += y == 0 and x != 0
    scale = math.sqrt((up + down + ties_a) * (up + down + ties_b))
    return (up - down) / scale if scale else None


def _seed_effects(rows: Sequence[Row], seeds: Sequence[int]) -> dict[int, float]:
    """Least squares of architecture + seed, by turns: exact at once for a full table, soon with gaps."""
    effects = dict.fromkeys(seeds, 0.0)
    for _ in range(50):
        means = [fmean(value - effects[seed] for seed, value in row.items()) for row in rows]
        new = {seed: fmean(row[seed] - mean for row, mean in zip(rows, means, strict=True) if seed in row) for seed in seeds}
        moved = max(abs(new[seed] - effects[seed]) for seed in seeds)
        effects = new
        if moved <= 1e-12 * max(map(abs, means), default=1.0):
            break
    return effects


def _share(rows: Sequence[Row], paired: bool) -> float | None:
    found = components(rows)
    return found.icc(paired) if found else None


def _between_seeds(rows: Sequence[Row]) -> float | None:
    """Mean tau over all pairs of seeds that enough architectures have both."""
    units = _units(rows)
    taus = []
    for first, second in combinations(sorted({seed for row in rows for seed in row}), 2):
        both = [i for i, row in enumerate(rows) if first in row and second in row]
        if len(both) >= LEAST:
            taus.append(kendall([rows[i][first] for i in both], [rows[i][second] for i in both], [units[i] for i in both]))
    known = [tau for tau in taus if tau is not None]
    return fmean(known) if known else None


def _against(pairs: Sequence[tuple[Row, float]]) -> float | None:
    """Mean tau, over the seeds, of one trial's ranking and the truth's."""
    units = _units([row for row, _ in pairs])
    taus = []
    for seed in sorted({seed for row, _ in pairs for seed in row}):
        some = [i for i, (row, _) in enumerate(pairs) if seed in row]
        if len(some) >= LEAST:
            taus.append(kendall([pairs[i][0][seed] for i in some], [pairs[i][1] for i in some], [units[i] for i in some]))
    known = [tau for tau in taus if tau is not None]
    return fmean(known) if known else None


def _units(rows: Sequence[Row]) -> list[int]:
    """A number for each architecture: the same for what a resampling drew twice."""
    return [id(row) for row in rows]


def _resampled(units: Sequence[Any], statistic: Callable[[Sequence[Any]], float | None]) -> Estimate | None:
    """A statistic with its bootstrap interval over the units; None where it cannot be computed."""
    value = statistic(units)
    if value is None:
        return None
    rng = random.Random(0)
    drawn = (statistic(rng.choices(units, k=len(units))) for _ in range(RESAMPLES))
    found = sorted(each for each in drawn if each is not None)
    if len(found) < RESAMPLES // 2:
        return Estimate(value, math.nan, math.nan)
    return Estimate(value, found[round(0.025 * (len(found) - 1))], found[round(0.975 * (len(found) - 1))])
