"""Architectures as option codes: one integer for each extra dimension that leaves a choice, then one for each group."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from se_nas.errors import InputError
from se_nas.space.architecture import Architecture
from se_nas.space.codes import Codes
from se_nas.space.extra import check_choice, place_of
from se_nas.space.group import Group


class Coding:
    """Codes of the architectures of a space.

    Args:
        extra: values of the extra dimensions.
        groups: of sites.

    Attributes:
        open: the extra dimensions that leave a choice.
        names: of these, then of the groups.
        sizes: how many values each of those has, then how many options each group.
    """

    def __init__(self, extra: Mapping[str, tuple[Any, ...]], groups: Sequence[Group]) -> None:
        self._extra, self._groups = extra, groups
        self.open = {name: values for name, values in extra.items() if len(values) > 1}
        self.names = [*self.open, *(group.name for group in groups)]
        self.sizes = [*map(len, self.open.values()), *(len(group.options) for group in groups)]

    def decode(self, codes: Codes) -> Architecture:
        """The architecture of codes, shape (genes,)."""
        first = len(self.open)
        chosen = {name: values[int(code)] for (name, values), code in zip(self.open.items(), codes, strict=False)}
        settings = zip(self._groups, codes[first:], strict=True)
        extra = tuple((name, chosen.get(name, values[0])) for name, values in self._extra.items())
        return Architecture(tuple((group.name, group.options[int(code)]) for group, code in settings), extra)

    def encode(self, architecture: Architecture) -> Codes:
        """Codes of an architecture, shape (genes,).

        Raises:
            InputError: if the space lacks one of the choices.
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
