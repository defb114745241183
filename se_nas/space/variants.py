"""Extra dimensions give a space several backbones: what these must share, and costs and budgets over all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from se_nas.errors import InputError
from se_nas.se.cost import Cost
from se_nas.space.budget import Budget
from se_nas.space.codes import Codes
from se_nas.space.costtable import Costs, CostTable, empty_costs, misfit
from se_nas.space.extra import first_choice, words
from se_nas.space.feasible import Array, FeasibleSet, Prefix
from se_nas.space.group import Group


class Variant(Protocol):
    """A space with one value of each extra dimension, as far as this file needs it."""

    extra: dict[str, tuple[Any, ...]]
    groups: tuple[Group, ...]
    classes: int
    plain_cost: Cost


def check_alike(variant: Variant, first: Variant) -> None:
    """Check that two backbones have the same groups, with the same options, and the same number of outputs.

    Raises:
        InputError: names the extra values and the groups that differ.
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
    """For each backbone, the codes of the architecture with the largest ``sign * metric``; shape (genes,) each.

    Args:
        tables: prefix -> the backbone's costs.
        metric: one of the tables' metrics.
        sign: 1 or -1.
        sets: prefix -> the architectures to choose from; None for all.
    """
    found = []
    for prefix, table in tables.items():
        values = table.worth(metric, sign)
        if sets is None:
            found.append(np.array([*prefix, *(value.argmax() for value in values)], np.int64))
        elif not sets[prefix].empty:
            found.append(np.array([*prefix, *sets[prefix].best(values)], np.int64))
    return found


def feasible_sets(tables: Mapping[Prefix, CostTable], budgets: Sequence[Budget]) -> dict[Prefix, FeasibleSet]:
    """For each backbone, the set of its architectures that meet the budgets."""
    sets = {}
    for prefix, table in tables.items():
        columns = [table.metrics.index(budget.metric) for budget in budgets]
        limits = np.array([table.left(budget) for budget in budgets], np.int64)
        sets[prefix] = FeasibleSet([options[:, columns] for options in table.options], limits)
    return sets


def cost_of_codes(codes: Sequence[int], sizes: Sequence[int], tables: Mapping[Prefix, CostTable]) -> Cost:
    """`costs_of_many` for one architecture, with codes of shape (genes,)."""
    extra = len(next(iter(tables)))
    table = tables.get(tuple(map(int, codes[:extra])))
    if table is None:
        raise misfit(f"{list(codes)}", sizes)
    return table.of_codes(codes[extra:])


def costs_of_many(codes: Codes, sizes: Sequence[int], tables: Mapping[Prefix, CostTable]) -> Costs:
    """Costs of architectures of several backbones.

    Args:
        codes: option codes, shape (n, genes), of any integer type.
        sizes: number of options of each gene.
        tables: prefix -> the backbone's costs.

    Raises:
        InputError: if a code is out of range.
    """
    if codes.ndim != 2 or codes.shape[1] != len(sizes) or codes.dtype.kind not in "iu":
        raise misfit(f"an array of {codes.dtype}, shape {codes.shape}", sizes)
    if (bad := ((codes < 0) | (codes >= np.array(sizes))).any(1)).any():
        raise misfit(f"row {bad.argmax()}, {codes[bad.argmax()].tolist()},", sizes)
    extra = len(next(iter(tables)))
    costs = empty_costs(len(codes), next(iter(tables.values())).named)
    for prefix, table in tables.items():
        mine = (codes[:, :extra] == prefix).all(1)
        part = table.of_many(np.ascontiguousarray(codes[mine, extra:]))
        costs.params[mine], costs.macs[mine] = part.params, part.macs
        for name, values in part.named.items():
            costs.named[name][mine] = values
    return costs
