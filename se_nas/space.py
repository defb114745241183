"""The search space: a backbone, its sites in groups, and the SE settings that each group may take."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from se_nas.architecture import PAPER, Architecture, SEOptions, SESpec
from se_nas.backbones import build_backbone
from se_nas.blocks import PLACEMENTS
from se_nas.budget import Budget, parse_budget
from se_nas.candidates import check_candidates, check_size
from se_nas.categorical import CategoricalSpace as CategoricalSpace
from se_nas.codes import Codes, draw_codes
from se_nas.cost import METRICS, Cost, count
from se_nas.costtable import Costs, CostTable
from se_nas.dimensions import Dimensions
from se_nas.errors import InputError, known
from se_nas.feasible import FeasibleSet
from se_nas.group import attachment, check_sites, make_group
from se_nas.placement import Site, attach, remove_existing, survey
from se_nas.se import GATES, SQUEEZES, make_block
from se_nas.sites import Selection, group_sites, select_sites
from se_nas.spacefile import load_space

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
        input_size: (C, H, W) of an image.
        reduction: candidate reduction ratios.
        squeeze: candidate squeeze operators, names in `se_nas.se.SQUEEZES`.
        gate: candidate gates, names in `se_nas.se.GATES`.
        placement: candidate placements, names in `se_nas.blocks.PLACEMENTS`.
        share: what is tied to one choice: ``site`` (nothing), ``stage`` or ``network``.
        sites: ``all``, or any of ``{"stages": [...], "match": [...], "add": [...], "drop": [...], "rename": {...}}`` with
            patterns such as ``layer3.*``, see `se_nas.sites.Selection`.
        allow_none: whether "no SE" is a candidate.
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
        reduction: Sequence[int] = (16,),
        squeeze: Sequence[str] = ("avg",),
        gate: Sequence[str] = ("sigmoid",),
        placement: Sequence[str] = ("standard",),
        share: str = "site",
        sites: Selection = "all",
        allow_none: bool = True,
        budgets: Mapping[str, object] | None = None,
        bias: bool = False,
        divisor: int = 1,
        init: str = "default",
        backbone_args: Mapping[str, Any] | None = None,
    ) -> None:
        known(init, ("default", "identity"), "init")
        self.backbone = backbone
        self.backbone_args = dict(backbone_args or {})
        self.input_size = check_size(input_size)
        self.reduction = check_candidates("reduction", reduction, "a ratio", lambda r: type(r) is int and r >= 1)
        self.squeeze = check_candidates("squeeze", squeeze, f"one of {', '.join(SQUEEZES)}", SQUEEZES.__contains__)
        self.gate = check_candidates("gate", gate, f"one of {', '.join(GATES)}", GATES.__contains__)
        self.placement = check_candidates("placement", placement, f"one of {', '.join(PLACEMENTS)}", PLACEMENTS.__contains__)
        self.share = share
        self.selection = sites
        self.allow_none = allow_none
        self.options = SEOptions(bias, divisor, init)

        plain = self.build_backbone()
        found = survey(plain, self.input_size)
        self.all_sites, self.left_out, self.classes = found.sites, found.left_out, found.classes
        self.sites = select_sites(self.all_sites, sites)
        self.plain_cost = self._count_plain(plain)
        check_sites(self.sites, self.placement, max(self.reduction))
        candidates = (self.reduction, self.squeeze, self.gate, self.placement)
        self.groups = tuple(
            make_group(name, members, candidates, allow_none, self.options) for name, members in group_sites(self.sites, share)
        )
        self.budgets = self._parse_budgets(budgets or {})
        self._check_together()

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
            "sites": self.selection if isinstance(self.selection, str) else copy.deepcopy(dict(self.selection)),
            "share": self.share,
            "reduction": list(self.reduction),
            "squeeze": list(self.squeeze),
            "gate": list(self.gate),
            "placement": list(self.placement),
            "allow_none": self.allow_none,
            "budgets": {budget.metric: budget.text for budget in self.budgets},
            "bias": self.options.bias,
            "divisor": self.options.divisor,
            "init": self.options.init,
        }

    def with_budgets(self, budgets: Mapping[str, object]) -> SearchSpace:
        """The same space under these budgets as well; one on the same metric replaces the old one."""
        space = copy.copy(self)
        space.__dict__.pop("_feasible", None)
        space.budgets = space._parse_budgets({**{budget.metric: budget.text for budget in self.budgets}, **budgets})
        space._check_together()
        return space

    # Architectures: one option a group, so a vector of option codes and an architecture are the same thing.

    @property
    def size(self) -> int:
        """How many architectures there are, whatever they cost."""
        return math.prod(len(group.options) for group in self.groups)

    @property
    def feasible_size(self) -> int:
        """How many architectures meet every budget; if not `feasible_exact`, at least so many."""
        return self._feasible.size

    @property
    def feasible_exact(self) -> bool:
        """Whether `feasible_size` is exact: it is unless the budgets' sums are too many to tell apart (`se_nas.feasible`)."""
        return self._feasible.exact

    def sample(self, rng: int | np.random.Generator) -> Architecture:
        """An architecture within the budgets, each equally likely; ``rng`` is a seed or a numpy Generator."""
        return self.decode(self._feasible.sample(np.random.default_rng(rng)))

    def sample_many(self, rng: int | np.random.Generator, n: int) -> Codes:
        """Option codes of ``n`` independent draws as of `sample`, shape (n, groups)."""
        return self._feasible.sample_many(np.random.default_rng(rng), n)

    def codes_many(self, n: int, rng: int | np.random.Generator) -> Codes:
        """Option codes of ``n`` independent draws whatever the budgets, each architecture equally likely; shape (n, groups)."""
        return draw_codes([len(group.options) for group in self.groups], n, np.random.default_rng(rng))

    def enumerate(self) -> Iterator[Architecture]:
        """Every architecture within the budgets, the last group changing fastest."""
        return map(self.decode, self.enumerate_codes())

    def enumerate_codes(self) -> Iterator[Codes]:
        """The same as option codes, each of shape (groups,)."""
        return self._feasible.enumerate()

    def ranked(self, worth: Sequence[npt.NDArray[np.float64]]) -> Iterator[Architecture]:
        """The architectures within the budgets, from the greatest sum of worths down; ``worth`` has one for each option of each group."""
        return map(self.decode, self._feasible.ranked(worth))

    def decode(self, codes: Codes) -> Architecture:
        """The architecture of option codes, shape (groups,)."""
        return Architecture(tuple((group.name, group.options[int(code)]) for group, code in zip(self.groups, codes, strict=True)))

    def encode(self, architecture: Architecture) -> Codes:
        """Option codes, shape (groups,): the inverse of `decode`.

        Raises:
            InputError: if the space lacks one of the choices.
        """
        codes = []
        for group in self.groups:
            option = architecture[group.name]
            if option not in group.options:
                raise InputError(f"{group.name}: {option or 'no SE'} is not a candidate of this space", "take an architecture of the space")
            codes.append(group.options.index(option))
        return np.array(codes, np.int64)

    def contains(self, architecture: Architecture) -> bool:
        """Whether every choice is a candidate, whatever it costs."""
        names = [name for name, _ in architecture]
        return names == [group.name for group in self.groups] and all(architecture[group.name] in group.options for group in self.groups)

    def canonical(self, choices: Mapping[str, SESpec | None]) -> Architecture:
        """The architecture of one setting a group; settings that build the same network become one."""
        missing = {group.name for group in self.groups} ^ set(choices)
        if missing:
            raise InputError(
                f"the groups differ from the space's in {', '.join(sorted(missing))}", "give one setting for each group of the space"
            )
        return Architecture(tuple((group.name, group.canonical(choices[group.name])) for group in self.groups))

    def reference(self, name: str) -> Architecture:
        """``plain``: the backbone without SE. ``paper``: r=16, average squeeze, sigmoid, standard placement at every site."""
        known(name, REFERENCES, "reference")
        return self.canonical({group.name: None if name == "plain" else PAPER for group in self.groups})

    # As named categorical dimensions: what strategies search.

    @property
    def dimensions(self) -> dict[str, tuple[Any, ...]]:
        """Name -> values, a dimension for each thing that a group may choose; a reduction of ``None`` means no SE."""
        return self._dimensions.values

    def from_dimensions(self, values: Mapping[str, Any]) -> Architecture:
        """The architecture of one value a dimension; those of a group without SE are ignored, and may be absent."""
        return self.canonical({group.name: self._dimensions.spec(group.name, values) for group in self.groups})

    def to_dimensions(self, architecture: Architecture) -> dict[str, Any]:
        """One value a dimension; inverse of `from_dimensions` (dimensions of a group without SE take their first value)."""
        return self._dimensions.of(architecture)

    @cached_property
    def _dimensions(self) -> Dimensions:
        reductions = (None, *self.reduction) if self.allow_none else self.reduction
        candidates = {"reduction": reductions, "squeeze": self.squeeze, "gate": self.gate, "placement": self.placement}
        return Dimensions([group.name for group in self.groups], candidates)

    # Costs.

    def cost(self, architecture: Architecture) -> Cost:
        """Exact parameters and MACs, and the SE blocks' other work, without building anything."""
        return self._costs.of(architecture)

    def cost_of(self, codes: Sequence[int]) -> Cost:
        """The same of option codes, a list of one integer a group; the quickest way to cost one architecture."""
        return self._costs.of_codes(codes)

    def cost_many(self, codes: Codes) -> Costs:
        """Exact parameters and MACs of many architectures at once.

        Args:
            codes: option codes, shape (n, groups), any integer type; quickest as contiguous uint8, as from `codes_many`.

        Raises:
            InputError: if a code stands for no option of its group.
        """
        return self._costs.of_many(codes)

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
        values = self._costs.worth(metric, sign)
        if within_budgets:
            return self.decode(self._feasible.best(values))
        return self.decode(np.array([value.argmax() for value in values]))

    @cached_property
    def _costs(self) -> CostTable:
        return CostTable(self.groups, self.plain_cost)

    @cached_property
    def _feasible(self) -> FeasibleSet:
        columns = [METRICS.index(budget.metric) for budget in self.budgets]
        limits = np.array([budget.limit - getattr(self.plain_cost, budget.metric) for budget in self.budgets], np.int64)
        return FeasibleSet([options[:, columns] for options in self._costs.options], limits)

    # Networks.

    def build(self, architecture: Architecture, make: Callable[[Site, SESpec], nn.Module] | None = None) -> nn.Module:
        """A fresh network: the backbone first (so that a seed gives every architecture the same one), then its SE blocks.

        Args:
            architecture: one setting a group.
            make: gives the SE block of a site; a fresh one by default.
        """
        network = self.build_backbone()
        for site in self.sites:
            remove_existing(network, site)
        for group in self.groups:
            spec = architecture[group.name]
            if spec is None:
                continue
            for site in group.sites:
                place = attachment(site, spec)
                attach(network, place, make(site, spec) if make else make_block(place.channels, spec, self.options))
        return network

    def build_backbone(self) -> nn.Module:
        """A fresh plain backbone (a copy, weights and all, of one that was given as a module)."""
        if isinstance(self.backbone, str):
            return build_backbone(self.backbone, self.backbone_args)
        return copy.deepcopy(self.backbone) if isinstance(self.backbone, nn.Module) else self.backbone(**self.backbone_args)

    # Checks and set-up.

    def _count_plain(self, network: nn.Module) -> Cost:
        """Cost of the backbone, the SE blocks that it has at searched sites taken out."""
        for site in self.sites:
            remove_existing(network, site)
        try:
            return count(copy.deepcopy(network).to("meta").eval(), torch.empty(1, *self.input_size, device="meta"))[0]
        except Exception:  # it computes with the values of its tensors
            return count(network.eval(), torch.zeros(1, *self.input_size))[0]

    def _parse_budgets(self, budgets: Mapping[str, object]) -> tuple[Budget, ...]:
        parsed = []
        for metric, value in budgets.items():
            known(metric, METRICS, "budget")
            budget = parse_budget(metric, value, getattr(self.plain_cost, metric))
            least = getattr(self.cost(self.cheapest(metric)), metric)
            if budget.limit < least:
                raise InputError(
                    f"no architecture meets {budget}: that is {budget.limit:,} and the cheapest has {least:,}",
                    f"raise it to at least {least:,}",
                    f"budgets.{metric}",
                )
            parsed.append(budget)
        return tuple(parsed)

    def _check_together(self) -> None:
        if self._feasible.empty:
            raise InputError(f"no architecture meets {' and '.join(map(str, self.budgets))} together", "raise one of them", "budgets")

    def __repr__(self) -> str:
        name = self.backbone if isinstance(self.backbone, str) else type(self.backbone).__name__
        return f"SearchSpace({name}, {len(self.groups)} groups, {self.size:.3g} architectures)"
