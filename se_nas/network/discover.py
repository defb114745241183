"""Finds places for SE blocks in what a network computes, whatever its classes are called.

Four structures are looked for: sums of a branch and a shortcut (residual blocks), concatenations, depthwise-separable
units without a sum, and, in networks that have none of these, groups of convolution, norm and activation. An SE block
attaches to the output of a module, or to its input, so a place is usable if a module of its own computes the value
there (or alone reads it); what has no such module is reported with the reason.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from se_nas.network.graph import Graph, Op

NORMS = {"native_batch_norm", "_native_batch_norm_legit_no_training", "native_group_norm", "native_layer_norm"}
ACTIVATIONS = {
    "relu",
    "hardswish",
    "silu",
    "gelu",
    "hardtanh",
    "leaky_relu",
    "elu",
    "mish",
    "sigmoid",
    "hardsigmoid",
    "tanh",
    "prelu",
    "softplus",
}
RESHAPES = {"view", "_unsafe_view", "reshape", "permute", "transpose", "clone", "contiguous"}
SCALINGS = {"mul", "div"}


@dataclass(frozen=True)
class Place:
    """A module, the side of it that is gated, and the value there."""

    module: str
    side: str
    value: int


@dataclass(frozen=True)
class Unit:
    """A structure that can take an SE block.

    Attributes:
        name: path of the module in which it is.
        kind: ``residual``, ``concatenation``, ``separable``, ``convolution`` or ``se`` (an SE block that is there already).
        value: where in the order of the network it is.
        places: placement -> where that is.
        existing: path of an SE module that is there already, "" if none.
    """

    name: str
    kind: str
    value: int
    places: dict[str, Place]
    existing: str = ""


@dataclass
class Found:
    """What was found, in the order of the network.

    Attributes:
        units: of the network's blocks; of a network without blocks, its convolutions.
        spare: what lies outside of the blocks (stem, transitions, head).
        left_out: what could not be used: (name, reason).
    """

    units: list[Unit] = field(default_factory=list)
    spare: list[Unit] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)


def discover(graph: Graph, claimed: tuple[str, ...] = ()) -> Found:
    """The units of a network.

    Args:
        graph: of one forward pass in evaluation mode.
        claimed: paths of modules whose inside is known already and is passed over.
    """
    return _Discovery(graph, claimed).run()


class _Discovery:
    def __init__(self, graph: Graph, claimed: tuple[str, ...]) -> None:
        self.graph = graph
        self.claimed = claimed
        self.found = Found()
        self.spans: list[tuple[int, int]] = []  # (start, end) of every residual block and of what is concatenated
        self.existing = self._existing()

    def run(self) -> Found:
        units = [*self._residuals()]
        units += self._concatenations()
        units += self._separables()
        taken = {unit.existing for unit in units}
        units += [
            Unit(module, "se", value, {"standard": Place(module, "output", value)}, module)
            for module, value in self.existing.items()
            if module not in taken and not self._in_claimed(module)
        ]
        blocks = tuple(unit.name for unit in units if unit.kind == "separable" and unit.name)
        convolutions = [*self._convolutions(blocks)]
        # a table entry says what this network's blocks are: beside them, only other residual blocks count
        usual = [unit for unit in units if unit.kind == "residual"] if self.claimed else units or convolutions
        self.found.units = _distinct(usual)
        self.found.spare = _distinct([unit for unit in (*units, *convolutions) if unit not in usual])
        return self.found

    # The four structures, and SE blocks that are there already.

    def _residuals(self) -> Iterator[Unit]:
        for op in self._ops("add"):
            values = [value for value in dict.fromkeys(op.inputs) if self._is_map(value)]
            if len(values) != 2 or self.graph.shapes[values[0]] != self.graph.shapes[values[1]]:
                continue
            start = self.graph.meet(*values)
            layers = [self.graph.layers_between(start, value) for value in values] if start >= 0 else [0, 0]
            if layers[0] == layers[1]:
                continue  # two branches mixed, or no layer at all
            branch, shortcut = values if layers[0] > layers[1] else values[::-1]
            if not self.graph.convolves(start, branch):
                continue  # a transformer's: its maps need not have the channels in front
            self.spans.append((start, op.output))
            name = op.module
            existing = self._existing_within(start, branch)
            standard = Place(existing, "output", self.existing[existing]) if existing else self._unscaled(branch)
            if standard is None:
                self.found.left_out.append((name or "(network)", "no module of its own computes the end of the residual branch"))
                continue
            places = {"standard": standard, **self._around(op, start, branch, shortcut)}
            if not existing:
                places |= self._inside(start, branch, standard)
            yield Unit(name, "residual", op.output, places, existing)

    def _around(self, op: Op, start: int, branch: int, shortcut: int) -> dict[str, Place]:
        """Placements outside of the branch's own layers."""
        places = {}
        readers = [
            r for r in self.graph.readers[start] if self.graph.depends(branch, r.output) and not self.graph.depends(shortcut, r.output)
        ]
        if len(readers) == 1 and (pre := self._entrance(start, readers)):
            places["pre"] = pre
        after = self.graph.only_reader(op.output)
        total = after.output if after and after.name in ACTIVATIONS else op.output
        if post := self._output(total):
            places["post"] = post
        if shortcut != start and self.graph.only_reader(shortcut) == op and (identity := self._output(shortcut)):
            places["identity"] = identity
        return places

    def _inside(self, start: int, branch: int, standard: Place) -> dict[str, Place]:
        """After the last convolution of the branch that looks at more than one pixel, if that is not the branch's end."""
        for op in reversed(self.graph.ops):
            if op.kernel > 1 and self._between(start, op.output, branch):
                place = self._after(op)
                if place and place != standard and place.value != branch:
                    return {"inner": place}
        return {}

    def _concatenations(self) -> Iterator[Unit]:
        """Those that are no part of a residual block or of a larger concatenation."""
        spans: list[tuple[int, int]] = []
        for op in self._ops("cat"):
            parts = [value for value in dict.fromkeys(op.inputs) if self._is_map(value)]
            readers = self.graph.readers[op.output]
            channels = sum(self.graph.shapes[value][1] for value in parts)
            inner = self._in_span(op.output) or (readers and all(reader.name == "cat" for reader in readers))
            if len(parts) < 2 or channels != self.graph.shapes[op.output][1] or inner:
                continue
            start = parts[0]
            for part in parts[1:]:
                start = self.graph.meet(start, part)
            layered = [part for part in parts if start >= 0 and self.graph.layers_between(start, part)]
            if not layered:
                continue
            spans.append((start, op.output))
            shuffled = len(layered) == 1 and any(
                self.graph.makers[p].name in ("split", "slice", "chunk") for p in parts if p in self.graph.makers
            )
            place = (self._output(layered[0]) if shuffled else None) or self._output(op.output) or self._entrance(op.output, readers)
            place = place or self._reshaped(op.output)
            if place is None:
                self.found.left_out.append((op.module or "(network)", "no module of its own computes or alone reads the concatenation"))
                continue
            name = op.module if place.side == "output" else place.module.rpartition(".")[0]
            yield Unit(name, "concatenation", op.output, {"standard": place})
        self.spans += spans

    def _separables(self) -> Iterator[Unit]:
        for op in self.graph.ops:
            if not op.depthwise or self._in_claimed(op.module) or self._in_span(op.output):
                continue
            pointwise = next((later for later in self.graph.ops if later.kernel == 1 and self._follows(later, op)), None)
            if pointwise is None:
                continue
            existing = self._existing_within(op.output, pointwise.output)
            inner = None if existing else self._after(op)
            standard = Place(existing, "output", self.existing[existing]) if existing else self._after(pointwise)
            name = _common(op.module, pointwise.module)
            if standard is None:
                self.found.left_out.append((name or op.module, "no module of its own computes the unit's output"))
                continue
            places = {"standard": standard, **({"inner": inner} if inner else {})}
            yield Unit(name, "separable", pointwise.output, places, existing)

    def _follows(self, later: Op, depthwise: Op) -> bool:
        return (
            not _within(later.module, tuple(self.existing))
            and later.output > depthwise.output
            and self.graph.depends(later.output, depthwise.output)
        )

    def _convolutions(self, blocks: tuple[str, ...]) -> Iterator[Unit]:
        """Convolutions that no other structure has; ``blocks`` are the modules of separable units."""
        for op in self.graph.ops:
            taken = _within(op.module, (*self.existing, *self.claimed, *blocks))
            if op.kernel == 0 or taken or not self._is_map(op.output) or self._in_span(op.output):
                continue
            if place := self._after(op):
                yield Unit(op.module, "convolution", op.output, {"standard": place})
            else:
                self.found.left_out.append((op.module or "(network)", "no module of its own computes the convolution's output"))

    def _existing(self) -> dict[str, int]:
        """Modules that scale their input's channels by a gate computed from its pooled self -> their output."""
        found = {}
        for op in self.graph.ops:
            if op.name != "mul" or len(set(op.inputs)) != 2:
                continue
            for gate, scaled in (op.inputs, op.inputs[::-1]):
                shape, gated = self.graph.shapes[scaled], self.graph.shapes[gate]
                is_gate = len(shape) == 4 and gated == (*shape[:2], 1, 1) and self.graph.depends(gate, scaled)
                if is_gate and self.graph.layers_between(scaled, gate):
                    module = next(
                        (c.module for c in self.graph.calls if c.input == scaled and c.output == op.output and self._own(c.module)), None
                    )
                    if module is not None:
                        found[module] = op.output
        return found

    # Places.

    def _output(self, value: int) -> Place | None:
        """The innermost module of its own that computes a value."""
        for call in self.graph.calls:
            if call.output == value != call.input and self._own(call.module):
                return Place(call.module, "output", value)
        return None

    def _entrance(self, value: int, readers: list[Op]) -> Place | None:
        """The innermost module of its own in which all of these operations read a value."""
        for call in self.graph.calls:
            reads_there = all(_within(reader.module, (call.module,)) for reader in readers)
            if call.input == value and readers and reads_there and self._own(call.module):
                return Place(call.module, "input", value)
        return None

    def _unscaled(self, value: int) -> Place | None:
        """The place of a value, or of what it is but for scaling by a constant or a parameter."""
        place = self._output(value)
        maker = self.graph.makers.get(value)
        if place is None and maker and maker.name in SCALINGS and len(maker.inputs) == 1:
            return self._unscaled(maker.inputs[0])
        return place

    def _reshaped(self, value: int) -> Place | None:
        """The place of a value once reshaping and permuting alone have moved it."""
        while (reader := self.graph.only_reader(value)) and reader.name in RESHAPES:
            value = reader.output
            if self._is_map(value) and (place := self._output(value)):
                return place
        return None

    def _after(self, op: Op) -> Place | None:
        """The place after a convolution's norm and activation; before them where these are no modules of their own."""
        values = [op.output]
        for names in (NORMS, ACTIVATIONS):
            reader = self.graph.only_reader(values[-1])
            if reader and reader.name in names:
                values.append(reader.output)
        places = (self._output(value) for value in reversed(values))
        return next((place for place in places if place and self._is_map(place.value)), None)

    # Questions.

    def _ops(self, name: str) -> Iterator[Op]:
        return (op for op in self.graph.ops if op.name == name and self._is_map(op.output) and not self._in_claimed(op.module))

    def _is_map(self, value: int) -> bool:
        return len(self.graph.shapes[value]) == 4

    def _own(self, module: str) -> bool:
        """Whether a module is called just once, so that wrapping it changes one place."""
        return module != "" and self.graph.times_called[module] == 1 and not self._in_claimed(module)

    def _in_claimed(self, module: str) -> bool:
        return _within(module, self.claimed)

    def _in_span(self, value: int) -> bool:
        return any(self._between(start, value, end) for start, end in self.spans)

    def _between(self, start: int, value: int, end: int) -> bool:
        return self.graph.depends(end, value) and not self.graph.depends(start, value)

    def _existing_within(self, start: int, end: int) -> str:
        within = [module for module, value in self.existing.items() if self._between(start, value, end)]
        return within[-1] if within else ""


def _within(module: str, paths: tuple[str, ...]) -> bool:
    return any(module == path or module.startswith(f"{path}.") for path in paths)


def _common(a: str, b: str) -> str:
    """Path of the innermost module that holds both."""
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(a.split("."), b.split("."), strict=False))
    return ".".join(part for part, _ in pairs)


def _distinct(units: list[Unit]) -> list[Unit]:
    """Units in the order of the network, with names of their own: one that would repeat another's takes that of the module it wraps."""
    names: set[str] = set()
    named = []
    for unit in sorted(units, key=lambda unit: unit.value):
        name = unit.name if unit.name and unit.name not in names else unit.places["standard"].module
        if name not in names:
            names.add(name)
            named.append(Unit(name, unit.kind, unit.value, unit.places, unit.existing))
    return named
