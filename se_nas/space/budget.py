"""Hard limits on known costs: ``params <= +5%`` (of the plain backbone), ``params <= paper``, ``macs <= 4.1G``, ``latency <= 12ms``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from se_nas.errors import InputError, known
from se_nas.reading import LARGEST
from se_nas.text import shown

_FORM = re.compile(r"\s*(?:<=)?\s*(?P<sign>\+?)(?P<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*(?P<unit>[kKmMgG%]?|s|[mun\u00b5\u03bc]s)\s*")
_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_SECONDS = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "\u00b5s": 1e-6, "\u03bcs": 1e-6, "ns": 1e-9}
_FIX = 'write "<= +5%" (relative to the plain backbone) or an absolute number such as "<= 1.2M"'

METRICS = ("params", "macs")
"""The costs that budgets may limit in every space. A space's further costs (`se_nas.space.named`) come after them."""

PAPER = "paper"
"""As a limit: what the reference of this name costs, which is the paper's SE block at every site."""

LATENCY = "latency"
"""The further cost that a profile of a device gives, in seconds."""

PROFILE = "give a profile of your device: --profile FILE, or space.with_profile(FILE); se-nas profile measures one"
"""What to do where the latency is wanted and not known."""


@dataclass(frozen=True)
class Budget:
    """An upper limit on a known cost.

    Attributes:
        metric: ``params``, ``macs`` or a further cost.
        text: the limit as written, ``<= +5%`` or ``<= paper``.
        limit: the largest value allowed; an integer for params and macs.
    """

    metric: str
    text: str
    limit: float

    def __str__(self) -> str:
        return f"{self.metric} {self.text}"


def parse_budget(metric: str, value: object, backbone: float, paper: Callable[[str], float], unit: str | None = None) -> Budget:
    """Parse one budget.

    Args:
        metric: name of the cost.
        value: the limit as written: ``<= +5%``, ``paper`` or ``1.2M``.
        backbone: cost of the plain backbone, which percentages are relative to.
        paper: metric -> what the reference ``paper`` costs.
        unit: of a further cost, which is a float; None for params and macs.

    Raises:
        InputError: if the value has none of these forms.
    """
    bare = str(value).replace("<=", "").strip()
    limit = paper(metric) if bare == PAPER else parse_amount(value, backbone, f"budgets.{metric}", unit or "")
    return Budget(metric, f"<= {bare}", int(limit + 1e-9) if unit is None else limit)


def parse_amount(value: object, backbone: float | None, source: str, unit: str = "") -> float:
    """Parse an amount of a cost: absolute (``1.2M``), or relative to the backbone's cost (``+5%``).

    Args:
        value: the amount as written.
        backbone: cost of the plain backbone; None if unknown.
        source: key that the value came from, for errors.
        unit: of the cost; ``s`` for a time, which may be written in ``s``, ``ms``, ``us`` or ``ns``.

    Raises:
        InputError: if the value has neither form, or is relative to an unknown cost.
    """
    text = value if isinstance(value, str) else shown(value)
    match = None if isinstance(value, bool) else _FORM.fullmatch(text[:100])
    relative = match is not None and match["unit"] == "%"
    time = unit == "s"
    units, written = (_SECONDS if time else _UNITS), (match["unit"] if time else match["unit"].lower()) if match else ""
    fix = 'write "<= +5%" (relative to the plain backbone) or a time such as "<= 12ms"' if time else _FIX
    fix += f', or "<= {PAPER}"' if source.startswith("budgets") else ""
    if match is None or (match["sign"] == "+") != relative or (not relative and written not in units):
        raise InputError(
            f"{shown(value)} is not a budget" if source.startswith("budgets") else f"{shown(value)} is not an amount", fix, source
        )
    number = float(match["number"])
    if not relative:
        amount = number * units[written]
    elif backbone is None:
        raise InputError(f"{shown(value)} is relative, and the plain backbone's cost is not known", "write an absolute number", source)
    else:
        amount = backbone * (1 + number / 100)
    if amount > LARGEST:
        raise InputError(f"{shown(value)} is beyond every network", fix, source)
    return amount


def parse_budgets(
    budgets: Mapping[str, object],
    units: Mapping[str, str | None],
    plain: Mapping[str, float],
    paper: Callable[[str], float],
    least: Mapping[str, float],
) -> tuple[Budget, ...]:
    """Parse and check several budgets.

    Args:
        budgets: metric -> limit as written.
        units: each metric that a budget may limit -> its unit, see `parse_budget`.
        plain: costs of the plain backbone.
        paper: as of `parse_budget`.
        least: for each metric, the cost of the cheapest architecture.

    Raises:
        InputError: for an unknown metric, a malformed limit, or a budget that no architecture meets.
    """
    parsed = []
    for metric, value in budgets.items():
        if metric == LATENCY and metric not in units:
            raise InputError("nothing is known of the latency", PROFILE, f"budgets.{metric}")
        known(metric, units, "budget")
        budget = parse_budget(metric, value, plain[metric], paper, units[metric])
        if budget.limit < least[metric]:
            raise InputError(
                f"no architecture meets {budget}: that is {_told(budget.limit)} and the cheapest has {_told(least[metric])}",
                f"raise it to at least {_told(least[metric])}",
                f"budgets.{metric}",
            )
        parsed.append(budget)
    return tuple(parsed)


def _told(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.6g}"


def split_budget(text: str) -> tuple[str, str]:
    """Split the value of ``--budget``: ``params<=+5%`` -> (``params``, ``+5%``)."""
    metric, relation, limit = text.partition("<=")
    if not relation:
        raise InputError(f"{shown(text)} is not a budget", "write --budget 'params<=+5%'", "--budget")
    return metric.strip(), limit.strip()
