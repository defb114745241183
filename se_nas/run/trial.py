"""One trial: an architecture, a seed, a fidelity, and the result. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from se_nas.space.architecture import Architecture

SCHEMA = 1
"""Version of the ledger's lines. Raise it when an older se-nas would misread new lines."""


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
        costs: known costs: the fields of `se_nas.se.cost.Cost`.
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
        """Whether a scheduler ended it early. A stopped trial has not failed, and is compared with no other."""
        return self.status == "stopped"

    @property
    def values(self) -> dict[str, float]:
        """Metrics and costs together. Objectives are looked up here."""
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
            raise ValueError("the number or a metric is not a number")
        return cls(**{**fields, "architecture": Architecture.from_json(data["architecture"])})
