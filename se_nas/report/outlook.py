"""How many trials tell how much, before a search: as a table and in a sentence (``se-nas plan``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from se_nas.report.columns import Column
from se_nas.report.words import count, significant

NAMES = {"effects": "strategy\neffects", "random": "strategy\nrandom"}


class Outlook(Protocol):
    """What `se_nas.strategies.foresight` finds."""

    @property
    def widths(self) -> Mapping[str, tuple[tuple[int, float], ...]]:
        """Strategy -> (trials, half of an interval)."""

    def trials_for(self, strategy: str, width: float) -> int | None:
        """How many trials make an interval so narrow."""


def outlook_columns(found: Outlook, around: str = "±") -> list[Column]:
    """A row for each number of trials."""
    sizes = sorted({trials for rows in found.widths.values() for trials, _ in rows})
    columns = [Column("trials", tuple(f"{size:,}" for size in sizes))]
    for name, rows in found.widths.items():
        known = dict(rows)
        columns.append(Column(NAMES[name], tuple(f"{around}{significant(known[size], 2)}" if size in known else "" for size in sizes)))
    return columns


def outlook_sentence(found: Outlook, width: float, around: str = "±") -> str:
    """How many trials an interval of that width takes.

    Example:
        ±0.2 takes about 96 trials with --strategy effects and 260 with --strategy random, both references among them.
    """
    parts = []
    for name, rows in found.widths.items():
        number = found.trials_for(name, width)
        parts.append(f"{f'about {count(number)}' if number else f'more than {count(rows[-1][0])}'} trials with --strategy {name}")
    return f"{around}{width:g} takes {' and '.join(parts)}, both references among them."
