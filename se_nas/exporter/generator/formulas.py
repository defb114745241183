"""Steps as formulas: the source text of calls of functions and modules."""

from __future__ import annotations

import keyword
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from se_nas.exporter.generator.bodies import Training
from se_nas.exporter.generator.expressions import Name
from se_nas.exporter.generator.layout import Brackets, Joined, Text, arguments, flat, literal
from se_nas.exporter.generator.symbols import Like, Own, Ref, Size, Step, parts_of, refs_of

OPERATORS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "matmul": "@", "__pow__": "**", "pow": "**", "floor_divide": "//"}


REVERSED = {"__rsub__": "-", "__rtruediv__": "/", "__rdiv__": "/", "__rpow__": "**"}


IN_PLACE = {"add_": "+=", "sub_": "-=", "mul_": "*=", "div_": "/="}
COMPARED = {"gt": ">", "lt": "<", "ge": ">=", "le": "<=", "eq": "==", "ne": "!="}


@dataclass(frozen=True)
class Formula:
    """Source text of a tensor, how deep its calls are nested, and how loosely its operator binds."""

    text: Text
    depth: int = 0
    formula: int = 0  # 1: a product, 2: a sum, 3: a comparison


@dataclass
class Formulas:
    """Writes values and calls.

    Attributes:
        mappings: whether the module at a path is an ``nn.ModuleDict``.
        names: the variable of each tensor.
        lists: the variable of each list of tensors.
        sizes: the variables of the sizes of a tensor.
        named: the variable of a formula over sizes.
    """

    mappings: Callable[[str], bool]
    names: dict[Ref, str] = field(default_factory=dict)
    lists: dict[tuple[Ref, ...], str] = field(default_factory=dict)
    sizes: dict[Ref, tuple[str, ...]] = field(default_factory=dict)
    named: dict[Size, str] = field(default_factory=dict)

    def call(self, step: Step, values: dict[Ref, Formula]) -> Formula:
        args = [self.value(arg, values) for arg in step.args]
        named = [(key, self.value(arg, values).text) for key, arg in step.kwargs.items()]
        texts = [arg.text for arg in args]
        depth = 1 + max((arg.depth for arg in args), default=0)
        if step.kind == "module":
            return Formula(Brackets(self.module(step.name), arguments(texts, named)), depth)
        if step.kind == "each":
            children = self.children(step.name)
            if skipped := step.kwargs["skipped"]:
                condition = f"key != {literal(skipped[0])}" if len(skipped) == 1 else f"key not in {literal(skipped)}"
                return Formula(
                    f"[branch({flat(texts[0])}) for key, branch in {children.removesuffix('.values()')}.items() if {condition}]", depth
                )
            return Formula(f"[branch({flat(texts[0])}) for branch in {children}]", depth)
        if step.kind == "placed":
            return Formula(Brackets("self.se_at", (literal(step.args[1]), texts[0])), depth)
        if step.kind == "super":
            return Formula(Brackets("super().forward", tuple(texts)), depth)
        if step.kind == "attribute":
            return Formula(Joined((self.atom(args[0]), f".{step.name}")), depth)
        if step.kind == "function":
            return Formula(Brackets(step.name, arguments(texts, named)), depth)
        if not named and len(args) == 2 and step.name in {**OPERATORS, **COMPARED}:
            symbol = {**OPERATORS, **COMPARED}[step.name]
            left = self.operand(args[0], symbol, first=True)
            return Formula(Joined((left, f" {symbol} ", self.operand(args[1], symbol))), depth, level(symbol))
        if not named and len(args) == 2 and step.name in REVERSED:
            symbol = REVERSED[step.name]
            return Formula(
                Joined((self.operand(args[1], symbol, first=True), f" {symbol} ", self.operand(args[0], symbol))), depth, level(symbol)
            )
        if not named and len(args) == 1 and step.name == "neg":
            return Formula(Joined(("-", self.atom(args[0]))), depth, 1)
        if step.name in ("__getitem__", "__setitem__"):
            index = step.args[1]
            inside = ", ".join(self.index(item, values) for item in index) if isinstance(index, tuple) else self.index(index, values)
            return Formula(Joined((self.atom(args[0]), f"[{inside}]")), depth)
        return Formula(Joined((self.atom(args[0]), Brackets(f".{step.name}", arguments(texts[1:], named)))), depth)

    def operand(self, value: Formula, symbol: str, first: bool = False) -> Text:
        """An operand of a formula, in brackets if needed. On the left, an operator that binds as tightly needs none."""
        plain = value.formula < level(symbol) or (first and value.formula == level(symbol) and symbol != "**")
        return value.text if plain or not value.formula else Joined(("(", value.text, ")"))

    def atom(self, value: Formula) -> Text:
        return Joined(("(", value.text, ")")) if value.formula else value.text

    def index(self, item: Any, values: dict[Ref, Formula]) -> str:
        if isinstance(item, slice):
            parts = ["" if part is None else flat(self.value(part, values).text) for part in (item.start, item.stop)]
            step = "" if item.step is None else f":{flat(self.value(item.step, values).text)}"
            return f"{parts[0]}:{parts[1]}{step}"
        return flat(self.value(item, values).text)

    def value(self, value: Any, values: dict[Ref, Formula]) -> Formula:
        match value:
            case Ref():
                return values.get(value) or Formula(self.names[value])
            case Name():
                return Formula(value.text)
            case Own():
                return Formula(self.module(value.path))
            case Like():
                return Formula(f"{flat(self.value(value.tensor, values).text)}.{value.attribute}")
            case Training():
                if value == Training():
                    return Formula("self.training")
                chosen = [flat(self.value(item, values).text) for item in (value.train, value.evaluation)]
                return Formula(f"({chosen[0]} if self.training else {chosen[1]})")
            case Size("shape", (ref, axis, _)):
                return Formula(self.sizes[ref][axis] if ref in self.sizes else f"{self.names[ref]}.shape[{axis}]")
            case Size() if value in self.named:
                return Formula(self.named[value])
            case Size("max", (a, b)):
                return Formula(Brackets("max", tuple(self.value(item, values).text for item in (a, b))), 1)
            case Size("ceil", (a, b)):
                sides = [self.operand(self.value(item, values), "/") for item in (a, b)]
                return Formula(Brackets("math.ceil", (Joined((sides[0], " / ", sides[1])),)), 1)
            case Size(operator, (a, b)):
                left, right = (self.value(item, values) for item in (a, b))
                text = Joined((self.operand(left, operator, first=True), f" {operator} ", self.operand(right, operator)))
                return Formula(text, 0, level(operator))
            case list() | tuple() if refs_of(value) and tuple(refs_of(value)) in self.lists:
                return Formula(self.lists[tuple(refs_of(value))])
            case tuple() if hasattr(value, "_fields"):
                fields = [(name, self.value(item, values).text) for name, item in zip(value._fields, value, strict=True)]
                return Formula(Brackets(type(value).__name__, arguments([], fields)))
            case list() | tuple():
                items = tuple(self.value(item, values).text for item in value)
                pair = "[]" if isinstance(value, list) else "()"
                depth = max((self.value(item, values).depth for item in value), default=0)
                return Formula(Brackets("", items, pair, comma=pair == "()" and len(items) == 1), depth)
            case dict():
                pairs = tuple(Joined((f"{literal(key)}: ", self.value(item, values).text)) for key, item in value.items())
                return Formula(Brackets("", pairs, "{}"))
        return Formula(literal(value))

    def module(self, path: str) -> str:
        text = "self"
        for i, part in enumerate(path.split(".")):
            if self.mappings(".".join(path.split(".")[:i])):
                text += f"[{literal(part)}]"
            elif part.isidentifier() and not keyword.iskeyword(part):
                text += f".{part}"
            elif part.isdigit():
                text += f"[{part}]"
            else:
                text = f"getattr({text}, {literal(part)})"
        return text

    def children(self, path: str) -> str:
        owner = self.module(path) if path else "self"
        return f"{owner}.values()" if self.mappings(path) else owner


def level(symbol: str) -> int:
    """How loosely an operator binds."""
    return 3 if symbol in COMPARED.values() else 2 if symbol in "+-" else 1


def shapes_of(value: Any) -> dict[Ref, int]:
    """The tensors whose sizes a value uses, and how many axes they have."""
    return {size.operands[0]: size.operands[2] for size in parts_of(value, Size) if size.operator == "shape"}


def axes_read(values: Any) -> dict[Ref, set[int]]:
    """Which sizes of which tensors a value uses."""
    found: dict[Ref, set[int]] = {}
    for size in parts_of(values, Size):
        if size.operator == "shape":
            found.setdefault(size.operands[0], set()).add(size.operands[1])
    return found


def maxima_of(value: Any) -> list[Size]:
    """The ``max`` formulas in a value, inner ones first, as often as they occur."""
    return [size for size in parts_of(value, Size) if size.operator == "max"]
