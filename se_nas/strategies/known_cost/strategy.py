"""The strategy ``known-cost``: Bayesian search that models only measured objectives, and uses known costs exactly.

Sources:

- Expected hypervolume improvement: Emmerich et al. (2011), Yang et al. (2019); here exact along known objectives.
- Candidates by mutation of the front: White et al. (2021, BANANAS, arXiv 1910.11858), who found that no cleverer optimisation
  of the acquisition does better.
- Batches that take the mean for what is pending: Ginsbourger et al. (2010, the kriging believer).
- Covariance over categorical choices: Baptista and Poloczek (2018, linear and second order), Ru et al. (2020, Hamming distance).
- Repeats by the knowledge gradient: Frazier et al. (2009).
- Our own: known costs as features of the model, and first trials that are spread over the known costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from se_nas.goals.objective import Objective
from se_nas.strategies.base import Strategy
from se_nas.strategies.domain.base import Floats, Ints
from se_nas.strategies.known_cost.axes import KNOWN_SHARE, MEASURED_SHARE, Axis, choose_axis
from se_nas.strategies.known_cost.features import Features
from se_nas.strategies.known_cost.improvement import expected_improvement, moves, worth_again
from se_nas.strategies.known_cost.screen import Screen
from se_nas.strategies.known_cost.surrogate import Surrogate
from se_nas.strategies.ranking import first_front

FIRST = 10
"""Number of trials before the first model."""

POOL = 20_000
"""Number of candidates to score for a batch: half drawn at random, half bred from the front."""

WHOLE = 5
"""A space of up to this many times `POOL` architectures is scored as a whole."""

WORK = 4_000_000
"""Limit of candidates x trials: with many trials there are fewer candidates."""

SHORT = 400
"""Number of best candidates that are scored again for each further place of the batch."""

CHUNK = 1024
"""Number of candidates scored together."""

EXACT = 512
"""Number of candidates that get an exact score together, those with the highest bounds first."""

BELIEVED = 64
"""Largest number of pending trials that are treated as if their expectation had come true; of more, the latest."""

PRIOR_SURE = 0.1
"""A prior mean is assumed to be wrong by at least this share of the values' standard deviation."""

KINDS = ("constant", "linear", "near", "costs", "near costs")


class KnownCostStrategy(Strategy):
    """Proposes the architecture that is expected to add most hypervolume to the front.

    The first trials are spread from cheap to dear. Then a Gaussian process (`se_nas.strategies.known_cost.surrogate`) is fitted
    to each measured objective, many candidates are scored by expected hypervolume improvement, and the best is proposed. For the
    next place of a batch, pending trials count as if their expectation had come true. The reference point is chosen from the
    first trials. Positive quantities that spread widely are measured by their logarithms.

    Once noise can be estimated (an architecture was told twice), members of the front may be proposed again, for a trial with
    another seed (see `se_nas.strategies.known_cost.improvement`).

    Args:
        space: see `Strategy`.
        objectives: see `Strategy`.
        seed: see `Strategy`.
        first: number of trials before the first model.
        pool: number of candidates to score for a batch.
        repeats: largest number of trials of one architecture; with 1, nothing is proposed twice.
        prior: prior mean of the first measured objective, in its own unit: a function from codes, shape (n, genes), to values,
            shape (n,). Only differences matter; a constant has no effect.
    """

    OPTIONS = ("first", "pool", "repeats", "prior")

    def __init__(
        self,
        space: Any,
        objectives: Sequence[Objective],
        seed: int = 0,
        first: int = FIRST,
        pool: int = POOL,
        repeats: int = 1,
        prior: Callable[[Ints], Floats] | None = None,
    ) -> None:
        super().__init__(space, objectives, seed)
        self._first, self._pool, self._repeats, self._prior = first, pool, repeats, prior
        self._features = Features(self.domain, np.random.default_rng([seed, 1]))
        self._models = {i: Surrogate(self._features.layout, KINDS) for i, o in enumerate(self.objectives) if not o.known}
        self._base_losses = self.known_losses(self._features.base)
        self._start: Ints | None = None
        self._learned_from: tuple[int, ...] = ()
        self._short: tuple[int, Ints] | None = None
        self._believed: object = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_believed": None}  # models forget what they are conditioned on

    def propose(self, rng: np.random.Generator) -> Ints | None:
        codes, losses, _ = self.finished
        number = len(self.seen)
        if number < self._first or len(codes) < min(self._first, 4):
            return self._spread(number)
        if self._short is None or self._short[0] != self._times:
            self._learn()
            self._believe()
            short, scores = self.best(self._candidates(codes, losses, rng), SHORT)
            self._short = (self._times, short)
        else:
            self._believe()
            short = self._short[1]
            short = short[[not self.is_seen(row) for row in short]] if len(short) else short
            scores = self.score(short)
        if not len(short):
            return None
        if (again := self._again(short)) is not None:
            return again
        best: Ints = short[int(np.argmax(scores))] if scores.max() > 0 else short[rng.integers(len(short))]
        return best

    def _spread(self, number: int) -> Ints | None:
        """The first trials: one from each stratum of cost, in random order, each as different as possible from those before."""
        if self._start is None:
            rng = np.random.default_rng([self.seed, 2])
            drawn = self._features.tilted(rng, 3000)
            if len(drawn) < 4 * self._first:
                drawn = np.concatenate([drawn, self.domain.sample(rng, 4 * self._first)])
            size = self._features.costs(drawn).sum(1) if len(self._features.costs(drawn[:1])[0]) else np.arange(len(drawn))
            order = np.argsort(size, kind="stable")[len(drawn) // 20 :]
            self._start = drawn[self._unlike(drawn, np.array_split(order, self._first), rng)]
        return self._start[number] if number < len(self._start) else None

    def _unlike(self, codes: Ints, strata: Sequence[Ints], rng: np.random.Generator) -> list[int]:
        """Indices of one architecture from each stratum: the one on which a linear model is least certain (greedy D-optimal design)."""
        layout = self._features.layout
        rows = self._features.rows(codes)
        rows = np.concatenate([rows[:, part] / max(1, part.stop - part.start) ** 0.5 for part in (layout.choices, layout.costs)], 1)
        known, taken = np.eye(rows.shape[1]), list[int]()
        for stratum in rng.permutation(len(strata)):
            some = rng.choice(strata[stratum], min(len(strata[stratum]), 100), replace=False)
            taken.append(int(some[np.argmax((rows[some] @ np.linalg.inv(known) * rows[some]).sum(1))]))
            known += 10 * np.outer(rows[taken[-1]], rows[taken[-1]])
        return taken

    def _learn(self) -> None:
        """Choose axes and fit models. Weights are learned again whenever the number of results has grown by a twelfth.

        The steps depend only on the number of results. So a search that resumes from its ledger learns the same.
        """
        codes, losses, trials = self.finished
        self._codes_done, self._trials = codes, trials
        self._rows = self._features.rows(codes, 1 / trials)
        self._axes = [self._axis(i, losses[:, i]) for i in range(len(self.objectives))]
        self._values = np.stack([self._turned(i, codes, losses[:, i]) for i in range(len(self._axes))], 1)
        self._gains = np.stack([axis.gain(losses[:, i]) for i, axis in enumerate(self._axes)], 1)
        step = (_last_step(len(self.told)), *(axis.log for axis in self._axes))
        self._first_rows = len(codes) - (len(self.told) - max(step[0], self.told.repeated))
        if step != self._learned_from:
            self._learned_from = step
            for i, model in self._models.items():
                codes, losses, trials = self.told.after(step[0])
                model.least = self._least(i, losses)
                model.learn(self._features.rows(codes, 1 / trials), self._turned(i, codes, losses[:, i]), self._noise(i, step[0]))
        for i, model in self._models.items():
            model.least = self._least(i, self.finished[1])

    def _least(self, i: int, losses: Floats) -> float:
        """The model's smallest scale: a prior mean that fits all results so far may still be wrong elsewhere."""
        return PRIOR_SURE * float(self._axes[i].turn(losses[:, i]).std()) if self._prior else 0.0

    def _turned(self, i: int, codes: Ints, losses: Floats) -> Floats:
        """What the model learns: losses on the objective's axis, minus the prior mean."""
        return self._axes[i].turn(losses) - self._expected(i, codes)

    def _expected(self, i: int, codes: Ints) -> Floats:
        """The prior mean on the objective's axis, shape (n,); 0 if there is none."""
        if self._prior is None or i != min(self._models) or not len(codes):
            return np.zeros(len(codes))
        return self._axes[i].turn(self.objectives[i].loss(1.0) * np.asarray(self._prior(codes), float))

    def _noise(self, i: int, results: int) -> float | None:
        """Standard deviation of a trial, pooled over architectures that were told more than once; None if there are none."""
        squares, freedom = self.told.spread(self._axes[i].turn(self.told.losses(results)[:, i]), results)
        return float(np.sqrt(squares / freedom)) if freedom else None

    def may_repeat(self, codes: Ints) -> bool:
        key = codes.tobytes()
        return key not in self._pending and 0 < self.told.number(key) < self._repeats

    def _again(self, short: Ints) -> Ints | None:
        """The member of the front whose repeat is worth more than the best new architecture; None if there is none."""
        if self._repeats < 2:
            return None
        results = len(self.told)
        noise = [0.0 if o.known else self._noise(i, results) for i, o in enumerate(self.objectives)]
        if any(n is None for n in noise) or not any(noise):
            return None
        codes = self._codes_done
        means, _ = self._predict(codes, deviations=False)
        means[~self.told.within] = -1.0
        front = np.flatnonzero(first_front(-means))
        allowed = np.array([place for place in front if (means[place] > 0).all() and self.may_repeat(codes[place])], np.int64)
        if not len(allowed):
            return None
        _, sure = self._predict(codes[allowed])
        spread = [float(n or 0.0) for n in noise]
        place, worth = worth_again(means, moves(sure, spread), allowed)
        if place < 0:
            return None
        new, deviations = self._predict(short)
        most = expected_improvement(new, moves(deviations, spread), means[front]).max()
        found: Ints = codes[place]
        return found if worth > most else None

    def _axis(self, i: int, losses: Floats) -> Axis:
        objective = self.objectives[i]
        if objective.known:
            spread = self._base_losses[:, self._known.index(i)]
            return choose_axis(objective, spread, losses, self._limits[i], KNOWN_SHARE)
        return choose_axis(objective, losses[: self._first], losses, self._limits[i], MEASURED_SHARE)

    def _believe(self) -> None:
        """Condition the models on the results, and on the expectation of what is pending."""
        state = (self._times, *self._pending)
        if state == self._believed:
            return
        self._believed = state
        for i, model in self._models.items():
            model.condition(self._rows, self._values[:, i], self._first_rows)
        self._front = self._gains[self.told.within]
        pending = self.pending[-BELIEVED:]
        if not len(pending):
            return
        rows = self._features.rows(pending)
        means, _ = self._predict(pending)
        self._front = np.concatenate([self._front, means])
        for i, model in self._models.items():
            expected = means[:, i] + self._axes[i].reference - self._expected(i, pending)
            model.believe(rows, np.concatenate([self._values[:, i], expected]))

    def _predict(
        self, codes: Ints, screens: Mapping[int, Screen] | None = None, deviations: bool = True
    ) -> tuple[Floats, list[Floats | None]]:
        """Expected gains, shape (n, objectives), and standard deviations, shape (n,) for each objective; None for a known one.

        With ``screens``, deviations are upper bounds; without ``deviations``, none are computed.
        """
        means = np.empty((len(codes), len(self.objectives)))
        found: list[Floats | None] = []
        raw = self._features.raw(codes)
        rows = self._features.rows(codes, raw=raw)
        for i, axis in enumerate(self._axes):
            if i in self._models:
                model: Callable[[Floats], tuple[Floats, Floats | None]] = screens[i] if screens else self._models[i].predict
                mean, deviation = model(rows) if deviations else (self._models[i].means(rows), None)
                means[:, i] = mean + self._expected(i, codes) - axis.reference
                found.append(deviation)
            else:
                objective = self.objectives[i]
                means[:, i] = axis.gain(objective.loss(1.0) * raw[:, self.domain.known.index(objective.name)])
                found.append(None)
        return means, found

    def score(self, codes: Ints) -> Floats:
        """Expected hypervolume improvement of many candidates, shape (n,). Needs the models of an earlier `ask`."""
        if not len(codes):
            return np.zeros(0)
        chunks = (codes[start : start + CHUNK] for start in range(0, len(codes), CHUNK))
        return np.concatenate([expected_improvement(*self._predict(c), self._front) for c in chunks])

    def best(self, codes: Ints, n: int) -> tuple[Ints, Floats]:
        """The n candidates with the largest `score`, best first, shape (n or fewer, genes), and their scores.

        A fast upper bound (`se_nas.strategies.known_cost.screen`) is computed for all; the exact score, only for those that may be
        among the best.
        """
        screens = {i: Screen(model) for i, model in self._models.items()}
        bounds = np.empty(len(codes))
        for start in range(0, len(codes), CHUNK):
            some = slice(start, start + CHUNK)
            rough = self._predict(codes[some], screens)
            bounds[some] = expected_improvement(*rough, self._front)
        order, scores = np.argsort(-bounds, kind="stable"), np.zeros(0)
        while len(scores) < len(order):
            if len(scores) >= n and bounds[order[len(scores)]] <= np.partition(scores, -n)[-n]:
                break
            scores = np.concatenate([scores, self.score(codes[order[len(scores) : len(scores) + EXACT]])])
        first = np.argsort(-scores, kind="stable")[:n]
        return codes[order[first]], scores[first]

    def _candidates(self, codes: Ints, losses: Floats, rng: np.random.Generator) -> Ints:
        """Feasible, unseen architectures: drawn uniformly, drawn tilted to cheap and dear, and bred from the front."""
        if self.domain.count is not None and self.domain.count <= WHOLE * self._pool and self.domain.exact:
            pool = self.domain.every
        else:
            quarter = min(self._pool, WORK // len(codes)) // 4
            parents = codes[first_front(losses)]
            bred = self._breed(parents, rng, 2 * quarter)
            pool = np.concatenate([self._features.tilted(rng, quarter), self.domain.sample(rng, quarter), bred])
        places = {row.tobytes(): place for place, row in enumerate(pool)}
        return pool[[place for key, place in places.items() if key not in self.seen]]

    def _breed(self, parents: Ints, rng: np.random.Generator, n: int) -> Ints:
        """Children of one or two parents, with 1, 2 or 4 choices changed on average."""
        first, second = (parents[rng.integers(0, len(parents), n)] for _ in range(2))
        shape = first.shape
        mixed = np.where((rng.random(shape) < 0.5) & (rng.random((n, 1)) < 0.5), second, first)
        changed = rng.random(shape) < rng.choice([1, 2, 4], (n, 1)) / shape[1]
        children = np.where(changed, rng.integers(0, self.domain.sizes, shape), mixed)
        return children[self.domain.feasible(children)]


def _last_step(n: int) -> int:
    """The largest number up to n of a fixed sequence that grows by a twelfth, and at least by 1, in each step."""
    many = 1
    while (step := many + max(1, many // 12)) <= n:
        many = step
    return many
