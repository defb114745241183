"""What a search did not try, in sentences: how much of the space, and which settings at which sites."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from se_nas.report.facts import Facts
from se_nas.se.spec import FIELDS
from se_nas.text import NBSP, clean, joined, several

_MOST = 4
"""At most so many sites are named."""


def untried_sentences(facts: Facts) -> list[str]:
    """Empty without trials, and of runs that do not say what their space has.

    Example:
        Tried were 20 of 3,375 architectures (budgets not counted). Never tried: SE at layer1.2; r = 2 at layer1.0 and layer2.0.
    """
    tried = {entry.architecture for entry in facts.front.entries}
    space, groups = facts.run.config.get("space") or {}, facts.backbone.get("groups") or {}
    settings = {name: (about or {}).get("settings") or {} for name, about in groups.items()}
    if not tried or not settings or not all(settings.values()):
        return []
    said = [f"Tried were {len(tried):,} of {_amount(_size(settings, space))} architectures (budgets not counted)."]
    missing: dict[str, list[str]] = {}
    for group, about in settings.items():
        specs = [spec for each in tried if (spec := dict(each.choices).get(group))]
        if not specs:
            missing.setdefault("SE", []).append(clean(group))
            continue
        for name in FIELDS:
            for value, known in about.get(name, {}).items():
                if int(known["number"]) and not any(str(getattr(spec, name)) == str(value) for spec in specs):
                    missing.setdefault(_value(name, value), []).append(clean(group))
    if missing:
        said.append(f"Never tried: {'; '.join(f'{value} {_places(where, len(settings))}' for value, where in missing.items())}.")
    return said


def _size(settings: Mapping[str, Any], space: Mapping[str, Any]) -> int:
    """Number of architectures of the space."""
    none = int(bool(space.get("allow_none", True)))
    sizes = [none + int(about["number"]) for about in settings.values()]
    return math.prod(sizes) * math.prod(len(values) for values in (space.get("extra") or {}).values())


def _amount(number: int) -> str:
    return f"{number:,}" if number < 10**6 else f"{number:.2g}".replace("e+", f"{NBSP}x{NBSP}10^")


def _value(field: str, value: object) -> str:
    return clean(f"r = {value}" if field == "reduction" else f"{value} {field}")


def _places(where: list[str], every: int) -> str:
    if len(where) == every and every > 1:
        return "anywhere"
    more = f" and at {several(len(where) - _MOST, 'more site')}" if len(where) > _MOST else ""
    first = where[:_MOST]
    return f"at {', '.join(first)}{more}" if more else f"at {joined(first)}"
