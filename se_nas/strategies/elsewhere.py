"""Strategies of other libraries: their engine proposes, and a plan only counts. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PREFIX = "nni:"
"""Of the name of a strategy of NNI's own."""


def is_elsewhere(name: str) -> bool:
    """Whether a strategy of this name is another library's."""
    return name.startswith(PREFIX)


class Elsewhere:
    """Stands in a plan for a strategy that another library runs: proposes nothing, and is told in vain."""

    def ask(self, n: int) -> list[Any]:
        return []

    def tell(self, architecture: Any, metrics: Mapping[str, float] | None) -> None:
        """Nothing: its library hears of results in its own way."""

    def expect(self, architecture: Any) -> None:
        """Nothing."""

    def withdraw(self) -> None:
        """Nothing."""
