"""Choices from outside: what samplers, tables, logs and files make of one value for each dimension. Needs no torch.

One door for all of them. Optuna hands over ``4``, pandas ``4.0`` and ``NaN``, MLflow ``"4"`` and ``"None"``, Hydra and NNI nested
mappings. Each value becomes the space's own candidate, so the architecture has the id that its trial had; all else is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from se_nas.errors import InputError
from se_nas.text import shown

NOTHING = {"", "none", "null", "nan", "<na>"}
"""Texts that stand for None, in small letters: in CSV files, in MLflow and in YAML."""


def read_values(values: Any, names: Collection[str], groups: Collection[str], prefix: str | None = None) -> dict[str, Any]:
    """What a mapping says of a space's dimensions: name -> value as given.

    Args:
        values: name -> value, for instance a trial's ``params``, a row of a dataframe, or a config. It may be nested at dots
            and slashes (``{"layer1": {"0": {"reduction": 4}}}``) and hold other names, which are left out. A group may be
            None, or NNI's ``{"_name": "none"}``, for no SE.
        names: of the dimensions; also those with one candidate only.
        groups: of sites.
        prefix: what all names begin with, ``params_`` or ``config/se/``. None finds it.

    Raises:
        InputError: if this is no mapping, several prefixes fit equally well, or there is an SE block where the space has no group.
    """
    if not hasattr(values, "items"):
        raise InputError(f"{shown(values)} holds no choices", "give a mapping from each dimension to its value", "choices")
    flat = dict(_flat(values))
    start = _find_prefix(flat, names, groups) if prefix is None else prefix.replace("/", ".")
    own = {name.removeprefix(start).removeprefix("."): value for name, value in flat.items() if name.startswith(start)}
    for name, value in own.items():
        group, _, field = name.rpartition(".")
        if field == "reduction" and not group.endswith(tuple(groups)) and not is_nothing(value):
            raise InputError(f"the space has no group {shown(group)}", f"it has {', '.join(list(groups)[:20])}", name)
    for group in groups:
        if group in own and is_nothing(own[group]):
            own.setdefault(f"{group}.reduction", None)
    return own


def read_value(own: Mapping[str, Any], name: str, candidates: tuple[Any, ...]) -> Any:
    """The candidate that the value of a dimension stands for. What has one candidate only may be missing.

    Raises:
        InputError: naming the dimension, the value and the candidates.
    """
    have = ", ".join(map(str, candidates))
    if name not in own:
        if len(candidates) == 1:
            return candidates[0]
        raise InputError("is missing", f"give one of {have}", name)
    for alike in (_equal, _both_nothing, _equal_in_words):
        for candidate in candidates:
            if alike(candidate, own[name]):
                return candidate
    raise InputError(f"{shown(own[name])} is not a candidate of the space", f"it has {have}", name)


def is_nothing(value: Any) -> bool:
    """Whether this stands for None: NaN and its like, and the texts `NOTHING`."""
    value = plain_scalar(value)
    if isinstance(value, str):
        return value.strip().lower() in NOTHING
    return value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)


def plain_scalar(value: Any) -> Any:
    """A scalar of NumPy or torch (one element) as Python's own; anything else as it is."""
    try:
        return value.item() if hasattr(value, "item") else value
    except (TypeError, ValueError, RuntimeError):  # several elements
        return value


def _flat(values: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """(name, value) pairs, with the names of nested mappings joined by dots. NNI's ``_name`` is the value of its mapping."""
    for key, value in values.items():
        name = f"{above}.{key}".removeprefix(".").replace("/", ".")
        if key == "_name":
            yield above, value
        elif hasattr(value, "items"):
            yield from _flat(value, name)
        else:
            yield name, value


def _find_prefix(flat: Mapping[str, Any], names: Collection[str], groups: Collection[str]) -> str:
    """What the names of most dimensions begin with."""
    known, found = set(names), Counter[str]()
    for key, value in flat.items():
        for start in range(len(key)):
            if (start == 0 or not key[start - 1].isalnum()) and (key[start:] in known or (key[start:] in groups and is_nothing(value))):
                found[key[:start]] += 1
    best = [start for start, number in found.items() if number == max(found.values())]
    if len(best) > 1 and "" not in best:
        raise InputError(f"there are choices below {' and '.join(map(repr, best))}", "say which: prefix=...", "choices")
    return "" if "" in best or not best else best[0]


def _equal(candidate: Any, value: Any) -> bool:
    """Whether they are equal, in the precision of ``value``; true does not equal 1."""
    if isinstance(candidate, bool) != isinstance(plain_scalar(value), bool):
        return False
    number = getattr(getattr(value, "dtype", None), "type", None)  # NumPy's; before version 2 its float32 1.1 is not 1.1
    try:
        return bool((number(candidate) if number and isinstance(candidate, float) else candidate) == value)
    except (TypeError, ValueError, RuntimeError):  # pandas' NA, an array
        return False


def _both_nothing(candidate: Any, value: Any) -> bool:
    return candidate is None and is_nothing(value)


def _equal_in_words(candidate: Any, value: Any) -> bool:
    """Whether one of them is the other as text: ``"4"`` or ``"4.0"`` for 4, ``"true"`` for True."""
    value = plain_scalar(value)
    if candidate is None or not (isinstance(candidate, str) or isinstance(value, str)):
        return False
    one, other = str(candidate).strip(), str(value).strip()
    if isinstance(candidate, bool) or isinstance(value, bool):
        return one.lower() == other.lower()
    try:
        return one == other or float(one) == float(other)
    except ValueError:
        return False
