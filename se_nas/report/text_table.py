"""A table in the terminal that never breaks a word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from se_nas.report.columns import Column
from se_nas.text import flat

_GAP = 2


def text_table(columns: Sequence[Column], width: int) -> Table:
    """A table without frames. Where it is wider than ``width``, words go to further lines, and names are broken after dots.

    Args:
        columns: the first holds names; cells of columns of words are broken at blanks, numbers never.
        width: of the terminal.
    """
    first, *rest = map(_flat, columns)
    widths = _fitted(rest, width - _GAP * len(rest) - _longest(first.cells))
    room = width - _GAP * len(rest) - sum(widths)
    names = Column(first.heading, tuple(_at_dots(name, room) for name in first.cells))
    table = Table(box=box.SIMPLE, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for column, size in zip([names, *rest], [_longest([first.heading, *names.cells]), *widths], strict=True):
        words = column.words or column is names
        side: Literal["left", "right"] = "left" if words else "right"
        table.add_column(Text(column.heading, justify=side), justify=side, width=size, no_wrap=not words)
    for cells in zip(*(column.cells for column in [names, *rest]), strict=True):
        table.add_row(*map(Text, cells))
    return table


def say(console: Console, text: str, style: str = "") -> None:
    """Print a line in which names from outside may stand: nothing in it is markup, or moves the cursor."""
    console.print(Text(flat(text)), style=style, highlight=False)


def _flat(column: Column) -> Column:
    """A column whose lines have nothing in them that moves the cursor."""

    def each(text: str) -> str:
        return "\n".join(map(flat, text.split("\n")))

    return Column(each(column.heading), tuple(map(each, column.cells)), column.words)


def _fitted(columns: Sequence[Column], room: int) -> list[int]:
    """Widths that fit, if words can make them: the widest column of words gives first, down to its longest word."""
    widths = [_longest([column.heading, *column.cells]) for column in columns]
    least = [_longest(_words(column) if column.words else [*column.heading.split(), *column.cells]) for column in columns]
    while sum(widths) > room and (slack := [i for i in range(len(columns)) if widths[i] > least[i]]):
        widths[max(slack, key=lambda i: widths[i])] -= 1
    return widths


def _words(column: Column) -> list[str]:
    return [word for text in (column.heading, *column.cells) for word in text.split()]


def _longest(texts: Sequence[str]) -> int:
    return max((cell_len(line) for text in texts for line in text.splitlines()), default=0)


def _at_dots(name: str, room: int) -> str:
    """``features.denseblock1.`` and below it ``denselayer2``, where both do not fit."""
    if cell_len(name) <= room or "." not in name:
        return name
    head, dot, tail = name[:room].rpartition(".")
    if not dot:
        head, dot, tail = name.partition(".")
        return f"{head}{dot}\n  {_at_dots(tail, room - 2)}"
    return f"{head}{dot}\n  {_at_dots(name[len(head) + 1 :], room - 2)}"
