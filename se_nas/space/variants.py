"""Extra dimensions make several backbones of one: what they must share, and costs and budgets over all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from se_nas.errors import InputError
from se_nas.se.cost import Cost
from se_nas.space.budget import METRICS, Budget
from se_nas.space.codes import Codes
from se_nas.space.costtable import Costs, CostTable, misfit
from se_nas.space.extra import first_choice, words
from se_nas.space.feasible import Array, FeasibleSet
from se_nas.space.group import Group

Prefix = tuple[int, ...]
"""Codes of the extra dimensions, which come first."""


class Variant(Protocol):
    """What this file sees of a space with one value of each extra dimension."""

    extra: dict[str, tuple[Any, ...]]
    groups: tuple[Group, ...]
    classes: int
    plain_cost: Cost


def check_alike(variant: Variant, first: Variant) -> None:
    """Backbones of one space have the same groups with the same options, and as many outputs.

    Raises:
        InputError: naming the extra values, and the first group that differs.
    """
    said = words(first_choice(variant.extra))
    ours, theirs = ({group.name: group.options for group in space.groups} for space in (variant, first))
    if odd := [name for name in {**theirs, **ours} if (name in theirs) != (name in ours)]:
        fix = "tie sites by share: stage or network, choose them with sites:, or leave that value out"
        raise InputError(f"with {said} the groups of sites are others: {', '.join(odd[:5])}", fix, "extra")
    if odd := [name for name in theirs if theirs[name] != ours[name]]:
        fix = "take candidates that stay apart (of reduction, mostly), or leave that value out"
        raise InputError(f"with {said} other settings of {odd[0]} build the same network", fix, "extra")
    if variant.classes != first.classes:
        raise InputError(f"with {said} the network has {variant.classes} outputs, not {first.classes}", "leave that value out", "extra")


def extreme_codes(tables: Mapping[Prefix, CostTable], metric: str, sign: int, sets: Mapping[Prefix, FeasibleSet] | None) -> list[Array]:
    """Of each backbone, codes of the architecture with the most of ``sign`` times a metric; of those within the limits, if given."""
    found = []
    for prefix, table in tables.items():
        values = table.worth(metric, sign)
        if sets is None:
            found.append(np.array([*prefix, *(value.argmax() for value in values)], np.int64))
        elif not sets[prefix].empty:
            found.append(np.array([*prefix, *sets[prefix].best(values)], np.int64))
    return found


def feasible_sets(
    spaces: Mapping[Prefix, Variant], tables: Mapping[Prefix, CostTable], budgets: Sequence[Budget]
) -> dict[Prefix, FeasibleSet]:
    """What each backbone's own cost leaves of the budgets, and what meets that."""
    columns = [METRICS.index(budget.metric) for budget in budgets]
    sets = {}
    for prefix, space in spaces.items():
        limits = np.array([budget.limit - getattr(space.plain_cost, budget.metric) for budget in budgets], np.int64)
        sets[prefix] = FeasibleSet([options[:, columns] for options in tables[prefix].options], limits)
    return sets


def costs_of_many(codes: Codes, sizes: Sequence[int], tables: Mapping[Prefix, CostTable]) -> Costs:
    """Costs of option codes, shape (n, extra dimensions and groups), each by the table of its backbone.

    Args:
        codes: of any integer type.
        sizes: how many values each extra dimension has, and how many options each group.
        tables: of each backbone.

    Raises:
        InputError: if a code stands for nothing.
    """
    if codes.ndim != 2 or codes.shape[1] != len(sizes) or codes.dtype.kind not in "iu":
        raise misfit(f"an array of {codes.dtype}, shape {codes.shape}", sizes)
    if (bad := ((codes < 0) | (codes >= np.array(sizes))).any(1)).any():
        raise misfit(f"row {bad.argmax()}, {codes[bad.argmax()].tolist()},", sizes)
    extra = len(next(iter(tables)))
    costs = Costs(np.empty(len(codes), np.int64), np.empty(len(codes), np.int64))
    for prefix, table in tables.items():
        mine = (codes[:, :extra] == prefix).all(1)
        part = table.of_many(np.ascontiguousarray(codes[mine, extra:]))
        costs.params[mine], costs.macs[mine] = part.params, part.macs
    return costs


class FeasibleUnion:
    """`FeasibleSet` over several backbones: counts, draws and lists code vectors that begin with a backbone's codes.

    Args:
        sets: what is within the limits, of each backbone.
    """

    def __init__(self, sets: Mapping[Prefix, FeasibleSet]) -> None:
        self._sets = {prefix: one for prefix, one in sets.items() if not one.empty}
        self.empty = not self._sets
        self.exact = all(one.exact for one in sets.values())

    @cached_property
    def size(self) -> int:
        """How many code vectors are within the limits; if not exact, at least so many."""
        return sum(one.size for one in self._sets.values())

    def sample(self, rng: np.random.Generator) -> Array:
        """One code vector, each feasible one equally likely; shape (extra dimensions and groups,)."""
        codes: Array = self.sample_many(rng, 1)[0]
        return codes

    def sample_many(self, rng: np.random.Generator, n: int) -> Array:
        """Code vectors drawn independently, each feasible one equally likely; shape (n, extra dimensions and groups).

        Raises:
            ValueError: if there is none.
        """
        if self.empty:
            raise ValueError("nothing is within the limits")
        shares = [one.size / self.size for one in self._sets.values()]
        which = rng.choice(len(shares), n, p=np.array(shares) / sum(shares))
        parts = [_prefixed(prefix, one.sample_many(rng, int((which == i).sum()))) for i, (prefix, one) in enumerate(self._sets.items())]
        codes = np.concatenate(parts)
        drawn = np.empty_like(codes)
        drawn[np.argsort(which, kind="stable")] = codes
        return drawn

    def enumerate(self) -> Iterator[Array]:
        """Every code vector within the limits, the last group changing fastest."""
        for prefix, one in self._sets.items():
            for codes in one.enumerate():
                yield np.array([*prefix, *codes], np.int64)


def _prefixed(prefix: Prefix, codes: Array) -> Array:
    return np.concatenate([np.tile(np.array(prefix, np.int64), (len(codes), 1)), codes], 1)
