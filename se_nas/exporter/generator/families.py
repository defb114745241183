"""Families: modules that compute alike, so that one class with arguments can construct them all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from se_nas.exporter.generator.bodies import Body, Branch, Item, steps_of
from se_nas.exporter.generator.expressions import MISSING, SE, Container, Expression, Initial, Layer, skeleton
from se_nas.exporter.generator.slots import Bare, Conflict, Slot, aligned, insert, moved, with_tail, without
from se_nas.exporter.generator.symbols import Ref, Step


@dataclass
class Template:
    """One module that gets a class: its parts, and what it computes.

    Attributes:
        path: its public path.
        base: the layer of torch.nn that it extends.
        container: the container that it extends, such as ``nn.Sequential``, or "".
        children: name -> child, without those that do nothing.
        tensors: its own parameters and buffers, by name.
        body: its ``forward``; None if it is the container's.
        attributes: numbers, texts and tuples of the module; their names serve for constants in the body.
    """

    path: str
    base: Layer | None
    container: str
    children: dict[str, Expression]
    tensors: dict[str, Initial]
    body: Body | None
    attributes: dict[str, Any]

    @property
    def filled(self) -> bool:
        """Whether it is a container with its own ``forward``. Then the children are passed to the class, which has none itself."""
        return bool(self.container) and self.body is not None


@dataclass
class Family:
    """Modules that one class can construct.

    Attributes:
        templates: the modules.
        body: their common body, with the calls of optional children, and a `Hole` for each constant.
        values: for each module, the constants of the body; those of a branch that it does not take are missing.
        optional: children that only some modules have; the others have an identity.
        placed: the child (an SE block) whose place differs between modules; or "".
        tailed: for each module, whether it takes the body's last branch; empty if there is none.
    """

    templates: list[Template]
    body: Body | None
    values: list[list[Any]]
    optional: tuple[str, ...] = ()
    placed: str = ""
    tailed: tuple[bool, ...] = ()


def find_families(templates: Sequence[Template]) -> list[Family]:
    """Sort the modules of one Python class into as few families as possible."""
    return _sort(_padded(templates), required=frozenset())


def _padded(templates: Sequence[Template]) -> list[Template]:
    """Modules whose containers differ only in their SE blocks, with an empty place where another module has an SE block."""
    templates = list(templates)
    for name in dict.fromkeys(name for template in templates for name in template.children):
        alike: dict[str, list[int]] = {}
        for i, template in enumerate(templates):
            child = template.children.get(name)
            if isinstance(child, Container):
                plain = Container(child.name, tuple((key, item) for key, item in child.items if not isinstance(item, SE)))
                alike.setdefault(skeleton(plain), []).append(i)
        items_of = {i: dict(_container(templates[i].children[name]).items) for same in alike.values() for i in same}
        for members in (part for same in alike.values() for part in _in_one_order(same, items_of)):
            found = [items_of[i] for i in members]
            blocks = dict.fromkeys(key for items in found for key, item in items.items() if isinstance(item, SE))
            if len({tuple(items) for items in found}) > 1:
                order = _order(found)
                for i, items in zip(members, found, strict=True):
                    filled = tuple((key, items.get(key, SE(MISSING, None))) for key in order if key in items or key in blocks)
                    child = replace(_container(templates[i].children[name]), items=filled)
                    templates[i] = replace(templates[i], children={**templates[i].children, name: child})
    return templates


def _in_one_order(members: Sequence[int], items_of: Mapping[int, dict[str, Any]]) -> list[list[int]]:
    """Members in groups within which names have one order: an SE block ``0_se`` may stand before ``0`` in one, behind it in another."""
    groups: list[list[int]] = []
    for i in members:
        for group in groups:
            found = [items_of[j] for j in (*group, i)]
            order = _order(found)
            if all(list(items) == [name for name in order if name in items] for items in found):
                group.append(i)
                break
        else:
            groups.append([i])
    return groups


def _container(value: Expression) -> Container:
    assert isinstance(value, Container)
    return value


def _order(found: Sequence[dict[str, Any]]) -> list[str]:
    """All names, each after those that it follows in any of the lists."""
    order: list[str] = []
    for items in found:
        last = -1
        for key in items:
            if key not in order:
                order.insert(last + 1, key)
            last = order.index(key)
    return order


def _sort(templates: Sequence[Template], required: frozenset[str]) -> list[Family]:
    optional = {
        name
        for template in templates
        for name, child in template.children.items()
        if name not in required
        and not template.filled
        and (isinstance(child, SE) or any(name not in other.children for other in templates))
    }
    callable_once = {name for name in optional if all(_unary(name, template) for template in templates if name in template.children)}
    bare = [without(template.body, callable_once) for template in templates]
    groups: dict[str, list[int]] = {}
    for i, template in enumerate(templates):
        names = [name for name in template.children if name not in callable_once and not template.filled]
        key = repr((names if template.container != "nn.Sequential" or template.body else len(template.children) > 0,
                    skeleton(template.base), skeleton(template.tensors), template.container, _code(bare[i])))  # fmt: skip
        groups.setdefault(key, []).append(i)
    families = []
    members = [part for group in groups.values() for part in _by_children(templates, group)]
    while members:
        group = members.pop(0)
        alike = [other for other in members if _same_parts(templates[other[0]], templates[group[0]])]
        longer = next((other for other in alike if _extends(bare[other[0]], bare[group[0]])), None)
        shorter = next((other for other in alike if _extends(bare[group[0]], bare[other[0]])), None)
        if longer is not None:
            members.remove(longer)
            short, long = group, longer
        elif shorter is not None:
            members.remove(shorter)
            short, long = shorter, group
        else:
            short, long = group, []
        chosen = sorted([*short, *long])
        try:
            families.append(_family([templates[i] for i in chosen], [bare[i] for i in chosen], [i in long for i in chosen]))
        except Conflict as conflict:
            return _sort(templates, required | {conflict.child})
    return families


def _by_children(templates: Sequence[Template], group: list[int]) -> list[list[int]]:
    """Split a group by the parts of its modules if there are few kinds. Each class then constructs its parts itself."""
    kinds: dict[str, list[int]] = {}
    for i in group:
        parts = {name: skeleton(child) for name, child in templates[i].children.items() if not isinstance(child, (Layer, SE))}
        kinds.setdefault(repr(parts), []).append(i)
    if templates[group[0]].filled:
        return [group]
    names = {name for i in group for name in templates[i].children if not isinstance(templates[i].children[name], (Layer, SE))}
    everywhere = all(names <= templates[i].children.keys() for i in group)
    return list(kinds.values()) if everywhere and len(kinds) <= max(2, len(group) // 3) else [group]


def _same_parts(a: Template, b: Template) -> bool:
    """Whether both construct the children that they have in common in the same way."""
    both = [name for name in a.children if name in b.children and not isinstance(a.children[name], Layer)]
    return all(skeleton(a.children[name]) == skeleton(b.children[name]) for name in both)


def _unary(name: str, template: Template) -> bool:
    """Whether a child is called once, takes one tensor and returns one."""
    if template.body is None:
        return True
    calls = [step for step in steps_of(template.body.items) if step.kind == "module" and step.name.split(".")[0] == name]
    plain = [step for step in template.body.items if isinstance(step, Step) and step in calls]
    return len(calls) == len(plain) == 1 and calls[0].name == name and _is_unary(calls[0])


def _is_unary(step: Step) -> bool:
    return len(step.args) == 1 and isinstance(step.args[0], Ref) and not step.kwargs and isinstance(step.out, Ref)


def _code(bare: Bare | None) -> str:
    return "" if bare is None else _body_code(bare.body)


def _body_code(body: Body) -> str:
    return repr((len(body.names), body.params, body.lists, [_item_code(item) for item in body.items], skeleton(body.result)))


def _item_code(item: Item) -> str:
    if isinstance(item, Branch):
        return repr((item.condition, [[_item_code(step) for step in steps] for steps in (item.train, item.evaluation)]))
    return repr((item.kind, item.name, skeleton(item.args, ("step",)), skeleton(item.kwargs, ("step",)), item.out))


def _extends(long: Bare | None, short: Bare | None) -> bool:
    """Whether one body is the other and further items, with one tensor as result."""
    if long is None or short is None or not short.body.items or len(long.body.items) <= len(short.body.items):
        return False
    n = len(short.body.items)
    same = [_item_code(a) == _item_code(b) for a, b in zip(long.body.items, short.body.items, strict=False)]
    single = isinstance(short.body.result, Ref) and isinstance(long.body.result, Ref)
    plain = all(isinstance(item, Step) for item in long.body.items[n:])
    return all(same) and single and plain and long.body.params == short.body.params and short.body.result not in short.body.params


def _family(templates: list[Template], bare: list[Bare | None], tailed: list[bool]) -> Family:
    optional = tuple(
        dict.fromkeys(name for t in templates if not t.filled for name in t.children if any(name not in o.children for o in templates))
    )
    if bare[0] is None:
        return Family(templates, None, [[] for _ in templates], optional)
    present = [b for b in bare if b is not None]
    short = present[tailed.index(False)]
    body, slots = short.body, [slot for b, long in zip(present, tailed, strict=True) if not long for slot in b.slots]
    if any(tailed):
        long_body = present[tailed.index(True)].body
        body, n = with_tail(body, long_body), len(short.body.items)
        late = [moved(slot, n, long_body) for b, long in zip(present, tailed, strict=True) if long for slot in b.slots]
        slots, late = aligned(slots, late, n)
        slots += late
    placed = ""
    unique: dict[tuple[str, frozenset[tuple[int, int]]], Slot] = {}
    for slot in slots:
        unique.setdefault((slot.child, slot.edges), slot)
    for child, count in Counter(child for child, _ in unique).items():
        if count > 1:
            if placed or not any(isinstance(template.children.get(child), SE) for template in templates):
                raise Conflict(child)
            placed = child
    labels = _labels(templates, bare, unique, placed) if placed else {}
    blocks = {name for template in templates for name, child in template.children.items() if isinstance(child, SE)}
    places = {slot.child: slot for slot in unique.values()}  # if a child has several places, its edges tell which one this is
    known = [[unique.get((slot.child, slot.edges), places.get(slot.child)) for slot in b.slots] for b in present]
    before = {(a, b) for row in known for k, b in enumerate(row) for a in row[:k] if a is not None and b is not None}
    ordered = _in_order(list(unique.values()), before, blocks)
    values = [b.values for b in present]
    return Family(templates, insert(body, ordered, labels), values, optional, placed, tuple(tailed) if any(tailed) else ())


def _in_order(slots: list[Slot], before: Collection[tuple[Slot, Slot]], blocks: Collection[str]) -> list[Slot]:
    """Slots in the order in which modules have them. Where that leaves the order open, SE blocks come first.

    Exception: an SE block comes after another optional child on the same tensor, such as the projection of a shortcut.
    """

    def key(slot: Slot) -> tuple[int, int]:
        behind = any(other.edges & slot.edges for other in slots if other.child not in blocks)
        return slot.after, 0 if slot.child in blocks and not behind else 1 if slot.child not in blocks else 2

    left, ordered = sorted(slots, key=key), []
    while left:
        free = [slot for slot in left if not any((other, slot) in before for other in left if other is not slot)]
        if not free:
            raise Conflict(left[0].child)
        ordered.append(free[0])
        left.remove(free[0])
    return ordered


def _labels(templates: Sequence[Template], bare: Sequence[Bare | None], unique: dict[Any, Slot], child: str) -> dict[Slot, str]:
    """The placement for each place of an SE block."""
    labels: dict[Slot, str] = {}
    for template, b in zip(templates, bare, strict=True):
        block = template.children.get(child)
        for slot in b.slots if b else ():
            if slot.child == child and isinstance(block, SE):
                kept = next((known for known in unique.values() if known.child == child and known.edges == slot.edges), None)
                if kept is None or labels.setdefault(kept, block.spec.placement) != block.spec.placement:
                    raise Conflict(child)
    if len(set(labels.values())) != len(labels) or len(labels) != sum(slot.child == child for slot in unique.values()):
        raise Conflict(child)
    return labels
