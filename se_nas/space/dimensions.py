"""A space as named categorical dimensions: what strategies search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from se_nas.se.spec import SESpec
from se_nas.space.architecture import Architecture


class Dimensions:
    """A dimension for each thing that a group may choose, named ``group.field``.

    Args:
        candidates: of each group, the values of each field of `SESpec`; a reduction of ``None`` means no SE.

    Attributes:
        values: name -> values; a field with one value has no dimension.
    """

    def __init__(self, candidates: Mapping[str, Mapping[str, tuple[Any, ...]]]) -> None:
        self._candidates = candidates
        self.values = {
            f"{group}.{field}": values for group, own in candidates.items() for field, values in own.items() if len(values) > 1
        }  # fmt: skip

    def spec(self, group: str, values: Mapping[str, Any]) -> SESpec | None:
        """A group's setting, from one value a dimension."""

        def value(field: str) -> Any:
            name = f"{group}.{field}"
            return values[name] if name in self.values else self._candidates[group][field][0]

        if value("reduction") is None:
            return None
        return SESpec(**{field: value(field) for field in self._candidates[group]})

    def of(self, architecture: Architecture) -> dict[str, Any]:
        """One value a dimension; those of a group without SE take their first value."""
        found = {}
        for name, candidates in self.values.items():
            group, _, field = name.rpartition(".")
            spec = architecture[group]
            found[name] = getattr(spec, field) if spec else (None if field == "reduction" else candidates[0])
        return found
