"""The front in a terminal, and as JSON (``se-nas show``)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from se_nas.report.columns import Column, front_columns
from se_nas.report.effects import effect_sentences
from se_nas.report.facts import Facts
from se_nas.report.reliability import ledger_sentences, supernet_sentences
from se_nas.report.sentences import commands, failures, findings, noise, progress
from se_nas.report.untried import untried_sentences
from se_nas.report.verdict import verdict_sentences
from se_nas.report.words import wrapped
from se_nas.run.asked import read_asked
from se_nas.run.front import Entry
from se_nas.run.run import Run
from se_nas.space.architecture import REFERENCES
from se_nas.text import flat

GAP = 2
"""Blanks between columns."""

_LEAST_WORDS = 24
"""Least width of a column of words: down to it, words are broken into lines."""

_STYLES = {"plain": "cyan", "paper": "magenta", "best": "bold green"}


def show(run: Run, console: Console) -> None:
    """Print the front with the references, the findings, and commands to go on with."""
    facts = Facts.of(run)
    tie = tie_mark(console)

    def say(text: str, style: str = "") -> None:
        for line in wrapped(text, console.width):
            console.print(Text(line, style), soft_wrap=True)

    effects = facts.effects
    say(f"{facts.subject}: {run.path}", "bold")
    say(progress(facts) + ("" if facts.finished else "; the search is unfinished"))
    plus = "±" if tie == "≈" else "+-"
    if verdict := verdict_sentences(facts, run.verdict(), plus):
        console.print()
        for text in verdict:
            say(text, "bold")
    if facts.rows:
        for columns in split(front_columns(facts, facts.rows, tie, effects, plus), console.width):
            console.print()
            console.print(draw(columns))
    console.print()
    for text in findings(facts):
        say(text)
    say(noise(facts, tie), "dim")
    for text in (*ledger_sentences(facts), *supernet_sentences(facts)):
        say(text)
    for text in effect_sentences(facts, effects, plus):
        say(text)
    for text in untried_sentences(facts):
        say(text, "dim")
    for text in failures(facts):
        say(text, "red")
    console.print()
    for text in commands(facts):
        console.print(Text(f"  {flat(text)}"), soft_wrap=True)


def tie_mark(console: Console) -> str:
    """A mark of a tie that the console's encoding can show."""
    return "≈" if console.encoding.lower().startswith("utf") else "~"


def split(columns: Sequence[Column], width: int) -> list[list[Column]]:
    """Split columns into tables no wider than ``width``. Each table begins with the first column; no column is left out."""
    name, *rest = columns
    pages = [[name]]
    for column in rest:
        if len(pages[-1]) > 1 and _width([*pages[-1], column]) > width:
            pages.append([name])
        pages[-1].append(column)
    return pages


def draw(columns: Sequence[Column]) -> Table:
    """Draw columns as a table. A row's first cell decides its colour."""
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="dim")
    for index, column in enumerate(columns):
        heading = Text(column.heading, justify="left" if not index or column.words else "right")
        table.add_column(heading, justify="left" if not index or column.words else "right", no_wrap=not column.words, vertical="top")
    for cells in zip(*(column.cells for column in columns), strict=True):
        style = next((_STYLES[mark] for mark in cells[0].split()[:0:-1] if mark in _STYLES), "")
        table.add_row(*(Text(flat(cell)) for cell in cells), style=style)
    return table


def _width(columns: Sequence[Column]) -> int:
    def need(column: Column) -> int:
        lines = [line for text in (column.heading, *column.cells) for line in text.splitlines()]
        longest = max(map(cell_len, lines), default=0)
        return min(longest, _LEAST_WORDS) if column.words else longest

    return sum(map(need, columns)) + GAP * (len(columns) - 1)


def as_json(run: Run) -> dict[str, Any]:
    """What `show` prints, as JSON types. Gains are in the metric's unit, positive is better; ``null`` means unknown."""
    facts = Facts.of(run)
    effects = facts.effects
    front, best, measured = facts.front, facts.front.best(), facts.front.measured
    noise = front.noise
    return {
        "run": str(run.path),
        "status": "complete" if facts.finished else "unfinished",
        "objectives": [{"name": o.name, "direction": o.direction, "known": o.known, "unit": o.unit} for o in front.objectives],
        "trade": {"kind": front.trade.kind, "targets": dict(front.trade.targets), "weight": front.trade.weight},
        "trials": {"finished": len(facts.trials), "failed": len(facts.failed), "stopped": len(facts.stopped), "planned": facts.planned},
        "noise": {"metric": measured.name, "deviation": _number(noise.deviation), "source": noise.source} if noise and measured else None,
        "references": {name: _reference(facts, front.references.get(name)) for name in REFERENCES},
        "verdict": verdict.to_json() if (verdict := run.verdict()) else None,
        "best": best.number if best else None,
        "hypervolume": {"value": facts.volume, "reference_point": facts.worst} if facts.volume is not None else None,
        "front": [_row(facts, entry) for entry in front.front],
        "effects": effects.to_json() if effects else None,
        "out": [
            {"trial": out.number, "role": out.job["role"], "architecture": out.job["architecture"], "times": out.times}
            for out in read_asked(run.path, (trial.number for trial in facts.trials))
        ],
        "failed": [
            {"trial": trial.number, "role": trial.role, "id": trial.architecture.id, "error": trial.error} for trial in facts.failed
        ],
    }


def _reference(facts: Facts, entry: Entry | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    on_front = any(entry is other for other in facts.front.front)
    return {**_row(facts, entry), "on_front": on_front, "over_budget": [budget["metric"] for budget in facts.exceeded(entry)]}


def _row(facts: Facts, entry: Entry) -> dict[str, Any]:
    compared: dict[str, Any] = {}
    for name in REFERENCES:
        known = facts.gain(entry, name) is not None
        compared[f"gain_over_{name}"] = _number(facts.gain(entry, name))
        compared[f"tied_with_{name}"] = facts.tied(entry, name) if known and facts.front.noise else None
    over = {f"{cost}_over_plain": _number(facts.over_plain(entry.values, cost)) for cost in facts.metrics}
    return {
        "trial": entry.number,
        "id": entry.architecture.id,
        "role": facts.role(entry),
        "architecture": entry.architecture.to_json(),
        "values": {name: _number(value) for name, value in entry.values.items()},
        "test": {name: _number(value) for name, value in scores.items()} if (scores := facts.test.get(entry.number)) else None,
        "seeds": len(entry.trials),
        "weighted_value": _number(facts.front.trade.value(facts.front.objectives, entry.values)),
        **compared,
        **over,
        **({"latency_measured": measured.seconds.get(entry.architecture.id)} if (measured := facts.run.latencies) else {}),
    }


def _number(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
