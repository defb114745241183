"""The excitation's role in a trained network, after section 7.2 of the SENet paper: in sentences, as a table, and as figures."""

from __future__ import annotations

from collections.abc import Sequence

from se_nas.evaluate.explanation import NEAR, Change, Excitation, Explanation
from se_nas.report.columns import Column
from se_nas.report.svg import Axis, Curve, curves
from se_nas.text import NBSP, clean, joined

SHARE = 0.9
"""A block is said to be saturated if so many of its gates are near 1."""


def explanation_sentences(found: Explanation, around: str = "±") -> list[str]:
    """Which blocks can go, which need not look at the image, and which are needed.

    Example:
        Needed: layer1.0.se (-39.1 ± 3.1 points of accuracy without it).
    """
    spare = [each for each in found.blocks if each.without.harmless]
    constant = [each for each in found.blocks if each.fixed.harmless and each not in spare]
    needed = [each for each in found.blocks if each not in spare and each not in constant]
    points = f"{NBSP}points"
    said = [f"On {found.images:,} validation images the network has {100 * found.accuracy:.1f}{NBSP}% accuracy."]
    if spare:
        said.append(f"Can go: {_each(spare, 'without', around)}: without it the network loses less than 1{NBSP}point of accuracy.")
    if constant:
        text = "with gates that do not look at the image (their means, which the next layer can take up) it loses less than 1"
        said.append(f"Constant will do: {_each(constant, 'fixed', around)}: {text}{points.removesuffix('s')}.")
    if needed:
        said.append(f"Needed, as far as these images can say: {_each(needed, 'without', around)} without it.")
    if saturated := [each for each in found.blocks if each.near_one >= SHARE]:
        names = ", ".join(clean(each.block) for each in saturated)
        said.append(f"Saturated near 1 ({100 * SHARE:.0f}{NBSP}% of the gates within {NEAR:g}): {names}.")
    return said


def explanation_columns(found: Explanation, around: str = "±") -> list[Column]:
    """A row for each block, from the input on."""
    blocks = found.blocks

    def column(heading: str, cells: Sequence[str]) -> Column:
        return Column(heading, tuple(cells))

    return [
        column("block", [clean(each.block) for each in blocks]),
        column("channels", [f"{len(each.gates):,}" for each in blocks]),
        column("mean\ngate", [f"{sum(each.gates) / len(each.gates):.2f}" for each in blocks]),
        column("deviation\nbetween\nimages", [f"{sum(each.deviations) / len(each.deviations):.3f}" for each in blocks]),
        column("between\nclasses", [f"{each.between:.3f}" for each in blocks]),
        column("near\n1", [f"{100 * each.near_one:.0f} %" for each in blocks]),
        column("accuracy\nwithout it", [_change(each.without, around) for each in blocks]),
        column("with gates\nfixed", [_change(each.fixed, around) for each in blocks]),
    ]


def excitation_charts(found: Explanation) -> list[str]:
    """Of each block its gates by channel, those with the smallest mean first: the mean over images and its deviation, and each class."""
    top = max(1.0, *(gate for each in found.blocks for gate in each.gates))
    low = min(0.0, *(gate for each in found.blocks for gate in each.gates))
    return [_chart(each, Axis("gate", low, top)) for each in found.blocks]


def _chart(block: Excitation, y: Axis) -> str:
    order = sorted(range(len(block.gates)), key=lambda channel: block.gates[channel])
    mean = [block.gates[channel] for channel in order]
    spread = [block.deviations[channel] for channel in order]
    classes = [Curve([values[channel] for channel in order], "class", f"class {clean(label)}") for label, values in block.by_class.items()]
    band = ([m - s for m, s in zip(mean, spread, strict=True)], [m + s for m, s in zip(mean, spread, strict=True)])
    title = f"{clean(block.block)}, {len(order)} channels"
    label = f"gates of {clean(block.block)} by channel: mean {sum(mean) / len(mean):.2f}, for each of {len(classes)} classes"
    return curves([*classes, Curve(mean, "mean", "mean of all images")], band, y, title, label)


def _each(blocks: Sequence[Excitation], kind: str, around: str) -> str:
    parts = [f"{clean(each.block)} ({_change(getattr(each, kind), around)}{NBSP}points)" for each in blocks]
    return joined(parts)


def _change(change: Change, around: str) -> str:
    """``-39.1 ± 3.1``"""
    value = f"{100 * change.accuracy:+.1f}"
    return f"{'0.0' if value in ('+0.0', '-0.0') else value}{NBSP}{around}{NBSP}{100 * change.around:.1f}"
