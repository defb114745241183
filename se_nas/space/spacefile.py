"""Read a space's YAML file, and check its keys and types. Needs no torch."""

from __future__ import annotations

import copy
from enum import Enum
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
    "costs": (dict,),
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


def space_dict(space: Any) -> dict[str, Any]:
    """Arguments from which the same `SearchSpace` is made. ``backbone`` is None if it was not given by name."""
    return {
        "backbone": space.backbone if isinstance(space.backbone, str) else None,
        "backbone_args": {key: str(value) if isinstance(value, Enum) else value for key, value in space.backbone_args.items()},
        "input_size": list(space.input_size),
        **({"example_inputs": space.example_inputs} if isinstance(space.example_inputs, str) else {}),
        "sites": space.selection if isinstance(space.selection, str) else copy.deepcopy(dict(space.selection)),
        "share": space.share,
        "reduction": list(space.reduction),
        "squeeze": list(space.squeeze),
        "gate": list(space.gate),
        "placement": list(space.placement),
        "allow_none": space.allow_none,
        "extra": {name: list(values) for name, values in space.extra.items()},
        "budgets": {budget.metric: budget.text for budget in space.budgets},
        **({"costs": {name: cost.to_dict() for name, cost in space.costs.items()}} if space.costs else {}),
        "bias": space.options.bias,
        "divisor": space.options.divisor,
        "init": space.options.init,
    }
