"""A space as named categorical dimensions: what strategies search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from se_nas.se.spec import SESpec
from se_nas.space.architecture import Architecture


class Dimensions:
    """A dimension for each thing that a group may choose, named ``group.field``.

    Args:
        groups: their names.
        candidates: the values of each field of `SESpec`; a reduction of ``None`` means no SE.

    Attributes:
        values: name -> values; a field with one value has no dimension.
    """

    def __init__(self, groups: Iterable[str], candidates: Mapping[str, tuple[Any, ...]]) -> None:
        self._candidates = candidates
        self.values = {
            f"{group}.{field}": values for group in groups for field, values in candidates.items() if len(values) > 1
        }  # fmt: skip

    def spec(self, group: str, values: Mapping[str, Any]) -> SESpec | None:
        """A group's setting, from one value a dimension."""

        def value(field: str) -> Any:
            name = f"{group}.{field}"
            return values[name] if name in self.values else self._candidates[field][0]

        if value("reduction") is None:
            return None
        return SESpec(**{field: value(field) for field in self._candidates})

    def of(self, architecture: Architecture) -> dict[str, Any]:
        """One value a dimension; those of a group without SE take their first value."""
        found = {}
        for name, candidates in self.values.items():
            group, _, field = name.rpartition(".")
            spec = architecture[group]
            found[name] = getattr(spec, field) if spec else (None if field == "reduction" else candidates[0])
        return found
