"""Random search: uniform over the architectures within the budgets, without replacement."""

from __future__ import annotations

from collections.abc import Mapping
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
        self._again: dict[Key, Ints] = {}

    def expect(self, architecture: Any) -> None:
        super().expect(architecture)
        codes = self.domain.encode(architecture)
        if codes is not None:
            self._expected.add(codes.tobytes())
            self._again.pop(codes.tobytes(), None)  # its seeds are the plan's to count

    def tell(self, architecture: Any, metrics: Mapping[str, Any] | float | None) -> None:
        super().tell(architecture, metrics)
        codes = self.domain.encode(architecture)
        if codes is None or (key := codes.tobytes()) in self._expected:
            return
        if 0 < self.told.number(key) < self.repeats:
            self._again[key] = codes
        else:
            self._again.pop(key, None)

    def propose(self, rng: np.random.Generator) -> Ints | None:
        for key, codes in self._again.items():
            if key not in self._pending:
                return codes
        return self.domain.unseen(self.seen, rng)

    def may_repeat(self, codes: Ints) -> bool:
        return self.told.number(codes.tobytes()) < self.repeats
