"""The cost of each option of each group, and their sums: for one architecture, or for millions at once."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from operator import getitem

import numpy as np
import numpy.typing as npt

from se_nas.errors import InputError
from se_nas.se.cost import Cost
from se_nas.space.architecture import Architecture
from se_nas.space.budget import METRICS, Budget
from se_nas.space.codes import Codes
from se_nas.space.group import Group, check_settings
from se_nas.space.named import FullCost, NamedCost, Setting

Array = npt.NDArray[np.int64]

CHUNK = 16384
"""Architectures costed at once: few enough that their codes, sums and indices stay in a core's cache."""

_BITS = 64  # of each field of a cost, packed into one long integer, so that one addition sums all of them


@dataclass(frozen=True)
class Costs:
    """Costs of many architectures.

    Attributes:
        params: parameters, shape (n,).
        macs: multiply-accumulates of one forward pass of one image, shape (n,).
        named: further costs by name, floats of shape (n,). They are attributes, too: ``costs.latency``.
    """

    params: Array
    macs: Array
    named: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict)

    def __getattr__(self, name: str) -> npt.NDArray[np.float64]:
        named = self.__dict__.get("named", {})
        if name not in named:
            raise AttributeError(f"there is no cost {name!r}")
        found: npt.NDArray[np.float64] = named[name]
        return found


class CostTable:
    """Costs of the architectures of one backbone: the plain backbone's, plus one table entry for each group.

    Args:
        groups: the space's groups of sites.
        plain: cost of the plain backbone.
        named: further costs, each for this backbone; they are counted in steps.

    Attributes:
        named: as passed.
        metrics: the costs that budgets may limit: params, macs and the further ones.
        fields: all costs by name: the fields of a `Cost`, then the further ones.
        plain: the plain backbone's, one for each field.
        rows: what each option adds, shape (options, fields) for each group.
        options: the same of `metrics` alone, shape (options, metrics) for each group.
    """

    def __init__(self, groups: Sequence[Group], plain: Cost, named: Sequence[NamedCost] = ()) -> None:
        self._groups, self.named = groups, named
        self.metrics = (*METRICS, *(cost.name for cost in named))
        self.fields = (*Cost._fields, *self.metrics[2:])
        self.plain = (*plain, *(cost.adds.plain for cost in named))
        self.rows = [np.array([self._fields_of(group, option) for option in group.options], np.int64) for group in groups]
        self._packed_plain = _pack(self.plain)
        self._rows = {
            group.name: dict(zip(group.options, map(_pack, rows.tolist()), strict=True))
            for group, rows in zip(groups, self.rows, strict=True)
        }
        self._by_code = [dict(enumerate(row.values())) for row in self._rows.values()]
        columns = [self.fields.index(metric) for metric in self.metrics]
        self.options = [rows[:, columns] for rows in self.rows]
        self._sizes = np.array([len(options) for options in self.options])
        self._tables: list[list[Array]] | None = None

    def _fields_of(self, group: Group, setting: Setting) -> tuple[int, ...]:
        """What a setting adds: the fields of its `Cost`, then steps of each further cost. KeyError: one of these is not known."""
        return (*group.cost(setting), *(cost.adds.settings[group.name][setting] for cost in self.named))

    def of(self, architecture: Architecture) -> Cost:
        """The cost of an architecture. Of a reference outside of the space, further costs may be missing.

        Raises:
            InputError: for a setting that is not an option of its group, see `se_nas.space.group.check_settings`.
        """
        try:
            total = sum((self._rows[name][spec] for name, spec in architecture.choices), self._packed_plain)
            whole = len(architecture.choices) == len(self._rows)
        except KeyError:
            whole = False
        if whole:
            return self._unpack(total)
        check_settings(self._groups, architecture)
        settings = [(group, group.canonical(architecture[group.name])) for group in self._groups]
        cost = sum((group.cost(setting) for group, setting in settings), Cost._make(self.plain[: len(Cost._fields)]))
        further = {}
        for each in self.named:
            steps = [each.adds.settings[group.name].get(setting) for group, setting in settings]
            if None not in steps:
                further[each.name] = each.value(sum(filter(None, steps), each.adds.plain))
        return FullCost.of(cost, further) if self.named else cost

    def of_codes(self, codes: Sequence[int]) -> Cost:
        """The cost of the architecture with these option codes, shape (groups,)."""
        if len(codes) != len(self._by_code):
            raise misfit(f"{list(codes)}", self._sizes.tolist())
        try:
            return self._unpack(sum(map(getitem, self._by_code, codes), self._packed_plain))
        except (KeyError, TypeError):
            raise misfit(f"{list(codes)}", self._sizes.tolist()) from None

    def of_many(self, codes: Codes) -> Costs:
        """The costs of architectures with these option codes, shape (n, groups), of any integer type."""
        if codes.ndim != 2 or codes.shape[1] != len(self._sizes) or codes.dtype.kind not in "iu":
            raise misfit(f"an array of {codes.dtype}, shape {codes.shape}", self._sizes.tolist())
        costs = empty_costs(len(codes), self.named)
        tables = self._tables = self._tables or self._make_tables()
        for start in range(0, len(codes), CHUNK):
            chunk = codes[start : start + CHUNK]
            self._check(chunk, start)
            places = list(self._places(chunk))
            params, macs = costs.params[start : start + CHUNK], costs.macs[start : start + CHUNK]
            for cost, table in zip(self.named, tables[len(tables) - len(self.named) :], strict=True):
                costs.named[cost.name][start : start + CHUNK] = cost.value(_sum(table, places))
            if self._together:
                both = _sum(tables[0], places)
                np.right_shift(both, self._shift, out=params)
                np.bitwise_and(both, (1 << self._shift) - 1, out=macs)
            else:
                params[:] = _sum(tables[0], places)
                macs[:] = _sum(tables[1], places)
        return costs

    def _unpack(self, packed: int) -> Cost:
        number = len(self.plain)
        fields = _fields(number).unpack(packed.to_bytes(8 * number, "little"))
        if not self.named:
            return Cost._make(fields)
        exact = len(Cost._fields)
        return FullCost.of(fields[:exact], {c.name: c.value(steps) for c, steps in zip(self.named, fields[exact:], strict=True)})

    def worth(self, metric: str, sign: int) -> list[Array]:
        """``sign * metric`` of each option as integers, in which another metric breaks ties; shape (options,) for each group."""
        other = next(name for name in METRICS if name != metric)
        first, second = ([options[:, self.metrics.index(name)] for options in self.options] for name in (metric, other))
        first = [values - values.min() for values in first]
        base = 1 + sum(int(values.max()) for values in second)
        if base * sum(int(values.max()) for values in first) >= 2**60:
            base, second = 1, [0 * values for values in second]  # a sum of both would not fit into 64 bits
        return [sign * (base * a + b) for a, b in zip(first, second, strict=True)]

    def left(self, budget: Budget) -> int:
        """What a budget leaves to the groups: in parameters or MACs, or in steps of a further cost."""
        limit = next((cost.within(budget.limit) for cost in self.named if cost.name == budget.metric), budget.limit)
        return int(limit) - self.plain[self.fields.index(budget.metric)]

    def _make_tables(self) -> list[list[Array]]:
        """The tables to sum, for each layer: parameters and MACs, then each further cost.

        Parameters and MACs share a layer if 63 bits hold both (parameters in the upper bits, MACs in the lower). If no group has
        more than 256 options, two neighbouring groups share a table; their two bytes, as one integer, index it.
        """
        most = [self.plain[i] + sum(int(t[:, i].max()) for t in self.options) for i in range(2)]
        self._shift = most[1].bit_length()
        self._paired = bool((self._sizes <= 256).all())
        first = np.array([[self.plain[self.fields.index(metric)] for metric in self.metrics]], np.int64)
        options = [first + self.options[0], *self.options[1:]]
        self._together = most[0].bit_length() + self._shift <= 63
        layers = [[table[:, metric].copy() for table in options] for metric in range(len(self.metrics))]
        if self._together:
            layers[:2] = [[(table[:, 0] << self._shift) + table[:, 1] for table in options]]
        return [_pair(layer) for layer in layers] if self._paired else layers

    def _check(self, chunk: Codes, start: int) -> None:
        """Check that every code is in range. Rows are taken 64 at a time, because numpy is many times faster on wide rows."""
        whole = len(chunk) // 64 * 64
        wide = chunk[:whole].reshape(-1, 64 * chunk.shape[1]) if whole else chunk[:1]
        largest = wide.max(0).reshape(-1, chunk.shape[1]).max(0)
        if whole < len(chunk):
            largest = np.maximum(largest, chunk[whole:].max(0))
        if (largest >= self._sizes).any() or (chunk.dtype.kind == "i" and chunk.min() < 0):
            row = int(np.argmax(((chunk < 0) | (chunk >= self._sizes)).any(1)))
            raise misfit(f"row {start + row}, {chunk[row].tolist()},", self._sizes.tolist())

    def _places(self, chunk: Codes) -> Iterator[Codes]:
        """Indices into each table, shape (chunk,)."""
        if not self._paired:
            yield from chunk.T
            return
        groups = chunk.shape[1]
        if not (groups % 2 == 0 and chunk.dtype == np.uint8 and chunk.flags.c_contiguous):
            padded = np.zeros((len(chunk), groups + groups % 2), np.uint8)
            padded[:, :groups] = chunk
            chunk = padded
        yield from chunk.view("<u2").T


def misfit(what: str, sizes: Sequence[int]) -> InputError:
    """The error for option codes that do not belong to a space whose genes have ``sizes`` options."""
    return InputError(f"{what} does not hold option codes of this space", f"give integers >= 0 and < {list(sizes)}", "codes")


def empty_costs(number: int, named: Sequence[NamedCost]) -> Costs:
    """Costs to fill in, of this many architectures."""
    exact = (np.empty(number, np.int64), np.empty(number, np.int64))
    return Costs(*exact, {cost.name: np.empty(number) for cost in named})


@cache
def _fields(number: int) -> struct.Struct:
    return struct.Struct(f"<{number}Q")


def _pack(fields: Sequence[int]) -> int:
    return sum(value << (_BITS * place) for place, value in enumerate(fields))


def _pair(tables: list[Array]) -> list[Array]:
    """One table for each two: entry ``a + 256 * b`` is the sum of entry a of the first and entry b of the second."""
    pairs = []
    for left, right in zip(tables[::2], [*tables[1::2], np.zeros(1, np.int64)], strict=False):
        pair = np.zeros((len(right), 256), np.int64)
        pair[:, : len(left)] = right[:, None] + left
        pairs.append(pair.ravel())
    return pairs


def _sum(tables: list[Array], places: list[Codes]) -> Array:
    """The sum over tables of the entries at ``places``, shape (chunk,)."""
    total = np.zeros(len(places[0]), np.int64)
    part, index = np.empty_like(total), np.empty(len(total), np.intp)
    for table, place in zip(tables, places, strict=True):
        index[:] = place
        np.take(table, index, out=part, mode="clip")  # clip is the fast mode; places are in range already
        total += part
    return total
