"""A builder's own arguments as dimensions of a space: ``extra: {width: [1.0, 1.5], kernel: [3, 5]}``. Needs no torch."""

from __future__ import annotations

import itertools
import keyword
import math
from collections.abc import Collection, Mapping
from typing import Any

from se_nas.errors import InputError
from se_nas.space.candidates import check_candidates

Choice = tuple[tuple[str, Any], ...]
"""One value of each extra dimension, in the space's order."""

KEY = "extra"
"""Of an architecture in JSON, beside its groups."""

FIELDS = ("reduction", "squeeze", "gate", "placement")

MOST = 32
"""Combinations of values: each is a backbone of its own, with sites and tables of costs of its own."""


def check_extra(extra: Mapping[str, Any], arguments: Collection[str]) -> dict[str, tuple[Any, ...]]:
    """Name -> values, each a number, a text, true, false or null.

    Args:
        extra: as a person wrote it.
        arguments: names of the builder's fixed arguments.

    Raises:
        InputError: naming the dimension, the value and the rule.
    """
    if not isinstance(extra, Mapping):
        raise InputError(f"{extra!r} is no mapping", "write extra: {width: [1.0, 1.5]}", KEY)
    checked = {}
    for name, values in extra.items():
        if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
            raise InputError(f"{name!r} is no name of an argument", "write the builder's keyword argument", KEY)
        if name in arguments:
            raise InputError(f"{name} is in backbone_args too", "name it once", f"{KEY}.{name}")
        if name in FIELDS:
            fix = "give your builder's argument another name; candidates of the SE blocks are the space's own key"
            raise InputError(f"{name} is a setting of the SE blocks", fix, f"{KEY}.{name}")
        checked[name] = check_candidates(f"{KEY}.{name}", values, "a finite number, a text, true, false or null", _is_plain)
    many = math.prod(map(len, checked.values()))
    if many > MOST:
        fix = f"give fewer values: {MOST} combinations at most, each is a backbone of its own"
        raise InputError(f"{many:,} combinations of {', '.join(checked)}", fix, KEY)
    return checked


def check_names(extra: Mapping[str, Any], groups: Collection[str]) -> None:
    """Raise where a dimension and a group of sites would have one name in an architecture."""
    for name in [*extra, *([KEY] if extra else [])]:
        if name in groups:
            fix = "rename the site (sites: {rename: ...}), or the builder's argument"
            raise InputError(f"a group of sites is called {name!r} as well", fix, KEY if name == KEY else f"{KEY}.{name}")


def choices(extra: Mapping[str, tuple[Any, ...]]) -> list[Choice]:
    """Every combination, the last dimension changing fastest; one, of nothing, if there are no dimensions."""
    return [tuple(zip(extra, values, strict=True)) for values in itertools.product(*extra.values())]


def first_choice(extra: Mapping[str, tuple[Any, ...]]) -> Choice:
    """The first value of each: the backbone that references and percentages are of."""
    return tuple((name, values[0]) for name, values in extra.items())


def other_values(extra: Mapping[str, tuple[Any, ...]]) -> list[tuple[str, Any]]:
    """Each value but the first of each dimension, with the dimension's name."""
    return [(name, value) for name, values in extra.items() for value in values[1:]]


def check_choice(extra: Mapping[str, tuple[Any, ...]], chosen: Mapping[str, Any]) -> Choice:
    """One value of each dimension, as the space writes it.

    Raises:
        InputError: for a dimension that is missing or unknown, or a value that is none of its own.
    """
    if odd := sorted(map(str, extra.keys() ^ chosen.keys())):
        have = f"give one value of each of {', '.join(extra)}" if extra else "this space has none"
        raise InputError(f"the extra dimensions differ from the space's in {', '.join(odd)}", have, KEY)
    return tuple((name, values[place_of(name, values, chosen[name])]) for name, values in extra.items())


def place_of(name: str, values: tuple[Any, ...], value: Any) -> int:
    """The place of a value; true is not 1."""
    for place, own in enumerate(values):
        if own == value and isinstance(own, bool) == isinstance(value, bool):
            return place
    raise InputError(f"{value!r} is not a candidate of the space", f"it has {', '.join(map(str, values))}", f"{KEY}.{name}")


def words(chosen: Choice) -> str:
    """``width=1.5, kernel=3``"""
    return ", ".join(f"{name}={value}" for name, value in chosen)


def _is_plain(value: Any) -> bool:
    return value is None or type(value) in (int, str, bool) or (type(value) is float and math.isfinite(value))
