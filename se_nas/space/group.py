"""A group of sites that share one choice: its options, and the cost that each option adds."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from se_nas.errors import InputError
from se_nas.network.placement import Attachment, Site, attach_all, remove_existing
from se_nas.se.block import make_block
from se_nas.se.cost import Cost, se_cost
from se_nas.se.spec import FIELDS, PAPER, SEOptions, SESpec, hidden_width
from se_nas.space.architecture import Architecture
from se_nas.text import shown


@dataclass(frozen=True)
class Group:
    """Sites that share one choice.

    Attributes:
        name: name of the site or of the stage, or ``network``.
        sites: the sites.
        options: settings that the sites may take; no two build the same network. ``None`` means no SE.
        block: settings that all SE blocks of the space share.
        candidates: field of `SESpec` -> the values that some option has; a reduction of ``None`` means no SE.
    """

    name: str
    sites: tuple[Site, ...]
    options: tuple[SESpec | None, ...]
    block: SEOptions
    candidates: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)

    def fitting(self, spec: SESpec | None) -> SESpec | None:
        """The setting itself, or, if it has a ratio above the channels there, with the largest candidate that fits."""
        if spec is None or not why_not(self.sites, spec):
            return spec
        ratios = sorted((r for r in self.candidates["reduction"] if r is not None), reverse=True)
        return next((lower for r in ratios if not why_not(self.sites, lower := replace(spec, reduction=r))), spec)

    def canonical(self, spec: SESpec | None) -> SESpec | None:
        """The option that builds the same network as this setting; the setting itself if there is none."""
        if spec is None or spec in self.options:
            return spec
        built = _network(self.sites, spec, self.block)
        return next((option for option in self.options if option and _network(self.sites, option, self.block) == built), spec)

    def cost(self, spec: SESpec | None) -> Cost:
        """The cost that a setting adds, summed over the group's sites."""
        if spec is None:
            return Cost()
        places = [attachment(site, spec) for site in self.sites]
        return sum((se_cost(place.channels, place.height, place.width, spec, self.block, place.maps) for place in places), Cost())


def make_group(name: str, sites: tuple[Site, ...], candidates: Iterable[Sequence[Any]], allow_none: bool, block: SEOptions) -> Group:
    """A group whose options are all combinations of candidate values.

    A ratio larger than a site's channels, or a placement that a site lacks, is left out. If several combinations build the same
    network (their hidden widths round to the same), only the first is kept.

    Args:
        name: name of the group.
        sites: its sites.
        candidates: values of each field of `SESpec`, in the order of the fields.
        allow_none: whether "no SE" is an option.
        block: settings that all SE blocks share.

    Raises:
        InputError: if no option is left.
    """
    distinct: dict[tuple[Any, ...], SESpec] = {}
    specs = [SESpec(*values) for values in itertools.product(*candidates)]
    fitting = [spec for spec in specs if not why_not(sites, spec)]
    for spec in fitting:
        distinct.setdefault(_network(sites, spec, block), spec)
    none = (None,) if allow_none else ()
    if not distinct and not allow_none:
        fix = "take more candidates, allow_none: true, or leave that site out of `sites`"
        raise InputError(f"no candidate fits {name}: {why_not(sites, specs[0])}", fix, "sites")
    some = fitting or [replace(specs[0], placement="standard")]
    fields = {key: tuple(dict.fromkeys(getattr(spec, key) for spec in some)) for key in FIELDS}
    fields["reduction"] = (*none, *(fields["reduction"] if fitting else ()))
    return Group(name, sites, (*none, *distinct.values()), block, fields)


def mean_costs(group: Group) -> dict[str, Any]:
    """What SE adds at a group on average over its settings: ``{"number": 4, "params": 96.0, "macs": 120.0, "reduction": {4: {...}, ...}}``.

    Of each field of `SESpec` that leaves a choice, the same for the settings with each value. "No SE" is no setting.
    """
    specs = [spec for spec in group.options if spec]
    costs = {spec: group.cost(spec) for spec in specs}

    def mean(some: Sequence[SESpec]) -> dict[str, Any]:
        added = {name: sum(getattr(costs[spec], name) for spec in some) / len(some) for name in ("params", "macs")}
        return {"number": len(some), **added}

    means = mean(specs)
    for name in FIELDS:
        if len(values := list(dict.fromkeys(getattr(spec, name) for spec in specs))) > 1:
            means[name] = {value: mean([spec for spec in specs if getattr(spec, name) == value]) for value in values}
    return means


def set_blocks(
    network: nn.Module, groups: Sequence[Group], architecture: Architecture, make: Callable[[Site, SESpec], nn.Module] | None = None
) -> nn.Module:
    """Insert the SE blocks of an architecture into a backbone, in place. Blocks that the backbone has at these sites are removed.

    Every architecture takes one draw of torch's random numbers. From it each site has random numbers of its own: a block
    begins with the same weights whatever is at the other sites, and dropout later in training draws the same masks.

    Args:
        network: the backbone.
        groups: the space's groups.
        architecture: a setting for each group.
        make: makes the block for a site and setting; None makes an `SEBlock`.

    Returns:
        The backbone.

    Raises:
        InputError: for a setting that is not an option of its group, see `check_settings`.
    """
    check_settings(groups, architecture)
    for site in itertools.chain.from_iterable(group.sites for group in groups):
        remove_existing(network, site)
    seed = int(torch.randint(2**62, (), device="cpu"))
    blocks: list[tuple[Attachment, nn.Module]] = []
    for group in groups:
        if spec := architecture[group.name]:
            for site in group.sites:
                place = attachment(site, spec)
                with _random_numbers_of(site, seed):
                    block = make(site, spec) if make else make_block(place.channels, spec, group.block)
                blocks.append((place, block))
    attach_all(network, blocks)
    return network


@contextmanager
def _random_numbers_of(site: Site, seed: int) -> Iterator[None]:
    """Inside, torch's random numbers of the CPU are the site's own; afterwards they go on as if nothing had been drawn."""
    with torch.random.fork_rng([]):
        torch.default_generator.manual_seed(int.from_bytes(hashlib.sha256(f"{seed} {site.name}".encode()).digest()[:7], "big"))
        yield


def check_settings(groups: Sequence[Group], architecture: Architecture) -> None:
    """Check that every setting builds an option of its group. The references `plain` and `paper` pass in every space.

    Raises:
        InputError: naming the group, the value and the candidates.
    """
    settings = dict(architecture.choices)
    if odd := sorted(settings.keys() ^ {group.name for group in groups}):
        raise InputError(f"the architecture's groups differ from the space's in {', '.join(odd)}", "take an architecture of the space")
    wrong = [group for group in groups if group.canonical(settings[group.name]) not in group.options]
    if not wrong or not any(settings.values()) or all(_is_paper(group, settings[group.name]) for group in groups):
        return
    group, spec = wrong[0], settings[wrong[0].name]
    if spec is None:
        raise InputError("no SE (null) is not a candidate of the space", "allow it in the space by allow_none: true", group.name)
    for name in FIELDS:
        have = list(dict.fromkeys(getattr(option, name) for option in group.options if option))
        if getattr(spec, name) not in have:
            problem = f"{shown(getattr(spec, name))} is not a candidate of the space"
            raise InputError(problem, f"it has {', '.join(map(str, have))}", f"{group.name}, {name}")
    raise InputError(f"{spec} is not an option of the space", "take an architecture of the space", group.name)


def _is_paper(group: Group, spec: SESpec | None) -> bool:
    return all(PAPER.placement in site.attachments for site in group.sites) and spec == group.canonical(PAPER)


def attachment(site: Site, spec: SESpec) -> Attachment:
    """Where a setting's block attaches at a site.

    Raises:
        InputError: if the site does not have the placement.
    """
    if spec.placement not in site.attachments:
        raise InputError(f"site {site.name} has no placement {shown(spec.placement)}", f"it has {', '.join(site.attachments)}", "placement")
    return site.attachments[spec.placement]


def why_not(sites: Iterable[Site], spec: SESpec) -> str:
    """Why sites cannot take a setting; "" if they can."""
    for site in sites:
        if spec.placement not in site.attachments:
            return f"site {site.name} has no placement {shown(spec.placement)}; it has {', '.join(site.attachments)}"
        if spec.reduction > (channels := site.attachments[spec.placement].channels):
            return f"{spec.reduction} is larger than the {channels} channels of site {site.name} (placement {spec.placement})"
    return ""


def narrowed(groups: Sequence[Group], reductions: Sequence[int], placements: Sequence[str]) -> tuple[str, ...]:
    """Which ratios and placements are left out where, in words.

    Raises:
        InputError: if a ratio fits nowhere, or no placement fits anywhere.
    """
    said = []
    for name, values in (("placement", placements), ("reduction", reductions)):
        without = {value: [group for group in groups if not any(group.options) or value not in group.candidates[name]] for value in values}
        nowhere = [value for value in values if len(without[value]) == len(groups)]
        for value, shut in without.items():
            probe = SESpec(1, placement=value) if isinstance(value, str) else SESpec(value)
            reason = next(filter(None, (why_not(group.sites, probe) for group in shut)), "")
            if reason and value in nowhere and (name == "reduction" or len(nowhere) == len(values)):
                raise InputError(reason, "take it out, or choose other sites", name)
            if shut:
                few = ", ".join(group.name for group in shut[:3]) + (", ..." if len(shut) > 3 else "")
                said.append(
                    f"{name} {value} is left out at {len(shut)} of {len(groups)} choices ({few}): {reason or 'nothing else fits with it'}"
                )
    if not any(any(group.options) for group in groups):
        raise InputError("no ratio fits with any placement at any site", "take smaller ratios, or other placements", "reduction")
    return tuple(said)


def _network(sites: Sequence[Site], spec: SESpec, block: SEOptions) -> tuple[Any, ...]:
    """A key of the network that a setting builds: equal for two settings if they build the same network."""
    widths = tuple(hidden_width(attachment(site, spec).channels, spec.reduction, block.divisor) for site in sites)
    return widths, spec.squeeze, spec.gate, spec.placement
