"""Random search: uniform over the architectures within the budgets, without replacement."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from se_nas.strategies.base import Strategy
from se_nas.strategies.domain.base import Ints, Key


class RandomStrategy(Strategy):
    """Draws from the feasible architectures, uniformly and without replacement.

    Args:
        repeats: trials of each, with a seed of its own each time; the next architecture comes after the last of them.
    """

    OPTIONS: ClassVar[tuple[str, ...]] = ("repeats",)

    def __init__(self, *arguments: Any, repeats: int = 1, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.repeats = repeats
        self._expected: set[Key] = set()

    def expect(self, architecture: Any) -> None:
        super().expect(architecture)
        codes = self.domain.encode(architecture)
        if codes is not None:
            self._expected.add(codes.tobytes())  # its seeds are the plan's to count

    def propose(self, rng: np.random.Generator) -> Ints | None:
        again = (
            key
            for key, losses in self._losses.items()
            if 0 < len(losses) < self.repeats and key not in self._pending and key not in self._expected
        )
        key = next(again, None)
        return self.domain.unseen(self.seen, rng) if key is None else self._codes[key]

    def may_repeat(self, codes: Ints) -> bool:
        return len(self._losses.get(codes.tobytes(), ())) < self.repeats
