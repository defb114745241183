"""What a strategy was told, as arrays that grow at their ends: a result costs the same however many there are."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from se_nas.strategies.domain.base import Floats, Ints, Key

Scalar = TypeVar("Scalar", bound=np.generic)


class Column(Generic[Scalar]):
    """An array that grows.

    Args:
        shape: of one row.
        dtype: of its values.
    """

    def __init__(self, shape: tuple[int, ...], dtype: type[Scalar]) -> None:
        self._rows, self._used = np.empty((16, *shape), dtype), 0

    def append(self, row: npt.ArrayLike) -> None:
        if self._used == len(self._rows):
            self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
        self._rows[self._used] = row
        self._used += 1

    @property
    def array(self) -> npt.NDArray[Scalar]:
        """All rows; read only."""
        rows = self._rows[: self._used]
        rows.flags.writeable = False
        return rows

    def __len__(self) -> int:
        return self._used


class Told:
    """The successful trials in the order told, and their architectures in the order of their first.

    Args:
        genes: of an architecture's codes.
        objectives: number of losses.

    Attributes:
        repeated: number of results up to the last that was a further trial of an architecture.
    """

    def __init__(self, genes: int, objectives: int) -> None:
        self._places: dict[Key, int] = {}
        self._codes, self._within = Column((genes,), np.int64), Column((), np.bool_)
        self._place, self._losses = Column((), np.int64), Column((objectives,), np.float64)
        self._number: list[int] = []
        self.repeated = 0

    def __len__(self) -> int:
        return len(self._place)

    def add(self, codes: Ints, losses: Floats, within: bool) -> None:
        """One more trial.

        Args:
            codes: of its architecture, shape (genes,).
            losses: shape (objectives,).
            within: whether the architecture meets the limits on known costs.
        """
        key = codes.tobytes()
        if key not in self._places:
            self._places[key] = len(self._places)
            self._codes.append(codes)
            self._within.append(within)
            self._number.append(0)
        place = self._places[key]
        self._number[place] += 1
        self._place.append(place)
        self._losses.append(losses)
        if self._number[place] > 1:
            self.repeated = len(self._place)

    def number(self, key: Key) -> int:
        """Successful trials of an architecture."""
        return self._number[self._places[key]] if key in self._places else 0

    def after(self, results: int) -> tuple[Ints, Floats, Ints]:
        """Codes, mean losses and numbers of trials of the architectures, as they were after the first so many trials."""
        place, losses = self._place.array[:results], self._losses.array[:results]
        trials = np.bincount(place)
        sums = [np.bincount(place, column) for column in losses.T]
        means = np.stack(sums, 1) / trials[:, None] if len(place) else np.zeros((0, losses.shape[1]))
        return self._codes.array[: len(trials)], means, trials

    @property
    def within(self) -> npt.NDArray[np.bool_]:
        """Whether each architecture meets the limits on known costs."""
        return self._within.array

    def spread(self, values: Floats, results: int) -> tuple[float, int]:
        """Sum of the squared distances from each architecture's mean, and its degrees of freedom.

        Args:
            values: one for each of the first ``results`` trials.
            results: how many trials.
        """
        place = self._place.array[:results]
        trials = np.bincount(place)
        away = values - (np.bincount(place, values) / trials)[place]
        return float((away[(trials > 1)[place]] ** 2).sum()), len(place) - len(trials)

    def losses(self, results: int) -> Floats:
        """Losses of the first so many trials, shape (results, objectives)."""
        return self._losses.array[:results]
