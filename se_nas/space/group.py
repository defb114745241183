"""Sites that share one choice: what they may take, and what each choice adds to the cost."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from se_nas.errors import InputError
from se_nas.network.placement import Attachment, Site, attach, remove_existing
from se_nas.se.block import make_block
from se_nas.se.cost import Cost, se_cost
from se_nas.se.spec import SEOptions, SESpec, hidden_width
from se_nas.space.architecture import Architecture
from se_nas.space.extra import FIELDS


@dataclass(frozen=True)
class Group:
    """Sites that share one choice.

    Attributes:
        name: of the site, its stage, or ``network``.
        sites: the sites.
        options: what they may take, each of them another network; ``None`` is no SE.
        block: what its SE blocks have in common.
        candidates: field of `SESpec` -> the values that fit all of its sites somehow; a reduction of ``None`` is no SE.
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
        """The option that builds the same network, if there is one; otherwise the setting itself."""
        if spec is None or spec in self.options:
            return spec
        built = _network(self.sites, spec, self.block)
        return next((option for option in self.options if option and _network(self.sites, option, self.block) == built), spec)

    def cost(self, spec: SESpec | None) -> Cost:
        """What the setting adds, over all sites of the group."""
        if spec is None:
            return Cost()
        places = [attachment(site, spec) for site in self.sites]
        return sum((se_cost(place.channels, place.height, place.width, spec, self.block) for place in places), Cost())


def make_group(name: str, sites: tuple[Site, ...], candidates: Iterable[Sequence[Any]], allow_none: bool, block: SEOptions) -> Group:
    """A group with the combinations of candidate values (in the order of `SESpec`'s fields) as its options.

    A ratio above a site's channels, and a placement that a site lacks, are left out. Of combinations that build the same
    network (hidden widths round to the same), the first stands for all.

    Raises:
        InputError: if nothing is left.
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


def set_blocks(
    network: nn.Module, groups: Sequence[Group], architecture: Architecture, make: Callable[[Site, SESpec], nn.Module] | None = None
) -> nn.Module:
    """Give a backbone the SE blocks of an architecture, in place of those of its own at these sites; ``make`` gives other blocks."""
    for site in itertools.chain.from_iterable(group.sites for group in groups):
        remove_existing(network, site)
    for group in groups:
        if spec := architecture[group.name]:
            for site in group.sites:
                place = attachment(site, spec)
                attach(network, place, make(site, spec) if make else make_block(place.channels, spec, group.block))
    return network


def attachment(site: Site, spec: SESpec) -> Attachment:
    """Where a setting attaches at a site.

    Raises:
        InputError: if the site lacks the placement.
    """
    if spec.placement not in site.attachments:
        raise InputError(f"site {site.name} has no placement {spec.placement!r}", f"it has {', '.join(site.attachments)}", "placement")
    return site.attachments[spec.placement]


def why_not(sites: Iterable[Site], spec: SESpec) -> str:
    """Why sites cannot take a setting; "" if they can."""
    for site in sites:
        if spec.placement not in site.attachments:
            return f"site {site.name} has no placement {spec.placement!r}; it has {', '.join(site.attachments)}"
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
    """What tells the built networks of two settings apart."""
    widths = tuple(hidden_width(attachment(site, spec).channels, spec.reduction, block.divisor) for site in sites)
    return widths, spec.squeeze, spec.gate, spec.placement
