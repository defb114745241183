"""The charts of a run: the measured objective against each cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence, Set
from statistics import quantiles

from se_nas.goals.objective import Objective, pareto
from se_nas.report.columns import label
from se_nas.report.facts import Facts
from se_nas.report.svg import Axis, Dot, nice_ticks, scatter, span
from se_nas.report.words import amount, amount_of, heading, is_share, summary
from se_nas.run.front import Entry
from se_nas.space.budget import LATENCY
from se_nas.text import clean

_UNITS = {"params": "parameters", "macs": "MACs"}


def cost_chart(facts: Facts, cost: str, shown: Set[int]) -> str:
    """A chart of architectures' measured objective against one cost. Empty if there is nothing to draw yet.

    Args:
        facts: of the run.
        cost: the horizontal axis.
        shown: numbers of the trials of which there are points; the axes are those of all.
    """
    measured = facts.front.measured
    entries = [entry for entry in facts.front.entries if cost in entry.values]
    if measured is None or not entries:
        return ""
    marked = _marked(facts)
    some = [entry for entry in entries if entry.number in shown]
    ordered = sorted(some, key=lambda entry: (id(entry) in marked, facts.role(entry) != "proposal"))
    limit = next((budget for budget in facts.run.config["budgets"] if budget["metric"] == cost), None)
    costs = [entry.values[cost] for entry in entries]
    near = limit is not None and limit["limit"] <= max(costs) + (max(costs) - min(costs))  # showing a far limit would squeeze the points
    band = noise_band(facts)
    steps = [(entry.values[cost], entry.values[measured.name]) for entry in _staircase(facts, measured, cost)]
    return scatter(
        [_dot(facts, entry, measured, cost, entry is facts.front.best() or id(entry) in marked) for entry in ordered],
        _cost_axis(facts, cost, [*costs, *([limit["limit"]] if limit and near else [])]),
        _measured_axis(measured, [*_typical(facts, measured, entries), *(band or ())]),
        f"{heading(measured.name)} against {heading(cost)} of {len(entries)} architectures, {len(steps)} of them joined as the front",
        steps,
        band,
        (limit["limit"], f"budget {limit['text'].removeprefix('<=').strip()}") if limit and near else None,
    )


def noise_band(facts: Facts) -> tuple[float, float] | None:
    """Range of values in which a single trial ties with plain; None if noise is unknown."""
    measured, noise, plain = facts.front.measured, facts.front.noise, facts.front.references.get("plain")
    if measured is None or noise is None or plain is None:
        return None
    error = noise.band(1, len(plain.trials))
    return plain.values[measured.name] - error, plain.values[measured.name] + error


def outliers(facts: Facts) -> int:
    """Number of architectures beyond the range of the measured axis. They are drawn at its end."""
    measured = facts.front.measured
    if measured is None or not facts.front.entries:
        return 0
    typical = _typical(facts, measured, facts.front.entries)
    low, high = min(typical), max(typical)
    return sum(not low <= entry.values[measured.name] <= high for entry in facts.front.entries)


def _marked(facts: Facts) -> set[int]:
    return {id(entry) for entry in (*facts.front.front, *facts.front.references.values())}


def _typical(facts: Facts, measured: Objective, entries: Sequence[Entry]) -> list[float]:
    """The values that set the axis's range: all but outliers (beyond three interquartile ranges). Front and references always count."""
    values = [entry.values[measured.name] for entry in entries]
    if len(values) < 8:
        return values
    first, _, third = quantiles(values)
    low, high = first - 3 * (third - first), third + 3 * (third - first)
    marked = _marked(facts)
    return [entry.values[measured.name] for entry in entries if id(entry) in marked or low <= entry.values[measured.name] <= high]


def _staircase(facts: Facts, measured: Objective, cost: str) -> list[Entry]:
    """The front reduced to one cost and the measured objective, cheapest first."""
    front = facts.front.front
    objectives = (measured, Objective(cost, "min", known=True))
    best = [front[index] for index in pareto([entry.values for entry in front], objectives)]
    return sorted(best, key=lambda entry: entry.values[cost])


def _dot(facts: Facts, entry: Entry, measured: Objective, cost: str, named: bool) -> Dot:
    role = facts.role(entry)
    on_front = any(entry is other for other in facts.front.front)
    kind = role if role != "proposal" else "front" if on_front else "trial"
    value = f"{heading(measured.name)} {amount(measured.name, entry.values[measured.name])}"
    words = summary(entry.architecture, facts.share)
    title = f"trial {label(facts, entry)}: {value}, {amount_of(cost, entry.values[cost])}; {words}"
    name = (role if role != "proposal" else str(entry.number)) if named else ""
    return Dot(entry.values[cost], entry.values[measured.name], kind, title, name)


def _cost_axis(facts: Facts, cost: str, values: Sequence[float]) -> Axis:
    low, high = span(values)
    size, letter = next(((size, letter) for size, letter in [(1e9, "G "), (1e6, "M ")] if high >= size), (1.0, ""))
    if cost == LATENCY:
        size, letter = 1e-3, "ms of "
    plain = facts.backbone.get(cost)
    title = f"{letter}{_UNITS.get(cost, clean(cost))}" + (f" (plain: {amount(cost, plain)})" if plain else "")
    return Axis(title, low, high, _namer(low, high, 1 / size))


def _measured_axis(measured: Objective, values: Sequence[float]) -> Axis:
    low, high = span(values)
    share = is_share(measured.name)
    title = heading(measured.name, "%" if share else measured.unit)
    return Axis(title, low, min(high, max(1.0, *values)) if share else high, _namer(low, high, 100 if share else 1))


def _namer(low: float, high: float, factor: float) -> Callable[[float], str]:
    """A function that writes ticks, with as many decimals as they need to differ."""
    ticks = nice_ticks(low, high)
    step = abs(ticks[1] - ticks[0]) * factor if len(ticks) > 1 else 1.0
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return lambda value: f"{value * factor:,.{decimals}f}"
