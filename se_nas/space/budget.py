"""Hard limits on what is known before training: ``params <= +5%`` of the plain backbone, ``macs <= 4.1G``."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from se_nas.errors import InputError, known

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
    """A budget from what a person wrote, relative to the backbone's own cost where it says so.

    Raises:
        InputError: if the value is of neither form.
    """
    limit = parse_amount(value, backbone, f"budgets.{metric}")
    bare = str(value).replace("<=", "").strip()
    return Budget(metric, f"<= {bare}", int(limit + 1e-9))


def parse_amount(value: object, backbone: float | None, source: str) -> float:
    """An amount of a cost, absolute or relative to the backbone's own, if that is known.

    Raises:
        InputError: if the value is of neither form; ``source`` says whose it is.
    """
    match = None if isinstance(value, bool) else _FORM.fullmatch(str(value))
    relative = match is not None and match["unit"] == "%"
    if match is None or (match["sign"] == "+") != relative:
        raise InputError(f"{value!r} is not a budget" if source.startswith("budgets") else f"{value!r} is no amount", _FIX, source)
    number = float(match["number"])
    if not relative:
        return number * _UNITS[match["unit"].lower()]
    if backbone is None:
        raise InputError(f"{value!r} is relative, and the plain backbone's own is not known", "write an absolute number", source)
    return backbone * (1 + number / 100)


def parse_budgets(
    budgets: Mapping[str, object], metrics: Collection[str], plain: Mapping[str, int], least: Mapping[str, int]
) -> tuple[Budget, ...]:
    """Budgets as a person wrote them, by their metrics.

    Args:
        budgets: metric -> limit.
        metrics: that a budget may limit.
        plain: costs of the plain backbone.
        least: what the cheapest architecture costs.

    Raises:
        InputError: for another metric, no budget, or one that nothing meets.
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
    """``params<=+5%`` as typed after ``--budget`` -> (``params``, ``+5%``)."""
    metric, relation, limit = text.partition("<=")
    if not relation:
        raise InputError(f"{text!r} is not a budget", "write --budget 'params<=+5%'", "--budget")
    return metric.strip(), limit.strip()
