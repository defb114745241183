"""One trial: an architecture, a seed, a fidelity, and the result. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from se_nas.space.architecture import REFERENCES, Architecture
from se_nas.text import shown

SCHEMA = 2
"""Version of the ledger's lines. Raise it when an older se-nas would misread new lines. Those of 1 have no checksum."""

CONFIRM = "confirm"
"""Role of a confirmation's trials. Searches and their fronts do not see them."""

ROLES = ("proposal", *REFERENCES, "copy", CONFIRM)
STATUSES = ("complete", "failed", "stopped")


@dataclass(frozen=True)
class Trial:
    """One line of the ledger.

    Attributes:
        number: index in the order in which trials were begun, from 0.
        role: ``proposal`` (of the strategy), ``plain`` or ``paper`` (the references), or ``copy`` (population based training:
            continues another trial's partial training at another learning rate), ``confirm`` (of `se_nas.api.confirm`).
        architecture: the architecture.
        seed: seed of initialisation, shuffling and augmentation.
        fidelity: how long it was trained, ``{"epochs": 10}``. Trials of different fidelities are never compared.
        status: ``complete``, ``failed``, or ``stopped`` (early, by a scheduler). A stopped trial's fidelity says how far it came,
            ``{"epochs": 3, "of": 10}``; its metrics are those at that point.
        metrics: measured metrics (accuracy is a fraction, on the validation split); empty if failed.
        costs: known costs: the fields of `se_nas.se.cost.Cost`, and further ones by name.
        after: number of trials that the strategy had been told when it proposed this one. Replay needs it.
        error: why it failed; None if it did not.
        worker: where it ran.
        started: start time in UTC, ISO 8601.
        seconds: wall-clock time of the evaluation, in seconds.
    """

    number: int
    role: str
    architecture: Architecture
    seed: int
    fidelity: Mapping[str, int]
    status: str
    metrics: Mapping[str, float]
    costs: Mapping[str, float]
    after: int
    error: str | None = None
    worker: str = ""
    started: str = ""
    seconds: float = 0.0

    @property
    def complete(self) -> bool:
        return self.status == "complete"

    @property
    def stopped(self) -> bool:
        """Whether a scheduler ended it early. A stopped trial has not failed, and is compared with no other."""
        return self.status == "stopped"

    @property
    def values(self) -> dict[str, float]:
        """Metrics and costs together. Objectives are looked up here."""
        return {**self.costs, **self.metrics}

    def to_json(self) -> dict[str, Any]:
        fields = {**vars(self), "architecture": self.architecture.to_json()}
        return {"schema": SCHEMA, "id": self.architecture.id, **fields}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Trial:
        """Inverse of `to_json`; raises ValueError, TypeError or KeyError for anything else."""
        schema = data["schema"]
        if not is_count(schema) or not 1 <= schema <= SCHEMA:
            newer = f"written by a newer se-nas (schema {shown(schema)}, this one reads {SCHEMA})"
            raise ValueError(newer if is_count(schema) and schema > SCHEMA else f"schema {shown(schema)} is none")
        fields = {key: value for key, value in data.items() if key not in ("schema", "id")}
        for name, holds in _HOLDS.items():
            if not holds(fields[name]):
                raise ValueError(f"{name} {shown(fields[name])} is none")
        architecture = Architecture.from_json(data["architecture"])
        if data["id"] != architecture.id:
            raise ValueError(f"its architecture is not {shown(data['id'])}")
        return cls(**{**fields, "architecture": architecture})


def is_count(value: object) -> bool:
    """Whether it is a whole number from 0 on."""
    return type(value) is int and value >= 0


def is_finite(value: object) -> bool:
    """Whether it is a number, and finite."""
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]


def _all(holds: Callable[[object], bool]) -> Callable[[object], bool]:
    """A check of a mapping from texts."""
    return lambda value: isinstance(value, Mapping) and all(isinstance(key, str) and holds(each) for key, each in value.items())


def _is_text(value: object) -> bool:
    return isinstance(value, str)


_HOLDS: dict[str, Callable[[object], bool]] = {
    "number": is_count,
    "role": lambda value: value in ROLES,
    "seed": is_count,
    "fidelity": _all(is_count),
    "status": lambda value: value in STATUSES,
    "metrics": _all(is_finite),
    "costs": _all(is_finite),
    "after": is_count,
    "error": lambda value: value is None or isinstance(value, str),
    "worker": _is_text,
    "started": _is_text,
    "seconds": is_finite,
}
"""Field of a line -> whether a value can stand there."""
