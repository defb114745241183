"""The table of the front, as columns of text, most important first. The terminal and the HTML report draw it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from se_nas.report.facts import Facts
from se_nas.report.words import amount, count, gain, heading, is_share, percent, significant, summary
from se_nas.run.effects import Effects
from se_nas.run.front import Entry
from se_nas.space.architecture import REFERENCES
from se_nas.space.budget import LATENCY


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        heading: up to three lines.
        cells: one cell for each row.
        words: whether cells are words, which may be broken into lines. Numbers never are.
    """

    heading: str
    cells: tuple[str, ...]
    words: bool = False


def front_columns(
    facts: Facts, entries: Sequence[Entry], tie: str = "≈", effects: Effects | None = None, around: str = "±"
) -> list[Column]:
    """The columns of the table.

    Args:
        facts: the run.
        entries: the architectures, one for each row.
        tie: mark of a difference that noise hides.
        effects: what all trials together say; with it, what they predict stands beside what was measured.
        around: stands before half an interval.
    """

    def column(heading: str, cell: Callable[[Entry], str], words: bool = False) -> Column:
        return Column(heading, tuple(map(cell, entries)), words)

    def gained(reference: str) -> Column:
        cells = [gain_cell(facts, entry, reference, tie) for entry in entries]
        width = max((len(tie) + 1 for cell in cells if cell.endswith(tie)), default=0)  # keeps numbers aligned beside marks
        return Column(f"gain\nover\n{reference}", tuple(cell if cell.endswith(tie) or not cell else cell + " " * width for cell in cells))

    objectives = [objective.name for objective in facts.front.objectives]
    columns = [column("trial", lambda entry: label(facts, entry))]
    columns += [column(heading(o.name, "" if o.known else o.unit), _value(o.name)) for o in facts.front.objectives]
    measured = facts.front.measured
    if measured and effects and effects.conclusive:
        place = 1 + [objective.name for objective in facts.front.objectives].index(measured.name)
        columns.insert(place + 1, column("predicted", _predicted(measured.name, effects, around)))
    if facts.front.trade.kind == "weighted":
        columns.append(column("weighted\nvalue", lambda entry: count(facts.front.trade.value(facts.front.objectives, entry.values) or 0.0)))
    columns += [gained(name) for name in REFERENCES if facts.front.measured and name in facts.front.references]
    if measured and measured.name == "loss" and "accuracy" not in objectives and any("accuracy" in entry.values for entry in entries):
        columns.append(column(heading("accuracy"), _value("accuracy")))
    for cost in facts.metrics:
        if cost not in objectives:
            columns.append(column(heading(cost), _value(cost)))
        if cost == LATENCY and facts.run.latencies:
            columns.append(column(f"{heading(cost)}\nmeasured", _measured(facts)))
        if cost in facts.backbone:
            columns.append(column(f"{heading(cost)}\nover\nplain", _share(facts, cost, tie)))
    columns += [column(f"test\n{heading(name.removeprefix('test_'))}", _test(facts, name)) for name in _test_metrics(facts)]
    if any(len(entry.trials) > 1 for entry in entries):
        columns.append(column("seeds", lambda entry: str(len(entry.trials))))
    return [*columns, column("architecture", lambda entry: summary(entry.architecture, facts.share), words=True)]


def label(facts: Facts, entry: Entry) -> str:
    """An architecture's label: ``7``, ``7 best``, ``0 plain``."""
    role = facts.role(entry)
    marks = [role] if role != "proposal" else []
    return " ".join([str(entry.number), *marks, *(["best"] if entry is facts.front.best() else [])])


def gain_cell(facts: Facts, entry: Entry, reference: str, tie: str) -> str:
    """The gain over a reference, with the mark of a tie: ``+0.4 ≈``. Empty for the reference itself."""
    measured, difference = facts.front.measured, facts.gain(entry, reference)
    if measured is None or difference is None:
        return ""
    return gain(measured, difference) + (f" {tie}" if facts.tied(entry, reference) else "")


def _value(metric: str) -> Callable[[Entry], str]:
    return lambda entry: amount(metric, entry.values[metric]) if metric in entry.values else ""


def _measured(facts: Facts) -> Callable[[Entry], str]:
    """The latency as it was measured after the search."""
    known = facts.run.latencies.seconds if facts.run.latencies else {}
    return lambda entry: amount(LATENCY, known[entry.architecture.id]) if entry.architecture.id in known else ""


def _predicted(metric: str, effects: Effects, around: str) -> Callable[[Entry], str]:
    """``96.1 ±0.8 %``"""

    def cell(entry: Entry) -> str:
        if entry.architecture.id not in effects.predictions:
            return ""
        middle, low, high = effects.predictions[entry.architecture.id]
        if is_share(metric):
            return f"{100 * middle:.1f} {around}{50 * (high - low):.1f} %"
        return f"{significant(middle, 3)} {around}{significant((high - low) / 2, 2)}"

    return cell


def _share(facts: Facts, cost: str, tie: str) -> Callable[[Entry], str]:
    def cell(entry: Entry) -> str:
        ratio = facts.over_plain(entry.values, cost)
        return "" if ratio is None else percent(ratio) + (f" {tie}" if ratio and facts.ties_plain(entry.values, cost) else "")

    return cell


def _test_metrics(facts: Facts) -> list[str]:
    """The test metrics to show: those in percent; if there are none, the measured objective."""
    names = {name for scores in facts.test.values() for name in scores}
    measured = facts.front.measured
    wanted = [name for name in sorted(names) if is_share(name)]
    return wanted or [name for name in sorted(names) if measured and name.removeprefix("test_") == measured.name]


def _test(facts: Facts, metric: str) -> Callable[[Entry], str]:
    def cell(entry: Entry) -> str:
        scores = facts.test.get(entry.number, {})
        return amount(metric, scores[metric]) if metric in scores else ""

    return cell
