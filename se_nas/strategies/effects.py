"""Trials that tell most of what each choice brings: a design of experiments within the budgets, and no search for the best."""

from __future__ import annotations

from typing import Any

import numpy as np

from se_nas.strategies.base import Strategy
from se_nas.strategies.domain.base import Domain, Floats, Ints

POOL = 100
"""Feasible architectures drawn for each proposal; the best of them is improved choice by choice."""

WHOLE = 8192
"""A space with at most so many feasible architectures is looked at as a whole."""

MOST = 2000
"""Most architectures that are designed; more are drawn at random."""

SWEEPS = 2
"""Times that every choice of a proposal is gone through."""

PRIOR = 0.1
"""What is known of each coefficient before any trial, in trials: a design begins with fewer of them than there are coefficients."""


class EffectsStrategy(Strategy):
    """Sequential D-optimal design for effects (Atkinson, Donev and Tobias, 2007, chapter 10), by exchange of coordinates.

    The model is linear: a coefficient for each feature of each choice. Effects are sums of coefficients: SE at each site, its
    settings taken equally often, and each value of ratio, squeeze, gate and placement over all sites. The next architecture is
    the one that shrinks the volume of the effects' joint interval the most. What was measured does not matter, only what was
    tried: proposals can be asked for all at once.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._targets = effect_rows(self.domain)

    def propose(self, rng: np.random.Generator) -> Ints | None:
        if not len(self._targets) or len(self.seen) >= MOST:
            return None
        design = _Design(self.domain, self._targets, *self._tried())
        count = self.domain.count
        if count is not None and count <= WHOLE and self.domain.exact:
            return _best(self._new(self.domain.every), design, rng)
        pool = self.domain.sample(rng, POOL)
        found = _best(pool, design, rng)
        assert found is not None
        found = self._improved(found, design, rng)
        return _best(self._new(pool), design, rng) if self.is_seen(found) else found

    def _tried(self) -> tuple[Ints, Floats]:
        """Codes of what was told with a result or is pending, and how many trials each has."""
        codes, _, trials = self.finished
        return np.concatenate([codes, self.pending]), np.concatenate([trials, np.ones(len(self.pending))])

    def _new(self, codes: Ints) -> Ints:
        return codes[[row.tobytes() not in self.seen for row in codes]]

    def _improved(self, codes: Ints, design: _Design, rng: np.random.Generator) -> Ints:
        """The best architecture that changes of one choice at a time lead to, within the budgets."""
        codes, worth = codes.copy(), float(design.worth(codes[None])[0])
        for _ in range(SWEEPS):
            before = worth
            for gene in rng.permutation(len(codes)):
                options = np.repeat(codes[None], self.domain.sizes[gene], 0)
                options[:, gene] = np.arange(self.domain.sizes[gene])
                worths = design.worth(options)
                better = np.flatnonzero(worths > worth)
                better = better[self.domain.feasible(options[better])] if len(better) else better
                if len(better):
                    place = better[int(np.argmax(worths[better]))]
                    codes, worth = options[place], float(worths[place])
            if worth == before:
                break
        return codes


class _Design:
    """What is known of the effects after some trials."""

    def __init__(self, domain: Domain, targets: Floats, codes: Ints, trials: Floats) -> None:
        self._domain = domain
        rows = self._rows(codes)
        self._covariance = np.linalg.inv(PRIOR * np.eye(rows.shape[1]) + (rows * trials[:, None]).T @ rows)
        self._across = targets @ self._covariance
        self._precision = np.linalg.inv(self._across @ targets.T)

    def worth(self, codes: Ints) -> Floats:
        """By how much a trial of each architecture would shrink the joint interval: 1 - ratio of the squared volumes, shape (n,)."""
        rows = self._rows(codes)
        moved = rows @ self._across.T
        worth: Floats = ((moved @ self._precision) * moved).sum(1) / (1 + ((rows @ self._covariance) * rows).sum(1))
        return worth

    def _rows(self, codes: Ints) -> Floats:
        columns = [table[column] for table, column in zip(self._domain.tables, codes.T, strict=True)]
        return np.concatenate([np.ones((len(codes), 1)), *columns], 1)


def effect_rows(domain: Domain) -> Floats:
    """Effects as weights of the coefficients, the intercept's first, shape (effects, 1 + features).

    Of a gene with "no SE": SE against none, on the mean of its settings; their other features over all such genes together.
    Of any other gene: each feature.
    """
    starts = 1 + np.cumsum([0, *(table.shape[1] for table in domain.tables)])
    rows, shared = list[Floats](), dict[tuple[int, int], Floats]()
    for table, start in zip(domain.tables, starts.tolist(), strict=False):
        number = table.shape[1]
        without = np.flatnonzero((table[:, :1] < 0).all(1) & ~table[:, 1:].any(1)) if number > 1 else np.zeros(0, np.int64)
        if len(without) == 1:
            own = np.zeros(starts[-1])
            own[start : start + number] = np.delete(table, without, 0).mean(0) - table[without[0]]
            rows.append(own)
        for feature in range(min(len(without), 1), number):
            place = (number, feature) if len(without) == 1 else (-1, start + feature)
            shared.setdefault(place, np.zeros(starts[-1]))[start + feature] = 2.0  # features are -1 and 1
    return np.array([*rows, *shared.values()]).reshape(-1, int(starts[-1]))


def _best(codes: Ints, design: _Design, rng: np.random.Generator) -> Ints | None:
    """The most worth, a random one of equals; None of none."""
    if not len(codes):
        return None
    worth = design.worth(codes)
    found: Ints = codes[rng.choice(np.flatnonzero(worth >= worth.max() * (1 - 1e-9)))]
    return found
