"""Charts as inline SVG: pure functions from numbers to strings. The page's style sheet sets colours and fonts."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from se_nas.text import html

WIDTH, HEIGHT = 460, 330
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 26, 30, 46

Box = tuple[float, float, float, float]
"""Left, top, right, bottom."""


@dataclass(frozen=True)
class Dot:
    """A point of a chart.

    Attributes:
        x: value on the horizontal axis.
        y: value on the vertical axis.
        kind: decides shape and colour: ``trial``, ``front``, ``plain`` or ``paper``.
        title: text of the tooltip.
        label: text beside the point, if there is room.
    """

    x: float
    y: float
    kind: str
    title: str
    label: str = ""


@dataclass(frozen=True)
class Axis:
    """An axis of a chart.

    Attributes:
        title: what it shows, with the unit.
        low: value at its start.
        high: value at its end.
        name: writes the label of a tick.
    """

    title: str
    low: float
    high: float
    name: Callable[[float], str] = "{:g}".format


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About ``count`` ticks within the limits; their step is 1, 2 or 5 times a power of ten.

    Example:
        >>> nice_ticks(0.78, 0.83)
        [0.78, 0.79, 0.8, 0.81, 0.82, 0.83]
    """
    if not high > low:
        return [low]
    power = 10.0 ** math.floor(math.log10((high - low) / count))
    step = min((power, 2 * power, 5 * power, 10 * power), key=lambda step: abs((high - low) / step - count))
    digits = max(0, -math.floor(math.log10(step)) + 1)
    first, last = math.ceil(low / step - 1e-6), math.floor(high / step + 1e-6)
    return [round(index * step, digits) for index in range(first, last + 1)]


def span(values: Sequence[float], room: float = 0.06) -> tuple[float, float]:
    """Limits of an axis that shows all values with some margin. A single value gets a margin too."""
    low, high = min(values), max(values)
    margin = (high - low) * room or abs(high) * 0.01 or 1.0
    return low - margin, high + margin


def scatter(
    dots: Sequence[Dot],
    x: Axis,
    y: Axis,
    label: str,
    steps: Sequence[tuple[float, float]] = (),
    band: tuple[float, float] | None = None,
    limit: tuple[float, str] | None = None,
) -> str:
    """A scatter chart. Points beyond an axis are drawn at its end.

    Args:
        dots: the points; later ones are drawn over earlier ones.
        x: horizontal axis.
        y: vertical axis.
        label: what the chart shows, for screen readers.
        steps: corners (x, y) of a staircase line, which keeps each y until the next x.
        band: y values between which the chart is shaded.
        limit: x value and label of a vertical line.
    """

    def at_x(value: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * _between(value, x)

    def at_y(value: float) -> float:
        return HEIGHT - _BOTTOM - (HEIGHT - _BOTTOM - _TOP) * _between(value, y)

    parts = []
    if band:
        parts.append(_rectangle(_LEFT, at_y(band[1]), WIDTH - _LEFT - _RIGHT, at_y(band[0]) - at_y(band[1]), "band"))
    parts += [_line(at_x(v), HEIGHT - _BOTTOM, at_x(v), HEIGHT - _BOTTOM + 4, "tick") for v in nice_ticks(x.low, x.high)]
    parts += [_text(at_x(v), HEIGHT - _BOTTOM + 17, x.name(v), "middle") for v in nice_ticks(x.low, x.high)]
    parts += [_line(_LEFT, at_y(v), WIDTH - _RIGHT, at_y(v), "grid") for v in nice_ticks(y.low, y.high)]
    parts += [_text(_LEFT - 7, at_y(v) + 4, y.name(v), "end") for v in nice_ticks(y.low, y.high)]
    parts.append(_text(_LEFT - 7, 14, y.title, "start", "axis", shift=-_LEFT + 11))
    parts.append(_text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 8, x.title, "middle", "axis"))
    if limit:
        parts.append(_line(at_x(limit[0]), _TOP - 6, at_x(limit[0]), HEIGHT - _BOTTOM, "limit"))
        parts.append(_text(at_x(limit[0]) - 4, _TOP - 10, limit[1], "end", "limit"))
    if steps:
        corners = [(at_x(across), at_y(up)) for across, up in steps]
        path = f"M{_n(corners[0][0])} {_n(corners[0][1])}" + "".join(f"H{_n(across)}V{_n(up)}" for across, up in corners[1:])
        parts.append(f'<path class="steps" d="{path}"/>')
    places = [(at_x(dot.x), at_y(dot.y)) for dot in dots]
    parts += [_mark(dot, *place) for dot, place in zip(dots, places, strict=True)]
    parts += _labels(dots, places)
    body = "\n".join(parts)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html(label)}">\n{body}\n</svg>'


@dataclass(frozen=True)
class Interval:
    """A row of `intervals`.

    Attributes:
        name: of the row.
        middle: marked by a dot.
        low: lower end.
        high: upper end.
        kind: shape and colour of the dot.
        title: text shown on hover.
        cost: length of the bar beside it; None: no bar.
    """

    name: str
    middle: float
    low: float
    high: float
    kind: str
    title: str
    cost: float | None = None


def intervals(rows: Sequence[Interval], x: Axis, cost: str, write: Callable[[float], str], label: str) -> str:
    """A chart of intervals, one row each, with a line at 0 and bars of cost at the right.

    Args:
        rows: from top to bottom.
        x: horizontal axis.
        cost: what the bars are.
        write: how a cost is written.
        label: what the chart shows, for screen readers.
    """
    names = min(6.6 * max(len(row.name) for row in rows) + 12, 190.0)
    most = max((row.cost or 0.0 for row in rows), default=0.0)
    right = WIDTH - (120.0 if most else 12.0)
    bottom = _TOP + 20.0 * len(rows)

    def at(value: float) -> float:
        return names + (right - names) * _between(value, x)

    parts = [_line(at(v), _TOP - 4, at(v), bottom, "grid") for v in nice_ticks(x.low, x.high)]
    parts += [_text(at(v), bottom + 15, f"{v:g}", "middle") for v in nice_ticks(x.low, x.high)]
    parts += [_line(at(0.0), _TOP - 4, at(0.0), bottom, "zero"), _text((names + right) / 2, bottom + 34, x.title, "middle", "axis")]
    parts += [_text(right + 12, _TOP - 12, cost, "start", "axis")] if most else []
    for number, row in enumerate(rows):
        middle = _TOP + 20.0 * number + 10
        dot = _shape(row.kind, at(row.middle), middle)
        parts.append(_text(names - 8, middle + 4, row.name, "end", "axis"))
        line = _line(at(row.low), middle, at(row.high), middle, f"interval {row.kind}")
        parts.append(f'<g class="dot"><title>{html(row.title)}</title>{line}{dot}</g>')
        if most and row.cost is not None:
            width = max(50 * row.cost / most, 0.0)
            parts += [
                _rectangle(right + 12, middle - 5, width, 10, "cost"),
                _text(right + 16 + width, middle + 4, write(row.cost), "start"),
            ]
    body = "\n".join(parts)
    return f'<svg viewBox="0 0 {WIDTH} {_n(bottom + 44)}" role="img" aria-label="{html(label)}">\n{body}\n</svg>'


@dataclass(frozen=True)
class Curve:
    """A line of `curves`: its values from left to right, its CSS class, and the text shown on hover."""

    values: Sequence[float]
    kind: str
    title: str


def curves(rows: Sequence[Curve], band: tuple[Sequence[float], Sequence[float]], y: Axis, title: str, label: str) -> str:
    """A small chart of curves over numbered places, with a shaded band and a line at 1.

    Args:
        rows: later ones are drawn over earlier ones.
        band: lower and upper ends at each place.
        y: vertical axis.
        title: stands above.
        label: what the chart shows, for screen readers.
    """
    width, height, left, bottom = 220.0, 150.0, 30.0, 132.0
    number = max(2, len(band[0]))

    def at(place: int, value: float) -> str:
        return f"{_n(left + (width - left - 6) * place / (number - 1))} {_n(bottom - (bottom - 24) * _between(value, y))}"

    def path(values: Sequence[float]) -> str:
        many = list(values) * (2 if len(values) == 1 else 1)  # a single channel is a line too
        return "M" + "L".join(at(place, value) for place, value in enumerate(many))

    low, high = (list(end) * (2 if len(end) == 1 else 1) for end in band)
    back = "L".join(at(place, low[place]) for place in reversed(range(len(low))))
    parts = [_text(0, 12, title, "start", "axis"), f'<path class="spread" d="{path(high)}L{back}Z"/>']
    for value in nice_ticks(y.low, y.high, 2):
        up = bottom - (bottom - 24) * _between(value, y)
        parts += [_line(left, up, width - 6, up, "one" if value == 1 else "grid"), _text(left - 5, up + 4, f"{value:g}", "end")]
    parts += [f'<path class="{row.kind}" d="{path(row.values)}"><title>{html(row.title)}</title></path>' for row in rows]
    parts.append(_text((left + width) / 2, height - 4, "channels", "middle"))
    body = "\n".join(parts)
    return f'<svg viewBox="0 0 {_n(width)} {_n(height)}" role="img" aria-label="{html(label)}">\n{body}\n</svg>'


def mark(kind: str) -> str:
    """The shape of a kind of point, for a legend."""
    return f'<svg class="mark" viewBox="0 0 14 14" aria-hidden="true">{_shape(kind, 7, 7)}</svg>'


def _between(value: float, axis: Axis) -> float:
    """Position on an axis: 0 at its start, 1 at its end; values beyond are clipped."""
    return min(max((value - axis.low) / (axis.high - axis.low), 0.0), 1.0)


def _mark(dot: Dot, across: float, up: float) -> str:
    return f'<g class="dot"><title>{html(dot.title)}</title>{_shape(dot.kind, across, up)}</g>'


def _shape(kind: str, across: float, up: float) -> str:
    if kind == "plain":
        return f'<rect class="plain" x="{_n(across - 4.5)}" y="{_n(up - 4.5)}" width="9" height="9"/>'
    if kind == "paper":
        return f'<path class="paper" d="M{_n(across)} {_n(up - 6.2)}l6.2 6.2l-6.2 6.2l-6.2 -6.2z"/>'
    return f'<circle class="{kind}" cx="{_n(across)}" cy="{_n(up)}" r="{4.2 if kind in ("front", "found") else 2.6}"/>'


def _labels(dots: Sequence[Dot], places: Sequence[tuple[float, float]]) -> list[str]:
    """Labels beside their points, later points first. A label is left out if it would cover another label or a labelled point."""
    named = [(dot, place) for dot, place in zip(dots, places, strict=True) if dot.label]
    taken = [(across - 6, up - 6, across + 6, up + 6) for _, (across, up) in named]
    parts = []
    for dot, (across, up) in reversed(named):
        width = 6.4 * len(dot.label)
        for left, base in [(across - 7 - width, up - 5), (across - width / 2, up - 9), (across - width / 2, up + 18), (across + 8, up + 4)]:
            box = (left, base - 9, left + width, base + 1)
            if _inside(box) and not any(_overlap(box, other) for other in taken):
                taken.append(box)
                parts.append(_text(left, base, dot.label, "start", dot.kind))
                break
    return parts


def _inside(box: Box) -> bool:
    """Whether a box lies within the axes."""
    return box[0] > _LEFT and box[1] > _TOP - 8 and box[2] < WIDTH - 2 and box[3] < HEIGHT - _BOTTOM


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def _rectangle(x: float, y: float, width: float, height: float, kind: str) -> str:
    return f'<rect class="{kind}" x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}"/>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{_n(x1)}" y1="{_n(y1)}" x2="{_n(x2)}" y2="{_n(y2)}"/>'


def _text(x: float, y: float, text: str, anchor: str, kind: str = "tick", shift: float = 0) -> str:
    return f'<text class="{kind}" x="{_n(x + shift)}" y="{_n(y)}" text-anchor="{anchor}">{html(text)}</text>'


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")
