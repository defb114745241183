"""Strategies that another library runs (``nni:NAME``). Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PREFIX = "nni:"
"""Prefix of the names of NNI's strategies."""


def is_external(name: str) -> bool:
    """Whether another library runs the strategy with this name."""
    return name.startswith(PREFIX)


class External:
    """A placeholder in the plan of a search whose strategy another library runs: proposes nothing, and ignores results."""

    def ask(self, n: int) -> list[Any]:
        return []

    def tell(self, architecture: Any, metrics: Mapping[str, float] | None) -> None:
        """Does nothing: the library receives results in its own way."""

    def expect(self, architecture: Any) -> None:
        """Does nothing."""

    def withdraw(self) -> None:
        """Does nothing."""
