"""Optional children, which only some modules of a class have: remove their calls from bodies, and insert them into the class's body."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from se_nas.exporter.generator.bodies import Body, Branch, Item, numbered, reads, steps_of, with_reads
from se_nas.exporter.generator.expressions import map_constants
from se_nas.exporter.generator.symbols import Ref, Step, refs_of


@dataclass(frozen=True)
class Slot:
    """The place of an optional child in a body without it.

    Attributes:
        child: its name.
        after: number of items before its call.
        edges: the reads of its result: (number of the item, number of the read); item -1 is the return value.
    """

    child: str
    after: int
    edges: frozenset[tuple[int, int]]


@dataclass(frozen=True)
class Hole:
    """A numbered place for a constant in the body of a family; each module may have another value."""

    number: int


@dataclass
class Bare:
    """A body without the calls of optional children, and the slots of these."""

    body: Body
    slots: list[Slot]
    values: list[Any]


def _with_holes(body: Body) -> tuple[Body, list[Any]]:
    """A body with a numbered hole for each constant, and the constants."""
    values: list[Any] = []

    def hole(_: Any, value: Any) -> Hole:
        values.append(value)
        return Hole(len(values) - 1)

    return map_body(body, hole), values


def map_body(body: Body, change: Callable[[tuple[str, ...], Any], Any]) -> Body:
    """A body with its constants changed, see `map_constants`."""

    def step(item: Step) -> Step:
        context = ("step", item.name)
        return replace(item, args=map_constants(item.args, change, context), kwargs=map_constants(item.kwargs, change, context))

    def item(item: Item) -> Item:
        if isinstance(item, Branch):
            return replace(item, train=tuple(map(step, item.train)), evaluation=tuple(map(step, item.evaluation)))
        return step(item)

    return replace(body, items=tuple(map(item, body.items)))


def without(body: Body | None, children: Collection[str]) -> Bare | None:
    """Remove the calls of some children from a body. Each is called once with one tensor; its readers then read that tensor.

    ``y = self.bn(x); y = self.se(y); return x + y`` without ``se`` is ``y = self.bn(x); return x + y``. The `Slot` says that
    ``se`` came after one item, on the second read of the sum. Two bodies that differ only in ``se`` are then equal.
    """
    if body is None:
        return None
    made: dict[Ref, tuple[str, Ref]] = {}  # result of an optional call -> the child, and what it was given
    after: dict[str, int] = {}
    edges: dict[str, set[tuple[int, int]]] = {}
    items: list[Item] = []

    def resolve(ref: Ref, edge: tuple[int, int]) -> Ref:
        while ref in made:
            child, ref = made[ref]
            edges[child].add(edge)
        return ref

    for item in body.items:
        if isinstance(item, Step) and item.kind == "module" and item.name in children:
            made[item.out] = (item.name, item.args[0])
            after[item.name], edges[item.name] = len(items), set()
        else:
            refs = [resolve(ref, (len(items), i)) for i, ref in enumerate(reads(item))]
            items.append(with_reads(item, iter(refs)))
    refs = [resolve(ref, (-1, i)) for i, ref in enumerate(reads(body.result))]
    result = with_reads(body.result, iter(refs))
    slots = [Slot(child, after[child], frozenset(edges[child])) for child in after]
    plain, values = _with_holes(numbered(replace(body, items=tuple(items), result=result)))
    return Bare(plain, slots, values)


def with_tail(short: Body, long: Body) -> Body:
    """A body whose last items are a branch under ``self.residual`` that only some modules take."""
    steps = [step for step in long.items[len(short.items) :] if isinstance(step, Step)]
    renamed = tuple(replace(step, out=short.result) if step.out == long.result else step for step in steps)
    return replace(short, items=(*short.items, Branch(renamed, (), "self.residual")))


def aligned(early: Sequence[Slot], late: Sequence[Slot], n: int) -> tuple[list[Slot], list[Slot]]:
    """Slots of modules without and with the tail (item ``n``), changed so that a child has the same place in both."""
    within = {slot.child: slot for slot in late if all(item == n for item, _ in slot.edges)}
    result: list[Slot] = []
    for slot in early:
        if not all(item == -1 for item, _ in slot.edges):
            result.append(slot)
        elif slot.child in within:  # before the tail; without the tail the return value reads it
            result.append(replace(slot, after=n, edges=slot.edges | within[slot.child].edges))
        else:
            result.append(replace(slot, after=n + 1))
    joint = {slot.child: slot for slot in result if slot.child in within}
    return result, [joint.get(slot.child, slot) if slot in within.values() else slot for slot in late]


def moved(slot: Slot, start: int, long: Body) -> Slot:
    """A slot after the items from ``start`` on became one branch."""
    offsets = {i: sum(len(reads(item)) for item in long.items[start:i]) for i in range(start, len(long.items))}
    edges = frozenset((start, offsets[item] + k) if item >= start else (item, k) for item, k in slot.edges)
    return Slot(slot.child, slot.after if slot.after < start else start + (slot.after >= len(long.items)), edges)


def insert(body: Body, slots: Sequence[Slot], labels: dict[Slot, str]) -> Body:
    """Insert the calls of optional children into a body."""
    current = {(i, k): ref for i, item in enumerate(body.items) for k, ref in enumerate(reads(item))}
    current |= {(-1, k): ref for k, ref in enumerate(reads(body.result))}
    count = 1 + max((ref.number for ref in _refs(body)), default=0)
    items: list[Item] = []

    def call(slot: Slot) -> Step:
        nonlocal count
        given = {current[edge] for edge in slot.edges}
        if len(given) != 1:
            raise Conflict(slot.child)
        out = Ref(count)
        count += 1
        current.update(dict.fromkeys(slot.edges, out))
        args = (given.pop(), labels[slot]) if slot in labels else (given.pop(),)
        return Step("placed" if slot in labels else "module", slot.child, args, {}, out)

    for i, item in enumerate((*body.items, None)):
        due = [slot for slot in slots if slot.after == i and slot.edges]
        inner = [slot for slot in due if isinstance(item, Branch) and all(edge[0] == i for edge in slot.edges)]
        items += [call(slot) for slot in due if slot not in inner]
        if item is not None:
            first = [call(slot) for slot in inner]
            item = with_reads(item, iter([current[i, k] for k in range(len(reads(item)))]))
            if isinstance(item, Branch) and item.condition == "self.residual":
                item = replace(item, train=(*item.train[:-1], replace(item.train[-1], out=current[-1, 0])))
            items.append(replace(item, train=(*first, *item.train)) if isinstance(item, Branch) and first else item)
    result = with_reads(body.result, iter([current[-1, k] for k in range(len(reads(body.result)))]))
    return numbered(replace(body, items=tuple(items), result=result))


def _refs(body: Body) -> list[Ref]:
    made = [ref for step in steps_of(body.items) for ref in refs_of(step.out)]
    return [*refs_of(body.params), *made, *(ref for item in body.items for ref in reads(item)), *reads(body.result)]


class Conflict(Exception):
    """A child that cannot be optional, because its place differs between modules."""

    def __init__(self, child: str) -> None:
        super().__init__(child)
        self.child = child
