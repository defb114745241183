"""A race: who is told to be worse than the leader leaves. Needs no torch."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

ERROR = 0.05
"""In at most so many of all races, the truly best one leaves; so often, at most, an interval does not hold."""


@dataclass(frozen=True)
class Race:
    """Where a race stands.

    Attributes:
        looks: seeds that all who were still in it have completed, and after which it was looked at.
        left: names still in it, the best first.
        out: name -> number of seeds after which it left; 0 if one of its trainings failed.
        gains: name -> reference -> how much better it is: estimate, and half of the interval.
    """

    looks: tuple[int, ...]
    left: tuple[str, ...]
    out: Mapping[str, int]
    gains: Mapping[str, Mapping[str, tuple[float, float]]]

    @property
    def over(self) -> bool:
        """Whether it is decided."""
        return len(self.left) <= 1


def hold_race(values: Mapping[str, Mapping[int, float | None]], seeds: Sequence[int], references: Sequence[str]) -> Race:
    """Hold a race with what is known so far. Values that it did not need are not looked at.

    After each seed, from the second on, the means of all are compared with the best one's. Means and noise come from a linear
    model of names and seeds, so a seed's own share cancels. One-sided t tests share the error equally among all others
    (Bonferroni), so that the truly best one stays (Paulson 1964, Ann. Math. Stat. 35, 174-180), and among the looks by the
    function of Lan and DeMets (1983, Biometrika 70, 659-663) that is like O'Brien and Fleming's: little at first. The number
    of seeds is fixed before, or this does not hold.

    Args:
        values: name -> seed -> its value, larger is better; None for a training that failed.
        seeds: of the whole race, in order.
        references: names to tell the gains over, at the same error.
    """
    left, out, looks = list(values), dict[str, int](), list[int]()
    seen: dict[str, dict[int, float]] = {name: {} for name in values}
    model: _Model | None = None
    spent = _spending(len(seeds))
    error = ERROR
    for count, seed in enumerate(seeds, 1):
        if len(left) < 2 or any(seed not in values[name] for name in left):
            break
        for name in list(left):
            value = values[name][seed]
            if value is None:
                left.remove(name)
                out[name] = 0
            else:
                seen[name][seed] = value
        looks.append(seed)
        if count < 2 or len(left) < 2:
            continue
        model, error = _Model(seen), spent[count - 1]
        leader = max(left, key=model.means.__getitem__)
        for name in [name for name in left if name != leader]:
            if model.gain(leader, name) > model.half(leader, name, error / (len(values) - 1)):
                left.remove(name)
                out[name] = count
    told: dict[str, dict[str, tuple[float, float]]] = {}
    if model:
        left.sort(key=lambda name: -model.means.get(name, -math.inf))
        each = error / 2 / max(len(values) - 1, 1)  # two-sided
        for name in model.means:
            others = [reference for reference in references if reference != name and reference in model.means]
            told[name] = {reference: (model.gain(name, reference), model.half(name, reference, each)) for reference in others}
    return Race(tuple(looks), tuple(left), out, told)


class _Model:
    """value = name + seed + noise, by least squares; not everyone has every seed."""

    def __init__(self, values: Mapping[str, Mapping[int, float]]) -> None:
        import numpy as np

        self.names = [name for name, of in values.items() if of]
        seeds = sorted({seed for of in values.values() for seed in of})
        known = [(name, seed, value) for name in self.names for seed, value in values[name].items()]
        columns = [*self.names, *seeds[1:]]  # the first seed is the yardstick of the others
        design: npt.NDArray[np.float64] = np.array([[column in (name, seed) for column in columns] for name, seed, _ in known], float)
        measured = np.array([value for _, _, value in known])
        self._inverse = np.linalg.pinv(design.T @ design)
        fitted = self._inverse @ design.T @ measured
        self.freedom = len(known) - int(np.linalg.matrix_rank(design))
        rest = float(((measured - design @ fitted) ** 2).sum())
        self._variance = rest / self.freedom if self.freedom else math.inf
        self.means: dict[str, float] = dict(zip(self.names, fitted[: len(self.names)].tolist(), strict=True))

    def gain(self, name: str, other: str) -> float:
        return self.means[name] - self.means[other]

    def half(self, name: str, other: str, error: float) -> float:
        """What a difference exceeds by chance with this probability, one-sided."""
        from scipy.special import stdtrit

        if not self.freedom:
            return math.inf
        i, j = self.names.index(name), self.names.index(other)
        size = self._inverse[i, i] + self._inverse[j, j] - 2 * self._inverse[i, j]
        return float(stdtrit(self.freedom, 1 - error) * math.sqrt(self._variance * size))


def _spending(count: int) -> list[float]:
    """The error that each of so many looks may make; the first, after one seed, none."""
    from scipy.special import ndtr, ndtri

    whole = [0.0, *(2 * (1 - float(ndtr(ndtri(1 - ERROR / 2) / math.sqrt(look / count)))) for look in range(2, count + 1))]
    return [0.0, *(after - before for before, after in itertools.pairwise(whole))]
