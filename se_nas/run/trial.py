"""One trial: an architecture, a seed and a fidelity, and what came of it. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from se_nas.space.architecture import Architecture

SCHEMA = 1
"""Version of the ledger's lines; it grows when a reader of old lines would misread new ones."""


@dataclass(frozen=True)
class Trial:
    """One line of the ledger.

    Attributes:
        number: place in the order in which trials were begun, from 0.
        role: ``proposal`` of the strategy, the reference ``plain`` or ``paper``, or ``copy``: another trial's partial training
            gone on with at another learning rate (population based training).
        architecture: what was tried.
        seed: of initialisation, shuffling and augmentation.
        fidelity: how much was spent, ``{"epochs": 10}``; trials of different fidelities are never compared.
        status: ``complete``, ``failed``, or ``stopped`` early by a scheduler; fidelity is then that which it reached,
            ``{"epochs": 3, "of": 10}``, and metrics are as of then.
        metrics: what was measured (accuracy is a fraction, on the validation split); empty if failed.
        costs: what was known before: the fields of `se_nas.se.cost.Cost`.
        after: how many trials the strategy had been told of when it proposed this one, so that it can be replayed.
        error: why it failed.
        worker: where it ran.
        started: time in UTC, ISO 8601.
        seconds: wall-clock time of the evaluation.
    """

    number: int
    role: str
    architecture: Architecture
    seed: int
    fidelity: Mapping[str, int]
    status: str
    metrics: Mapping[str, float]
    costs: Mapping[str, int]
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
        """Whether a scheduler ended it early: it is no failure, and compared with nothing."""
        return self.status == "stopped"

    @property
    def values(self) -> dict[str, float]:
        """Metrics and costs together: what objectives are read from."""
        return {**self.costs, **self.metrics}

    def to_json(self) -> dict[str, Any]:
        fields = {**asdict(self), "architecture": self.architecture.to_json()}
        return {"schema": SCHEMA, "id": self.architecture.id, **fields}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Trial:
        """Inverse of `to_json`; raises ValueError, TypeError or KeyError for anything else."""
        if data["schema"] > SCHEMA:
            raise ValueError(f"written by a newer se-nas (schema {data['schema']}, this one reads {SCHEMA})")
        fields = {key: value for key, value in data.items() if key not in ("schema", "id")}
        if type(fields["number"]) is not int or not all(type(value) in (int, float) for value in fields["metrics"].values()):
            raise ValueError("its number or its metrics are no numbers")
        return cls(**{**fields, "architecture": Architecture.from_json(data["architecture"])})
