"""Where an SE block can attach to a value: the module that computes it, the only one that reads it, or the expression itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch.nn.modules.batchnorm import _NormBase

from se_nas.network.graph import Graph, Op, within
from se_nas.network.layers import ACTIVATIONS, NORMS, RESHAPES, SCALINGS
from se_nas.network.rewrite import Mark

Marks = Mapping[str, Sequence[Mark]]
"""Path of a module -> what its own expressions evaluated to, as they ran."""


@dataclass(frozen=True)
class Place:
    """A module, which side of it is scaled (``output``, ``input`` or ``inside``), and the value there.

    For ``inside``: the expression ``node`` of the method ``method``, see `se_nas.network.rewrite`.
    """

    module: str
    side: str
    value: int
    method: str = ""
    node: int = -1


class Places:
    """Finds places.

    Args:
        graph: graph of the network.
        claimed: paths of modules that must stay as they are.
        kinds: path of each module -> its class.
        marks: called once, and only if no module computes some value.
    """

    def __init__(self, graph: Graph, claimed: tuple[str, ...], kinds: Mapping[str, type], marks: Callable[[], Marks]) -> None:
        self.graph, self.claimed, self.kinds = graph, claimed, kinds
        self._look = marks
        self._marks: Marks | None = None

    def output(self, value: int) -> Place | None:
        """The innermost module that computes a value and is called once."""
        for call in self.graph.calls:
            if call.output == value != call.input and self.own(call.module):
                return Place(call.module, "output", value)
        return None

    def entrance(self, value: int, readers: list[Op]) -> Place | None:
        """The innermost module, called once, in which all of these operations read a value."""
        for call in self.graph.calls:
            reads_there = all(within(reader.module, call.module) for reader in readers)
            if call.input == value and readers and reads_there and self.own(call.module):
                return Place(call.module, "input", value)
        return None

    def standard(self, value: int, reader: Op) -> Place | None:
        """The place of a value that one operation reads."""
        return self.unscaled(value) or self.handed_on(value, reader) or self.spot(value, reader.module)

    def handed_on(self, value: int, reader: Op) -> Place | None:
        """A module that only passes a value on to its only reader: an Identity, or dropout in evaluation mode."""
        if self.graph.only_reader(value) == reader:
            for call in self.graph.calls:
                if call.input == call.output == value and self.own(call.module) and not within(reader.module, call.module):
                    return Place(call.module, "output", value)
        return None

    def spot(self, value: int, reader: str) -> Place | None:
        """The expression that computes a value: in the module that made it, in one around it, or in the one that reads it."""
        maker = self.graph.makers.get(value)
        if self._marks is None:
            self._marks = self._look()
        parts = maker.module.split(".") if maker and maker.module else []
        outward = [".".join(parts[:n]) for n in range(len(parts), -1, -1)] if maker else []
        for module in dict.fromkeys([*outward, reader]):
            if self.graph.times_called[module] != 1 or self.in_claimed(module):
                continue
            seen = [mark for mark in self._marks.get(module, ()) if mark.value == value]
            first = next((mark for mark in seen if not mark.name), None)
            first = first if first and seen[0] == first else seen[0] if len(seen) == 1 else None
            times = [mark for mark in self._marks.get(module, ()) if first and (mark.method, mark.node) == (first.method, first.node)]
            if first and len(times) == 1:
                return Place(module, "inside", value, first.method, first.node)
        return None

    def unscaled(self, value: int) -> Place | None:
        """The place of a value; or of the value before it was scaled by a constant or a parameter."""
        place = self.output(value)
        maker = self.graph.makers.get(value)
        if place is None and maker and maker.name in SCALINGS and len(maker.inputs) == 1:
            return self.unscaled(maker.inputs[0])
        return place

    def reshaped(self, value: int) -> Place | None:
        """The place of a value after it was only reshaped or permuted."""
        while (reader := self.graph.only_reader(value)) and reader.name in RESHAPES:
            value = reader.output
            if self.graph.is_map(value) and (place := self.output(value)):
                return place
        return None

    def after(self, op: Op) -> Place | None:
        """The place after a convolution's norm and activation; before them if they are not modules."""
        places = (self.output(value) for value in reversed(self.ends(op)))
        return next((place for place in places if place and self.graph.is_map(place.value)), None)

    def ends(self, op: Op) -> list[int]:
        """The values of a convolution, and of the norm and activation after it."""
        values = [op.output]
        while (reader := self.graph.only_reader(values[-1])) and reader.name == "add" and len(reader.inputs) == 1:
            values.append(reader.output)  # a bias, or a branch that is absent
        for names in (NORMS, ACTIVATIONS):
            reader = self.graph.only_reader(values[-1])
            if reader and reader.name in names:
                values.append(reader.output)
            elif names is NORMS and reader and (norm := self.instance_norm(values[-1])):
                values.append(norm)
        return values

    def instance_norm(self, value: int) -> int | None:
        """What an instance norm returns for a value: PyTorch computes it as a batch norm of another shape."""
        norms = (c.output for c in self.graph.calls if c.input == value and issubclass(self.kinds.get(c.module, object), _NormBase))
        return next(norms, None)

    def own(self, module: str) -> bool:
        """Whether a module is called once, so that wrapping it changes one place only."""
        return module != "" and self.graph.times_called[module] == 1 and not self.in_claimed(module)

    def in_claimed(self, module: str) -> bool:
        return any(within(module, path) for path in self.claimed)
