"""Checks of a space's lists of candidates and of its input size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from se_nas.errors import InputError
from se_nas.text import shown

MOST = 2**28
"""Values of the largest image: one gigabyte of floats."""


def check_size(value: Any) -> tuple[int, ...]:
    """``value`` as a tuple (C, L), (C, H, W) or (C, D, H, W); raises `InputError` for anything else."""
    if not (isinstance(value, Sequence) and len(value) in (2, 3, 4) and all(type(v) is int and v > 0 for v in value)):
        fix = (
            "write positive integers: [channels, height, width], of signals [channels, length], of volumes [channels, depth, height, width]"
        )
        raise InputError(f"{shown(value)} is not a size", fix, "input_size")
    if math.prod(value) > MOST:
        raise InputError(f"{shown(value)} has more than {MOST:,} values", "take smaller images", "input_size")
    return tuple(value)


def check_candidates(name: str, values: Any, what: str, valid: Callable[[Any], bool]) -> tuple[Any, ...]:
    """Check a list of candidates: not empty, no duplicates, every value valid.

    Args:
        name: the argument's name, for errors.
        values: the list.
        what: what a valid value is, in words for errors: "a ratio".
        valid: whether a value is valid.

    Returns:
        The values as a tuple.

    Raises:
        InputError: names the first bad value.
    """
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise InputError(f"{shown(values)} is not a list", f"write a list; each value is {what}", name)
    if not values:
        raise InputError("no candidate", f"give at least one; each is {what}", name)
    for value in values:
        if isinstance(value, (list, dict)) or not valid(value):
            raise InputError(f"{shown(value)} is not allowed", f"each value is {what}", name)
    if len(set(values)) < len(values):
        raise InputError(f"{shown(list(values))} contains a value twice", "write each value once", name)
    return tuple(values)
