"""The exact front of estimates, where they are known for every architecture beforehand. Needs no torch until it is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from se_nas.goals.objective import Objective

if TYPE_CHECKING:
    from se_nas.space.architecture import Architecture
    from se_nas.space.space import SearchSpace

EXACT = "exact"
"""Its name. It is for SE spaces with ``evaluator: paper`` alone, and so not among the strategies of `create_strategy`."""


class Exact:
    """Proposes the front of what the paper's tables imply (`se_nas.evaluate.paper_front`), and nothing else.

    The ends of the front come first, then what lies halfway between: fewer trials than the front has show it evenly.
    """

    def __init__(self, space: SearchSpace, objectives: Sequence[Objective]) -> None:
        from se_nas.evaluate.paper_front import paper_front

        front = paper_front(space, tuple(objective.name for objective in objectives if objective.known))
        self._left: dict[Architecture, None] = {space.decode(front[index]): None for index in spread(len(front))}
        self._asked: list[Architecture] = []

    def ask(self, n: int) -> list[Any]:
        asked = list(self._left)[:n]
        self._asked += asked
        for architecture in asked:
            del self._left[architecture]
        return asked

    def tell(self, architecture: Any, metrics: Mapping[str, float] | None) -> None:
        """It is not proposed again; its metrics are no news."""
        self.expect(architecture)
        self._asked = [other for other in self._asked if other != architecture]

    def expect(self, architecture: Any) -> None:
        self._left.pop(architecture, None)

    def withdraw(self) -> None:
        self._left = {**dict.fromkeys(self._asked), **self._left}
        self._asked = []


def spread(count: int) -> list[int]:
    """0 .. count - 1, both ends first, then always the middle of the widest gap.

    Example:
        >>> spread(5)
        [0, 4, 2, 1, 3]
    """
    order, gaps = list(dict.fromkeys([0, count - 1]))[:count], [(0, count - 1)]
    for low, high in gaps:
        if high - low > 1:
            middle = (low + high) // 2
            order.append(middle)
            gaps += [(low, middle), (middle, high)]
    return order
