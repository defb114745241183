"""Reading a space's YAML file: which keys there are, and of what type. Needs no torch."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from se_nas.errors import InputError

SPACE_KEYS: dict[str, tuple[type, ...]] = {
    "backbone": (str,),
    "backbone_args": (dict,),
    "input_size": (list,),
    "example_inputs": (str,),
    "sites": (str, dict),
    "share": (str,),
    "reduction": (list,),
    "squeeze": (list,),
    "gate": (list,),
    "placement": (list,),
    "allow_none": (bool,),
    "extra": (dict,),
    "budgets": (dict,),
    "bias": (bool,),
    "divisor": (int,),
    "init": (str,),
}
"""Arguments of `SearchSpace` that a file may set, and their types."""

_TYPES = {
    str: "text",
    dict: "a mapping",
    list: "a list",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    type(None): "nothing",
}


def load_space(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments of the `SearchSpace` in a file, and its ``search:`` section (defaults of `se_nas.search`).

    Raises:
        InputError: for a file that is missing or not YAML, an unknown key, or a value of the wrong type.
    """
    data = load_yaml(path)
    search = data.pop("search", {})
    check_keys(data, SPACE_KEYS, str(path))
    check_type("search", search, (dict,), str(path))
    if "backbone" not in data:
        raise InputError("no backbone", "name one: backbone: resnet20", str(path))
    if data.get("divisor", 1) < 1:
        raise InputError(f"{data['divisor']} is below 1", "take a positive whole number", f"{path}, divisor")
    return data, search


def load_yaml(path: str | Path) -> dict[str, Any]:
    """A YAML file that holds a mapping, read safely (no code runs, no objects are made)."""
    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("no such file", "check the path", str(path)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", "check the path", str(path)) from None
    except yaml.YAMLError as error:
        raise InputError(f"not YAML: {' '.join(str(error).split())}", "correct the file", str(path)) from None
    if not isinstance(data, dict):
        raise InputError(f"holds {_TYPES.get(type(data), 'nothing')}", "write keys and values, one a line", str(path))
    return data


def check_keys(data: Mapping[Any, Any], allowed: Mapping[str, tuple[type, ...]], source: str) -> None:
    """Raise for a key that is not allowed, naming the nearest, or for a value of the wrong type."""
    for key, value in data.items():
        if key not in allowed:
            near = difflib.get_close_matches(str(key), allowed, 1)
            raise InputError(f"unknown key {key!r}", f"did you mean {near[0]!r}?" if near else f"take one of {', '.join(allowed)}", source)
        check_type(str(key), value, allowed[key], source)


def check_type(key: str, value: object, types: tuple[type, ...], source: str) -> None:
    """Raise unless the value is of one of the types (a bool is no number, a whole number is one)."""
    accepted = (*types, int) if float in types else types
    if not isinstance(value, accepted) or (isinstance(value, bool) and bool not in types):
        raise InputError(f"{value!r} is not {' or '.join(_TYPES[t] for t in types)}", "correct the value", f"{source}, {key}")
