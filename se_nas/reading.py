"""Numbers, JSON and YAML from outside. What they may not hold is refused: code, infinities, endless numbers, endless depth."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from se_nas.errors import InputError
from se_nas.files import is_refusal, read_bytes, refusal
from se_nas.text import cut, flat, shown

DIGITS = 40
"""Of the longest number that is read. 64 bits take 19."""

VALUES = 200_000
"""Of the largest YAML file, each anchor counted as often as it is used: a few bytes can name more than a memory holds."""

TEXT = 16 * 2**20
"""Bytes of the largest YAML or JSON file."""

LARGEST = 2**63 - 1
"""The largest whole number: beyond it, random generators and arrays overflow."""


# Numbers.


def read_whole(text: str) -> int:
    """A whole number as it is written.

    Raises:
        ValueError: for anything else, or more than 64 bits.
    """
    if len(text) > DIGITS or not -LARGEST <= (number := int(text)) <= LARGEST:
        raise ValueError("a whole number of more than 64 bits")
    return number


def read_real(text: str) -> float:
    """A finite number as it is written.

    Raises:
        ValueError: for anything else.
    """
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{cut(text)} is not finite")
    return number


# JSON.


def parse_json(text: str | bytes) -> Any:
    """What JSON says, strictly: its numbers are finite and of 64 bits, and no key stands twice in a mapping.

    Raises:
        ValueError: for anything else.
    """
    try:
        return json.loads(text, parse_int=read_whole, parse_float=read_real, parse_constant=_no_number, object_pairs_hook=_mapping)
    except RecursionError:
        raise ValueError("too many levels") from None


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"key {shown(next(key for key in keys if keys.count(key) > 1))} stands twice")
    return data


def load_json(path: str | Path, fix: str = "restore the file", missing: str = "check the path") -> Any:
    """Read a JSON file.

    Args:
        path: of the file.
        fix: what to do about one that is no JSON.
        missing: what to do about one that is not there.

    Raises:
        InputError: for a file that is missing, cannot be read, is empty, or is not JSON.
    """
    text = _text(path, missing)
    if not text.strip():
        raise InputError("is empty", fix, str(path))
    try:
        return parse_json(text)
    except ValueError as error:
        raise InputError(f"not JSON: {cut(str(error), 200)}", fix, str(path)) from None


# YAML.


def load_yaml(path: str | Path, fix: str = "correct the file") -> dict[str, Any]:
    """Read a YAML file that holds a mapping, safely: it can run no code, make no objects and fill no memory.

    Raises:
        InputError: for a file that is missing, unreadable, empty or not YAML, that holds no mapping, or that says too much.
    """
    import yaml

    text = _text(path, "check the path")
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"not YAML: {cut(flat(' '.join(str(error).split())), 300)}", fix, str(path)) from None
    except RecursionError:
        raise InputError("has too many levels", fix, str(path)) from None
    except (ValueError, OverflowError, TypeError, AttributeError, KeyError, IndexError) as error:  # PyYAML's own: dates, long numbers, tags
        raise InputError(f"holds what is no value: {cut(str(error), 200)}", fix, str(path)) from None
    if data is None:
        raise InputError("is empty" if not text.strip() else "holds nothing", "write one key: value on each line", str(path))
    if not isinstance(data, dict):
        raise InputError(f"holds {shown(data)}", "write one key: value on each line", str(path))
    try:
        _check(data, {}, ())
    except ValueError as error:
        raise InputError(str(error), fix, str(path)) from None
    return data


def _check(value: Any, sizes: dict[int, int], above: tuple[int, ...]) -> int:
    """How many values it holds, what anchors repeat counted each time.

    Raises:
        ValueError: if it holds itself, too many values, too many levels, or a number that is too long.
    """
    if isinstance(value, int) and not -LARGEST <= value <= LARGEST:
        raise ValueError(f"{shown(value)} has more than 64 bits")
    if not isinstance(value, (dict, list, tuple, set)):
        return 1
    if id(value) in above:
        raise ValueError("holds an anchor within itself")
    if len(above) > 50:
        raise ValueError("has too many levels")
    if id(value) not in sizes:
        inner = [*value, *value.values()] if isinstance(value, dict) else list(value)
        sizes[id(value)] = 1 + sum(_check(each, sizes, (*above, id(value))) for each in inner)
    if sizes[id(value)] > VALUES:
        raise ValueError(f"names more than {VALUES:,} values")
    return sizes[id(value)]


def _text(path: str | Path, missing: str) -> str:
    try:
        return read_bytes(path, TEXT).decode()
    except FileNotFoundError:
        raise InputError("no such file", missing, str(path)) from None
    except UnicodeDecodeError as error:
        raise InputError(
            f"not text in UTF-8: byte {error.start} is {error.object[error.start]:#04x}", "correct the file", str(path)
        ) from None
    except (OSError, ValueError) as error:
        if not is_refusal(error):
            raise
        raise refusal(error, path) from None
