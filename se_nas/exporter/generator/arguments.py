"""The arguments of a class: the constants in which its modules differ, and their names."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from se_nas.exporter.generator.expressions import MISSING, SE, Conditional, Container, Layer, New
from se_nas.se.spec import SESpec

CHANNELS = {
    "in_channels",
    "out_channels",
    "num_features",
    "in_features",
    "out_features",
    "num_channels",
    "normalized_shape",
    "shape",
    "groups",
}

IN = {"in_channels", "in_features", "num_features", "num_channels", "normalized_shape", "shape"}
OUT = {"out_channels", "out_features"}
"""Arguments of layers that are channels of what they take, and of what they give."""


@dataclass
class Parameter:
    """An argument of ``__init__``: its name, and its value for each module of the family (or `MISSING`).

    Attributes:
        kind: what it means, see `kind_of_argument`.
        child: where it is first used.
        argument: of that child.
        uses: all arguments that it is given to.
    """

    kind: str
    values: list[Any]
    child: str
    argument: str
    name: str = ""
    default: Any = MISSING
    uses: set[str] = field(default_factory=set)


@dataclass
class Finder:
    """Finds the constants in which the modules of a family differ.

    Attributes:
        parameters: the arguments found so far.
        given: the output channels of the last layer so far: a constant, an argument, or a formula of one.
    """

    parameters: list[Parameter] = field(default_factory=list)
    given: Any = None

    def place(self, kind: str, values: list[Any], child: str, argument: str) -> Any:
        """The expression for these values: a constant, an argument, or a formula of an argument."""
        found = self._place(kind, values, child, argument)
        if argument in OUT:
            self.given = found
        return found

    def _place(self, kind: str, values: list[Any], child: str, argument: str) -> Any:
        known = [value for value in values if value is not MISSING]
        if not known or all(same(value, known[0]) for value in known):
            return known[0] if known else MISSING
        for parameter in self.parameters:
            if parameter.kind == kind and _compatible(parameter.values, values):
                parameter.values = [b if a is MISSING else a for a, b in zip(parameter.values, values, strict=True)]
                parameter.uses.add(argument)
                return parameter
        return self._formula(kind, values) or self.new(kind, values, child, argument)

    def new(self, kind: str, values: list[Any], child: str, argument: str) -> Parameter:
        self.parameters.append(Parameter(kind, values, child, argument, uses={argument}))
        return self.parameters[-1]

    def _formula(self, kind: str, values: list[Any]) -> Derived | None:
        for parameter in self.parameters:
            for text, function in _formulas(kind, parameter.kind):
                pairs = [(a, b) for a, b in zip(parameter.values, values, strict=True) if b is not MISSING]
                if all(isinstance(a, int) and isinstance(b, int) and function(a) == b for a, b in pairs):
                    return Derived(text, parameter)
        return None


@dataclass(frozen=True, eq=False)
class Derived:
    """A value that follows from an argument: source text with ``{}`` for the argument's name, such as ``4 * {}``."""

    text: str
    parameter: Parameter


def _formulas(kind: str, of: str) -> list[tuple[str, Callable[[int], int]]]:
    """The formulas by which an argument of one kind may follow from an argument of another kind."""
    if kind == of == "channels":
        return MULTIPLES
    return [("{} // 2", lambda n: n // 2)] if (kind, of) == ("padding", "kernel_size") else []


def _times(factor: int) -> Callable[[int], int]:
    return lambda n: n * factor


def _over(factor: int) -> Callable[[int], int]:
    return lambda n: n // factor


MULTIPLES = [(f"{k} * {{}}", _times(k)) for k in range(2, 9)] + [(f"{{}} // {k}", _over(k)) for k in range(2, 9)]


def kind_of_argument(argument: str) -> str:
    """What an argument means, such as a number of channels. Arguments with the same meaning and the same values become one."""
    return "channels" if argument in CHANNELS or argument.endswith(("channels", "width")) else argument


def same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and bool(a == b)


def _compatible(a: Sequence[Any], b: Sequence[Any]) -> bool:
    pairs = [(x, y) for x, y in zip(a, b, strict=True) if x is not MISSING and y is not MISSING]
    return bool(pairs) and all(same(x, y) for x, y in pairs)


def name_all(parameters: Sequence[Parameter], given: Any = None) -> None:
    """Names for arguments, as the author of the network would have chosen them.

    Args:
        parameters: the arguments.
        given: the output channels of the last layer, see `Finder.given`.
    """
    channels = [p for p in parameters if p.kind == "channels"]
    taken: set[str] = set()

    def give(parameter: Parameter, *names: str) -> None:
        parameter.name = next((name for name in names if name not in taken), "")
        number = 2
        while not parameter.name or parameter.name in taken:
            parameter.name = f"{names[-1]}{number}"
            number += 1
        taken.add(parameter.name)

    first = next((p for p in channels if p.uses & IN), None)
    last = next((p for p in channels if p is given), None)
    if first and (first is last or len(channels) == 1):
        give(first, "channels")
    else:
        if first:
            give(first, "in_channels")
        if last:
            give(last, "out_channels")
    for parameter in parameters:
        if not parameter.name:
            argument = "width" if parameter.kind == "channels" and parameter.argument != "groups" else parameter.argument
            clean = "".join(c if c.isalnum() else "_" for c in parameter.child).strip("_")
            child = f"{clean}_{argument}" if clean and clean[0].isalpha() else argument
            own = clean if clean[:1].isalpha() else f"layer_{clean}"
            give(parameter, *([own] if parameter.kind in ("module", "se") else [argument, child]))


def with_defaults(parameters: Sequence[Parameter]) -> list[Parameter]:
    """Arguments in order, those without a default first."""
    for parameter in parameters:
        known = [value for value in parameter.values if value is not MISSING]
        if parameter.kind == "se" and None in known:
            parameter.default = None
            continue
        plain = [value for value in known if isinstance(value, (bool, int, float, str, type(None)))]
        if (parameter.kind != "channels" or parameter.argument == "groups") and plain:
            value, count = Counter(map(_key, plain)).most_common(1)[0]
            if 2 * count >= len(known):
                parameter.default = next(v for v in plain if _key(v) == value)
    return sorted(parameters, key=lambda parameter: (parameter.default is not MISSING, parameter.kind == "se"))


def _key(value: Any) -> tuple[str, Any]:
    return type(value).__name__, value


def annotation(parameter: Parameter, setting: str) -> str:
    """The type of an argument, as source text; ``setting`` is that of an SE block's settings."""
    known = [value for value in (*parameter.values, parameter.default) if value is not MISSING]
    names = dict.fromkeys(_type(value, setting) for value in known)
    return " | ".join(sorted(names, key=lambda name: name == "None"))


def _type(value: Any, setting: str) -> str:
    if isinstance(value, SESpec):
        return setting
    if isinstance(value, (Layer, SE, Container, New, Conditional)):
        return "nn.Module"
    if isinstance(value, tuple):
        return f"tuple[{', '.join(_type(item, setting) for item in value)}]"
    return "None" if value is None else type(value).__name__
