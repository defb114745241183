"""The search space: a backbone, its sites in groups, and the SE settings that each group may take."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from se_nas.cost import METRICS, Cost, count
from se_nas.errors import InputError, known
from se_nas.feasible import FeasibleSet
from se_nas.group import Group, attachment, make_group
from se_nas.placement import Site, attach, remove_existing, survey
from se_nas.se import GATES, SQUEEZES, make_block
from se_nas.sites import Selection, group_sites, select_sites
from se_nas.spacefile import load_space

Codes = npt.NDArray[np.int64]
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
        self.input_size = _size(input_size)
        self.reduction = _candidates("reduction", reduction, "a ratio", lambda r: isinstance(r, int) and not isinstance(r, bool) and r >= 1)
        self.squeeze = _candidates("squeeze", squeeze, f"one of {', '.join(SQUEEZES)}", SQUEEZES.__contains__)
        self.gate = _candidates("gate", gate, f"one of {', '.join(GATES)}", GATES.__contains__)
        self.placement = _candidates("placement", placement, f"one of {', '.join(PLACEMENTS)}", PLACEMENTS.__contains__)
        self.share = share
        self.selection = sites
        self.allow_none = allow_none
        self.options = SEOptions(bias, divisor, init)

        plain = self.build_backbone()
        found = survey(plain, self.input_size)
        self.all_sites, self.left_out, self.classes = found.sites, found.left_out, found.classes
        self.sites = select_sites(self.all_sites, sites)
        self.plain_cost = self._count_plain(plain)
        for site in self.sites:
            self._check(site)
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
            "backbone_args": self.backbone_args,
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
        """How many architectures meet every budget."""
        return self._feasible.size

    def sample(self, rng: int | np.random.Generator) -> Architecture:
        """An architecture within the budgets, each equally likely; ``rng`` is a seed or a numpy Generator."""
        return self.decode(self._feasible.sample(np.random.default_rng(rng)))

    def enumerate(self) -> Iterator[Architecture]:
        """Every architecture within the budgets, the last group changing fastest."""
        return map(self.decode, self._feasible.enumerate())

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

    @cached_property
    def dimensions(self) -> dict[str, tuple[Any, ...]]:
        """Name -> values, a dimension for each thing that a group may choose; a reduction of ``None`` means no SE."""
        dimensions: dict[str, tuple[Any, ...]] = {}
        for group in self.groups:
            reductions = (None, *self.reduction) if self.allow_none else self.reduction
            for field, values in [("reduction", reductions), ("squeeze", self.squeeze), ("gate", self.gate), ("placement", self.placement)]:
                if len(values) > 1:
                    dimensions[f"{group.name}.{field}"] = values
        return dimensions

    def from_dimensions(self, values: Mapping[str, Any]) -> Architecture:
        """The architecture of one value a dimension; those of a group without SE are ignored, and may be absent."""
        return self.canonical({group.name: self._spec(group.name, values) for group in self.groups})

    def to_dimensions(self, architecture: Architecture) -> dict[str, Any]:
        """One value a dimension; inverse of `from_dimensions` (dimensions of a group without SE take their first value)."""
        values = {}
        for name, candidates in self.dimensions.items():
            group, _, field = name.rpartition(".")
            spec = architecture[group]
            values[name] = getattr(spec, field) if spec else (None if field == "reduction" else candidates[0])
        return values

    def _spec(self, group: str, values: Mapping[str, Any]) -> SESpec | None:
        def value(field: str, candidates: Sequence[Any]) -> Any:
            return values[f"{group}.{field}"] if f"{group}.{field}" in self.dimensions else candidates[0]

        reduction = value("reduction", self.reduction)
        if reduction is None:
            return None
        return SESpec(reduction, value("squeeze", self.squeeze), value("gate", self.gate), value("placement", self.placement))

    # Costs.

    def cost(self, architecture: Architecture) -> Cost:
        """Exact parameters and MACs, without building anything."""
        return sum((self._group_cost(group, architecture[group.name]) for group in self.groups), self.plain_cost)

    def is_feasible(self, architecture: Architecture) -> bool:
        """Whether every budget is met."""
        cost = self.cost(architecture)
        return all(getattr(cost, budget.metric) <= budget.limit for budget in self.budgets)

    def cheapest(self) -> Architecture:
        """The architecture with the fewest parameters (of equals, the fewest MACs)."""
        return self._extreme(min)

    def dearest(self) -> Architecture:
        """The architecture with the most parameters (of equals, the most MACs), whatever the budgets."""
        return self._extreme(max)

    def _extreme(self, choose: Callable[..., Any]) -> Architecture:
        def order(group: Group) -> Callable[[SESpec | None], tuple[int, int]]:
            return lambda option: ((cost := self._group_cost(group, option)).params, cost.macs)

        return Architecture(tuple((group.name, choose(group.options, key=order(group))) for group in self.groups))

    def _group_cost(self, group: Group, spec: SESpec | None) -> Cost:
        key = (group.name, spec)
        if key not in self._cost_table:
            self._cost_table[key] = group.cost(spec)
        return self._cost_table[key]

    @cached_property
    def _cost_table(self) -> dict[tuple[str, SESpec | None], Cost]:
        return {}

    @cached_property
    def _feasible(self) -> FeasibleSet:
        metrics = [budget.metric for budget in self.budgets]
        if not metrics:
            return FeasibleSet([np.zeros((len(group.options), 1), np.int64) for group in self.groups], np.zeros(1, np.int64))
        costs = [
            np.array([[getattr(self._group_cost(group, o), m) for m in metrics] for o in group.options], np.int64) for group in self.groups
        ]
        limits = np.array([budget.limit - getattr(self.plain_cost, budget.metric) for budget in self.budgets], np.int64)
        return FeasibleSet(costs, limits)

    # Networks.

    def build(self, architecture: Architecture) -> nn.Module:
        """A fresh network: the backbone first (so that a seed gives every architecture the same one), then its SE blocks."""
        network = self.build_backbone()
        for site in self.sites:
            remove_existing(network, site)
        for group in self.groups:
            spec = architecture[group.name]
            if spec is None:
                continue
            for site in group.sites:
                place = attachment(site, spec)
                attach(network, place, make_block(place.channels, spec, self.options))
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

    def _check(self, site: Site) -> None:
        for placement in self.placement:
            channels = attachment(site, SESpec(1, placement=placement)).channels
            if max(self.reduction) > channels:
                raise InputError(
                    f"{max(self.reduction)} is larger than the {channels} channels of site {site.name} (placement {placement})",
                    "take it out, or leave that site out of `sites`",
                    "reduction",
                )

    def _parse_budgets(self, budgets: Mapping[str, object]) -> tuple[Budget, ...]:
        parsed = []
        for metric, value in budgets.items():
            known(metric, METRICS, "budget")
            budget = parse_budget(metric, value, getattr(self.plain_cost, metric))
            least = getattr(self.plain_cost, metric) + sum(
                min(getattr(self._group_cost(group, option), metric) for option in group.options) for group in self.groups
            )
            if budget.limit < least:
                raise InputError(
                    f"no architecture meets {budget}: that is {budget.limit:,} and the cheapest has {least:,}",
                    f"raise it to at least {least:,}",
                    f"budgets.{metric}",
                )
            parsed.append(budget)
        return tuple(parsed)

    def _check_together(self) -> None:
        if self.feasible_size == 0:
            raise InputError(f"no architecture meets {' and '.join(map(str, self.budgets))} together", "raise one of them", "budgets")

    def __repr__(self) -> str:
        name = self.backbone if isinstance(self.backbone, str) else type(self.backbone).__name__
        return f"SearchSpace({name}, {len(self.groups)} groups, {self.size:.3g} architectures)"


def _size(value: Any) -> tuple[int, int, int]:
    if not (isinstance(value, Sequence) and len(value) == 3 and all(isinstance(v, int) and v > 0 for v in value)):
        raise InputError(f"{value!r} is not a size", "write [channels, height, width], positive integers", "input_size")
    return tuple(value)


def _candidates(name: str, values: Any, what: str, valid: Callable[[Any], bool]) -> tuple[Any, ...]:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise InputError(f"{values!r} is not a list", f"write a list, each of its values {what}", name)
    if not values:
        raise InputError("no candidate", f"give at least one, each {what}", name)
    for value in values:
        if isinstance(value, (list, dict)) or not valid(value):
            raise InputError(f"{value!r} is not allowed", f"each value is {what}", name)
    if len(set(values)) < len(values):
        raise InputError(f"{list(values)} names a value twice", "name each once", name)
    return tuple(values)
