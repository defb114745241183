"""Families: modules that compute alike, so that one class with arguments can construct them all.

Their bodies are equal but for constants, because they were padded before they were recorded (see `pad`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from se_nas.exporter.generator.bodies import Body, Branch, Item, body_of, changed, steps_of, with_branch, without
from se_nas.exporter.generator.expressions import MISSING, SE, Expression, Initial, Layer, constants, map_constants, skeleton
from se_nas.exporter.generator.pad import LABEL
from se_nas.exporter.generator.symbols import Frame, Step, renumbered


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
        body: their common body, with the calls of optional children, and a `HOLE` for each constant.
        values: for each module, the constants of the body; those of a branch that it does not take are missing.
        optional: children that only some modules have; the others have an identity.
        placed: the child (an SE block) whose place differs between modules; or "".
        residual: for each module, whether it takes the branch that only some have; empty if there is none.
    """

    templates: list[Template]
    body: Body | None
    values: list[list[Any]]
    optional: tuple[str, ...] = ()
    placed: str = ""
    residual: tuple[bool, ...] = ()


RESIDUAL = "self.residual"
"""The condition of a branch that only some modules take."""

HOLE: Any = type("Hole", (), {"__repr__": lambda self: "hole"})()
"""Stands for a constant in the body of a family; each module may have another value."""


def find_families(templates: Sequence[Template]) -> list[Family]:
    """Sort the modules of one Python class into as few families as possible."""
    order = {template.path: i for i, template in enumerate(templates)}
    needed = sorted((template for group in _alike(templates) for template in only_needed(group)), key=lambda t: order[t.path])
    groups = [only_needed(part) for group in _alike(needed) for part in _by_children(group)]
    families: list[Family] = []
    while groups:
        group = groups.pop(0)
        family = _family(group)
        for other in [other for other in groups if _same_parts(other[0], group[0])]:
            if joint := _joint(group, other, order) or _joint(other, group, order):
                family = joint
                groups.remove(other)
                break
        families.append(family)
    return families


def _alike(templates: Sequence[Template]) -> list[list[Template]]:
    """Modules in groups that one body serves."""
    groups: dict[str, list[Template]] = {}
    for template in templates:
        called = {child_of(step) for step in steps_of(template.body.items)} if template.body else set()
        names: Any = () if template.filled else [name for name in template.children if name not in called]
        if template.container == "nn.Sequential" and not template.body:
            names = len(template.children) > 0
        key = (names, skeleton(template.base), skeleton(template.tensors), template.container, _code(template.body))
        groups.setdefault(repr(key), []).append(template)
    return list(groups.values())


def child_of(step: Step) -> str:
    """The child that a step calls; "" if it calls none."""
    return step.name.partition(LABEL)[0] if step.kind == "module" else ""


def only_needed(group: Sequence[Template]) -> list[Template]:
    """Modules of one body without the calls of pads that stand for nothing in any of them."""
    names = {step.name for template in group if template.body for step in steps_of(template.body.items) if step.kind == "module"}
    idle = {name for name in names if not any(_has(template, name) for template in group)}
    return [replace(template, body=template.body and without(template.body, idle)) for template in group]


def _has(template: Template, name: str) -> bool:
    """Whether a module has the child that a step calls; an SE block with its placement."""
    name, _, label = name.partition(LABEL)
    inner = name.partition(".")[0] if name not in template.children else name
    child = template.children.get(inner)
    return child is not None and (not label or (isinstance(child, SE) and child.spec.placement == label))


def _by_children(group: list[Template]) -> list[list[Template]]:
    """Split a group by the parts of its modules if there are few kinds. Each class then constructs its parts itself."""
    if group[0].filled:
        return [group]
    kinds: dict[str, list[Template]] = {}
    for template in group:
        parts = {name: skeleton(child) for name, child in template.children.items() if not isinstance(child, (Layer, SE))}
        kinds.setdefault(repr(parts), []).append(template)
    names = {name for template in group for name, child in template.children.items() if not isinstance(child, (Layer, SE))}
    everywhere = all(names <= template.children.keys() for template in group)
    return list(kinds.values()) if everywhere and len(kinds) <= max(2, len(group) // 3) else [group]


def _same_parts(a: Template, b: Template) -> bool:
    """Whether both construct the children that they have in common in the same way."""
    both = [name for name in a.children if name in b.children and not isinstance(a.children[name], Layer)]
    alike = (skeleton(a.base), skeleton(a.tensors), a.container) == (skeleton(b.base), skeleton(b.tensors), b.container)
    return alike and all(skeleton(a.children[name]) == skeleton(b.children[name]) for name in both)


def _code(body: Body | None) -> str:
    if body is None:
        return ""
    bare, _ = _with_holes(body)
    return repr((len(bare.names), bare.params, bare.lists, bare.items, bare.result))


def _with_holes(body: Body) -> tuple[Body, list[Any]]:
    """A body with a hole for each constant, and the constants."""
    values: list[Any] = []

    def hole(_: Any, value: Any) -> Any:
        values.append(value)
        return HOLE

    return map_body(body, hole), values


def map_body(body: Body, change: Callable[[tuple[str, ...], Any], Any]) -> Body:
    """A body with its constants changed, see `map_constants`."""

    def step(item: Step) -> Step:
        context = ("step", item.name)
        return replace(item, args=map_constants(item.args, change, context), kwargs=map_constants(item.kwargs, change, context))

    return replace(changed(body, step), result=map_constants(body.result, change, ("step", "return")))


def _family(templates: Sequence[Template]) -> Family:
    """The family of modules of one body."""
    body = templates[0].body and _with_holes(templates[0].body)[0]
    return _made(templates, body, [_with_holes(template.body)[1] if template.body else [] for template in templates])


def _joint(short: Sequence[Template], long: Sequence[Template], order: Mapping[str, int]) -> Family | None:
    """The family of modules of two bodies, if the second is the first with further steps in one place; None otherwise."""
    first, second = short[0].body, long[0].body
    body = first and second and with_branch(_with_holes(first)[0], _with_holes(second)[0], RESIDUAL)
    if not body:
        return None
    at = next(i for i, item in enumerate(body.items) if isinstance(item, Branch) and item.condition == RESIDUAL)
    before, within = _holes(body.items[:at]), _holes(body.items[at : at + 1])
    rows = {template.path: _with_holes(template.body)[1] for template in (*short, *long) if template.body}
    rows |= {t.path: [*rows[t.path][:before], *[MISSING] * within, *rows[t.path][before:]] for t in short}
    templates = sorted((*short, *long), key=lambda template: order[template.path])
    paths = {template.path for template in long}
    return _made(templates, body, [rows[t.path] for t in templates], tuple(t.path in paths for t in templates))


def _made(templates: Sequence[Template], body: Body | None, values: list[list[Any]], residual: tuple[bool, ...] = ()) -> Family:
    names = dict.fromkeys(name for template in templates if not template.filled for name in template.children)
    optional = tuple(name for name in names if any(name not in template.children for template in templates))
    body, placed = _placed(body) if body else (None, "")
    return Family(list(templates), body, values, optional, placed, residual)


def _holes(items: Sequence[Item]) -> int:
    return sum(len(constants((step.args, step.kwargs))) for step in steps_of(items))


def unpadded(frames: Mapping[str, Frame], pads: Collection[str]) -> dict[str, Body]:
    """The bodies of frames without the calls of pads, and without the placements behind the names of SE blocks."""

    def plain(step: Step) -> Step:
        return replace(step, name=step.name.partition(LABEL)[0])

    return {path: renumbered(changed(without(body_of(frame), pads), plain)) for path, frame in frames.items()}


def _placed(body: Body) -> tuple[Body, str]:
    """A body in which an SE block that stands at several places is asked at each, and the name of that block."""
    names = [step.name for step in steps_of(body.items) if step.kind == "module" and LABEL in step.name]
    counts = Counter(name.partition(LABEL)[0] for name in names)
    placed = next((name for name, count in counts.items() if count > 1), "")

    def step(item: Step) -> Step:
        name, _, label = item.name.partition(LABEL) if item.kind == "module" else (item.name, "", "")
        return replace(item, kind="placed", name=name, args=(*item.args, label)) if label and name == placed else replace(item, name=name)

    return changed(body, step), placed
