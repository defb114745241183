"""Source of residual networks: se-nas's own and torchvision's, ResNeXt and wide ones included."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import nn

from se_nas.architecture import Architecture, SESpec, hidden_width
from se_nas.exporter.check import count_parameters
from se_nas.exporter.operators import refuse_clashes
from se_nas.exporter.residual_shape import Shape, read_shape
from se_nas.exporter.residual_template import BLOCKS, NETWORK, OPERATOR, PAD_SHORTCUT, SE_AT, SHORTCUT
from se_nas.exporter.seblock import SECode
from se_nas.exporter.template import assemble, facts, render, table
from se_nas.placement import Site
from se_nas.space import SearchSpace

PLACES = {
    "standard": "the end of the branch, before the sum",
    "pre": "the input of the branch",
    "post": "the output of the block, after the last ReLU",
    "identity": "the output of the shortcut",
}


def source(space: SearchSpace, architecture: Architecture, network: nn.Module, about: Mapping[str, str]) -> str:
    """The file of a residual network.

    Raises:
        Unsupported: if it is none, or one that the template cannot express.
        InputError: if an operator cannot be written.
    """
    shape = read_shape(network)
    settings = {block: None for stage in shape.stages for block in stage.blocks}
    chosen = {site.name: (site, spec) for group in space.groups for site in group.sites if (spec := architecture[group.name])}
    se = SECode(settings | {name: spec for name, (_, spec) in chosen.items()}, space.options)
    operators = se.operators()
    rest = [*_settings(shape, se), se.block(), *_shortcut(shape), _block(shape, se), _network(space, shape, se)]
    refuse_clashes(operators, "\n".join(rest))
    alias = OPERATOR if {"squeeze", "gate"} & set(se.fields) else ""
    rows = [_row(name, *chosen[name], space) if name in chosen else (name, *"------") for name in settings]
    heading = {
        "architecture": architecture.id,
        "backbone": _backbone(space),
        "input": "x".join(map(str, space.input_size)),
        "parameters": f"{count_parameters(network):,}",
        "MACs": f"{space.cost(architecture).macs:,} an image",
    }
    sections = [
        f"{shape.title} {'with' if chosen else 'without'} Squeeze-and-Excitation, found by se-nas.",
        facts({**heading, **about, **heading}),
        table(("block", "channels", "r", "hidden", "squeeze", "gate", "placement"), rows) if chosen else "",
    ]
    return assemble("\n\n".join(filter(None, sections)), [alias, *operators.values(), *rest])


def _backbone(space: SearchSpace) -> str:
    return space.backbone if isinstance(space.backbone, str) else getattr(space.backbone, "__name__", type(space.backbone).__name__)


def _row(name: str, site: Site, spec: SESpec, space: SearchSpace) -> tuple[object, ...]:
    channels = site.attachments[spec.placement].channels
    hidden = hidden_width(channels, spec.reduction, space.options.divisor)
    return name, channels, spec.reduction, hidden, spec.squeeze, spec.gate, spec.placement


def _settings(shape: Shape, se: SECode) -> list[str]:
    """The class of a setting, if it needs one, and the lists of settings."""
    if not se.used["placement"]:
        return []
    what = "The setting of each block's SE" if se.structured else "The reduction ratio of each block's SE"
    lists = [se.data(stage.name.upper(), [se.settings[block] for block in stage.blocks]) for stage in shape.stages]
    inner = f"after the {'first' if shape.block == 'BasicBlock' else '3x3'} convolution and its batch norm"
    return [se.settings_class({**PLACES, "inner": inner}), "\n".join([f"# {what}; None is a block without.", *lists])]


def _shortcut(shape: Shape) -> list[str]:
    return [PAD_SHORTCUT.strip() if shape.pad else "", render(SHORTCUT, {}, {"pad"} if shape.pad else set())]


def _block(shape: Shape, se: SECode) -> str:
    """The class of the residual block, the SE block in its forward at the places that occur."""
    basic, used = shape.block == "BasicBlock", se.used["placement"]
    widths = {"pre": "in_channels", "inner": "out_channels" if basic else "width"}
    widths = {placement: widths.get(placement, "out_channels") for placement in used}
    varied = len(set(widths.values())) > 1
    special = [f'{width} if self.placement == "{placement}" else ' for placement, width in widths.items() if width != "out_channels"]
    sizes = ["in_channels: int", *([] if basic else ["width: int"]), "out_channels: int", "stride: int"]
    values = {
        "parameters": ", ".join([*sizes, *([f"{se.names['setting']}: {se.names['kind']} | None"] if used else [])]),
        "stride1": ", stride" if shape.strided == "conv1" else "",
        "stride2": "1" if shape.strided == "conv1" else "stride",
        "groups": f", groups={shape.groups}" if shape.groups > 1 else "",
        "channels": "".join(special) + "out_channels",
        "se_channels": "channels" if varied else next(iter(widths.values()), ""),
        **se.names,
    }
    flags = se.flags | ({"widths"} if varied else set()) | ({"post"} & set(used))

    def gated(match: re.Match[str]) -> str:
        placement, expression = match.groups()
        if placement not in used:
            return expression
        return f'self.se_at("{placement}", {expression})' if len(used) > 1 else f"self.se({expression})"

    text, found = render(BLOCKS[shape.block], values, flags), 1
    while found:
        text, found = re.subn(r"@(\w+)\[([^][]*)\]", gated, text)  # innermost first
    return f"{text}\n\n{SE_AT.strip(chr(10))}" if len(used) > 1 else text


def _network(space: SearchSpace, shape: Shape, se: SECode) -> str:
    """The stages, the whole network, and what builds and tries it."""
    basic, used = shape.block == "BasicBlock", bool(se.used["placement"])
    stages = []
    for stage in shape.stages:
        first = stage.name.upper() if used else str(len(stage.blocks))
        sizes = {"in_channels": stage.in_channels, "width": stage.width, "out_channels": stage.out_channels, "stride": stage.stride}
        arguments = [first, *(f"{name}={size}" for name, size in sizes.items() if not (basic and name == "width"))]
        stages.append(f"        self.{stage.name} = stage({', '.join(arguments)})")
    values = {
        "block": shape.block,
        "blocks": f"blocks: Sequence[{se.names['kind']} | None]" if used else "blocks: int",
        "width": "" if basic else "width: int, ",
        "sizes": "out_channels" if basic else "width, out_channels",
        "title": shape.title,
        "classes": str(shape.classes),
        "in_channels": str(shape.in_channels),
        "stem": shape.stem,
        "stem_channels": str(shape.stem_channels),
        "pool": shape.pool,
        "stages": "\n".join(stages),
        "features": str(shape.stages[-1].out_channels),
        "fc": shape.fc,
        "calls": "\n".join(f"        x = self.{stage.name}(x)" for stage in shape.stages),
        "input": ", ".join(map(str, space.input_size)),
    }
    return render(NETWORK, values, se.flags | ({"pool"} if shape.pool else set()))
