"""``run.yaml``: its text, and the check of what is read from it. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from se_nas.errors import InputError
from se_nas.files import read_bytes
from se_nas.reading import load_yaml
from se_nas.run.settings import SearchSettings
from se_nas.run.trial import is_finite
from se_nas.se.spec import FIELDS
from se_nas.setting import check_type, settings_of, unknown_key
from se_nas.space.architecture import REFERENCES, Architecture
from se_nas.space.budget import METRICS
from se_nas.space.spacefile import SPACE_KEYS
from se_nas.text import shown

SCHEMA = 1
FIRST = "# A run of se-nas. The last line of this file is three dots; without them it was cut short.\n"
LAST = "...\n"
FIX = "restore the file; `se-nas check` says what else is whole"

PARTS: dict[str, tuple[type, ...]] = {
    "search": (dict,),
    "budgets": (list,),
    "space": (dict, type(None)),
    "backbone": (dict, type(None)),
    "environment": (dict, type(None)),
    "normalisation": (dict, type(None)),
    "start": (dict, type(None)),
    "validation_images": (int, type(None)),
    "evaluator": (str, type(None)),
    "created": (str, type(None)),
    "command": (str, type(None)),
    "space_file": (str, type(None)),
    "ended": (str, type(None)),
    "confirm": (dict, type(None)),
    "confirm_start": (dict, type(None)),
}
"""Key -> types of its value. ``search`` and ``budgets`` must be there."""

CONFIRM: dict[str, tuple[type, ...]] = {
    "top": (int,),
    "seeds": (list,),
    "epochs": (int,),
    "first": (int,),
    "architectures": (dict,),
    "paying": (bool, type(None)),
    "race": (bool, type(None)),
    "data": (str, type(None)),
    "start": (str, type(None)),
    "normalise": (str, type(None)),
    "normalisation": (dict, type(None)),
}
"""The same of a confirmation."""

NEEDED = ("objectives", "epochs", "trials")
"""Settings without which nothing can be shown."""


def config_text(config: Mapping[str, Any]) -> str:
    """The file.

    Raises:
        InputError: if YAML cannot hold a value.
    """
    try:
        return FIRST + yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True) + LAST
    except yaml.YAMLError as error:
        value = " ".join(map(str, error.args))
        fix = "give numbers, texts, lists and mappings"
        raise InputError(f"run.yaml cannot hold an argument ({value})", fix, "backbone_args") from None


def load_config(path: Path) -> dict[str, Any]:
    """Read and check a ``run.yaml``.

    Raises:
        InputError: for a file that is empty, cut short, of another schema, or does not say what a run needs.
    """
    config = load_yaml(path, FIX)
    if config.get("schema") != SCHEMA:
        problem = f"schema {shown(config.get('schema'))} is not {SCHEMA}"
        raise InputError(problem, "read it with the se-nas that wrote it, or restore the file", str(path))
    text = read_bytes(path)
    if text.startswith(FIRST.encode()[:20]) and not text.rstrip().endswith(LAST.strip().encode()):
        raise InputError("is cut short: its last line is missing", FIX, str(path))
    for name, types in PARTS.items():
        if name not in config and type(None) not in types:
            raise InputError(f"is damaged: {name} is missing", FIX, str(path))
        if name in config:
            check_type(name, config[name], types, str(path))
    _check_search(config["search"], f"{path}, search")
    _check_space(config.get("space") or {}, f"{path}, space")
    metrics = (*METRICS, *((config.get("space") or {}).get("costs") or ()))
    for budget in config["budgets"]:
        if not isinstance(budget, dict) or budget.get("metric") not in metrics or not is_finite(budget.get("limit")):
            raise InputError(f"{shown(budget)} is not a budget", FIX, f"{path}, budgets")
        check_type("text", budget.setdefault("text", f"<= {budget['limit']}"), (str,), f"{path}, budgets")
    _check_backbone(config.get("backbone") or {}, f"{path}, backbone")
    _check_normalisation(config.get("normalisation") or {}, f"{path}, normalisation")
    _check_confirm(config.get("confirm") or {}, f"{path}, confirm")
    return config


def _check_normalisation(section: Mapping[str, Any], source: str) -> None:
    if not all(isinstance(each, list) and all(map(is_finite, each)) for each in section.values()):
        raise InputError("are not numbers of each channel", FIX, source)


def _check_confirm(section: Mapping[str, Any], source: str) -> None:
    if not section:
        return
    for name, types in CONFIRM.items():
        if name not in section and type(None) not in types:
            raise InputError(f"is damaged: {name} is missing", FIX, source)
        check_type(name, section.get(name), types, source)
    if not all(type(seed) is int for seed in section["seeds"]):
        raise InputError(f"{shown(section['seeds'])} are no seeds", FIX, f"{source}, seeds")
    for name in REFERENCES:
        if name not in section["architectures"]:
            raise InputError(f"is damaged: {name} is missing", FIX, f"{source}, architectures")
    for name, data in section["architectures"].items():
        try:
            Architecture.from_json(data)
        except InputError as error:
            raise InputError(error.problem, FIX, f"{source}, architectures, {shown(name)}") from None
    _check_normalisation(section.get("normalisation") or {}, f"{source}, normalisation")


def _check_search(section: Mapping[str, Any], source: str) -> None:
    for name in NEEDED:
        if name not in section:
            raise InputError(f"is damaged: {name} is missing", FIX, source)
    rows = settings_of(SearchSettings)
    for name, value in section.items():
        if name in rows:
            check_type(name, value, rows[name].types, source)
    if not section["objectives"] or not all(isinstance(name, str) for name in section["objectives"]):
        raise InputError(f"{shown(section['objectives'])} are not objectives", FIX, f"{source}, objectives")


def _check_space(section: Mapping[str, Any], source: str) -> None:
    for name, value in section.items():
        if name not in SPACE_KEYS:
            raise unknown_key(name, SPACE_KEYS, source)
        if value is not None:
            check_type(name, value, SPACE_KEYS[name], source)
        if name in FIELDS and not all(isinstance(each, (int, str)) for each in value or ["none"]):
            raise InputError(f"{shown(value)} are no candidates", FIX, f"{source}, {name}")
    for name, values in (section.get("extra") or {}).items():
        if not isinstance(values, list) or not values or any(isinstance(value, (list, dict)) for value in values):
            raise InputError(f"{shown(values)} are no values", FIX, f"{source}, extra, {shown(name)}")
    for name, table in (section.get("costs") or {}).items():
        told = isinstance(name, str) and isinstance(table, dict)
        if not told or not all(isinstance(table.get(key, ""), str) for key in ("unit", "about")) or not is_finite(table.get("tie", 0)):
            raise InputError(f"{shown(name)} is damaged", FIX, f"{source}, costs")


def _check_backbone(about: Mapping[str, Any], source: str) -> None:
    """What views read there: costs, notes, and of each group what its settings add."""

    def refuse_unless(fits: bool, name: str) -> None:
        if not fits:
            raise InputError(f"{shown(about[name])} is damaged", FIX, f"{source}, {name}")

    for name in ("params", "macs"):
        refuse_unless(about.get(name) is None or is_finite(about[name]), name)
    further = about.get("costs") or {}
    refuse_unless(isinstance(further, dict) and all(map(is_finite, further.values())), "costs")
    for name in ("left_out", "narrowed"):
        refuse_unless(isinstance(about.get(name, []), list), name)
    groups = about.get("groups", {})
    refuse_unless(isinstance(groups, dict) and all(each is None or isinstance(each, dict) for each in groups.values()), "groups")
    for group in filter(None, groups.values()):
        told = group.get("settings") or {}
        refuse_unless(isinstance(told, dict), "groups")
        means = [told, *(mean for name in FIELDS for mean in _values(told.get(name)))] if told else []
        refuse_unless(all(isinstance(mean, dict) and is_finite(mean.get("number")) for mean in means), "groups")
        costs = [value for mean in means for name, value in mean.items() if name not in FIELDS]
        refuse_unless(all(value is None or is_finite(value) for value in costs), "groups")


def _values(told: Any) -> list[Any]:
    """What a mapping of values holds; [None], which is no mean, if it is none."""
    return list(told.values()) if isinstance(told, dict) else [] if told is None else [None]
