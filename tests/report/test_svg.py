from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

import pytest

from se_nas.report.svg import Axis, Dot, mark, nice_ticks, scatter, span


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0.78, 0.83, [0.78, 0.79, 0.8, 0.81, 0.82, 0.83]),
        (0.786, 0.891, [0.8, 0.82, 0.84, 0.86, 0.88]),
        (269_000, 278_000, [270_000, 272_000, 274_000, 276_000, 278_000]),
        (-1, 1, [-1, -0.5, 0, 0.5, 1]),
        (3, 3, [3]),
    ],
)
def test_nice_ticks(low: float, high: float, ticks: list[float]) -> None:
    assert nice_ticks(low, high) == ticks


@pytest.mark.parametrize("size", [0.001, 0.3, 7, 99, 1234567, 4e9])
@pytest.mark.parametrize("start", [0, 0.1, 269_722, 40_551_040])
def test_ticks_are_few_even_and_within(start: float, size: float) -> None:
    ticks = nice_ticks(start, start + size)
    assert 3 <= len(ticks) <= 8
    assert all(start - size * 1e-4 <= tick <= start + size * 1.0001 for tick in ticks)
    steps = [b - a for a, b in pairwise(ticks)]
    assert max(steps) == pytest.approx(min(steps), rel=1e-2)


def test_limits_hold_all_values_and_never_collapse() -> None:
    low, high = span([1, 2, 3])
    assert low < 1
    assert high > 3
    for value in (0.0, 5.0, -3.0):
        low, high = span([value])
        assert low < value < high


def test_a_scatter_has_every_point_within_its_frame() -> None:
    dots = [Dot(x, y, "trial", f"<point> {x}") for x, y in [(0, 0), (1, 1), (-50, 0.5), (0.5, 99)]]
    dots.append(Dot(0.5, 0.5, "plain", "plain", "plain"))
    svg = scatter(dots, Axis("x & y", 0, 1), Axis("y", 0, 1), '"label"', [(0, 0), (1, 1)], (0.2, 0.4), (0.9, "budget"))
    root = ElementTree.fromstring(svg)
    circles = root.findall(".//circle")
    assert len(circles) == 4
    assert all(0 < float(c.attrib["cx"]) < 460 and 0 < float(c.attrib["cy"]) < 330 for c in circles)
    assert next(title.text for title in root.iter("title")) == "<point> 0"
    assert root.attrib["aria-label"] == '"label"'
    texts = [text.text for text in root.iter("text")]
    assert {"x & y", "budget", "plain", "0.4"} <= set(texts)
    path = root.find("path[@class='steps']")
    assert path is not None
    assert path.attrib["d"].count("H") == path.attrib["d"].count("V") == 1


def test_labels_do_not_cover_each_other() -> None:
    dots = [Dot(0.5, 0.5, "front", "", "1234") for _ in range(9)]
    root = ElementTree.fromstring(scatter(dots, Axis("", 0, 1), Axis("", 0, 1), ""))
    assert 1 <= len([text for text in root.iter("text") if text.text == "1234"]) <= 4


@pytest.mark.parametrize("kind", ["trial", "front", "plain", "paper"])
def test_marks_differ_in_class(kind: str) -> None:
    assert f'class="{kind}"' in mark(kind)
