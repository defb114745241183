"""Read the architecture that ``--architecture`` names: a reference, or a JSON file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from se_nas.errors import InputError
from se_nas.reading import load_json
from se_nas.se.spec import SESpec
from se_nas.space.architecture import REFERENCES, Architecture, split_extra
from se_nas.space.group import check_settings
from se_nas.space.space import SearchSpace
from se_nas.text import shown

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
    data = load_json(name, FORM, f"give a JSON file, or {' or '.join(REFERENCES)}")
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
        raise InputError(f"{shown(str(data)[:40])} is not an architecture", FORM)
    groups = {group.name: group for group in space.groups}
    extra, data = split_extra(data)
    for name in data:
        if name not in groups:
            raise InputError(f"unknown group {shown(name)}", f"the space has {', '.join(list(groups)[:20])}")
    if missing := [name for name in groups if name not in data]:
        raise InputError(f"{missing[0]} is missing", "give each group its setting, null for no SE")
    architecture = space.canonical({name: _spec(name, data[name]) for name in groups}, dict(extra))
    check_settings(space.variant(architecture.extra).groups, architecture)
    return architecture


def _spec(group: str, data: Any) -> SESpec | None:
    if data is None:
        return None
    if not isinstance(data, Mapping) or "reduction" not in data:
        raise InputError(f"{shown(str(data)[:40])} is not a setting", FORM, group)
    for name, value in data.items():
        if name not in FIELDS:
            raise InputError(f"unknown key {shown(name)}", f"take one of {', '.join(FIELDS)}", group)
        if type(value) is not FIELDS[name]:
            raise InputError(f"{shown(value)} is not a valid {name}", FORM, group)
    if data["reduction"] < 1:
        raise InputError(f"{data['reduction']} is below 1", "take a positive whole number", f"{group}, reduction")
    return SESpec(**data)
