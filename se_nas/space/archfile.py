"""Read the architecture that ``--architecture`` names: a reference, or a JSON file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from se_nas.errors import InputError
from se_nas.se.spec import SESpec
from se_nas.space.architecture import REFERENCES, Architecture, split_extra
from se_nas.space.group import check_settings
from se_nas.space.space import SearchSpace

FORM = (
    'a file maps each group to {"reduction": 16, "squeeze": "avg", "gate": "sigmoid", "placement": "standard"} or null, '
    'and "extra" to the extra dimensions, if there are any'
)
FIELDS: dict[str, type] = {"reduction": int, "squeeze": str, "gate": str, "placement": str}


def find_architecture(space: SearchSpace, name: str) -> Architecture:
    """The architecture of this name.

    Args:
        space: the space that it must belong to.
        name: ``plain``, ``paper``, or a JSON file: an export's ``architecture.json``, or only the mapping ``architecture`` in it.

    Raises:
        InputError: for a file that is missing or not JSON, an unknown group, or a setting that the space does not have.
    """
    if name in REFERENCES:
        return space.reference(name)
    path = Path(name)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError("no such file", f"give a JSON file, or {' or '.join(REFERENCES)}", f"--architecture {name}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", "check the path", name) from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"not JSON: {error}", FORM, name) from None
    if isinstance(data, Mapping) and "id" in data and "architecture" in data:
        data = data["architecture"]
    try:
        return read_architecture(space, data)
    except InputError as error:
        raise error.at(name) from None


def read_architecture(space: SearchSpace, data: Any) -> Architecture:
    """The architecture of a mapping group -> setting, see `FORM`.

    Raises:
        InputError: names the group and the value.
    """
    if not isinstance(data, Mapping):
        raise InputError(f"{str(data)[:40]!r} is not an architecture", FORM)
    groups = {group.name: group for group in space.groups}
    extra, data = split_extra(data)
    for name in data:
        if name not in groups:
            raise InputError(f"unknown group {name!r}", f"the space has {', '.join(list(groups)[:20])}")
    if missing := [name for name in groups if name not in data]:
        raise InputError(f"{missing[0]} is missing", "give each group its setting, null for no SE")
    architecture = space.canonical({name: _spec(name, data[name]) for name in groups}, dict(extra))
    check_settings(space.variant(architecture.extra).groups, architecture)
    return architecture


def _spec(group: str, data: Any) -> SESpec | None:
    if data is None:
        return None
    if not isinstance(data, Mapping) or "reduction" not in data:
        raise InputError(f"{str(data)[:40]!r} is not a setting", FORM, group)
    for name, value in data.items():
        if name not in FIELDS:
            raise InputError(f"unknown key {name!r}", f"take one of {', '.join(FIELDS)}", group)
        if type(value) is not FIELDS[name]:
            raise InputError(f"{value!r} is not a valid {name}", FORM, group)
    if data["reduction"] < 1:
        raise InputError(f"{data['reduction']} is below 1", "take a positive whole number", f"{group}, reduction")
    return SESpec(**data)
