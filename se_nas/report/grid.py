"""The choices along the front: an HTML table of groups by architectures, with cells coloured by reduction."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from se_nas.report.columns import label
from se_nas.report.facts import Facts
from se_nas.report.words import amount, heading, percent, setting
from se_nas.run.front import Entry
from se_nas.se.spec import SESpec
from se_nas.text import clean, html

CELLS = 2000
"""Most cells of the table."""

_FIELDS = ("squeeze", "gate", "placement")


def choices_grid(facts: Facts) -> str:
    """The table and its legend: one row for each group, in network order; one column for each architecture, cheapest first."""
    front = _fitting(facts.front.front, facts.front.best())
    if not front:
        return ""
    specs = [spec for entry in front for _, spec in entry.architecture if spec]
    ratios = sorted({spec.reduction for spec in specs})
    codes = {field: short_names(getattr(spec, field) for spec in specs) for field in _FIELDS}
    shown = [field for field in _FIELDS if len(codes[field]) > 1]
    groups = [group for group, _ in front[0].architecture]
    stages = {group: str((facts.backbone.get("groups", {}).get(group) or {}).get("stage", "")) for group in groups}
    staged = any(stage not in ("", group) for group, stage in stages.items())

    rows = []
    for stage, members in groupby(groups, key=lambda group: stages[group] if staged else ""):
        names = list(members)
        for index, group in enumerate(names):
            first = f'<th scope="rowgroup" rowspan="{len(names)}">{html(stage)}</th>' if staged and not index else ""
            cells = [_cell(group, entry.architecture[group], ratios, codes, shown) for entry in front]
            begins = ' class="stage"' if not index else ""
            rows.append(f'<tr{begins}>{first}<th scope="row">{html(group)}{_channels(facts, group)}</th>{"".join(cells)}</tr>')
    head, legend = _head(facts, front, 2 if staged else 1), _legend(ratios, codes, shown)
    table = f'<table class="grid"><thead>{head}</thead><tbody>{"".join(rows)}</tbody></table>'
    left = len(facts.front.front) - len(front)
    note = f'<p class="quiet">{left} more on the front.</p>' if left else ""
    return f'{legend}{note}<div class="scroll" role="region" tabindex="0" aria-label="Choices along the front">{table}</div>'


def _fitting(front: Sequence[Entry], best: Entry | None) -> list[Entry]:
    """All of the front, or of a long one so many as keep the table within `CELLS`: the best, and others spread evenly."""
    most = max(CELLS // max(1, len(front[0].architecture.choices)), 10) if front else 0
    if len(front) <= most:
        return list(front)
    some = {place * (len(front) - 1) // (most - 1) for place in range(most)}
    return [entry for place, entry in enumerate(front) if place in some or entry is best]


def short_names(names: Iterable[str], least: int = 3) -> dict[str, str]:
    """Each name's shortest prefix, of at least ``least`` letters, that no other name begins with.

    Example:
        >>> short_names(["avg", "avg+max", "std"])
        {'avg': 'avg', 'avg+max': 'avg+', 'std': 'std'}
    """
    distinct = sorted(set(names))
    return {name: _short(name, [other for other in distinct if other != name], least) for name in distinct}


def _short(name: str, others: Sequence[str], least: int) -> str:
    beginnings = (name[:length] for length in range(least, len(name)))
    return next((text for text in beginnings if not any(other.startswith(text) for other in others)), name)


def _head(facts: Facts, front: Sequence[Entry], lead: int) -> str:
    measured = facts.front.measured
    lines = [("trial", [label(facts, entry) for entry in front])]
    if measured:
        lines.append((clean(measured.name), [amount(measured.name, entry.values[measured.name]) for entry in front]))
    for cost, name in [(cost, f"{heading(cost)} over plain") for cost in facts.metrics]:
        ratios = [facts.over_plain(entry.values, cost) for entry in front]
        if all(ratio is not None for ratio in ratios):
            lines.append((name, [percent(ratio) for ratio in ratios if ratio is not None]))
    for name, _ in front[0].architecture.extra:
        lines.append((clean(name), [str(dict(entry.architecture.extra)[name]) for entry in front]))
    return "".join(_head_row(name, cells, lead, "td" if index else 'th scope="col"') for index, (name, cells) in enumerate(lines))


def _head_row(name: str, cells: Sequence[str], lead: int, tag: str) -> str:
    body = "".join(f"<{tag}>{html(cell)}</{tag[:2]}>" for cell in cells)
    return f'<tr><th scope="row" colspan="{lead}">{html(name)}</th>{body}</tr>'


def _cell(group: str, spec: SESpec | None, ratios: Sequence[int], codes: dict[str, dict[str, str]], shown: Sequence[str]) -> str:
    title = html(f"{group}: {setting(spec)}")
    if spec is None:
        return f'<td class="none" title="{title}">&ndash;</td>'
    small = " ".join(codes[field][getattr(spec, field)] for field in shown)
    return f'<td class="se" style="--a:{_strength(spec.reduction, ratios)}" title="{title}"><b>{spec.reduction}</b>' + (
        f"<small>{html(small)}</small></td>" if small else "</td>"
    )


def _strength(ratio: int, ratios: Sequence[int]) -> str:
    """Opacity of a cell. A smaller reduction is a larger block, and darker."""
    place = ratios.index(ratio) / (len(ratios) - 1) if len(ratios) > 1 else 0.5
    return f"{0.6 - 0.48 * place:.2f}"


def _channels(facts: Facts, group: str) -> str:
    channels = (facts.backbone.get("groups", {}).get(group) or {}).get("channels")
    return f" <small>{html(channels)} ch</small>" if channels else ""


def _legend(ratios: Sequence[int], codes: dict[str, dict[str, str]], shown: Sequence[str]) -> str:
    if not ratios:
        return '<p class="quiet">No architecture on the front has an SE block.</p>'
    swatches = " ".join(f'<b class="se" style="--a:{_strength(ratio, ratios)}">{ratio}</b>' for ratio in ratios)
    parts = [f"reduction r: {swatches}", "&ndash; no SE"]
    for field in _FIELDS:
        names = [html(name if code == name else f"{code} = {name}") for name, code in codes[field].items()]
        parts.append(f"{field}: {', '.join(names)}" if field in shown else f"{field} {html(next(iter(codes[field])))} throughout")
    return f'<p class="codes">{"".join(f"<span>{part}</span>" for part in parts)}</p>'
