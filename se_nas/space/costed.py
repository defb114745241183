"""What the architectures of a space cost, and the budgets that limit them."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from se_nas.errors import InputError, known
from se_nas.latency.profile import Profile, read_profile
from se_nas.se.cost import Cost
from se_nas.se.spec import SEOptions
from se_nas.space.architecture import Architecture
from se_nas.space.budget import LATENCY, METRICS, Budget, parse_budgets
from se_nas.space.codes import Codes, Coding
from se_nas.space.costtable import Costs, CostTable
from se_nas.space.extra import Choice, first_choice
from se_nas.space.feasible import FeasibleList, FeasibleSet, FeasibleUnion, Prefix
from se_nas.space.group import Group
from se_nas.space.named import FullCost, NamedCost, Table, make_cost
from se_nas.space.own import CarriesOwn
from se_nas.space.variants import cost_of_codes, costs_of_many, extreme_codes, feasible_sets

if TYPE_CHECKING:
    from typing_extensions import Self


class CostedSpace(CarriesOwn):
    """The part of a `se_nas.space.space.SearchSpace` that costs and limits; the other part says what there is to choose.

    Attributes:
        plain_cost: cost of the plain backbone, with the first value of each extra dimension.
        costs: further costs by name.
        budgets: hard limits on costs.
    """

    groups: tuple[Group, ...]
    extra: dict[str, tuple[Any, ...]]
    plain_cost: Cost
    costs: dict[str, NamedCost]
    budgets: tuple[Budget, ...]
    options: SEOptions
    input_size: Any
    backbone: Any
    _variants: dict[Choice, Any]

    if TYPE_CHECKING:

        @cached_property
        def coding(self) -> Coding: ...

        @property
        def variants(self) -> dict[Prefix, Any]: ...

        def variant(self, chosen: Choice) -> Any: ...

        def canonical(self, choices: Mapping[str, Any], extra: Mapping[str, Any] | None = None) -> Architecture: ...

        def reference(self, name: str) -> Architecture: ...

        def from_dimensions(self, values: Any, prefix: str | None = None) -> Architecture: ...

        def decode(self, codes: Codes) -> Architecture: ...

    # What limits it.

    def with_budgets(self, budgets: Mapping[str, object]) -> Self:
        """A copy with these budgets added. A new budget replaces an old one on the same metric."""
        space = copy.copy(self)
        space._forget("_sets", "_feasible")
        space._limit({**{budget.metric: budget.text for budget in self.budgets}, **budgets})
        return space

    def _limit(self, budgets: Mapping[str, object]) -> None:
        least = {metric: getattr(self.cost(self.cheapest(metric)), metric) for metric in self.metrics if metric in budgets}
        units = {**dict.fromkeys(METRICS), **self.units}
        self.budgets = parse_budgets(budgets, units, self.plain_cost._asdict(), self.paper_cost, least)
        if self.budgets and self._feasible.empty:
            raise InputError(f"no architecture meets {' and '.join(map(str, self.budgets))} together", "raise one of them", "budgets")

    def paper_cost(self, metric: str) -> float:
        """What the reference ``paper`` costs."""
        value: float = getattr(self.cost(self.reference("paper")), metric)
        return value

    def with_cost(self, name: str, table: Table | NamedCost) -> Self:
        """A copy with a further cost by name, see `se_nas.space.named.make_cost`. It replaces one of the same name."""
        space = copy.copy(self)
        space._set_costs({**self.costs, name: make_cost(self, name, table)})
        return space

    def with_profile(self, profile: str | Path | Profile, foreign: bool = False) -> Self:
        """A copy that knows its ``latency``, in seconds, from a profile of a device.

        Args:
            profile: what `se_nas.profile` returns, its file, or a plain table of architectures and times (``.csv``, ``.jsonl``),
                see `se_nas.latency.profile`.
            foreign: take it although it was measured on another machine.

        Raises:
            InputError: for a profile of another network or machine, or one that is damaged.
        """
        own = profile if isinstance(profile, Profile) else read_profile(profile, self)
        return self.with_cost(LATENCY, own.table(self, foreign))

    def _set_costs(self, costs: Mapping[str, NamedCost]) -> None:
        self._forget("_table", "tables", "_sets", "_feasible")
        parts, self._variants, self.costs = self._variants, {}, dict(costs)
        for chosen, part in parts.items():
            self._variants[chosen] = copy.copy(part)
            self._variants[chosen]._set_costs({name: cost.of(chosen) for name, cost in costs.items()})
        if costs:
            chosen = first_choice(self.extra)
            plain = {name: cost.value(cost.backbones[chosen].plain) for name, cost in costs.items()}
            self.plain_cost = FullCost.of(self.plain_cost, plain)

    # What an architecture costs.

    @property
    def metrics(self) -> tuple[str, ...]:
        """The costs that budgets may limit: params, macs and the further ones."""
        return (*METRICS, *self.costs)

    @property
    def units(self) -> dict[str, str]:
        """Further cost -> its unit."""
        return {name: cost.unit for name, cost in self.costs.items()}

    def cost(self, architecture: Architecture) -> Cost:
        """Exact parameters and MACs, the SE blocks' other operations, and further costs by name. Builds no network."""
        table: CostTable = self.variant(architecture.extra)._table
        return table.of(architecture)

    def cost_of(self, codes: Sequence[int]) -> Cost:
        """`cost` of option codes, one integer for each gene: the fastest way for one architecture."""
        return cost_of_codes(codes, self.coding.sizes, self.tables) if self.extra else self._table.of_codes(codes)

    def cost_many(self, codes: Codes) -> Costs:
        """Exact parameters and MACs of many architectures at once, and further costs by name.

        Args:
            codes: option codes, shape (n, genes), of any integer type; contiguous uint8, as from `codes_many`, is fastest.

        Raises:
            InputError: if a code is out of range.
        """
        return costs_of_many(codes, self.coding.sizes, self.tables) if self.coding.open else self._table.of_many(codes)

    def is_feasible(self, architecture: Architecture) -> bool:
        """Whether every budget is met."""
        cost = self.cost(architecture)
        return all(getattr(cost, budget.metric, math.inf) <= budget.limit for budget in self.budgets)

    def cheapest(self, metric: str = "params", within_budgets: bool = False) -> Architecture:
        """The architecture with the fewest ``params``, ``macs`` or of a further cost; another metric breaks ties."""
        return self._extreme(metric, -1, within_budgets)

    def dearest(self, metric: str = "params", within_budgets: bool = False) -> Architecture:
        """The architecture with the most ``params``, ``macs`` or of a further cost; another metric breaks ties.

        Within the budgets it may cost up to `FeasibleSet.margin` too little, unless `feasible_exact`.
        """
        return self._extreme(metric, 1, within_budgets)

    def _extreme(self, metric: str, sign: int, within_budgets: bool) -> Architecture:
        known(metric, self.metrics, "metric")
        found = map(self.decode, extreme_codes(self.tables, metric, sign, self._sets if within_budgets else None))
        return max(found, key=lambda each: [sign * getattr(self.cost(each), name) for name in (metric, *METRICS)])

    @cached_property
    def _table(self) -> CostTable:
        return CostTable(self.groups, self.plain_cost, [cost.of(first_choice(self.extra)) for cost in self.costs.values()])

    @cached_property
    def tables(self) -> dict[Prefix, CostTable]:
        """Codes of the extra dimensions -> the costs with that backbone, option by option."""
        return {prefix: space._table for prefix, space in self.variants.items()}

    @cached_property
    def _sets(self) -> dict[Prefix, FeasibleSet]:
        return feasible_sets(self.tables, self.budgets)

    @cached_property
    def _feasible(self) -> FeasibleSet | FeasibleUnion | FeasibleList:
        return FeasibleUnion(self._sets) if self.coding.open else self._sets[()]

    def _forget(self, *cached: str) -> None:
        for name in cached:
            self.__dict__.pop(name, None)
