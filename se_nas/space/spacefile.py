"""Read a space's YAML file, and check its keys and types. Needs no torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from se_nas.errors import InputError
from se_nas.reading import load_yaml
from se_nas.setting import check_keys, check_type

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
"""Key of a space file (an argument of `SearchSpace`) -> allowed types."""


def load_space(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The arguments of `SearchSpace` in a file, and the file's ``search:`` section (settings for `se_nas.search`).

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
