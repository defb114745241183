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
from se_nas.setting import WORDS, check_type, settings_of
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
    "validation_images": (int, type(None)),
    "evaluator": (str, type(None)),
    "created": (str, type(None)),
    "command": (str, type(None)),
    "space_file": (str, type(None)),
    "ended": (str, type(None)),
}
"""Key -> types of its value. ``search`` and ``budgets`` must be there."""

NEEDED = ("objectives", "epochs")
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
    for budget in config["budgets"]:
        if not isinstance(budget, dict) or not isinstance(budget.get("metric"), str) or not is_finite(budget.get("limit")):
            raise InputError(f"{shown(budget)} is not a budget", FIX, f"{path}, budgets")
        check_type("text", budget.get("text", ""), (str,), f"{path}, budgets")
    _check_backbone(config.get("backbone") or {}, f"{path}, backbone")
    return config


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


def _check_backbone(about: Mapping[str, Any], source: str) -> None:
    for name in ("params", "macs"):
        if about.get(name) is not None and not is_finite(about[name]):
            raise InputError(f"{shown(about[name])} is not {WORDS[float]}", FIX, f"{source}, {name}")
    groups = about.get("groups")
    if groups is not None and not (isinstance(groups, dict) and all(isinstance(group, dict) for group in groups.values())):
        raise InputError(f"{shown(groups)} are not groups", FIX, f"{source}, groups")
