"""Evaluators: what gives an architecture its metrics, by training it or by looking them up.

An engine knows no more of one than the types below. Importing this module needs no torch.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from se_nas.space.architecture import Architecture

if TYPE_CHECKING:
    from torch import Tensor

Report = Callable[[int, int, Mapping[str, float]], None]
"""Called after each epoch with epochs done, epochs in all, and metrics: ``loss`` (training), ``accuracy`` (validation, 0..1)."""


@dataclass(frozen=True)
class Evaluation:
    """What a finished trial found.

    Attributes:
        metrics: name -> value; accuracies are fractions in 0..1.
        weights: the trained network's state dict on the CPU, where there is one.
    """

    metrics: dict[str, float]
    weights: dict[str, Tensor] | None = None


class Evaluator(Protocol):
    """Where a trial's metrics come from.

    One whose call also has a parameter ``checkpoint``, a path or None, can be stopped and go on later, in another process:
    where the file exists it goes on from it, and before each report it writes it (whole or not at all).
    """

    def __call__(self, architecture: Architecture, seed: int, fidelity: Mapping[str, int], device: str, report: Report) -> Evaluation:
        """Metrics of an architecture; what ``report`` raises passes through, and so ends the trial.

        Args:
            architecture: one of the evaluator's space.
            seed: the same seed gives the same metrics.
            fidelity: how thoroughly, ``{"epochs": n}`` where a network is trained.
            device: ``cpu``, ``cuda`` or ``cuda:0``.
            report: told of progress.

        Raises:
            TrialFailed: if the architecture gives no metrics.
            InputError: for a device or fidelity that cannot be.
        """


def takes_checkpoint(evaluator: Evaluator) -> bool:
    """Whether an evaluator can go on with a partial training."""
    return "checkpoint" in inspect.signature(evaluator).parameters
