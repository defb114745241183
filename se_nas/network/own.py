"""Find the SE blocks that a network brings, in any spelling.

An SE block scales a map's channels by a gate that layers compute from the same map. It may be a module that takes the map
and returns the scaled map (with or without ``expand_as``, with linear layers, 1x1 convolutions, or ECA's convolution over
channels), a module that returns the gate, or a few lines in a block's ``forward``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

from se_nas.network.graph import Graph, Op, within

SPREADS = {"expand", "view", "_unsafe_view", "reshape", "clone", "unsqueeze", "squeeze", "permute", "transpose", "alias"}


@dataclass(frozen=True)
class Own:
    """An SE block that the network brings.

    Attributes:
        path: its module; if it is written in a ``forward``, the module with that ``forward``.
        value: the scaled map.
        scaled: the map that it scales.
        gate: the gate.
        inline: whether it is written in a ``forward``.
        modules: if it is, the modules that only its gate needs.
    """

    path: str
    value: int
    scaled: int
    gate: int
    inline: bool = False
    modules: tuple[str, ...] = ()


def find_own(graph: Graph, is_own: Callable[[str], bool]) -> list[Own]:
    """The network's own SE blocks, in the order in which they run.

    Args:
        graph: graph of the network.
        is_own: whether a module is called once, so that a change of it changes one place only.
    """
    found = []
    for op in graph.ops:
        if op.name != "mul" or len(set(op.inputs)) != 2 or not graph.is_map(op.output):
            continue
        for gate, scaled in (op.inputs, op.inputs[::-1]):
            if graph.shapes[scaled] == graph.shapes[op.output] and _gates(graph, gate, scaled):
                found.append(_own(graph, op, scaled, gate, is_own))
                break
    return found


def _gates(graph: Graph, gate: int, scaled: int) -> bool:
    """Whether a value is one number per channel that layers compute from the pooled channels of another value."""
    shape, spread = graph.shapes[scaled], graph.shapes[gate]
    value = gate
    while (maker := graph.makers.get(value)) and maker.name in SPREADS and len(maker.inputs) == 1:
        value = maker.inputs[0]
    numbers = prod(graph.shapes[value]) == shape[0] * shape[1]
    alike = len(spread) == len(shape) and spread[:2] == shape[:2]
    return numbers and alike and graph.depends(gate, scaled) and graph.layers_between(scaled, gate) > 0


def _own(graph: Graph, op: Op, scaled: int, gate: int, is_own: Callable[[str], bool]) -> Own:
    for call in graph.calls:
        if call.input == scaled and call.output == op.output and is_own(call.module):
            return Own(call.module, op.output, scaled, gate)
    gating = [other for other in graph.ops if other.output == gate or graph.between(scaled, other.output, gate)]
    elsewhere = {other.module for other in graph.ops if other not in gating}
    below = {path for other in gating for path in _paths(other.module, op.module)}
    alone = {path for path in below if not any(within(module, path) for module in elsewhere)}
    outermost = tuple(sorted(path for path in alone if not any(path != other and within(path, other) for other in alone)))
    return Own(op.module, op.output, scaled, gate, True, outermost)


def _paths(module: str, owner: str) -> list[str]:
    """The paths of a module and of those around it, inside ``owner``; none if it is not inside."""
    if module == owner or not within(module, owner):
        return []
    parts = module.removeprefix(owner).strip(".").split(".")
    return [".".join(filter(None, [owner, *parts[: i + 1]])) for i in range(len(parts))]
