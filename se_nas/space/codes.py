"""Architectures as option codes: one integer for each gene.

A gene is an extra dimension with more than one value, or a group of sites. Extra dimensions come first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from se_nas.errors import InputError
from se_nas.space.architecture import Architecture
from se_nas.space.extra import check_choice, place_of

if TYPE_CHECKING:
    from se_nas.space.group import Group

Codes = npt.NDArray[np.integer[Any]]


class Coding:
    """Encodes and decodes the architectures of a space.

    Args:
        extra: values of each extra dimension.
        groups: the space's groups of sites.

    Attributes:
        open: the extra dimensions that have more than one value.
        names: names of the genes.
        sizes: number of options of each gene.
    """

    def __init__(self, extra: Mapping[str, tuple[Any, ...]], groups: Sequence[Group]) -> None:
        self._extra, self._groups = extra, groups
        self.open = {name: values for name, values in extra.items() if len(values) > 1}
        self.names = [*self.open, *(group.name for group in groups)]
        self.sizes = [*map(len, self.open.values()), *(len(group.options) for group in groups)]

    def decode(self, codes: Codes) -> Architecture:
        """The architecture of these codes, shape (genes,)."""
        first = len(self.open)
        chosen = {name: values[int(code)] for (name, values), code in zip(self.open.items(), codes, strict=False)}
        settings = zip(self._groups, codes[first:], strict=True)
        extra = tuple((name, chosen.get(name, values[0])) for name, values in self._extra.items())
        return Architecture(tuple((group.name, group.options[int(code)]) for group, code in settings), extra)

    def encode(self, architecture: Architecture) -> Codes:
        """The codes of an architecture, shape (genes,).

        Raises:
            InputError: if one of its choices is not a candidate of the space.
        """
        chosen = dict(check_choice(self._extra, dict(architecture.extra)))
        codes = [place_of(name, values, chosen[name]) for name, values in self.open.items()]
        for group in self._groups:
            option = architecture[group.name]
            if option not in group.options:
                raise InputError(f"{group.name}: {option or 'no SE'} is not a candidate of this space", "take an architecture of the space")
            codes.append(group.options.index(option))
        return np.array(codes, np.int64)

    def contains(self, architecture: Architecture) -> bool:
        """Whether every choice is a candidate."""
        if [name for name, _ in architecture] != [group.name for group in self._groups]:
            return False
        try:
            self.encode(architecture)
        except InputError:
            return False
        return True


def draw_codes(sizes: Sequence[int], n: int, rng: np.random.Generator) -> Codes:
    """Draw codes uniformly; shape (n, genes), uint8 if no gene has more than 256 options.

    Args:
        sizes: number of options of each gene.
        n: how many architectures to draw.
        rng: random generator.
    """
    if max(sizes) > 256:
        return rng.integers(0, sizes, (n, len(sizes)))
    codes = np.zeros((n, len(sizes) + len(sizes) % 2), np.uint8)
    pairs = codes.view("<u2")  # one draw gives the codes of two genes
    for pair, (first, second) in enumerate(zip(sizes[::2], [*sizes[1::2], 1], strict=False)):
        both = (np.arange(first) + 256 * np.arange(second)[:, None]).astype("<u2").ravel()
        pairs[:, pair] = both[rng.integers(0, len(both), n, np.uint16)]
    return np.ascontiguousarray(codes[:, : len(sizes)])
