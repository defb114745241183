"""Find places for SE blocks from what a network computes. Names of classes do not matter.

It looks for four structures: sums of a branch and a shortcut (residual blocks), concatenations, depthwise-separable units
without a sum, and, in networks without these, convolutions with their norm and activation. An SE block attaches to the
output of the module that computes the value, or to the input of the only module that reads it. If there is no such module,
it attaches to the expression that computes the value. If that fails too, the block is reported as left out, with the reason.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from se_nas.network.graph import Call, Graph, Op, within
from se_nas.network.layers import ACTIVATIONS, Layer, fused_layers, is_product
from se_nas.network.own import Own, find_own
from se_nas.network.places import Marks, Place, Places

MOST_IN_SHORTCUT = 2
"""Layers of a projection: a depthwise and a pointwise convolution."""

PARTS = ("slice", "split", "split_with_sizes", "chunk", "narrow")
"""Operations that take a part of a map."""

RAISING = ("upsample", "convolution", "pixel_shuffle")
"""Beginnings of names of operations that can raise the resolution."""


@dataclass(frozen=True)
class Unit:
    """A structure that can take an SE block.

    Attributes:
        name: path of the module in which it is.
        kind: ``residual``, ``concatenation``, ``separable``, ``convolution`` or ``se`` (an SE block that is there already).
        value: number of the value in the graph; it gives the order.
        places: placement -> where that is.
        own: an SE block that is there already.
    """

    name: str
    kind: str
    value: int
    places: dict[str, Place]
    own: Own | None = None


@dataclass(frozen=True)
class Missed:
    """A structure that cannot take an SE block: its module, the reason, and the last module before it that could be wrapped."""

    name: str
    reason: str
    nearest: str = ""


@dataclass
class Found:
    """What was found, in the order of the network.

    Attributes:
        units: the network's blocks; in a network without blocks, its convolutions.
        spare: units outside of the blocks (stem, transitions, head).
        left_out: structures that cannot take an SE block.
    """

    units: list[Unit] = field(default_factory=list)
    spare: list[Unit] = field(default_factory=list)
    left_out: list[Missed] = field(default_factory=list)


def discover(graph: Graph, claimed: tuple[str, ...], kinds: Mapping[str, type], marks: Callable[[], Marks]) -> Found:
    """The units of a network.

    Args:
        graph: of one forward pass in evaluation mode.
        claimed: paths of known blocks; nothing inside them is looked at.
        kinds: path of each module -> its class.
        marks: called once, and only if no module computes some value.
    """
    return _Discovery(graph, claimed, kinds, marks).run()


class _Discovery:
    def __init__(self, graph: Graph, claimed: tuple[str, ...], kinds: Mapping[str, type], marks: Callable[[], Marks]) -> None:
        self.graph = graph
        self.claimed = claimed
        self.places = Places(graph, claimed, kinds, marks)
        self.found = Found()
        self.spans: list[tuple[int, int]] = []  # (start, end) of every residual block and of what is concatenated
        self.own = [own for own in find_own(graph, self.places.own) if not self.places.in_claimed(own.path)]
        self.layers = fused_layers(graph, [op for op in graph.ops if op.kernel and not self._in_gate(op.output)], kinds)
        self.fused = {value for layer in self.layers for value in layer.inside}

    def run(self) -> Found:
        units = [*self._residuals()]
        joins = [*self._concatenations()]
        skips = [unit for unit in joins if unit.kind == "skip"]
        units += [unit for unit in joins if unit.kind != "skip"]
        units += self._separables()
        taken = {unit.own for unit in units}
        units += [
            Unit(own.path, "se", own.value, {"standard": place}, own) for own in self.own if own not in taken and (place := self._of(own))
        ]
        blocks = tuple(unit.name for unit in units if unit.kind == "separable" and unit.name)
        convolutions = [*self._convolutions(blocks)]
        # the network has known blocks: apart from them, only residual blocks count
        usual = [unit for unit in units if unit.kind == "residual"] if self.claimed else units or convolutions
        skips = [replace(unit, kind="concatenation") for unit in skips]
        self.found.units = _distinct(usual, set(), set(), self._name)
        names = {unit.name for unit in self.found.units}
        values = {unit.places["standard"].value for unit in self.found.units}
        spare = [unit for unit in (*units, *skips, *convolutions) if unit not in usual]
        self.found.spare = _distinct(spare, names, values, self._name)
        return self.found

    # The four structures, and the network's own SE blocks.

    def _residuals(self) -> Iterator[Unit]:
        sums = [found for op in self._ops("add") if (found := self._sum(op)) and not self._is_part(op)]
        self.spans += [(start, op.output) for op, start, _, _ in sums]
        for op, start, branch, shortcut in sums:
            around = [(s, o, b) for o, s, b, _ in sums if o is not op and o.module == op.module]
            if any(self.graph.depends(b, op.output) and s != op.output and self.graph.depends(op.output, s) for s, _, b in around):
                continue  # a sum inside of a block
            own, maker = self._own_within(start, branch), self.graph.makers.get(branch)
            if own is None and maker and maker.name in PARTS:
                continue  # one part of the result; it is concatenated with the others
            standard = self._of(own) if own else self.places.standard(branch, op)
            if standard is None:
                self._miss(op.module, "no module or expression of its own computes the end of the residual branch", branch, start)
                continue
            places = {"standard": standard, **self._around(op, start, branch, shortcut)}
            if not own:
                places |= self._inside(start, branch, standard)
            yield Unit(op.module, "residual", op.output, places, own)

    def _sum(self, op: Op) -> tuple[Op, int, int, int] | None:
        """(operation, start, branch, shortcut) if a sum ends a residual block, else None."""
        values = [value for value in dict.fromkeys(op.inputs) if self.graph.is_map(value)]
        if len(values) != 2 or op.output in self.fused or self.graph.shapes[values[0]] != self.graph.shapes[values[1]]:
            return None
        start = self.graph.meet(*values)
        layers = [self.graph.layers_between(start, value) for value in values] if start >= 0 else [0, 0]
        if layers[0] == layers[1] or any(is_product(self.graph, value) for value in values):
            return None  # two branches mixed, no layer at all, or attention's scores
        branch, shortcut = values if layers[0] > layers[1] else values[::-1]
        if min(layers) > MOST_IN_SHORTCUT or self._dives(start, branch) or self._joined(start, branch):
            return None  # fused streams, a U-Net's skip, or a sum of the outputs of several blocks
        if not self.graph.convolves(start, branch):
            return None  # a transformer's: its channels may come last
        return op, start, branch, shortcut

    def _is_part(self, op: Op) -> bool:
        """Whether a module concatenates several sums, of which this is one. Such a module (a cell, as in DARTS) is one block."""
        joins = [reader for reader in self.graph.readers[op.output] if reader.name == "cat" and reader.module == op.module]
        makers = (self.graph.makers.get(value) for join in joins for value in join.inputs)
        return sum(maker is not None and maker.name == "add" for maker in makers) > 1

    def _dives(self, start: int, end: int) -> bool:
        """Whether most layers in between work at a lower resolution that is upsampled again, as below one level of a U-Net."""
        size = self.graph.shapes[end][2:]
        if self.graph.shapes[start][2:] != size:
            return False
        inner = [op for op in self.graph.ops if self.graph.is_map(op.output) and self.graph.between(start, op.output, end)]
        raised = [
            op for op in inner if op.name.startswith(RAISING) and self._is_low(op.inputs[0], size) and not self._is_low(op.output, size)
        ]
        layers = [op for op in inner if op.name == "convolution" and op not in raised]
        low = [op for op in layers if self._is_low(op.output, size)]
        return bool(raised) and 2 * len(low) > len(layers) > 1

    def _joined(self, start: int, end: int) -> bool:
        """Whether a map that does not come from ``start`` is added in between, so that another block's sum lies on the way."""
        sums = [op for op in self._ops("add") if self.graph.between(start, op.output, end) and len(set(op.inputs)) == 2]
        return any(
            not self.graph.depends(value, start) and self.graph.shapes[value] == self.graph.shapes[op.output]
            for op in sums
            for value in op.inputs
        )

    def _is_low(self, value: int, size: tuple[int, ...]) -> bool:
        """Whether a value is a map of lower resolution, with more than one number per channel."""
        return self.graph.is_map(value) and all(1 < a < b for a, b in zip(self.graph.shapes[value][2:], size, strict=True))

    def _around(self, op: Op, start: int, branch: int, shortcut: int) -> dict[str, Place]:
        """Placements before and after the branch's layers."""
        places = {}
        readers = [
            r for r in self.graph.readers[start] if self.graph.depends(branch, r.output) and not self.graph.depends(shortcut, r.output)
        ]
        if len(readers) == 1 and (pre := self.places.entrance(start, readers)):
            places["pre"] = pre
        after = self.graph.only_reader(op.output)
        total = after.output if after and after.name in ACTIVATIONS else op.output
        if post := self.places.output(total):
            places["post"] = post
        if shortcut != start and self.graph.only_reader(shortcut) == op and (identity := self.places.output(shortcut)):
            places["identity"] = identity
        return places

    def _inside(self, start: int, branch: int, standard: Place) -> dict[str, Place]:
        """The placement ``inner``: after the branch's last convolution with a kernel larger than 1, unless that ends the branch."""
        for op in reversed(self.graph.ops):
            if op.kernel > 1 and self.graph.between(start, op.output, branch):
                place = self.places.after(op)
                if place and place != standard and place.value != branch:
                    return {"inner": place}
        return {}

    def _concatenations(self) -> Iterator[Unit]:
        """Concatenations that are not part of a residual block or of a larger concatenation."""
        spans: list[tuple[int, int]] = []
        for op in self._ops("cat"):
            parts = [value for value in dict.fromkeys(op.inputs) if self.graph.is_map(value)]
            readers = self.graph.readers[op.output]
            channels = sum(self.graph.shapes[value][1] for value in parts)
            inner = self._in_span(op.output) or (readers and all(reader.name == "cat" for reader in readers))
            if len(parts) < 2 or channels != self.graph.shapes[op.output][1] or inner:
                continue
            skip = any(self._dives(a, b) for a in parts for b in parts if self.graph.depends(b, a))
            start = parts[0]
            for part in parts[1:]:
                start = self.graph.meet(start, part)
            layered = [part for part in parts if start >= 0 and self.graph.layers_between(start, part)]
            if not layered:
                continue
            if not skip:
                spans.append((start, op.output))
            shuffled = len(layered) == 1 and any(self.graph.makers[p].name in PARTS for p in parts if p in self.graph.makers)
            place = (
                (self.places.output(layered[0]) if shuffled else None)
                or self.places.output(op.output)
                or self.places.entrance(op.output, readers)
            )
            place = place or self.places.reshaped(op.output) or self.places.spot(op.output, op.module)
            if place is None:
                self._miss(op.module, "no module or expression of its own computes or alone reads the concatenation", op.output, start)
                continue
            name = place.module.rpartition(".")[0] if place.side == "input" else op.module
            yield Unit(name, "skip" if skip else "concatenation", op.output, {"standard": place})
        self.spans += spans

    def _separables(self) -> Iterator[Unit]:
        for layer in self.layers:
            op = layer.op
            if not op.depthwise or self.places.in_claimed(op.module) or self._in_span(op.output):
                continue
            after = (other.op for other in self.layers if other.op.kernel == 1 and self._leads_to(op.output, other))
            pointwise = next(after, None)
            if pointwise is None:
                continue
            own = self._own_within(op.output, pointwise.output)
            inner = None if own else self.places.after(op)
            standard = self._of(own) if own else self._after_or_inside(pointwise)
            name = _common(op.module, pointwise.module)
            if standard is None or not self.graph.is_map(standard.value):
                reason = "no module or expression of its own computes the unit's output"
                reason = reason if self.graph.is_map(pointwise.output) else "its channels are not the second dimension of its output"
                self._miss(name or op.module, reason, pointwise.output, op.output)
                continue
            yield Unit(name, "separable", pointwise.output, {"standard": standard, **({"inner": inner} if inner else {})}, own)

    def _leads_to(self, start: int, layer: Layer) -> bool:
        """Whether this layer, and no other, reads what is computed from a value. Layers of SE blocks in between do not count."""
        end = layer.start
        if end < start or not self.graph.depends(end, start):
            return False
        between = [value for value in range(start, end) if self.graph.depends(value, start) and self.graph.depends(end, value)]
        layers = any(layer.op.output in between for layer in self.layers if layer.op.output != start)
        aside = any(not self.graph.depends(end, reader.output) for value in between for reader in self.graph.readers[value])
        alone = all(reader.output in layer.inside or reader == layer.op for reader in self.graph.readers[end])
        return not layers and not aside and alone

    def _convolutions(self, blocks: tuple[str, ...]) -> Iterator[Unit]:
        """Convolutions outside of the other structures; ``blocks`` are the modules of separable units."""
        passed = (*(own.path for own in self.own if not own.inline), *self.claimed, *blocks)
        for layer in self.layers:
            op = layer.op
            if any(path and within(op.module, path) for path in passed) or not self.graph.is_map(op.output) or self._in_span(op.output):
                continue
            if place := self._after_or_inside(op):
                yield Unit(op.module, "convolution", op.output, {"standard": place})
            else:
                self._miss(op.module, "no module or expression of its own computes the convolution's output", op.output, -1)

    def _after_or_inside(self, op: Op) -> Place | None:
        return self.places.after(op) or self.places.spot(self.places.ends(op)[-1], op.module)

    # Questions.

    def _of(self, own: Own) -> Place | None:
        """Where a new SE block goes if it replaces the network's own."""
        return self.places.spot(own.value, own.path) if own.inline else Place(own.path, "output", own.value)

    def _ops(self, name: str) -> Iterator[Op]:
        return (op for op in self.graph.ops if op.name == name and self.graph.is_map(op.output) and not self.places.in_claimed(op.module))

    def _in_span(self, value: int) -> bool:
        return any(self.graph.between(start, value, end) for start, end in self.spans)

    def _in_gate(self, value: int) -> bool:
        return any(value == own.gate or self.graph.between(own.scaled, value, own.gate) for own in self.own)

    def _own_within(self, start: int, end: int) -> Own | None:
        inside = [own for own in self.own if self.graph.between(start, own.value, end)]
        return inside[-1] if inside else None

    def _miss(self, name: str, reason: str, value: int, start: int) -> None:
        """Note a structure that is left out, and the last module before it that a person could name in `register_block`."""
        before = [call.module for call in self._before(value) if not (start >= 0 and self.graph.depends(start, call.output))]
        near = [module for module in before if module != name and within(module, name) and self.places.own(module)]
        self.found.left_out.append(Missed(name, reason, near[-1] if near else ""))

    def _before(self, value: int) -> list[Call]:
        """The calls whose maps a value is computed from."""
        calls = [call for call in self.graph.calls if call.output >= 0 and self.graph.is_map(call.output)]
        return [call for call in calls if self.graph.depends(value, call.output)]

    def _name(self, unit: Unit) -> str:
        """A name for a unit in the network's own ``forward``: the last module before it."""
        before = self._before(unit.places["standard"].value)
        return before[-1].module if before else "forward"


def _common(a: str, b: str) -> str:
    """Path of the innermost module that contains both."""
    pairs = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(a.split("."), b.split("."), strict=False))
    return ".".join(part for part, _ in pairs)


def _distinct(units: list[Unit], names: set[str], values: set[int], name_of: Callable[[Unit], str]) -> list[Unit]:
    """Units in the order of the network, one for each value, with distinct names.

    The unit whose value a module returns gets the module's name. If a name is taken, the unit is named after the module that
    it wraps, or by ``name_of``, with a number if that is taken too.
    """
    names, values, named = set(names), set(values), []
    returned = {unit.name: unit for unit in units if _place_of(unit) == (unit.name, "output")}
    for unit in sorted(units, key=lambda unit: unit.value):
        standard = unit.places["standard"]
        if standard.value in values:
            continue
        free = unit.name and unit.name not in names and returned.get(unit.name, unit) is unit
        first = (unit.name if free else standard.module) or name_of(unit)
        name = next(name for n in itertools.count(1) if (name := f"{first}_{n}" if n > 1 else first) not in names)
        names.add(name)
        values.add(standard.value)
        named.append(Unit(name, unit.kind, unit.value, unit.places, unit.own))
    return named


def _place_of(unit: Unit) -> tuple[str, str]:
    return unit.places["standard"].module, unit.places["standard"].side
