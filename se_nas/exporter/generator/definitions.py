"""The class of a family of modules, and the arguments for each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from se_nas.exporter.generator.arguments import Derived, Finder, Parameter, kind_of_argument, name_all, same, with_defaults
from se_nas.exporter.generator.bodies import Body, Branch, Item
from se_nas.exporter.generator.expressions import (
    MISSING,
    NOTHING,
    SE,
    Conditional,
    Container,
    Expression,
    Initial,
    Layer,
    Name,
    New,
    constants,
    map_constants,
    skeleton,
)
from se_nas.exporter.generator.families import HOLE, RESIDUAL, Family, map_body


@dataclass
class Definition:
    """A class of the exported file.

    Attributes:
        name: of the class.
        parameters: of ``__init__``, in order.
        container: the container that it extends, such as ``nn.ModuleDict``; or "".
        base: the layer of torch.nn that it extends, with its arguments.
        children, tensors: what ``__init__`` constructs.
        stored: further attributes: name -> source text.
        body: body of ``forward``; None if it is inherited.
        placed: the SE block whose place differs between modules, or "".
        paths: paths of its modules.
    """

    name: str
    parameters: list[Parameter]
    container: str
    base: Layer | None
    children: dict[str, Expression]
    tensors: dict[str, Initial]
    stored: dict[str, str]
    body: Body | None
    placed: str = ""
    paths: tuple[str, ...] = ()


def define(family: Family, name: str) -> tuple[Definition, list[New]]:
    """The class of a family, and the expression that constructs each of its modules."""
    templates, finder = family.templates, Finder()
    first = templates[0]
    base = first.base and _fill(finder, [template.base for template in templates], "")
    children = _children(finder, family)
    given = finder.given
    tensors = {key: _fill(finder, [template.tensors.get(key, MISSING) for template in templates], key) for key in first.tensors}
    body, in_body = _fill_body(finder, family)
    name_all(finder.parameters, given)
    flags = _Flags(finder, family)
    gates = {child: expression for child, expression in children.items() if isinstance(expression, SE)}
    children = {child: flags.optional(child, _conditional(expression)) for child, expression in children.items()}
    stored = {parameter.name: parameter.name for parameter in in_body}
    if family.residual:
        tail = next(name for name in ("residual", "is_residual", "has_residual_") if name not in {*children, *tensors, *stored})
        body = body and replace(body, items=tuple(_renamed(item, tail) for item in body.items))
        stored[tail] = flags.condition("residual", list(family.residual))
    if family.placed:
        spec = gates[family.placed].spec
        stored["place"] = f'{spec.name}.placement if {spec.name} else ""' if None in spec.values else f"{spec.name}.placement"
    parameters = with_defaults(finder.parameters)

    def named(_: Any, value: Any) -> Any:
        return _as_name(value)

    definition = Definition(
        name,
        parameters,
        first.container,
        map_constants(base, named) if base else None,
        {child: map_constants(expression, named) for child, expression in children.items()},
        {key: map_constants(tensor, named) for key, tensor in tensors.items()},
        stored,
        map_body(body, lambda _, value: Name(f"self.{value.name}") if isinstance(value, Parameter) else value) if body else None,
        family.placed,
        tuple(template.path for template in templates),
    )
    news = [New(name, tuple((p.name, _value(p, i)) for p in parameters)) for i in range(len(templates))]
    return definition, news


def _renamed(item: Item, tail: str) -> Item:
    """An item whose condition is the attribute that says whether a module has the last branch."""
    if isinstance(item, Branch) and item.condition == RESIDUAL:
        return replace(item, condition=f"self.{tail}")
    return item


def _value(parameter: Parameter, i: int) -> Any:
    """The i-th module's value of an argument. A module without the part that needs it gets the default, or any value."""
    value = parameter.values[i]
    if value is not MISSING:
        return value
    if parameter.default is not MISSING:
        return parameter.default
    return next(value for value in parameter.values if value is not MISSING)  # nothing reads it


def _as_name(value: Any) -> Any:
    if isinstance(value, Parameter):
        return Name(value.name)
    return Name(value.text.format(value.parameter.name)) if isinstance(value, Derived) else value


def _conditional(value: Any) -> Any:
    """An expression with a condition on each SE block that only some modules have."""
    if isinstance(value, Container):
        return Container(value.name, tuple((name, _conditional(item)) for name, item in value.items))
    if isinstance(value, SE) and isinstance(value.spec, Parameter) and None in value.spec.values:
        return Conditional(value, value.spec.name)
    return value


def _fill(finder: Finder, expressions: Sequence[Any], child: str) -> Any:
    """One expression for all modules, with an argument in place of each constant that differs."""
    lists = [constants(expression) if expression is not MISSING else None for expression in expressions]
    contexts = next(found for found in lists if found is not None)
    columns = [[MISSING if found is None else found[i][1] for found in lists] for i in range(len(contexts))]
    numbers = iter(range(len(contexts)))

    def change(context: tuple[str, ...], _: Any) -> Any:
        i = next(numbers)
        argument = next((part for part in reversed(context) if part.isidentifier()), "value")
        if argument == "spec":
            missing = [None if value is MISSING else value for value in columns[i]]
            return columns[i][0] if all(same(v, missing[0]) for v in missing) else finder.new("se", missing, "se", "se")
        return finder.place(kind_of_argument(argument), columns[i], child, argument)

    return map_constants(next(e for e in expressions if e is not MISSING), change)


def _children(finder: Finder, family: Family) -> dict[str, Any]:
    templates = family.templates
    if templates[0].filled:
        return {}  # it is filled from outside
    names: list[str] = []
    for template in templates:
        for position, child in enumerate(template.children):
            if child not in names:
                before = list(template.children)[:position]
                at = max((names.index(other) + 1 for other in before if other in names), default=0)
                names.insert(at, child)
    filled = {}
    for child in names:
        expressions = [template.children.get(child, MISSING) for template in templates]
        kinds = {skeleton(expression) for expression in expressions if expression is not MISSING}
        if len(kinds) > 1:
            values = [NOTHING if e is MISSING else _conditional(e) for e in expressions]
            filled[child] = finder.new("module", values, child, child)
        else:
            filled[child] = _fill(finder, expressions, child)
    return filled


def _fill_body(finder: Finder, family: Family) -> tuple[Body | None, list[Parameter]]:
    """The body with its holes filled, and the arguments that must be attributes for it."""
    if family.body is None:
        return None, []
    stored: dict[int, Parameter] = {}
    columns = iter(zip(*family.values, strict=True))

    def change(context: tuple[str, ...], hole: Any) -> Any:
        if hole is not HOLE:
            return hole
        column = list(next(columns))
        argument = next((part for part in reversed(context[2:]) if part.isidentifier()), "value")
        argument = _attribute(family, column) or argument
        found = finder.place(kind_of_argument(argument), column, "", argument)
        if isinstance(found, Derived):
            found = finder.new(kind_of_argument(argument), column, "", argument)
        if isinstance(found, Parameter):
            stored[id(found)] = found
        return found

    return map_body(family.body, change), list(stored.values())


def _attribute(family: Family, column: Sequence[Any]) -> str:
    """The name of a constant in the network's own modules: an attribute, or ``keep_p`` for 1 minus ``p``."""
    pairs = [(template.attributes, value) for template, value in zip(family.templates, column, strict=True) if value is not MISSING]
    for name in pairs[0][0]:
        owned = [(attributes[name], value) for attributes, value in pairs if name in attributes]
        if len(owned) < len(pairs) or not name.isidentifier():
            continue
        if all(same(own, value) for own, value in owned):
            return name
        if all(isinstance(own, float) and isinstance(value, float) and 1 - own == value for own, value in owned):
            return f"keep_{name}"
    return ""


@dataclass
class _Flags:
    """Conditions for having a child or taking a branch."""

    finder: Finder
    family: Family

    def optional(self, child: str, expression: Any) -> Any:
        if child not in self.family.optional or isinstance(expression, (Parameter, Conditional)):
            return expression
        present = [child in template.children for template in self.family.templates]
        if isinstance(expression, SE) and isinstance(expression.spec, Parameter):
            return Conditional(expression, expression.spec.name)
        name = "".join(c if c.isalnum() else "_" for c in child).strip("_")
        kind = expression.name.removeprefix("nn.") if isinstance(expression, Layer) else ""
        if not name[:1].isalpha() and hasattr(nn.modules.activation, kind):
            name = "act"
        return Conditional(expression, self.condition(name, present))

    def condition(self, name: str, present: Sequence[bool]) -> str:
        """Source text of a condition that is true for these modules only; it uses existing arguments, or a new one."""
        values = {parameter.name: parameter.values for parameter in self.finder.parameters}
        for text, function in CONDITIONS.items():
            names = function.__code__.co_varnames[: function.__code__.co_argcount]
            if all(key in values and MISSING not in values[key] for key in names):
                rows = zip(*(values[key] for key in names), strict=True)
                if [bool(function(*row)) for row in rows] == list(present):
                    return text
        for parameter in self.finder.parameters:
            if parameter.kind == "flag" and parameter.values == list(present):
                return parameter.name
        taken = {parameter.name for parameter in self.finder.parameters}
        name = name if name[:1].isalpha() else f"layer_{name}"
        while name in taken:
            name += "_"
        self.finder.parameters.append(Parameter("flag", list(present), "", name, name))
        return name


CONDITIONS: Mapping[str, Callable[..., bool]] = {
    "in_channels != out_channels": lambda in_channels, out_channels: in_channels != out_channels,
    "stride != 1": lambda stride: stride != 1,
    "stride != 1 or in_channels != out_channels": lambda stride, in_channels, out_channels: stride != 1 or in_channels != out_channels,
    "stride == 1 and in_channels == out_channels": lambda stride, in_channels, out_channels: stride == 1 and in_channels == out_channels,
    "in_channels == out_channels": lambda in_channels, out_channels: in_channels == out_channels,
    "stride == 1": lambda stride: stride == 1,
}
