"""Hard limits on known costs: ``params <= +5%`` (relative to the plain backbone), ``macs <= 4.1G``."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from se_nas.errors import InputError, known
from se_nas.reading import LARGEST
from se_nas.text import shown

_FORM = re.compile(r"\s*(?:<=)?\s*(?P<sign>\+?)(?P<number>\d+(?:\.\d+)?(?:e\d+)?)\s*(?P<unit>[kKmMgG%]?)\s*")
_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "g": 1e9}
_FIX = 'write "<= +5%" (relative to the plain backbone) or an absolute number such as "<= 1.2M"'

METRICS = ("params", "macs")
"""The costs that budgets may limit."""


@dataclass(frozen=True)
class Budget:
    """An upper limit on a known cost.

    Attributes:
        metric: ``params`` or ``macs``.
        text: the limit as written, ``<= +5%``.
        limit: the largest value allowed, an integer.
    """

    metric: str
    text: str
    limit: int

    def __str__(self) -> str:
        return f"{self.metric} {self.text}"


def parse_budget(metric: str, value: object, backbone: int) -> Budget:
    """Parse one budget.

    Args:
        metric: ``params`` or ``macs``.
        value: the limit as written: ``<= +5%`` or ``1.2M``.
        backbone: cost of the plain backbone, which percentages are relative to.

    Raises:
        InputError: if the value has neither form.
    """
    limit = parse_amount(value, backbone, f"budgets.{metric}")
    bare = str(value).replace("<=", "").strip()
    return Budget(metric, f"<= {bare}", int(limit + 1e-9))


def parse_amount(value: object, backbone: float | None, source: str) -> float:
    """Parse an amount of a cost: absolute (``1.2M``), or relative to the backbone's cost (``+5%``).

    Args:
        value: the amount as written.
        backbone: cost of the plain backbone; None if unknown.
        source: key that the value came from, for errors.

    Raises:
        InputError: if the value has neither form, or is relative to an unknown cost.
    """
    text = value if isinstance(value, str) else shown(value)
    match = None if isinstance(value, bool) else _FORM.fullmatch(text[:100])
    relative = match is not None and match["unit"] == "%"
    if match is None or (match["sign"] == "+") != relative:
        raise InputError(
            f"{shown(value)} is not a budget" if source.startswith("budgets") else f"{shown(value)} is not an amount", _FIX, source
        )
    number = float(match["number"])
    if number * max(_UNITS.values()) * (backbone or 1) > LARGEST:
        raise InputError(f"{shown(value)} is beyond every network", _FIX, source)
    if not relative:
        return number * _UNITS[match["unit"].lower()]
    if backbone is None:
        raise InputError(f"{shown(value)} is relative, and the plain backbone's cost is not known", "write an absolute number", source)
    return backbone * (1 + number / 100)


def parse_budgets(
    budgets: Mapping[str, object], metrics: Collection[str], plain: Mapping[str, int], least: Mapping[str, int]
) -> tuple[Budget, ...]:
    """Parse and check several budgets.

    Args:
        budgets: metric -> limit as written.
        metrics: metrics that a budget may limit.
        plain: costs of the plain backbone.
        least: for each metric, the cost of the cheapest architecture.

    Raises:
        InputError: for an unknown metric, a malformed limit, or a budget that no architecture meets.
    """
    parsed = []
    for metric, value in budgets.items():
        known(metric, metrics, "budget")
        budget = parse_budget(metric, value, plain[metric])
        if budget.limit < least[metric]:
            raise InputError(
                f"no architecture meets {budget}: that is {budget.limit:,} and the cheapest has {least[metric]:,}",
                f"raise it to at least {least[metric]:,}",
                f"budgets.{metric}",
            )
        parsed.append(budget)
    return tuple(parsed)


def split_budget(text: str) -> tuple[str, str]:
    """Split the value of ``--budget``: ``params<=+5%`` -> (``params``, ``+5%``)."""
    metric, relation, limit = text.partition("<=")
    if not relation:
        raise InputError(f"{shown(text)} is not a budget", "write --budget 'params<=+5%'", "--budget")
    return metric.strip(), limit.strip()
