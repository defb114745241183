"""What a search chooses: an SE setting for each group of sites, and a value of each extra dimension. Needs no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from se_nas.errors import InputError
from se_nas.se.spec import SESpec
from se_nas.space.extra import KEY, Choice, words


@dataclass(frozen=True)
class Architecture:
    """One choice per group of sites, and one value per extra dimension: immutable, hashable, the same in JSON.

    A `SearchSpace` makes them canonical: two genotypes that build the same network give equal architectures.

    Attributes:
        choices: (group, setting) pairs in the order of the space.
        extra: (name, value) pairs of the extra dimensions, in the order of the space; none in most spaces.
    """

    choices: tuple[tuple[str, SESpec | None], ...]
    extra: Choice = ()

    @classmethod
    def of(cls, choices: Mapping[str, SESpec | None]) -> Architecture:
        return cls(tuple(choices.items()))

    @cached_property
    def id(self) -> str:
        """A digest of the choices: the same on every machine and in every version."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def __getitem__(self, group: str) -> SESpec | None:
        return dict(self.choices)[group]

    def __iter__(self) -> Iterator[tuple[str, SESpec | None]]:
        return iter(self.choices)

    def __str__(self) -> str:
        return "; ".join([*([words(self.extra)] if self.extra else []), *(f"{group}: {spec or 'no SE'}" for group, spec in self.choices)])

    def to_json(self) -> dict[str, dict[str, Any] | None]:
        """Group -> setting; extra dimensions, where there are any, as one more mapping under ``extra``."""
        return {
            **({KEY: dict(self.extra)} if self.extra else {}),
            **{group: asdict(spec) if spec else None for group, spec in self.choices},
        }

    @classmethod
    def from_json(cls, data: Any) -> Architecture:
        """Inverse of `to_json`.

        Raises:
            InputError: if ``data`` is not of that form.
        """
        form = 'an architecture is {"group": {"reduction": 16, "squeeze": "avg", "gate": "sigmoid", "placement": "standard"}}'
        if not isinstance(data, Mapping):
            raise InputError(f"{data!r} is not an architecture", form)
        extra, groups = split_extra(data)
        try:
            return cls(tuple((str(group), SESpec(**spec) if spec is not None else None) for group, spec in groups.items()), extra)
        except TypeError as error:
            raise InputError(f"not an architecture: {error}", form) from None


def split_extra(data: Mapping[str, Any]) -> tuple[Choice, dict[str, Any]]:
    """The extra dimensions of an architecture in JSON, and its groups; one of these may be called ``extra`` where there are no others."""
    extra = data.get(KEY)
    if not isinstance(extra, Mapping) or "reduction" in extra:
        return (), dict(data)
    return tuple(extra.items()), {name: value for name, value in data.items() if name != KEY}
