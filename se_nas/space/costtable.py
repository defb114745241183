"""The cost of each option of each group, and their sums: for one architecture, or for millions at once."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import getitem

import numpy as np
import numpy.typing as npt

from se_nas.errors import InputError
from se_nas.se.cost import Cost
from se_nas.space.architecture import Architecture
from se_nas.space.budget import METRICS
from se_nas.space.codes import Codes
from se_nas.space.group import Group, check_settings

Array = npt.NDArray[np.int64]

CHUNK = 16384
"""Architectures costed at once: few enough that their codes, sums and indices stay in a core's cache."""

_FIELDS = struct.Struct("<5Q")  # packs a Cost into one long integer, so that one addition sums all five fields


@dataclass(frozen=True)
class Costs:
    """Costs of many architectures.

    Attributes:
        params: parameters, shape (n,).
        macs: multiply-accumulates of one forward pass of one image, shape (n,).
    """

    params: Array
    macs: Array


class CostTable:
    """Costs of the architectures of one backbone: the plain backbone's, plus one table entry for each group.

    Args:
        groups: the space's groups of sites.
        plain: cost of the plain backbone.

    Attributes:
        options: parameters and MACs that each option adds, shape (options, 2) for each group.
    """

    def __init__(self, groups: Sequence[Group], plain: Cost) -> None:
        self._plain, self._groups = plain, groups
        self._packed_plain = _pack(plain)
        self._rows = {group.name: {option: _pack(group.cost(option)) for option in group.options} for group in groups}
        self._by_code = [dict(enumerate(row.values())) for row in self._rows.values()]
        self.options = [np.array([_unpack(packed)[:2] for packed in row.values()], np.int64) for row in self._by_code]
        self._sizes = np.array([len(options) for options in self.options])
        self._tables: list[list[Array]] | None = None

    def of(self, architecture: Architecture) -> Cost:
        """The cost of an architecture.

        Raises:
            InputError: for a setting that is not an option of its group, see `se_nas.space.group.check_settings`.
        """
        try:
            total = sum((self._rows[name][spec] for name, spec in architecture.choices), self._packed_plain)
            whole = len(architecture.choices) == len(self._rows)
        except KeyError:
            whole = False
        if not whole:
            check_settings(self._groups, architecture)
            total = sum((_pack(group.cost(architecture[group.name])) for group in self._groups), self._packed_plain)
        return Cost(*_unpack(total))

    def of_codes(self, codes: Sequence[int]) -> Cost:
        """The cost of the architecture with these option codes, shape (groups,)."""
        if len(codes) != len(self._by_code):
            raise misfit(f"{list(codes)}", self._sizes.tolist())
        try:
            return Cost._make(_unpack(sum(map(getitem, self._by_code, codes), self._packed_plain)))
        except (KeyError, TypeError):
            raise misfit(f"{list(codes)}", self._sizes.tolist()) from None

    def of_many(self, codes: Codes) -> Costs:
        """The costs of architectures with these option codes, shape (n, groups), of any integer type."""
        if codes.ndim != 2 or codes.shape[1] != len(self._sizes) or codes.dtype.kind not in "iu":
            raise misfit(f"an array of {codes.dtype}, shape {codes.shape}", self._sizes.tolist())
        costs = Costs(np.empty(len(codes), np.int64), np.empty(len(codes), np.int64))
        tables = self._tables = self._tables or self._make_tables()
        for start in range(0, len(codes), CHUNK):
            chunk = codes[start : start + CHUNK]
            self._check(chunk, start)
            places = list(self._places(chunk))
            params, macs = costs.params[start : start + CHUNK], costs.macs[start : start + CHUNK]
            if len(tables) == 1:
                both = _sum(tables[0], places)
                np.right_shift(both, self._shift, out=params)
                np.bitwise_and(both, (1 << self._shift) - 1, out=macs)
            else:
                params[:] = _sum(tables[0], places)
                macs[:] = _sum(tables[1], places)
        return costs

    def worth(self, metric: str, sign: int) -> list[Array]:
        """``sign * metric`` of each option as integers, in which the other metric breaks ties; shape (options,) for each group."""
        column = METRICS.index(metric)
        first, second = ([options[:, c] for options in self.options] for c in (column, 1 - column))
        base = 1 + sum(int(values.max()) for values in second)
        if base * sum(int(values.max()) for values in first) >= 2**60:
            base, second = 1, [0 * values for values in second]  # a sum of both would not fit into 64 bits
        return [sign * (base * a + b) for a, b in zip(first, second, strict=True)]

    def _make_tables(self) -> list[list[Array]]:
        """The tables to sum: one layer if 63 bits hold both metrics (parameters in the upper bits, MACs in the lower), else two.

        If no group has more than 256 options, two neighbouring groups share a table; their two bytes, as one integer, index it.
        """
        most = [int(getattr(self._plain, m)) + sum(int(t[:, i].max()) for t in self.options) for i, m in enumerate(METRICS)]
        self._shift = most[1].bit_length()
        self._paired = bool((self._sizes <= 256).all())
        first = np.array([[self._plain.params, self._plain.macs]], np.int64)
        options = [first + self.options[0], *self.options[1:]]
        if most[0].bit_length() + self._shift <= 63:
            layers = [[(table[:, 0] << self._shift) + table[:, 1] for table in options]]
        else:
            layers = [[table[:, metric].copy() for table in options] for metric in range(2)]
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


def _pack(cost: Cost) -> int:
    return int.from_bytes(_FIELDS.pack(*cost), "little")


def _unpack(packed: int) -> tuple[int, ...]:
    return _FIELDS.unpack(packed.to_bytes(40, "little"))


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
