"""The search space: a backbone, its sites in groups, the SE settings that each group may take, and extra dimensions."""

from __future__ import annotations

import copy
import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from se_nas.backbones import make_backbone
from se_nas.errors import InputError, known
from se_nas.network.blocks import PLACEMENTS
from se_nas.network.cost import count, count_params
from se_nas.network.inputs import Inputs, read_inputs
from se_nas.network.placement import Site, remove_existing
from se_nas.network.sites import Selection, group_sites, select_sites
from se_nas.network.survey import initialise, survey
from se_nas.se.block import GATES, SQUEEZES
from se_nas.se.cost import Cost
from se_nas.se.spec import PAPER, SEOptions, SESpec
from se_nas.space.architecture import Architecture
from se_nas.space.budget import METRICS, parse_budgets
from se_nas.space.candidates import check_candidates, check_size
from se_nas.space.codes import Codes, draw_codes
from se_nas.space.coding import Coding
from se_nas.space.costtable import Costs, CostTable, misfit
from se_nas.space.dimensions import Dimensions
from se_nas.space.extra import Choice, check_choice, check_extra, check_names, choices, first_choice, other_values, words
from se_nas.space.feasible import FeasibleSet
from se_nas.space.group import make_group, narrowed, set_blocks
from se_nas.space.spacefile import load_space
from se_nas.space.variants import FeasibleUnion, Prefix, check_alike, costs_of_many, extreme_codes, feasible_sets

REFERENCES = ("plain", "paper")


class SearchSpace:
    """A backbone whose sites may each take an SE block, and the candidate settings.

    Example:
        >>> space = SearchSpace("resnet20", input_size=(3, 32, 32), reduction=[4, 8, 16])
        >>> arch = space.sample(0)
        >>> space.cost(arch).params == sum(p.numel() for p in space.build(arch).parameters())
        True

    Args:
        backbone: a name (``resnet20``, ``torchvision:resnet50``, ``timm:NAME``, ``package.module:callable``), a
            plain ``nn.Module`` (its weights are kept), or a function that returns one.
        input_size: (C, H, W) of an image, (C, L) of a signal, (C, D, H, W) of a volume.
        example_inputs: of a network that takes more or other inputs, a batch of one: see `se_nas.network.inputs.read_inputs`.
        reduction: candidate reduction ratios.
        squeeze: candidate squeeze operators, names in `se_nas.se.block.SQUEEZES`.
        gate: candidate gates, names in `se_nas.se.block.GATES`.
        placement: candidate placements, names in `se_nas.network.blocks.PLACEMENTS`.
        share: what is tied to one choice: ``site`` (nothing), ``stage`` or ``network``.
        sites: ``all``, or any of ``{"stages": [...], "match": [...], "add": [...], "drop": [...], "rename": {...}}`` with
            patterns such as ``layer3.*``, see `se_nas.network.sites.Selection`.
        allow_none: whether "no SE" is a candidate.
        extra: the builder's own arguments as further dimensions, ``{"width": [1.0, 1.5], "kernel": [3, 5]}``: each architecture
            has one value of each, which the builder is called with. References, and what percentages are of, have the first
            values. At most `se_nas.space.extra.MOST` combinations, over all of which the groups must be the same.
        budgets: hard limits, ``{"params": "<= +5%", "macs": "<= 42M"}``, a percentage being of the plain backbone.
        bias: biases in the SE blocks' linear layers.
        divisor: rounds hidden widths to a multiple of it.
        init: ``default``, or ``identity``: an inserted block changes no output before training.
        backbone_args: keyword arguments of a named backbone.

    Raises:
        InputError: if anything does not fit; the error's source is the argument's name.
    """

    def __init__(
        self,
        backbone: str | nn.Module | Callable[..., nn.Module],
        input_size: Sequence[int] = (3, 32, 32),
        *,
        example_inputs: Any = None,
        reduction: Sequence[int] = (16,),
        squeeze: Sequence[str] = ("avg",),
        gate: Sequence[str] = ("sigmoid",),
        placement: Sequence[str] = ("standard",),
        share: str = "site",
        sites: Selection = "all",
        allow_none: bool = True,
        extra: Mapping[str, Sequence[Any]] | None = None,
        budgets: Mapping[str, object] | None = None,
        bias: bool = False,
        divisor: int = 1,
        init: str = "default",
        backbone_args: Mapping[str, Any] | None = None,
    ) -> None:
        known(init, ("default", "identity"), "init")
        self.backbone_args = dict(backbone_args or {})
        self.extra = check_extra({} if extra is None else extra, self.backbone_args)
        self.example_inputs = example_inputs
        self.inputs = Inputs.of_size(check_size(input_size)) if example_inputs is None else read_inputs(example_inputs)
        self.input_size: Any = self.inputs.size
        self.backbone = initialise(backbone, self.inputs) if isinstance(backbone, nn.Module) else backbone
        self.reduction = check_candidates("reduction", reduction, "a ratio", lambda r: type(r) is int and r >= 1)
        self.squeeze = check_candidates("squeeze", squeeze, f"one of {', '.join(SQUEEZES)}", SQUEEZES.__contains__)
        self.gate = check_candidates("gate", gate, f"one of {', '.join(GATES)}", GATES.__contains__)
        self.placement = check_candidates("placement", placement, f"one of {', '.join(PLACEMENTS)}", PLACEMENTS.__contains__)
        self.share, self.selection, self.allow_none = share, sites, allow_none
        self.options = SEOptions(bias, divisor, init)

        self._variants: dict[Choice, SearchSpace] = {}
        self._look()
        for left_out in self.left_out:
            warnings.warn(str(left_out), stacklevel=2)
        check_names(self.extra, [group.name for group in self.groups])
        for name, value in other_values(self.extra):  # what the builder refuses is said before anything begins
            make_backbone(backbone, self.backbone_args, {**dict(first_choice(self.extra)), name: value})
        self._limit(budgets or {})

    def _look(self) -> None:
        """Find the sites, groups and costs of the backbone (with extra dimensions: of their first values)."""
        plain = self.build_backbone()
        found = survey(plain, self.inputs)
        self.all_sites, self.left_out, self.classes = found.sites, found.left_out, found.classes
        self.sites = select_sites(self.all_sites, self.selection)
        for site in self.sites:  # SE blocks that it has there are no part of it
            remove_existing(plain, site)
        self.plain_cost, self.trainable = count(plain, self.inputs), count_params(plain, trainable=True)
        candidates = (self.reduction, self.squeeze, self.gate, self.placement)
        tied = group_sites(self.sites, self.share)
        self.groups = tuple(make_group(name, members, candidates, self.allow_none, self.options) for name, members in tied)
        self.narrowed = narrowed(self.groups, self.reduction, self.placement)

    # Where a space comes from, and goes to.

    @classmethod
    def from_yaml(cls, path: str | Path) -> SearchSpace:
        """The space that a YAML file describes; its ``search:`` section is left to `se_nas.search`.

        Raises:
            InputError: naming the file, the key, the value and the rule.
        """
        return cls.from_dict(load_space(path)[0], str(path))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], source: str) -> SearchSpace:
        """The space of these arguments; ``source`` is named in errors."""
        try:
            return cls(**data)
        except InputError as error:
            raise error.at(source) from error.__cause__

    def to_dict(self) -> dict[str, Any]:
        """Everything that makes the same space again (`from_dict`), if its backbone has a name."""
        return {
            "backbone": self.backbone if isinstance(self.backbone, str) else None,
            "backbone_args": {key: str(value) if isinstance(value, Enum) else value for key, value in self.backbone_args.items()},
            "input_size": list(self.input_size),
            **({"example_inputs": self.example_inputs} if isinstance(self.example_inputs, str) else {}),
            "sites": self.selection if isinstance(self.selection, str) else copy.deepcopy(dict(self.selection)),
            "share": self.share,
            "reduction": list(self.reduction),
            "squeeze": list(self.squeeze),
            "gate": list(self.gate),
            "placement": list(self.placement),
            "allow_none": self.allow_none,
            "extra": {name: list(values) for name, values in self.extra.items()},
            "budgets": {budget.metric: budget.text for budget in self.budgets},
            "bias": self.options.bias,
            "divisor": self.options.divisor,
            "init": self.options.init,
        }

    def with_budgets(self, budgets: Mapping[str, object]) -> SearchSpace:
        """The same space under these budgets as well; one on the same metric replaces the old one."""
        space = copy.copy(self)
        space._forget("_sets", "_feasible")
        space._limit({**{budget.metric: budget.text for budget in self.budgets}, **budgets})
        return space

    def _limit(self, budgets: Mapping[str, object]) -> None:
        least = {metric: getattr(self.cost(self.cheapest(metric)), metric) for metric in METRICS if metric in budgets}
        self.budgets = parse_budgets(budgets, METRICS, self.plain_cost._asdict(), least)
        if self.budgets and self._feasible.empty:
            raise InputError(f"no architecture meets {' and '.join(map(str, self.budgets))} together", "raise one of them", "budgets")

    # Extra dimensions: each combination of their values is a backbone of its own.

    def variant(self, chosen: Choice) -> SearchSpace:
        """The space of the architectures with these values of the extra dimensions, without budgets; itself if there is no choice.

        Raises:
            InputError: if they are none of this space's, or the builder makes a network of other groups with them.
        """
        chosen = check_choice(self.extra, dict(chosen)) if chosen or self.extra else ()
        if self.coding.open and chosen not in self._variants:
            space = copy.copy(self)
            space._forget("_table", "_tables", "_sets", "_feasible", "coding")
            space.extra, space.budgets, space._variants = {name: (value,) for name, value in chosen}, (), {}
            if chosen != first_choice(self.extra):
                try:
                    space._look()
                except InputError as error:
                    raise InputError(f"with {words(chosen)}: {error.problem}", error.fix, "extra") from error
                check_alike(space, self)
            self._variants[chosen] = space
        return self._variants[chosen] if self.coding.open else self

    @property
    def variants(self) -> dict[Prefix, SearchSpace]:
        """`variant` of each combination of the extra dimensions, by its codes; itself, if there is no choice."""
        prefixes = itertools.product(*(range(len(values)) for values in self.coding.open.values()))
        return dict(zip(prefixes, map(self.variant, choices(self.extra)), strict=True))

    @cached_property
    def coding(self) -> Coding:
        """Architectures as option codes, those of extra dimensions first."""
        return Coding(self.extra, self.groups)

    # Architectures: one option a group, so a vector of option codes and an architecture are the same thing.

    @property
    def size(self) -> int:
        """How many architectures there are, whatever they cost."""
        return math.prod(self.coding.sizes)

    @property
    def feasible_size(self) -> int:
        """How many architectures meet every budget; if not `feasible_exact`, at least so many."""
        return self._feasible.size

    @property
    def feasible_exact(self) -> bool:
        """Whether `feasible_size` is exact: it is unless the budgets' sums are too many to tell apart (`se_nas.space.feasible`)."""
        return self._feasible.exact

    def sample(self, rng: int | np.random.Generator) -> Architecture:
        """An architecture within the budgets, each equally likely; ``rng`` is a seed or a numpy Generator."""
        return self.decode(self._feasible.sample(np.random.default_rng(rng)))

    def sample_many(self, rng: int | np.random.Generator, n: int) -> Codes:
        """Option codes of ``n`` independent draws as of `sample`, shape (n, groups)."""
        return self._feasible.sample_many(np.random.default_rng(rng), n)

    def codes_many(self, n: int, rng: int | np.random.Generator) -> Codes:
        """Option codes of ``n`` independent draws whatever the budgets, each architecture equally likely; shape (n, groups)."""
        return draw_codes(self.coding.sizes, n, np.random.default_rng(rng))

    def enumerate(self) -> Iterator[Architecture]:
        """Every architecture within the budgets, the last group changing fastest."""
        return map(self.decode, self.enumerate_codes())

    def enumerate_codes(self) -> Iterator[Codes]:
        """The same as option codes, each of shape (groups,)."""
        return self._feasible.enumerate()

    def ranked(self, worth: Sequence[npt.NDArray[np.float64]]) -> Iterator[Architecture]:
        """The architectures within the budgets, from the greatest sum of worths (of each group's options) down; of one backbone."""
        (feasible,) = self._sets.values()
        return map(self.decode, feasible.ranked(worth))

    def decode(self, codes: Codes) -> Architecture:
        """The architecture of option codes, shape (groups,); those of extra dimensions come first."""
        return self.coding.decode(codes)

    def encode(self, architecture: Architecture) -> Codes:
        """Option codes, the inverse of `decode`.

        Raises:
            InputError: if the space lacks one of the choices.
        """
        return self.coding.encode(architecture)

    def contains(self, architecture: Architecture) -> bool:
        """Whether every choice is a candidate, whatever it costs."""
        return self.coding.contains(architecture)

    def canonical(self, choices: Mapping[str, SESpec | None], extra: Mapping[str, Any] | None = None) -> Architecture:
        """The architecture of one setting a group, and of one value an extra dimension (None: the first of each).

        Settings that build the same network become one.
        """
        if missing := {group.name for group in self.groups} ^ set(choices):
            fix = "give one setting for each group of the space"
            raise InputError(f"the groups differ from the space's in {', '.join(sorted(missing))}", fix)
        chosen = first_choice(self.extra) if extra is None else check_choice(self.extra, extra)
        groups = self.variant(chosen).groups
        return Architecture(tuple((group.name, group.canonical(choices[group.name])) for group in groups), chosen)

    def reference(self, name: str) -> Architecture:
        """``plain``: the backbone without SE. ``paper``: r=16, average squeeze, sigmoid, standard placement at every site."""
        known(name, REFERENCES, "reference")
        return self.canonical({group.name: None if name == "plain" else PAPER for group in self.groups})

    # As named categorical dimensions: what strategies search.

    @property
    def dimensions(self) -> dict[str, tuple[Any, ...]]:
        """Name -> values: the extra dimensions, then one for each thing that a group may choose; a reduction of ``None`` means no SE."""
        return {**self.coding.open, **self._dimensions.values}

    def from_dimensions(self, values: Mapping[str, Any]) -> Architecture:
        """The architecture of one value a dimension; those of a group without SE are ignored, and may be absent."""
        extra = {name: values[name] if name in self.coding.open else own[0] for name, own in self.extra.items()}
        return self.canonical({group.name: group.fitting(self._dimensions.spec(group.name, values)) for group in self.groups}, extra)

    def to_dimensions(self, architecture: Architecture) -> dict[str, Any]:
        """One value a dimension; inverse of `from_dimensions` (dimensions of a group without SE take their first value)."""
        return {**{name: value for name, value in architecture.extra if name in self.coding.open}, **self._dimensions.of(architecture)}

    @cached_property
    def _dimensions(self) -> Dimensions:
        return Dimensions({group.name: group.candidates for group in self.groups})

    # Costs.

    def cost(self, architecture: Architecture) -> Cost:
        """Exact parameters and MACs, and the SE blocks' other work, without building anything."""
        return self.variant(architecture.extra)._table.of(architecture)

    def cost_of(self, codes: Sequence[int]) -> Cost:
        """The same of option codes, a list of one integer a group; the quickest way to cost one architecture."""
        if not self.extra:
            return self._table.of_codes(codes)
        extra = len(self.coding.open)
        if table := self._tables.get(tuple(map(int, codes[:extra]))):
            return table.of_codes(codes[extra:])
        raise misfit(f"{list(codes)}", self.coding.sizes)

    def cost_many(self, codes: Codes) -> Costs:
        """Exact parameters and MACs of many architectures at once.

        Args:
            codes: option codes, shape (n, groups), any integer type; quickest as contiguous uint8, as from `codes_many`.

        Raises:
            InputError: if a code stands for no option of its group.
        """
        return costs_of_many(codes, self.coding.sizes, self._tables) if self.coding.open else self._table.of_many(codes)

    def is_feasible(self, architecture: Architecture) -> bool:
        """Whether every budget is met."""
        cost = self.cost(architecture)
        return all(getattr(cost, budget.metric) <= budget.limit for budget in self.budgets)

    def cheapest(self, metric: str = "params", within_budgets: bool = False) -> Architecture:
        """The architecture with the least of ``params`` or ``macs`` (of equals, the least of the other)."""
        return self._extreme(metric, -1, within_budgets)

    def dearest(self, metric: str = "params", within_budgets: bool = False) -> Architecture:
        """The architecture with the most of ``params`` or ``macs`` (of equals, the most of the other).

        Within the budgets it is exact if `feasible_exact`; if not, it meets them and is at most `FeasibleSet.margin` from
        the dearest one.
        """
        return self._extreme(metric, 1, within_budgets)

    def _extreme(self, metric: str, sign: int, within_budgets: bool) -> Architecture:
        known(metric, METRICS, "metric")
        found = map(self.decode, extreme_codes(self._tables, metric, sign, self._sets if within_budgets else None))
        return max(found, key=lambda each: [sign * getattr(self.cost(each), name) for name in (metric, *METRICS)])

    @cached_property
    def _table(self) -> CostTable:
        return CostTable(self.groups, self.plain_cost)

    @cached_property
    def _tables(self) -> dict[Prefix, CostTable]:
        return {prefix: space._table for prefix, space in self.variants.items()}

    @cached_property
    def _sets(self) -> dict[Prefix, FeasibleSet]:
        return feasible_sets(self.variants, self._tables, self.budgets)

    @cached_property
    def _feasible(self) -> FeasibleSet | FeasibleUnion:
        return FeasibleUnion(self._sets) if self.coding.open else self._sets[()]

    def _forget(self, *cached: str) -> None:  # of a copy, what it works out anew
        self.__dict__ = {name: value for name, value in self.__dict__.items() if name not in cached}

    # Networks.

    def build(self, architecture: Architecture, make: Callable[[Site, SESpec], nn.Module] | None = None) -> nn.Module:
        """A fresh network: the backbone first (so that a seed gives every architecture the same one), then its SE blocks, or ``make``'s."""
        if self.coding.open:
            return self.variant(architecture.extra).build(architecture, make)
        return set_blocks(self.build_backbone(), self.groups, architecture, make)

    def build_backbone(self) -> nn.Module:
        """A fresh plain backbone (a copy, weights and all, of one that was given as a module), with the first extra values."""
        return initialise(make_backbone(self.backbone, self.backbone_args, dict(first_choice(self.extra))), self.inputs)

    def __repr__(self) -> str:
        name = self.backbone if isinstance(self.backbone, str) else type(self.backbone).__name__
        return f"SearchSpace({name}, {len(self.groups)} groups, {self.size:.3g} architectures)"
