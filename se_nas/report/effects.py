"""What each choice brings, in sentences and as a figure along the network's depth."""

from __future__ import annotations

from collections.abc import Sequence

from se_nas.goals.objective import Objective
from se_nas.report.facts import Facts
from se_nas.report.svg import Axis, Interval, intervals, span
from se_nas.report.words import heading, is_share, percent, significant
from se_nas.run.effects import LEAST, Effect, Effects
from se_nas.se.spec import FIELDS
from se_nas.text import NBSP, clean, joined, several

_MOST = 6
"""At most so many effects at single sites are said for a field; all of them are in the JSON."""


def effect_sentences(facts: Facts, effects: Effects | None, around: str = "±") -> list[str]:
    """What the trials together say of each choice; ``around`` stands before half an interval. Empty if nothing is measured.

    Example:
        SE pays at layer3.1 (+0.42 ± 0.15 points for +0.3 % params).
    """
    measured = facts.front.measured
    if effects is None or measured is None or not effects.trials:
        return []
    words = _Words(facts, measured, around)
    if effects.r2 is None:
        if effects.architectures < LEAST:
            tried = several(effects.architectures, "architecture")
            return [f"What each choice brings cannot be told from {tried}: it takes {LEAST} at least."]
        return ["What each choice brings cannot be told: no two trials differ."]
    if not effects.conclusive:
        return [_inconclusive(effects), *words.outlook(effects)]
    said = [
        f"What each choice brings, from {effects.trials} trials of {effects.architectures} architectures together "
        f"(95 % intervals; R2 of architectures left out {effects.r2:.2f}):"
    ]
    return [*said, *words.sites(effects.sites), *words.fields(effects.values), *words.outlook(effects)]


def effects_chart(facts: Facts, effects: Effects | None) -> str:
    """SE at each site from the input on: its effect with the interval, and what it costs. Empty if there is nothing to draw."""
    measured = facts.front.measured
    sites = [effect for effect in effects.sites if effect.group is not None] if effects else []
    if measured is None or not sites:
        return ""
    factor = 100 if is_share(measured.name) else 1
    unit = "points" if is_share(measured.name) else measured.unit
    low, high = span([0.0, *(factor * end for effect in sites for end in (effect.low, effect.high))])
    words = _Words(facts, measured, "±")
    rows = []
    for effect in sites:
        title = f"{clean(effect.group)}: {words.size(effect)}{words.cost(effect)}; trials with and without: {_counts(effect)}"
        ends = (factor * effect.estimate, factor * effect.low, factor * effect.high)
        rows.append(Interval(clean(effect.group), *ends, "found" if effect.found else "unsure", title, words.relative(effect)))
    return intervals(
        rows,
        Axis(heading(f"{measured.name} gained", unit), low, high),
        f"added {heading('params')}",
        percent,
        f"effect of SE at each of {len(rows)} sites",
    )


def _inconclusive(effects: Effects) -> str:
    start = f"What each choice brings cannot be told from {effects.trials} trials of {effects.architectures} architectures: "
    if effects.r2 is not None and effects.r2 <= 0:
        return f"{start}together they do not predict an architecture left out (R2 {effects.r2:.2f})."
    return f"{start}every interval includes 0 (R2 of architectures left out {effects.r2:.2f})."


class _Words:
    """Says effects on one metric."""

    def __init__(self, facts: Facts, measured: Objective, around: str) -> None:
        self._facts, self._measured, self._around = facts, measured, around
        self._points = f"{NBSP}points" if is_share(measured.name) else ""

    def sites(self, effects: Sequence[Effect]) -> list[str]:
        """Where SE pays, where it costs, where nothing was found, and SE everywhere."""
        groups = [effect for effect in effects if effect.group is not None]
        said = []
        for verb, some in (("pays", [e for e in groups if e.low > 0]), ("hurts", [e for e in groups if e.high < 0])):
            if some:
                each = [f"{clean(e.group)} ({self.size(e)}{self.cost(e)})" for e in some]
                said.append(f"SE {verb} at {joined(each)}.")
        if silent := [effect for effect in groups if not effect.found]:
            names = joined(_families([str(e.group) for e in silent], [str(e.group) for e in groups]))
            said.append(f"At {names} no effect of SE was found ({self.within(silent)}).")
        for effect in effects:
            if effect.group is None:
                said.append(f"SE at all sites brings {self.size(effect)}{self.cost(effect)}.")
        return said

    def fields(self, effects: Sequence[Effect]) -> list[str]:
        """For each field the values that differ from the mean of the others, or that none can be told apart."""
        said = []
        for name in dict.fromkeys(effect.field for effect in effects):
            whole = [effect for effect in effects if effect.field == name and effect.group is None]
            found = [effect for effect in whole if effect.found]
            if len(whole) == 2 and found:
                better, worse = sorted(whole, key=lambda effect: -effect.estimate)
                said.append(f"{_value(better)} brings {self.size(better)}{self.cost(better)} over {_value(worse)}{_where(better)}.")
            elif found:
                each = [f"{_value(e)} {'brings' if e.low > 0 else 'costs'} {self.size(e, signed=False)}{self.cost(e)}" for e in found]
                said.append(f"{joined(each)}, against the mean of the others{_where(found[0])}.")
            elif whole:
                said.append(
                    f"{joined([_value(effect) for effect in whole])} cannot be told apart{_where(whole[0])} ({self.within(whole)})."
                )
            by_group = [effect for effect in effects if effect.field == name and effect.group is not None and effect.found]
            if by_group and not found:
                some = sorted(by_group, key=lambda effect: -abs(effect.estimate))[:_MOST]
                each = [f"{_value(e)} {'brings' if e.low > 0 else 'costs'} {self.size(e, signed=False)} at {clean(e.group)}" for e in some]
                said.append(f"But {joined(each)}, against the mean of the others there.")
        return [text[:1].upper() + text[1:] if not text.startswith("r = ") else text for text in said]

    def outlook(self, effects: Effects) -> list[str]:
        """What more trials of the same kind would tell."""
        if not effects.plan:
            return []
        (trials, width), target = effects.plan[0], effects.plan[0][1] / 2
        if (more := effects.trials_for(target)) is None:
            return []
        now, then = self.number(width), self.number(target)
        return [
            f"At a typical site the interval is now {self._around}{now}{self._points}; "
            f"about {more - trials} more such trials would make it {self._around}{then}."
        ]

    def size(self, effect: Effect, signed: bool = True) -> str:
        """``+0.42 ± 0.15 points``; if it was found, and ± would carry it over 0, its ends: ``+0.10 (0.01 to 0.21) points``"""
        value, ends = effect.estimate, (effect.low, effect.high)
        if not signed and value < 0:
            value, ends = -value, (-effect.high, -effect.low)
        sign = "+" if signed and value > 0 else ""
        around = f"{self._around}{NBSP}{self.number(effect.half_width)}"
        if effect.found and effect.half_width >= abs(value):
            around = f"({self.number(ends[0])}{NBSP}to{NBSP}{self.number(ends[1])})"
        return f"{sign}{self.number(value)}{NBSP}{around}{self._points}"

    def within(self, effects: Sequence[Effect]) -> str:
        """``within ±0.1 points``"""
        most = max(max(abs(effect.low), abs(effect.high)) for effect in effects)
        return f"within {self._around}{self.number(most)}{self._points}"

    def number(self, value: float) -> str:
        if not is_share(self._measured.name):
            return significant(value, 2)
        text = f"{100 * value:.2f}"
        return "0.00" if text == "-0.00" else text

    def cost(self, effect: Effect) -> str:
        """`` for +0.3 % params``; empty if it costs nothing, or the run does not know."""
        ratio = self.relative(effect)
        return "" if not ratio else f" for {percent(ratio)} {heading('params')}"

    def relative(self, effect: Effect) -> float | None:
        """Its parameters relative to the plain backbone's; None if the run does not know."""
        plain = self._facts.backbone.get("params")
        return effect.params / plain if plain and effect.params is not None else None


def _counts(effect: Effect) -> str:
    return f"{effect.trials_with}, {effect.trials_without}"


def _value(effect: Effect) -> str:
    """``r = 4``, ``max squeeze``, ``width = 1.5``"""
    if effect.field == "reduction":
        return f"r = {effect.value}"
    return clean(
        f"{effect.value} {effect.field}" if effect.field in ("squeeze", "gate", "placement") else f"{effect.field} = {effect.value}"
    )


def _where(effect: Effect) -> str:
    """Effects of SE settings over all groups are sums: they are of every site having the value."""
    return " at all sites" if effect.field in FIELDS else ""


def _families(some: Sequence[str], everything: Sequence[str]) -> list[str]:
    """Names, where all that begin alike are among them as one: ``layer1.*``."""
    said: dict[str, None] = {}
    for name in some:
        stem = f"{name.rpartition('.')[0]}."
        family = [other for other in everything if stem != "." and other.startswith(stem)]
        said[f"{stem}*" if len(family) > 1 and set(family) <= set(some) else name] = None
    return [clean(name) for name in said]
