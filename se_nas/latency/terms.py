"""What of SE blocks takes time: how many there are, how many elements they read, how many parameters; by squeeze and placement.

These few physical terms predict whole networks from a dozen measured ones. One coefficient for each site and squeeze needs
dozens; parameters or MACs alone do not tell at all ([docs/latency.md](../../docs/latency.md)).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from se_nas.network.placement import Site
from se_nas.se.cost import se_cost
from se_nas.se.spec import SEOptions, SESpec

CONSTANT = "plain"
"""The term of the network without SE."""

PER_BLOCK = ("blocks", "elements", "parameters")

Terms = Mapping[str, float]
"""Name of a term -> its amount in an architecture, or seconds for each unit of it."""


def term_names(specs: Iterable[SESpec | None]) -> tuple[str, ...]:
    """The terms of architectures with these settings: `CONSTANT`, and ``std standard elements`` and so on."""
    kinds = dict.fromkeys(f"{spec.squeeze} {spec.placement}" for spec in specs if spec)
    return (CONSTANT, *(f"{kind} {what}" for kind in kinds for what in PER_BLOCK))


def terms_of(sites: Iterable[Site], spec: SESpec | None, options: SEOptions) -> dict[str, float]:
    """The terms of one setting at its sites: blocks, elements (C x H x W) in them, and parameters."""
    found: dict[str, float] = {}
    for site in sites if spec else ():
        assert spec is not None
        place = site.attachments[spec.placement]
        block = se_cost(place.channels, place.height, place.width, spec, options, place.maps)
        for what, amount in zip(PER_BLOCK, (1, place.maps * place.channels * math.prod(place.size), block.params), strict=True):
            name = f"{spec.squeeze} {spec.placement} {what}"
            found[name] = found.get(name, 0.0) + amount
    return found
