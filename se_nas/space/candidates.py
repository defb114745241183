"""Checks of what a person gave as a space's lists and sizes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from se_nas.errors import InputError


def check_size(value: Any) -> tuple[int, ...]:
    """(C, L), (C, H, W) or (C, D, H, W), or an `InputError`."""
    if not (isinstance(value, Sequence) and len(value) in (2, 3, 4) and all(isinstance(v, int) and v > 0 for v in value)):
        fix = (
            "write [channels, height, width], positive integers; of signals [channels, length], of volumes [channels, depth, height, width]"
        )
        raise InputError(f"{value!r} is not a size", fix, "input_size")
    return tuple(value)


def check_candidates(name: str, values: Any, what: str, valid: Callable[[Any], bool]) -> tuple[Any, ...]:
    """The values of a non-empty list without doubles, each of them valid (``what`` says when), or an `InputError`."""
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise InputError(f"{values!r} is not a list", f"write a list, each of its values {what}", name)
    if not values:
        raise InputError("no candidate", f"give at least one, each {what}", name)
    for value in values:
        if isinstance(value, (list, dict)) or not valid(value):
            raise InputError(f"{value!r} is not allowed", f"each value is {what}", name)
    if len(set(values)) < len(values):
        raise InputError(f"{list(values)} names a value twice", "name each once", name)
    return tuple(values)
