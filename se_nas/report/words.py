"""Numbers and architectures in words, the same in every view."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import PurePath

from se_nas.goals.objective import STANDARD, Objective
from se_nas.se.spec import SESpec
from se_nas.space.architecture import Architecture
from se_nas.space.budget import LATENCY
from se_nas.space.extra import words as extra_words
from se_nas.text import NBSP, clean, flat

NAMES = {"params": "params", "macs": "MACs"}
"""Metric -> its name in a heading, if that differs."""

_NOUNS = {"site": "sites", "stage": "stages"}


def wrapped(text: str, width: int) -> list[str]:
    """Break a sentence into lines, but never between a number and its unit."""
    return [flat(line) for line in textwrap.wrap(text, max(width, 20), break_on_hyphens=False)]


def heading(metric: str, unit: str = "") -> str:
    """A metric's name, with its unit in brackets if one is given and the name does not say it."""
    return NAMES.get(metric) or clean(f"{metric} ({unit})" if unit else metric)


def count(number: float) -> str:
    """A number in short: ``269,722``, ``40.55 M``, ``4.09 G``."""
    for size, letter in [(1e12, "T"), (1e9, "G"), (1e6, "M")]:
        if abs(number) >= size:
            return f"{number / size:.2f}{NBSP}{letter}"
    return f"{number:,.0f}" if number == int(number) else significant(number, 4)


def is_share(metric: str) -> bool:
    """Whether a metric is a fraction that is shown in percent."""
    return metric == "accuracy" or metric.endswith("_accuracy")


def amount(metric: str, number: float) -> str:
    """A metric's value: accuracy in percent, a latency in milliseconds or so, others as they are."""
    if not math.isfinite(number):
        return str(number)
    if metric == LATENCY:
        return time(number)
    return f"{100 * number:.1f}{NBSP}%" if is_share(metric) else count(number)


def amount_of(metric: str, number: float) -> str:
    """A value with its name or unit: ``97.8 % accuracy``, ``269,722 parameters``."""
    unit = STANDARD[metric].unit if metric in STANDARD else ""
    return f"{amount(metric, number)}{NBSP}{unit or clean(metric)}"


def time(seconds: float) -> str:
    """A short time in four digits: ``12.35 ms``, ``830.1 us``."""
    size, unit = next(((size, unit) for size, unit in [(1.0, "s"), (1e-3, "ms")] if abs(seconds) >= size * 0.99995), (1e-6, "us"))
    digits = len(str(int(abs(seconds / size) + 0.00005)))
    return f"{seconds / size:.{max(0, 4 - digits)}f}{NBSP}{unit}" if seconds else f"0{NBSP}ms"


def gain(objective: Objective, difference: float, signed: bool = True) -> str:
    """An improvement without its unit, ``+0.4``; positive is better. Accuracy is in percentage points."""
    if is_share(objective.name):
        return _signed(100 * difference, 1, signed)
    sign = ("+" if difference > 0 else "-" if difference < 0 else "") if signed else ""
    return sign + significant(abs(difference), 3)


def percent(ratio: float) -> str:
    """A relative difference: ``+1.2 %``, ``+0.005 %``, ``0 %``."""
    number = 100 * ratio
    if number == 0:
        return f"0{NBSP}%"
    if abs(number) < 0.001:
        return f"{'+' if number > 0 else '-'}<0.001{NBSP}%"
    decimals = 0 if abs(number) >= 100 else 1 if abs(number) >= 0.1 else math.ceil(-math.log10(abs(number)))
    return f"{_signed(number, decimals)}{NBSP}%"


def significant(number: float, digits: int) -> str:
    """A number with this many significant digits; large numbers without an exponent."""
    return f"{number:,.0f}" if number == 0 or abs(number) >= 10 ** (digits - 1) else f"{number:.{digits}g}"


def _signed(number: float, decimals: int, sign: bool = True) -> str:
    text = f"{number:+.{decimals}f}"
    nought = not any(digit in text for digit in "123456789")
    return text[1:] if nought or not sign else text


def duration(seconds: float) -> str:
    """A time in words: ``1.3 s``, ``45 s``, ``3 min 20 s``, ``1 h 12 min``, ``2 d 3 h``."""
    if seconds < 9.95 and seconds != int(seconds):
        return f"{seconds:.1f}{NBSP}s"
    whole = round(seconds)
    for size, name, part, part_name in [(86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")]:
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size}{NBSP}{name}" + (f"{NBSP}{rest}{NBSP}{part_name}" if rest else "")
    return f"{whole}{NBSP}s"


def data_name(data: str) -> str:
    """``folder photos`` of ``folder:/home/me/photos``: a title is no place for a machine's paths."""
    kind, colon, path = data.partition(":")
    return f"{kind} {PurePath(path).name}" if colon and kind == "folder" else data


def setting(spec: SESpec | None) -> str:
    """A setting in words: ``r 4, avg, sigmoid, standard``, or ``no SE``."""
    return clean(f"r {spec.reduction}, {spec.squeeze}, {spec.gate}, {spec.placement}") if spec else "no SE"


def summary(architecture: Architecture, share: str = "site") -> str:
    """An architecture in one line: ``6 of 9 sites, r 4-16, avg/max; standard``. Extra dimensions come first: ``width=1.5; ``.

    Args:
        architecture: the architecture.
        share: which sites of the space share one choice: ``site``, ``stage`` or ``network``.
    """
    chosen = clean(f"{extra_words(architecture.extra)}; ") if architecture.extra else ""
    specs = [spec for _, spec in architecture if spec]
    if not specs:
        return f"{chosen}no SE"
    total = len(architecture.choices)
    where = "" if share == "network" else f"{'all' if len(specs) == total else f'{len(specs)} of'} {total} {_NOUNS.get(share, 'groups')}, "
    low, high = min(spec.reduction for spec in specs), max(spec.reduction for spec in specs)
    gates = _several(spec.gate for spec in specs)
    ratio = f"r {low}" if low == high else f"r {low}-{high}"
    operators = _several(spec.squeeze for spec in specs) + ("" if gates == "sigmoid" else f", {gates}")
    return clean(f"{chosen}{where}{ratio}, {operators}; {_several(spec.placement for spec in specs)}")


def _several(names: Iterable[str]) -> str:
    return "/".join(sorted(set(names)))


def flatten(settings: Mapping[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as (dotted key, value) pairs, without those that are None."""
    pairs: list[tuple[str, str]] = []
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            pairs += flatten(value, f"{name}.")
        elif isinstance(value, (list, tuple)):
            pairs.append((clean(name), ", ".join(map(clean, value))))
        elif value is not None:
            pairs.append((clean(name), clean(value)))
    return pairs
