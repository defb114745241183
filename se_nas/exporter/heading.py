"""What an exported file and its card say of the architecture: its facts, and a table of its SE blocks."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from se_nas.exporter.check import count_parameters
from se_nas.exporter.generator.template import facts, table
from se_nas.se.spec import hidden_width
from se_nas.space.architecture import Architecture
from se_nas.space.extra import words
from se_nas.space.space import SearchSpace

HEADER = ("block", "channels", "r", "hidden", "squeeze", "gate", "placement")


def backbone_name(space: SearchSpace) -> str:
    """How a person calls the backbone."""
    return space.backbone if isinstance(space.backbone, str) else getattr(space.backbone, "__name__", type(space.backbone).__name__)


def block_rows(space: SearchSpace, architecture: Architecture) -> list[tuple[object, ...]]:
    """A row of `HEADER` for each site of the space, in the order of the network; dashes where there is no SE."""
    chosen = {site.name: architecture[group.name] for group in space.groups for site in group.sites}
    rows: list[tuple[object, ...]] = []
    for site in space.sites:
        spec = chosen[site.name]
        if spec is None:
            rows.append((site.name, *"------"))
            continue
        channels = site.attachments[spec.placement].channels
        hidden = hidden_width(channels, spec.reduction, space.options.divisor)
        rows.append((site.name, channels, spec.reduction, hidden, spec.squeeze, spec.gate, spec.placement))
    return rows


def heading(space: SearchSpace, architecture: Architecture, network: nn.Module) -> dict[str, str]:
    """The facts of an architecture, name by name."""
    return {
        "architecture": architecture.id,
        "backbone": backbone_name(space) + (f" with {words(architecture.extra)}" if architecture.extra else ""),
        "input": "x".join(map(str, space.input_size)),
        "parameters": f"{count_parameters(network):,}",
        "MACs": f"{space.cost(architecture).macs:,} an image",
    }


def docstring(title: str, space: SearchSpace, architecture: Architecture, network: nn.Module, about: Mapping[str, str]) -> str:
    """The docstring of a file: what it is, its facts, and which block has which SE."""
    own = heading(space, architecture, network)
    blocks = table(HEADER, block_rows(space, architecture)) if any(spec for _, spec in architecture) else ""
    return "\n\n".join(filter(None, [title, facts({**own, **about, **own}), blocks]))
