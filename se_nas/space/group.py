"""Sites that share one choice: what they may take, and what each choice adds to the cost."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from se_nas.errors import InputError
from se_nas.network.placement import Attachment, Site, attach, remove_existing
from se_nas.se.block import make_block
from se_nas.se.cost import Cost, se_cost
from se_nas.se.spec import SEOptions, SESpec, hidden_width
from se_nas.space.architecture import Architecture


@dataclass(frozen=True)
class Group:
    """Sites that share one choice.

    Attributes:
        name: of the site, its stage, or ``network``.
        sites: the sites.
        options: what they may take, each of them another network; ``None`` is no SE.
        block: what its SE blocks have in common.
    """

    name: str
    sites: tuple[Site, ...]
    options: tuple[SESpec | None, ...]
    block: SEOptions

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

    Of combinations that build the same network (hidden widths round to the same), the first stands for all.
    """
    distinct: dict[tuple[Any, ...], SESpec] = {}
    for spec in itertools.starmap(SESpec, itertools.product(*candidates)):
        distinct.setdefault(_network(sites, spec, block), spec)
    return Group(name, sites, (*((None,) if allow_none else ()), *distinct.values()), block)


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


def check_sites(sites: Iterable[Site], placements: Iterable[str], reduction: int) -> None:
    """Every site has every placement, with at least ``reduction`` channels; otherwise an `InputError`."""
    for site, placement in itertools.product(sites, placements):
        channels = attachment(site, SESpec(1, placement=placement)).channels
        if reduction > channels:
            raise InputError(
                f"{reduction} is larger than the {channels} channels of site {site.name} (placement {placement})",
                "take it out, or leave that site out of `sites`",
                "reduction",
            )


def _network(sites: Sequence[Site], spec: SESpec, block: SEOptions) -> tuple[Any, ...]:
    """What tells the built networks of two settings apart."""
    widths = tuple(hidden_width(attachment(site, spec).channels, spec.reduction, block.divisor) for site in sites)
    return widths, spec.squeeze, spec.gate, spec.placement
