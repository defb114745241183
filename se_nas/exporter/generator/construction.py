"""What ``__init__`` says: expressions of modules as source text."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from se_nas.exporter.generator.definitions import Definition
from se_nas.exporter.generator.expressions import (
    MISSING,
    SE,
    STORED,
    Conditional,
    Container,
    Expression,
    Initial,
    Layer,
    Name,
    New,
    parameters_of,
)
from se_nas.exporter.generator.layout import Brackets, Comprehension, Joined, Text, arguments, flat, literal
from se_nas.exporter.generator.packing import Packed
from se_nas.exporter.generator.seblock import SECode
from se_nas.se.spec import SESpec


@dataclass(frozen=True)
class Builder:
    """Writes expressions.

    Attributes:
        classes: the file's own classes.
        se: the file's SE blocks.
        packed: constants of the file that its classes and expressions use, and their names.
    """

    classes: Mapping[str, Definition]
    se: SECode
    packed: dict[Packed, str] = field(default_factory=dict)

    def text(self, value: Any) -> Text:
        """An expression or a constant."""
        match value:
            case Name():
                return value.text
            case Layer():
                return self._layer(value)
            case New():
                return self._new(value)
            case SE():
                return Brackets("SEBlock", (self.text(value.channels), *self._settings(value.spec)))
            case Container():
                return self._container(value)
            case Conditional():
                return Joined((self.text(value.module), f" if {value.condition} else nn.Identity()"))
            case SESpec():
                return self.se.literal(value)
            case Packed():
                return self._constant(value)
            case tuple() if any(isinstance(item, Name) for item in value):
                return Brackets("", tuple(map(self.text, value)), comma=len(value) == 1)
        return literal(value)

    def _constant(self, value: Packed) -> str:
        """The name that a constant of the file has or gets."""
        wanted = "".join(c if c.isalnum() else "_" for c in value.name).upper()
        taken = {"F", "SE", *self.classes, *self.packed.values()}
        free = (name for name in (wanted, *(f"{wanted}{i}" for i in range(2, 1000))) if name not in taken and name.isidentifier())
        return self.packed.setdefault(value, self.packed.get(value) or next(free, f"VALUES{len(taken)}"))

    def _settings(self, spec: Any) -> list[str]:
        fields = [field for field in self.se.fields if field != "placement"]
        if isinstance(spec, Name):
            return [f"{spec.text}.{field}" for field in fields] if self.se.structured else [spec.text]
        return self.se.values(spec, fields)

    def _layer(self, value: Layer) -> Text:
        signature = parameters_of(getattr(nn, value.name.removeprefix("nn.")))
        positional: list[Text] = []
        named: list[tuple[str, Text]] = []
        for name, item in value.args:
            default = signature[name].default
            if default is inspect.Parameter.empty and not named:
                positional.append(self.text(item))
            elif isinstance(item, Name) or type(item) is not type(default) or item != default:
                named.append((name, self.text(item)))
        if value.name.endswith(("Pool1d", "Pool2d", "Pool3d")) and _kernel(value) == dict(value.args).get("stride"):
            named = [(name, text) for name, text in named if name != "stride"]  # which is the kernel's size by default
        return Brackets(value.name, arguments(positional, named))

    def _new(self, value: New, hidden: str = "", shown: str = "") -> Text:
        """A call of a class; the argument ``hidden`` is written as the variable ``shown``."""
        definition = self.classes[value.name]
        if definition.container and definition.body is not None:
            own = [(name, self.text(item)) for name, item in value.args if name != "modules"]
            return Brackets(value.name, (*self._filled(definition.container, dict(value.args)["modules"]), *arguments([], own)))
        defaults = {parameter.name: parameter.default for parameter in definition.parameters}
        positional: list[Text] = []
        named: list[tuple[str, Text]] = []
        for name, item in value.args:
            text = shown if name == hidden else self.text(item)
            if defaults[name] is MISSING and not named and not isinstance(item, SESpec):
                positional.append(text)
            elif (
                defaults[name] is MISSING
                or name == hidden
                or isinstance(item, Name)
                or type(item) is not type(defaults[name])
                or item != defaults[name]
            ):
                named.append((name, text))
        return Brackets(value.name, arguments(positional, named))

    def _container(self, value: Container) -> Text:
        return Brackets(value.name, self._filled(value.name, value))

    def _filled(self, kind: str, value: Container) -> tuple[Text, ...]:
        """The arguments that fill a container."""
        value = replace(value, items=tuple((name, item) for name, item in value.items if not (isinstance(item, SE) and item.spec is None)))
        names = [name for name, _ in value.items]
        numbered = names == [str(i) for i in range(len(names))]
        if numbered and kind != "nn.ModuleDict":
            items = self._runs([item for _, item in value.items])
            return items if kind == "nn.Sequential" else (Brackets("", items, "[]"),)
        pairs = Brackets("", tuple(Joined((f"{literal(name)}: ", self.text(item))) for name, item in value.items), "{}")
        if kind == "nn.ModuleDict":
            return (pairs,)
        if all(name.isidentifier() for name in names):
            return (Brackets("OrderedDict", arguments([], [(name, self.text(item)) for name, item in value.items])),)
        return (Brackets("OrderedDict", (pairs,)),)

    def _runs(self, items: Sequence[Expression]) -> tuple[Text, ...]:
        """Modules one after another; equal ones become one comprehension."""
        texts: list[Text] = []
        i = 0
        while i < len(items):
            end, varied = _alike(items, i)
            first = items[i]
            if isinstance(first, New) and end - i >= (2 if not varied else 3):
                if varied:
                    values = tuple(self.text(dict(item.args)[varied]) for item in items[i:end] if isinstance(item, New))
                    call = self._new(first, varied, varied)
                    texts.append(Comprehension(call, Brackets(f"for {varied} in ", values, "[]")))
                else:
                    texts.append(Comprehension(self.text(first), f"for _ in range({end - i})"))
                i = end
            else:
                texts.append(self.text(first))
                i += 1
        return tuple(texts)

    def initial(self, name: str, value: Initial) -> str:
        """``self.x = ...`` of a parameter or buffer."""
        shape = flat(self.text(value.shape))
        kind = "" if value.dtype == "float32" else f", dtype=torch.{value.dtype}"
        match value.value:
            case ("normal", std):
                text = f"torch.randn({shape}) * {flat(self.text(std))}"
            case ("values", numbers):
                text = f"torch.tensor({literal(numbers)}{kind})"
            case ("repeated", numbers):
                times = ", ".join([flat(self.text(value.shape[0])), *["1"] * (len(value.shape) - 1)])
                text = f"torch.tensor({literal(numbers)}{kind}).repeat({times})"
            case {"packed": values}:
                text = f"{flat(self.text(values))}.tensor()"
            case ("stored",):
                text = f"torch.zeros({shape}{kind})"
            case 0 | 1 as number:
                text = f"torch.{'ones' if number else 'zeros'}({shape}{kind})"
            case number:
                text = f"torch.full({shape}, {flat(self.text(number))}{kind})"
        if value.kind == "parameter":
            return f"self.{name} = nn.Parameter({text})"
        stored = "  # its values come with the weights" if value.value == STORED else ""
        return f"self.register_buffer({literal(name)}, {text}{', persistent=False' if value.kind == 'constant' else ''}){stored}"


def _kernel(value: Layer) -> Any:
    return dict(value.args).get("kernel_size", ())


SIMPLE = (int, float, str, SESpec, type(None))
"""Arguments that may be written as a list of values, a module each."""


def _alike(items: Sequence[Expression], start: int) -> tuple[int, str]:
    """How many modules from ``start`` on differ in one argument at most, and in which one."""
    first, varied, end = items[start], "", start + 1
    while isinstance(first, New) and end < len(items):
        other = items[end]
        if not isinstance(other, New) or other.name != first.name:
            break
        differing = {a for (a, x), (_, y) in zip(first.args, other.args, strict=True) if x != y or type(x) is not type(y)}
        simple = all(isinstance(dict(item.args)[name], SIMPLE) for item in (first, other) for name in differing)
        if len(differing | ({varied} - {""})) > 1 or not simple:
            break
        varied = next(iter(differing), varied)
        end += 1
    if varied:  # a run of equal modules reads better than a list of mostly equal values
        same = next((i for i in range(start + 1, end) if items[i] != first), end)
        if same - start >= 4:
            return same, ""
    return end, varied
