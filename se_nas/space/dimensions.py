"""Architectures as one value for each named dimension: what libraries that know only parameters search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from se_nas.se.spec import SESpec
from se_nas.space.architecture import Architecture
from se_nas.space.group import Group


class Dimensions:
    """The extra dimensions, and a dimension ``group.field`` for each field that a group may choose.

    Args:
        groups: the groups, each with its candidates.
        extra: name of an extra dimension -> its values.

    Attributes:
        values: name -> values. What has one value only is left out.
    """

    def __init__(self, groups: Iterable[Group], extra: Mapping[str, tuple[Any, ...]]) -> None:
        self._groups, self._extra = tuple(groups), extra
        names = {**extra, **{f"{group.name}.{field}": own for group in self._groups for field, own in group.candidates.items()}}
        self.values = {name: values for name, values in names.items() if len(values) > 1}

    def choices(self, values: Mapping[str, Any]) -> tuple[dict[str, SESpec | None], dict[str, Any]]:
        """Each group's setting and each extra dimension's value. Where a reduction is None, the group's other values are not read.

        A ratio above a group's channels becomes the largest candidate that fits.
        """
        extra = {name: values[name] if name in self.values else own[0] for name, own in self._extra.items()}
        return {group.name: group.fitting(self._spec(group, values)) for group in self._groups}, extra

    def _spec(self, group: Group, values: Mapping[str, Any]) -> SESpec | None:
        def value(field: str) -> Any:
            name = f"{group.name}.{field}"
            return values[name] if name in self.values else group.candidates[field][0]

        return None if value("reduction") is None else SESpec(**{field: value(field) for field in group.candidates})

    def of(self, architecture: Architecture) -> dict[str, Any]:
        """The architecture's value of each dimension. Where a group has no SE, its other dimensions get their first value."""
        found = {name: value for name, value in architecture.extra if name in self.values}
        for name in self.values.keys() - self._extra.keys():
            group, _, field = name.rpartition(".")
            spec = architecture[group]
            found[name] = getattr(spec, field) if spec else (None if field == "reduction" else self.values[name][0])
        return {name: found[name] for name in self.values}
