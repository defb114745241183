"""The search space: a backbone, its groups of sites, the SE settings that each group may take, and extra dimensions."""

from __future__ import annotations

import copy
import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
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
from se_nas.se.spec import PAPER, SEOptions, SESpec
from se_nas.space.architecture import REFERENCES, Architecture
from se_nas.space.candidates import check_candidates, check_size
from se_nas.space.codes import Codes, Coding, draw_codes
from se_nas.space.costed import CostedSpace
from se_nas.space.dimensions import Dimensions
from se_nas.space.extra import Choice, check_choice, check_extra, check_names, choices, first_choice, other_values, words
from se_nas.space.feasible import Prefix
from se_nas.space.group import make_group, narrowed, set_blocks
from se_nas.space.named import NamedCost, Table, check_tables, make_cost
from se_nas.space.spacefile import load_space, space_dict
from se_nas.space.variants import check_alike


class SearchSpace(CostedSpace):
    """A backbone, the sites that may each take an SE block, and the candidate settings of those blocks.

    Example:
        >>> space = SearchSpace("resnet20", input_size=(3, 32, 32), reduction=[4, 8, 16])
        >>> arch = space.sample(0)
        >>> space.cost(arch).params == sum(p.numel() for p in space.build(arch).parameters())
        True

    Args:
        backbone: a name (``resnet20``, ``torchvision:resnet50``, ``timm:NAME``, ``package.module:callable``), a
            plain ``nn.Module`` (its weights are kept), or a function that returns one.
        input_size: (C, H, W) of an image, (C, L) of a signal, (C, D, H, W) of a volume.
        example_inputs: for a network with several inputs: a batch of one, see `se_nas.network.inputs.read_inputs`.
        reduction: candidate reduction ratios.
        squeeze: candidate squeeze operators, names in `se_nas.se.block.SQUEEZES`.
        gate: candidate gates, names in `se_nas.se.block.GATES`.
        placement: candidate placements, names in `se_nas.network.blocks.PLACEMENTS`.
        share: which sites share one choice: ``site`` (none: each has its own), ``stage`` (those of a stage) or ``network`` (all).
        sites: ``all``, or any of ``{"stages": [...], "match": [...], "add": [...], "drop": [...], "rename": {...}}`` with
            patterns such as ``layer3.*``, see `se_nas.network.sites.Selection`.
        allow_none: whether "no SE" is a candidate.
        extra: arguments of the builder to search as well, ``{"width": [1.0, 1.5], "kernel": [3, 5]}``. The builder is called
            with one value of each. The plain backbone (for the references and for percentages) is the one with the first
            values. Every combination must give the same groups of sites; there may be `se_nas.space.extra.MOST` at most.
        budgets: hard limits, ``{"params": "<= +5%", "macs": "<= 42M"}``; percentages are relative to the plain backbone,
            and ``paper`` is what the paper's SE block at every site costs.
        costs: further costs by name, which add up over the choices: tables or functions, see `se_nas.space.named.make_cost`.
        bias: whether the SE blocks' linear layers have biases.
        divisor: round hidden widths to a multiple of this.
        init: ``default``, or ``identity``: an inserted block changes no output before training. None is ``default``, but
            ``identity`` in a search that starts from trained weights.
        backbone_args: keyword arguments of a named backbone.

    Raises:
        InputError: for an invalid argument; the error's source is the argument's name.
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
        costs: Mapping[str, Table | NamedCost] | None = None,
        bias: bool = False,
        divisor: int = 1,
        init: str | None = None,
        backbone_args: Mapping[str, Any] | None = None,
    ) -> None:
        known(init or "default", ("default", "identity"), "init")
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
        self.share, self.selection, self.allow_none, self.init = share, sites, allow_none, init
        self.options = SEOptions(bias, divisor, init or "default")
        self._variants: dict[Choice, SearchSpace] = {}
        self.costs: dict[str, NamedCost] = {}
        self._look()
        for left_out in self.left_out:
            warnings.warn(str(left_out), stacklevel=2)
        check_names(self.extra, [group.name for group in self.groups])
        for name, value in other_values(self.extra):  # fail now if the builder refuses a value
            make_backbone(backbone, self.backbone_args, {**dict(first_choice(self.extra)), name: value})
        self._set_costs({name: make_cost(self, name, table) for name, table in check_tables(costs).items()})
        self._limit(budgets or {})

    def _look(self) -> None:
        """Find the sites, groups and costs of the backbone (with the first value of each extra dimension)."""
        plain = self.build_backbone()
        found = survey(plain, self.inputs)
        self.all_sites, self.left_out, self.classes = found.sites, found.left_out, found.classes
        self.sites = select_sites(self.all_sites, self.selection)
        for site in self.sites:  # the plain backbone has no SE blocks at the searched sites
            remove_existing(plain, site)
        self.plain_cost, self.trainable = count(plain, self.inputs), count_params(plain, trainable=True)
        candidates = (self.reduction, self.squeeze, self.gate, self.placement)
        tied = group_sites(self.sites, self.share)
        self.groups = tuple(make_group(name, members, candidates, self.allow_none, self.options) for name, members in tied)
        self.narrowed = narrowed(self.groups, self.reduction, self.placement)

    # Reading and writing a space.

    @classmethod
    def from_yaml(cls, path: str | Path) -> SearchSpace:
        """The space that a YAML file describes. The file's ``search:`` section is ignored; `se_nas.search` reads it.

        Raises:
            InputError: naming the file, the key, the value and the rule.
        """
        return cls.from_dict(load_space(path)[0], str(path))

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], source: str) -> SearchSpace:
        """The space with these arguments; errors name ``source``."""
        try:
            return cls(**data)
        except InputError as error:
            raise error.at(source) from error.__cause__

    def to_dict(self) -> dict[str, Any]:
        """Arguments from which `from_dict` makes the same space. ``backbone`` is None if it was not given by name."""
        return space_dict(self)

    # Extra dimensions: each combination of their values gives another backbone.

    def variant(self, chosen: Choice) -> SearchSpace:
        """The part of the space with these values of the extra dimensions, without budgets (the space itself if there are none).

        Raises:
            InputError: for a value that is not a candidate, or if the builder makes a network with other groups of sites.
        """
        chosen = check_choice(self.extra, dict(chosen)) if chosen or self.extra else ()
        if self.coding.open and chosen not in self._variants:
            space = copy.copy(self)
            space._forget("_table", "tables", "_sets", "_feasible", "coding")
            space.extra, space.budgets, space._variants = {name: (value,) for name, value in chosen}, (), {}
            costs, space.costs = {name: cost.of(chosen) for name, cost in self.costs.items()}, {}
            if chosen != first_choice(self.extra):
                try:
                    space._look()
                except InputError as error:
                    raise InputError(f"with {words(chosen)}: {error.problem}", error.fix, "extra") from error
                check_alike(space, self)
            space._set_costs(costs)
            self._variants[chosen] = space
        return self._variants[chosen] if self.coding.open else self

    @property
    def variants(self) -> dict[Prefix, SearchSpace]:
        """Codes of the extra dimensions -> `variant`, for each combination of values."""
        prefixes = itertools.product(*(range(len(values)) for values in self.coding.open.values()))
        return dict(zip(prefixes, map(self.variant, choices(self.extra)), strict=True))

    @cached_property
    def coding(self) -> Coding:
        """Translates between architectures and option codes. Codes of extra dimensions come first."""
        return Coding(self.extra, self.groups)

    # Architectures, and the same as vectors of option codes.

    @property
    def size(self) -> int:
        """Number of architectures, ignoring budgets."""
        return math.prod(self.coding.sizes)

    @property
    def feasible_size(self) -> int:
        """Number of architectures that meet every budget; a lower bound unless `feasible_exact`."""
        return self._feasible.size

    @property
    def feasible_exact(self) -> bool:
        """Whether `feasible_size` is exact. It is not if the costs take too many different values (see `se_nas.space.feasible`)."""
        return self._feasible.exact

    def sample(self, rng: int | np.random.Generator) -> Architecture:
        """Draw an architecture uniformly from those within the budgets; ``rng`` is a seed or a numpy Generator."""
        return self.decode(self.sample_many(rng, 1)[0])

    def sample_many(self, rng: int | np.random.Generator, n: int) -> Codes:
        """Option codes of ``n`` independent draws, distributed as in `sample`; shape (n, genes)."""
        return self._feasible.sample_many(np.random.default_rng(rng), n)

    def codes_many(self, n: int, rng: int | np.random.Generator) -> Codes:
        """Option codes of ``n`` independent uniform draws, ignoring budgets; shape (n, genes)."""
        return draw_codes(self.coding.sizes, n, np.random.default_rng(rng))

    def enumerate(self) -> Iterator[Architecture]:
        """Every architecture within the budgets; the last group changes fastest."""
        return map(self.decode, self.enumerate_codes())

    def enumerate_codes(self) -> Iterator[Codes]:
        """`enumerate` as option codes, each of shape (genes,)."""
        return self._feasible.enumerate()

    def ranked(self, worth: Sequence[npt.NDArray[np.float64]]) -> Iterator[Architecture]:
        """The architectures within the budgets, largest sum of ``worth`` first; for a space with one backbone.

        ``worth`` is a number for each option, shape (options,) for each group.
        """
        (feasible,) = self._sets.values()
        return map(self.decode, feasible.ranked(worth))

    def decode(self, codes: Codes) -> Architecture:
        """The architecture of these option codes, shape (genes,). Codes of extra dimensions come first."""
        return self.coding.decode(codes)

    def encode(self, architecture: Architecture) -> Codes:
        """The option codes of an architecture, shape (genes,): the inverse of `decode`.

        Raises:
            InputError: if one of its choices is not a candidate of the space.
        """
        return self.coding.encode(architecture)

    def contains(self, architecture: Architecture) -> bool:
        """Whether every choice is a candidate of the space, ignoring budgets."""
        return self.coding.contains(architecture)

    def canonical(self, choices: Mapping[str, SESpec | None], extra: Mapping[str, Any] | None = None) -> Architecture:
        """The architecture with these choices. Settings that build the same network give the same architecture.

        Args:
            choices: group -> setting, for every group.
            extra: extra dimension -> value, for every one; None takes the first value of each.
        """
        if missing := {group.name for group in self.groups} ^ set(choices):
            raise InputError(f"the groups differ from the space's in {', '.join(sorted(missing))}", "give one setting for each group")
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
        """Name -> values: the extra dimensions, and ``group.field`` for each field that is searched. Reduction None means no SE."""
        return self._dimensions.values

    def from_dimensions(self, values: Any, prefix: str | None = None) -> Architecture:
        """The architecture with these values of `dimensions`, as any library or file gives them (`se_nas.space.choices`)."""
        return self.canonical(*self._dimensions.choices(values, prefix))

    def to_dimensions(self, architecture: Architecture) -> dict[str, Any]:
        """A value for each of `dimensions`: the inverse of `from_dimensions`. A group without SE gets first values."""
        return self._dimensions.of(architecture)

    @cached_property
    def _dimensions(self) -> Dimensions:
        return Dimensions(self.groups, self.extra)

    # Networks.

    def build(self, architecture: Architecture, make: Callable[[Site, SESpec], nn.Module] | None = None) -> nn.Module:
        """A network with fresh weights; ``make(site, spec)`` gives other blocks than `SEBlock`.

        The backbone is initialised before the blocks, so that one seed gives every architecture the same backbone.
        """
        if self.coding.open:
            return self.variant(architecture.extra).build(architecture, make)
        return set_blocks(self.build_backbone(), self.groups, architecture, make)

    def build_backbone(self) -> nn.Module:
        """A plain backbone with the first value of each extra dimension; a copy with weights if it was given as a module."""
        return initialise(make_backbone(self.backbone, self.backbone_args, dict(first_choice(self.extra))), self.inputs)

    def __repr__(self) -> str:
        name = self.backbone if isinstance(self.backbone, str) else type(self.backbone).__name__
        return f"SearchSpace({name}, {len(self.groups)} groups, {self.size:.3g} architectures)"
