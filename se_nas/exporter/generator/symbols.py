"""The symbols of a recorded forward pass: tensors, sizes, parameters, and calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, TypeVar

from torch import nn

Part = TypeVar("Part")


@dataclass(frozen=True)
class Ref:
    """A tensor of a forward pass, by its number."""

    number: int


@dataclass(frozen=True)
class Number(Ref):
    """A size that one module hands to another: what it is given and what it returns have numbers of their own in each module."""


@dataclass(frozen=True)
class Size:
    """A formula over sizes of tensors: ``x.shape[axis]``, or an operator of Python between formulas and integers."""

    operator: str
    operands: tuple[Any, ...]  # for "shape": (Ref, axis, number of axes)


@dataclass(frozen=True)
class Own:
    """A parameter or buffer: its path in the network."""

    path: str


@dataclass(frozen=True)
class Like:
    """The ``device`` or ``dtype`` of a tensor."""

    tensor: Ref | Own
    attribute: str


@dataclass(frozen=True)
class Step:
    """One call.

    Attributes:
        kind: ``module``, ``function``, ``method`` or ``attribute`` (of the first argument).
        name: public path of the module, or name of the function in code: ``torch.cat``, ``F.relu``, ``mean``.
        args, kwargs: tensors as `Ref`, sizes as `Size`, parameters as `Own`; the rest are constants.
        out: the result, in the same form.
    """

    kind: str
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    out: Any


@dataclass
class Frame:
    """One call of a module with its own computation.

    Attributes:
        module, path: the module, and its public path.
        names: names of the arguments that contain tensors or sizes, in order.
        params: these arguments.
        steps: its steps.
        result: its return value.
    """

    module: nn.Module
    path: str
    names: tuple[str, ...]
    params: tuple[Any, ...]
    steps: list[Step] = field(default_factory=list)
    result: Any = None


class Dim(int):
    """A size of a tensor that remembers its origin.

    Sums, products and the like of sizes are formulas. Other uses of a size (a comparison, a plain number) leave no trace in the
    file. ``noted`` then gets the size, and a pass at another size tells whether the network depends on it.
    """

    formula: Any
    noted: ClassVar[list[int] | None] = None

    @classmethod
    def of(cls, value: int, formula: Any) -> Dim:
        dim = cls(value)
        dim.formula = formula
        return dim

    def renamed(self, formula: Any) -> Dim:
        return Dim.of(_plain(self), formula)

    def _calculate(self, operator: str, other: Any, function: Callable[[int, int], int], swapped: bool = False) -> Any:
        if not isinstance(other, int) or isinstance(other, bool):
            return NotImplemented
        a, b = (other, self) if swapped else (self, other)
        return Dim.of(function(_plain(a), _plain(b)), Size(operator, (_formula(a), _formula(b))))

    def __add__(self, other: Any) -> Any:
        return self._calculate("+", other, int.__add__)

    def __radd__(self, other: Any) -> Any:
        return self._calculate("+", other, int.__add__, swapped=True)

    def __sub__(self, other: Any) -> Any:
        return self._calculate("-", other, int.__sub__)

    def __rsub__(self, other: Any) -> Any:
        return self._calculate("-", other, int.__sub__, swapped=True)

    def __mul__(self, other: Any) -> Any:
        return self._calculate("*", other, int.__mul__)

    def __rmul__(self, other: Any) -> Any:
        return self._calculate("*", other, int.__mul__, swapped=True)

    def __floordiv__(self, other: Any) -> Any:
        return self._calculate("//", other, int.__floordiv__)

    def __mod__(self, other: Any) -> Any:
        return self._calculate("%", other, int.__mod__)

    def __truediv__(self, other: Any) -> Any:
        return Ratio.of(self, other) if isinstance(other, int) else _noted("__truediv__", int)(self, other)

    def __divmod__(self, other: Any) -> Any:
        return self // other, self % other


class Ratio(float):
    """A size divided by a number; rounding it up gives a formula."""

    parts: tuple[Dim, int]

    @classmethod
    def of(cls, a: Dim, b: int) -> Ratio:
        ratio = cls(_plain(a) / _plain(b))
        ratio.parts = a, b
        return ratio

    def __ceil__(self) -> Dim:
        a, b = self.parts
        return Dim.of(-(-_plain(a) // _plain(b)), Size("ceil", (_formula(a), _formula(b))))


def _noted(name: str, kind: type) -> Callable[..., Any]:
    """A method of plain numbers that notes the size on which it is called."""
    method = getattr(kind, name)

    def noting(self: Any, *others: Any) -> Any:
        if Dim.noted is not None:
            Dim.noted.append(_plain(self.parts[0] if isinstance(self, Ratio) else self))
        return method(self, *others)

    return noting


COMPARISONS = ("__lt__", "__le__", "__gt__", "__ge__", "__eq__", "__ne__", "__bool__")
NUMBERS: tuple[str, ...] = ("__int__", "__float__", "__trunc__", "__floor__", "__round__", "__neg__", "__abs__", "__pow__", "__rpow__")
NUMBERS += ("__rtruediv__", "__rfloordiv__", "__rmod__", "__divmod__", "__rdivmod__")
BITS = ("__and__", "__or__", "__xor__", "__rshift__", "__lshift__", "__invert__")
for _kind, _plain_kind, _names in ((Dim, int, (*COMPARISONS, *NUMBERS, *BITS)), (Ratio, float, (*COMPARISONS, *NUMBERS))):
    for _name in _names:
        if _name not in vars(_kind):
            setattr(_kind, _name, _noted(_name, _plain_kind))
    _kind.__hash__ = _plain_kind.__hash__  # type: ignore[method-assign]  # a class with its own __eq__ has no __hash__


def larger(a: Any, b: Any) -> Any:
    """``max`` of two numbers; a formula if one of them is a formula."""
    if isinstance(a, Dim) or isinstance(b, Dim):
        return Dim.of(_plain(a) if _plain(a) > _plain(b) else _plain(b), Size("max", (_formula(a), _formula(b))))
    return b if b > a else a


def _plain(value: int) -> int:
    """A size as a number, without a note."""
    return int.__int__(value)


def _formula(value: int) -> Any:
    return value.formula if isinstance(value, Dim) else int(value)


class Shape(tuple[Dim, ...]):
    """A tensor's shape, as `Dim`."""

    def numel(self) -> Any:
        total: Any = 1
        for dim in self:
            total = dim * total
        return total


def inside(value: Any) -> tuple[Any, ...]:
    """The parts of a symbolic value: of a collection, a slice, or any of the classes of steps."""
    if isinstance(value, slice):
        return value.start, value.stop, value.step
    if isinstance(value, dict):
        return tuple(value.values())
    if isinstance(value, (list, tuple)):
        return tuple(value)
    return tuple(getattr(value, name) for name in getattr(value, "__dataclass_fields__", ()))


def parts_of(value: Any, kind: type[Part]) -> list[Part]:
    """All parts of a kind in a symbolic value, however deep, in order: what is inside it, then itself."""
    parts = [part for inner in inside(value) for part in parts_of(inner, kind)]
    return [*parts, value] if isinstance(value, kind) else parts


def refs_of(value: Any) -> list[Ref]:
    """The tensors of a symbolic value, in order."""
    return parts_of(value, Ref)


def exchange(value: Any, kind: type[Part], change: Callable[[Part], Any]) -> Any:
    """A symbolic value with all parts of a kind changed."""
    if isinstance(value, kind):
        return change(value)
    new = [exchange(part, kind, change) for part in inside(value)]
    if isinstance(value, slice):
        return slice(*new)
    if isinstance(value, dict):
        return dict(zip(value, new, strict=True))
    if isinstance(value, (list, tuple)):
        return type(value)(*new) if hasattr(value, "_fields") else (list if isinstance(value, list) else tuple)(new)
    return type(value)(*new) if new else value


def substitute(value: Any, replace: Callable[[Ref], Any]) -> Any:
    """A symbolic value with other tensors in it."""
    return exchange(value, Ref, replace)


def renumbered(value: Part) -> Part:
    """A symbolic value with its tensors numbered from 0 in the order of their first occurrence."""
    numbers: dict[Ref, Ref] = {}
    renewed: Part = substitute(value, lambda ref: numbers.setdefault(ref, replace(ref, number=len(numbers))))
    return renewed
