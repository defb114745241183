"""Extra dimensions: arguments of the backbone's builder that are searched too, ``extra: {width: [1.0, 1.5]}``. Needs no torch."""

from __future__ import annotations

import itertools
import keyword
import math
from collections.abc import Collection, Mapping
from typing import Any

from se_nas.errors import InputError
from se_nas.se.spec import FIELDS
from se_nas.space.candidates import check_candidates
from se_nas.text import shown

Choice = tuple[tuple[str, Any], ...]
"""One value for each extra dimension, in the space's order."""

KEY = "extra"
"""Key of the extra dimensions, in a space file and in an architecture in JSON."""

MOST = 32
"""Largest number of combinations of values. Each is another backbone, with its own sites and cost tables."""


def check_extra(extra: Mapping[str, Any], arguments: Collection[str]) -> dict[str, tuple[Any, ...]]:
    """Check the extra dimensions of a space, and return them as name -> values.

    Args:
        extra: name -> values as written. A value is a number, a string, true, false or null.
        arguments: names of the builder's fixed arguments.

    Raises:
        InputError: names the dimension, the value and the rule.
    """
    if not isinstance(extra, Mapping):
        raise InputError(f"{shown(extra)} is not a mapping", "write extra: {width: [1.0, 1.5]}", KEY)
    checked = {}
    for name, values in extra.items():
        if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
            raise InputError(f"{shown(name)} is not the name of an argument", "write a keyword argument of the builder", KEY)
        if name in arguments:
            raise InputError(f"{name} is in backbone_args too", "write it in one of the two", f"{KEY}.{name}")
        if name in FIELDS:
            fix = "rename your builder's argument; candidates of the SE blocks are a key of the space itself"
            raise InputError(f"{name} is a setting of the SE blocks", fix, f"{KEY}.{name}")
        checked[name] = check_candidates(f"{KEY}.{name}", values, "a finite number, a text, true, false or null", _is_plain)
    many = math.prod(map(len, checked.values()))
    if many > MOST:
        fix = f"give fewer values: at most {MOST} combinations, because each is another backbone"
        raise InputError(f"{many:,} combinations of {', '.join(checked)}", fix, KEY)
    return checked


def check_names(extra: Mapping[str, Any], groups: Collection[str]) -> None:
    """Raise `InputError` if an extra dimension and a group of sites have the same name."""
    for name in [*extra, *([KEY] if extra else [])]:
        if name in groups:
            fix = "rename the site (sites: {rename: ...}), or the builder's argument"
            raise InputError(f"a group of sites is called {shown(name)} too", fix, KEY if name == KEY else f"{KEY}.{name}")


def choices(extra: Mapping[str, tuple[Any, ...]]) -> list[Choice]:
    """Every combination of values; the last dimension changes fastest. Without dimensions: one empty combination."""
    return [tuple(zip(extra, values, strict=True)) for values in itertools.product(*extra.values())]


def first_choice(extra: Mapping[str, tuple[Any, ...]]) -> Choice:
    """The first value of each dimension: those of the plain backbone, for references and percentages."""
    return tuple((name, values[0]) for name, values in extra.items())


def other_values(extra: Mapping[str, tuple[Any, ...]]) -> list[tuple[str, Any]]:
    """(name, value) for every value except the first of each dimension."""
    return [(name, value) for name, values in extra.items() for value in values[1:]]


def check_choice(extra: Mapping[str, tuple[Any, ...]], chosen: Mapping[str, Any]) -> Choice:
    """Check one value for each dimension, and return them in the space's order.

    Raises:
        InputError: for a dimension that is missing or unknown, or a value that is not a candidate.
    """
    if odd := sorted(map(str, extra.keys() ^ chosen.keys())):
        have = f"give one value for each of {', '.join(extra)}" if extra else "this space has none"
        raise InputError(f"the extra dimensions differ from the space's in {', '.join(odd)}", have, KEY)
    return tuple((name, values[place_of(name, values, chosen[name])]) for name, values in extra.items())


def place_of(name: str, values: tuple[Any, ...], value: Any) -> int:
    """The index of a value. true does not equal 1.

    Raises:
        InputError: if the value is not a candidate.
    """
    for place, own in enumerate(values):
        if own == value and isinstance(own, bool) == isinstance(value, bool):
            return place
    raise InputError(f"{shown(value)} is not a candidate of the space", f"it has {', '.join(map(str, values))}", f"{KEY}.{name}")


def words(chosen: Choice) -> str:
    """A choice in words: ``width=1.5, kernel=3``."""
    return ", ".join(f"{name}={value}" for name, value in chosen)


def _is_plain(value: Any) -> bool:
    return value is None or type(value) in (int, str, bool) or (type(value) is float and math.isfinite(value))
