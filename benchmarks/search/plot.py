"""Curves with intervals as SVG."""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import escape

import numpy as np
from mnasnet import Floats

COLOURS = ("#d62728", "#7f7f7f", "#1f77b4", "#2ca02c", "#ff7f0e", "#9467bd", "#8c564b", "#17becf", "#bcbd22", "#e377c2", "#393b79")
WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 760, 440, 56, 32, 150, 44


def draw_curves(title: str, curves: Mapping[str, Floats], target: float) -> str:
    """Medians as lines, the middle half of the seeds as bands; ``curves`` have shape (seeds, evaluations)."""
    most = max(values.shape[1] for values in curves.values())
    low = min(float(np.median(values[:, min(9, values.shape[1] - 1)])) for values in curves.values())

    def x(n: float) -> float:
        return LEFT + n / most * (WIDTH - LEFT - RIGHT)

    def y(share: float) -> float:
        return TOP + (1 - (max(share, low) - low) / (1 - low)) * (HEIGHT - TOP - BOTTOM)

    parts = [f'<text x="{LEFT}" y="18" font-size="14">{escape(title)}: share of the best hypervolume over evaluations</text>']
    for share in np.arange(np.ceil(low * 10) / 10, 1.001, 0.1):
        parts.append(f'<path d="M{LEFT} {y(share):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 34}" y="{y(share) + 4:.1f}">{share:.1f}</text>')
    for n in range(0, most + 1, max(25, most // 200 * 25)):
        parts.append(f'<text x="{x(n) - 8:.1f}" y="{HEIGHT - BOTTOM + 18}">{n}</text>')
    parts.append(f'<path d="M{LEFT} {y(target):.1f}H{WIDTH - RIGHT}" stroke="#000" stroke-dasharray="4 4"/>')
    ends = []
    for (name, values), colour in zip(curves.items(), COLOURS, strict=False):
        lower, middle, upper = np.quantile(values, [0.25, 0.5, 0.75], axis=0)
        places = range(values.shape[1])
        band = [f"{x(n + 1):.1f},{y(upper[n]):.1f}" for n in places] + [f"{x(n + 1):.1f},{y(lower[n]):.1f}" for n in reversed(places)]
        line = [f"{x(n + 1):.1f},{y(middle[n]):.1f}" for n in places]
        parts.append(f'<polygon points="{" ".join(band)}" fill="{colour}" opacity="0.15"/>')
        parts.append(f'<polyline points="{" ".join(line)}" fill="none" stroke="{colour}" stroke-width="2"/>')
        ends.append((y(middle[-1]), name, colour))
    height = 0.0
    for place, name, colour in sorted(ends):
        height = max(place + 4, height + 14)
        parts.append(f'<text x="{WIDTH - RIGHT + 8}" y="{height:.1f}" fill="{colour}">{escape(name)}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">'
    return head + "".join(parts) + "</svg>\n"
