"""A space of named dimensions with a few values each: strategies search it just as they search a `SearchSpace`. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from se_nas.errors import InputError
from se_nas.space.codes import Codes, draw_codes
from se_nas.text import shown

Floats = npt.NDArray[np.float64]
CostFunction = Callable[[Any], Any]

_PROBES = 12  # architectures on which to test whether a cost function takes arrays


class Choices(Mapping[str, Any]):
    """An architecture of a `CategoricalSpace`: an immutable, hashable mapping from each dimension to its value.

    Args:
        dims: name -> values.
        codes: index of the chosen value of each dimension, shape (dimensions,).
    """

    __slots__ = ("_codes", "_dims")

    def __init__(self, dims: Mapping[str, Sequence[Any]], codes: Sequence[int] | Codes) -> None:
        self._dims = dims
        self._codes = dict(zip(dims, map(int, codes), strict=True))

    def __getitem__(self, name: str) -> Any:
        return self._dims[name][self._codes[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._dims)

    def __len__(self) -> int:
        return len(self._dims)

    def __hash__(self) -> int:
        return hash(frozenset((name, repr(value)) for name, value in self.items()))

    def __repr__(self) -> str:
        return repr(dict(self))


class CategoricalSpace:
    """Named dimensions, each with a few values, and costs that can be computed without training.

    Example:
        >>> space = CategoricalSpace({"width": [16, 32], "se": [False, True]}, {"params": lambda a: a["width"] * (2 + a["se"])})
        >>> space.cost({"width": 32, "se": True})
        {'params': 96.0}

    Args:
        dims: name of a dimension -> its values, without duplicates. Models use the order of numbers, not of other values.
        costs: name of a metric -> function, or a table ``{"plain": 12.5, "adds": {dimension: {value: 0.3}}}`` of what each value
            adds (what it leaves out adds nothing). A function takes an architecture (a mapping name -> value) and returns a
            finite number, always the same one. To be fast, it may also take an array of codes, shape (n, dimensions), and
            return n numbers: either the function itself does, or its method ``rows``.

    Attributes:
        dims: as passed, with values as tuples.
        costs: name -> function; tables have become functions.

    Raises:
        InputError: if a dimension has no values, or a value twice.
    """

    def __init__(self, dims: Mapping[str, Sequence[Any]], costs: Mapping[str, CostFunction | Mapping[str, Any]] | None = None) -> None:
        if not isinstance(dims, Mapping) or not dims:
            raise InputError(f"{shown(dims)} holds no dimensions", "give a mapping of at least one name to its values", "dims")
        self.dims = {name: _check_values(name, values) for name, values in dims.items()}
        self.costs: dict[str, CostFunction] = {
            name: TableCost(self.dims, cost, f"costs, {name}") if isinstance(cost, Mapping) else cost
            for name, cost in (costs or {}).items()
        }
        for name, function in self.costs.items():
            if not callable(function):
                raise InputError(f"{shown(function)} is not a function", "give a function of an architecture", f"costs, {name}")

    def with_cost(self, name: str, table: CostFunction | Mapping[str, Any]) -> CategoricalSpace:
        """A copy with a further cost. It replaces one of the same name."""
        return CategoricalSpace(self.dims, {**self.costs, name: table})

    @property
    def size(self) -> int:
        """Number of architectures."""
        return math.prod(map(len, self.dims.values()))

    @cached_property
    def sizes(self) -> tuple[int, ...]:
        """Number of values of each dimension."""
        return tuple(map(len, self.dims.values()))

    def sample(self, rng: int | np.random.Generator) -> Choices:
        """Draw an architecture uniformly; ``rng`` is a seed or a numpy Generator."""
        return self.decode(draw_codes(self.sizes, 1, np.random.default_rng(rng))[0])

    def decode(self, codes: Sequence[int] | Codes) -> Choices:
        """The architecture of these codes, shape (dimensions,): the index of each value in its dimension."""
        return Choices(self.dims, codes)

    def encode(self, architecture: Mapping[str, Any]) -> Codes:
        """The codes of an architecture, shape (dimensions,): the inverse of `decode`. Takes any mapping.

        Raises:
            InputError: if a dimension is missing, or a name or value is not in the space.
        """
        if not isinstance(architecture, Mapping):
            raise InputError(
                f"{shown(architecture)} is not an architecture of this space", "give a mapping from each dimension to its value"
            )
        odd = sorted(map(str, self.dims.keys() ^ architecture.keys()))
        if odd:
            raise InputError(f"its dimensions differ from the space's in {', '.join(odd)}", "give one value of each dimension")
        return np.array([_place(name, values, architecture[name]) for name, values in self.dims.items()], np.int64)

    def contains(self, architecture: Mapping[str, Any]) -> bool:
        """Whether this is an architecture of the space."""
        try:
            self.encode(architecture)
        except InputError:
            return False
        return True

    def cost(self, architecture: Mapping[str, Any]) -> dict[str, float]:
        """All known costs of an architecture: metric -> value."""
        codes = self.encode(architecture)[None]
        return {name: float(self.cost_rows(name, codes)[0]) for name in self.costs}

    def cost_rows(self, name: str, codes: Codes) -> Floats:
        """One known cost of many architectures, shape (n,).

        Args:
            name: name of the cost.
            codes: shape (n, dimensions).

        Raises:
            InputError: if the cost function returns anything but finite numbers.
        """
        rows = self._rows[name]
        values = rows(codes) if rows else [self._one(name, row) for row in codes]
        found = np.asarray(values, float).reshape(len(codes))
        if not np.isfinite(found).all():
            bad = int(np.argmin(np.isfinite(found)))
            raise InputError(f"{found[bad]} is not a cost (of {shown(self.decode(codes[bad]))})", "return finite numbers", f"costs, {name}")
        return found

    def _one(self, name: str, codes: Codes) -> float:
        value = self.costs[name](self.decode(codes))
        try:
            return float(value)
        except (TypeError, ValueError):
            raise InputError(f"{shown(value)} is not a cost", "give a function that returns a number", f"costs, {name}") from None

    @cached_property
    def _rows(self) -> dict[str, Callable[[Codes], Any] | None]:
        """For each cost, a function of arrays of codes, if there is one that agrees with the function of one architecture."""
        probes = np.random.default_rng(0).integers(0, self.sizes, (_PROBES, len(self.sizes)))
        found: dict[str, Callable[[Codes], Any] | None] = {}
        for name, function in self.costs.items():
            expected = np.array([self._one(name, row) for row in probes])
            takes = (rows for rows in (getattr(function, "rows", None), function) if rows is not None)
            found[name] = next((rows for rows in takes if _agrees(rows, probes, expected)), None)
        return found

    def __repr__(self) -> str:
        return f"CategoricalSpace({len(self.dims)} dimensions, {self.size:.3g} architectures)"


class TableCost:
    """A cost that adds up over the dimensions, as a function of one architecture and of arrays of codes.

    Args:
        dims: name -> values.
        table: ``plain``, and in ``adds`` what each value of a dimension adds.
        source: of the table, for errors.

    Raises:
        InputError: for a dimension or value that is not in the space, or what is no finite number.
    """

    def __init__(self, dims: Mapping[str, Sequence[Any]], table: Mapping[str, Any], source: str) -> None:
        adds = table.get("adds", {})
        if odd := [*(table.keys() - {"plain", "adds"}), *(adds.keys() - dims.keys() if isinstance(adds, Mapping) else [adds])]:
            raise InputError(f"{shown(odd[0])} is no part of a table", 'give {"plain": 12.5, "adds": {dimension: {value: 0.3}}}', source)
        self._names = list(dims)
        self._plain = _finite(table.get("plain", 0), source)
        self._adds = [np.zeros(len(values)) for values in dims.values()]
        for name, own in adds.items():
            for value, number in own.items():
                self._adds[self._names.index(name)][_place(name, dims[name], value)] = _finite(number, f"{source}, {name}")
        self._dims = dims

    def __call__(self, architecture: Mapping[str, Any]) -> float:
        places = (_place(name, self._dims[name], architecture[name]) for name in self._names)
        return self._plain + float(sum(own[place] for own, place in zip(self._adds, places, strict=True)))

    def rows(self, codes: Codes) -> Floats:
        """Of many architectures, shape (n,)."""
        return np.asarray(self._plain + sum(own[place] for own, place in zip(self._adds, codes.T, strict=True)))


def _finite(value: Any, source: str) -> float:
    try:
        if math.isfinite(number := float(value)):
            return number
    except (TypeError, ValueError):
        pass
    raise InputError(f"{shown(value)} is not a cost", "give a finite number", source)


def _agrees(rows: Callable[[Codes], Any], probes: Codes, expected: Floats) -> bool:
    """Whether a function returns the expected costs for an array of codes. Most functions of a mapping raise, in any way."""
    try:
        values = np.asarray(rows(probes), float)
        return values.shape == expected.shape and bool(np.allclose(values, expected, rtol=1e-9, atol=0))
    except Exception:
        return False


def _check_values(name: str, values: Sequence[Any]) -> tuple[Any, ...]:
    if isinstance(values, (str, bytes, Mapping)) or not hasattr(values, "__iter__"):
        raise InputError(f"{shown(values)} is not a list of values", "write a list", f"dims, {name}")
    values = tuple(values)
    if not values:
        raise InputError("no value", "give at least one", f"dims, {name}")
    if any(value in values[:place] for place, value in enumerate(values)):
        raise InputError(f"{list(values)} contains a value twice", "write each value once", f"dims, {name}")
    return values


def _place(name: str, values: Sequence[Any], value: Any) -> int:
    try:
        return values.index(value)
    except ValueError:
        raise InputError(f"{name}: {shown(value)} is not one of {list(values)}", "take an architecture of the space") from None
