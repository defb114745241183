"""Architectures as one value for each named dimension: what libraries that know only parameters search."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from se_nas.se.spec import SESpec
from se_nas.space.architecture import Architecture
from se_nas.space.choices import read_value, read_values
from se_nas.space.extra import KEY
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
        self._all = {**extra, **{f"{group.name}.{field}": own for group in self._groups for field, own in group.candidates.items()}}
        self.values = {name: values for name, values in self._all.items() if len(values) > 1}

    def choices(self, values: Any, prefix: str | None = None) -> tuple[dict[str, SESpec | None], dict[str, Any]]:
        """Each group's setting and each extra dimension's value. Where a reduction is None, the group's other values are not read.

        A ratio above a group's channels becomes the largest candidate that fits.

        Args:
            values: from anywhere, see `se_nas.space.choices.read_values`; or an `Architecture`.
            prefix: what the names of the dimensions begin with; None finds it.

        Raises:
            InputError: for a value that is missing or not a candidate.
        """
        given = values.to_json() if isinstance(values, Architecture) else values
        own = read_values(given, self._all, [group.name for group in self._groups], prefix)
        for name in self._extra:
            if f"{KEY}.{name}" in own:
                own.setdefault(name, own[f"{KEY}.{name}"])
        extra = {name: read_value(own, name, candidates) for name, candidates in self._extra.items()}
        return {group.name: group.fitting(self._spec(group, own)) for group in self._groups}, extra

    def _spec(self, group: Group, own: Mapping[str, Any]) -> SESpec | None:
        def value(field: str) -> Any:
            return read_value(own, f"{group.name}.{field}", group.candidates[field])

        return None if value("reduction") is None else SESpec(**{field: value(field) for field in group.candidates})

    def of(self, architecture: Architecture) -> dict[str, Any]:
        """The architecture's value of each dimension. Where a group has no SE, its other dimensions get their first value."""
        found = {name: value for name, value in architecture.extra if name in self.values}
        for name in self.values.keys() - self._extra.keys():
            group, _, field = name.rpartition(".")
            spec = architecture[group]
            found[name] = getattr(spec, field) if spec else (None if field == "reduction" else self.values[name][0])
        return {name: found[name] for name in self.values}
