"""What a search chooses: an SE setting for each group of sites, and a value for each extra dimension. Needs no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from se_nas.errors import InputError
from se_nas.se.spec import FIELDS, SESpec
from se_nas.space.extra import KEY, Choice, words
from se_nas.text import shown

REFERENCES = ("plain", "paper")
"""Architectures that every search trains for comparison: the backbone without SE, and the SENet paper's default."""


@dataclass(frozen=True)
class Architecture:
    """One setting for each group of sites, and one value for each extra dimension. Immutable and hashable.

    A `SearchSpace` makes architectures canonical: settings that build the same network give equal architectures.

    Attributes:
        choices: (group, setting) pairs in the order of the space; a setting of None means no SE.
        extra: (name, value) pairs of the extra dimensions in the order of the space; empty in most spaces.
    """

    choices: tuple[tuple[str, SESpec | None], ...]
    extra: Choice = ()

    @classmethod
    def of(cls, choices: Mapping[str, SESpec | None]) -> Architecture:
        return cls(tuple(choices.items()))

    @cached_property
    def id(self) -> str:
        """A digest of the choices. It does not depend on the machine or the version."""
        text = json.dumps(self.to_json(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        return hash((self.choices, self.extra))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_hash"}  # which another process makes otherwise

    def __getitem__(self, group: str) -> SESpec | None:
        return dict(self.choices)[group]

    def __iter__(self) -> Iterator[tuple[str, SESpec | None]]:
        return iter(self.choices)

    def __str__(self) -> str:
        return "; ".join([*([words(self.extra)] if self.extra else []), *(f"{group}: {spec or 'no SE'}" for group, spec in self.choices)])

    def to_json(self) -> dict[str, dict[str, Any] | None]:
        """Group -> setting. Extra dimensions, if any, are one more mapping under the key ``extra``."""
        return {
            **({KEY: dict(self.extra)} if self.extra else {}),
            **{group: {name: getattr(spec, name) for name in FIELDS} if spec else None for group, spec in self.choices},
        }

    @classmethod
    def from_json(cls, data: Any) -> Architecture:
        """Inverse of `to_json`.

        Raises:
            InputError: if ``data`` does not have that form.
        """
        form = 'an architecture is {"group": {"reduction": 16, "squeeze": "avg", "gate": "sigmoid", "placement": "standard"}}'
        if not isinstance(data, Mapping):
            raise InputError(f"{shown(data)} is not an architecture", form)
        extra, groups = split_extra(data)
        specs = {str(group): None if spec is None else _spec(spec) for group, spec in groups.items()}
        for (group, spec), found in zip(groups.items(), specs.values(), strict=True):
            if spec is not None and found is None:
                raise InputError(f"{shown(spec)} of {shown(group)} is not a setting", form)
        for name, value in extra:
            if value is not None and not isinstance(value, (bool, int, float, str)):
                raise InputError(f"{shown(value)} of {shown(name)} is not a value", form)
        return cls(tuple(specs.items()), extra)


def _spec(data: object) -> SESpec | None:
    """The setting; None if it is none."""
    if not isinstance(data, Mapping):
        return None
    try:
        return _made(**data)
    except TypeError:  # keys that are no texts, or values that are lists
        return None


@lru_cache(maxsize=4096, typed=True)
def _made(**data: Any) -> SESpec | None:
    """The many lines of a ledger have few settings."""
    return SESpec(**data) if is_spec(data) else None


def is_spec(data: object) -> bool:
    """Whether this is a setting in JSON: what SE's fields are called, with a reduction from 1 on."""
    if not isinstance(data, Mapping) or not {"reduction"} <= data.keys() <= set(FIELDS):
        return False
    texts = all(isinstance(value, str) for name, value in data.items() if name != "reduction")
    return texts and type(data["reduction"]) is int and data["reduction"] >= 1


def split_extra(data: Mapping[str, Any]) -> tuple[Choice, dict[str, Any]]:
    """Split an architecture in JSON into its extra dimensions and its groups.

    In a space without extra dimensions a group may be called ``extra``; a setting has the key ``reduction``, which tells them apart.
    """
    extra = data.get(KEY)
    if not isinstance(extra, Mapping) or "reduction" in extra:
        return (), dict(data)
    return tuple(extra.items()), {name: value for name, value in data.items() if name != KEY}
