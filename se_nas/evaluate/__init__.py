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

ESTIMATED = "estimated_accuracy"
"""The accuracy that the SENet paper's tables let one expect. Its name says what it is wherever it is shown."""


@dataclass(frozen=True)
class Evaluation:
    """The result of a finished trial.

    Attributes:
        metrics: name -> value; accuracies are fractions in 0..1.
        weights: the trained network's state dict on the CPU, if there is one.
    """

    metrics: dict[str, float]
    weights: dict[str, Tensor] | None = None


class Evaluator(Protocol):
    """Gives an architecture its metrics.

    If its call has a parameter ``checkpoint`` (a path or None), a trial can be stopped and go on later, in another process. The
    evaluator reads the file if it exists, and writes it before each report (whole or not at all).
    """

    def __call__(self, architecture: Architecture, seed: int, fidelity: Mapping[str, int], device: str, report: Report) -> Evaluation:
        """Metrics of an architecture. Exceptions of ``report`` pass through and end the trial.

        Args:
            architecture: an architecture of the evaluator's space.
            seed: seed; the same one gives the same metrics.
            fidelity: effort, such as ``{"epochs": n}``.
            device: ``cpu``, ``cuda`` or ``cuda:0``.
            report: called to report progress.

        Raises:
            TrialFailed: if the architecture gives no metrics.
            InputError: for an impossible device or fidelity.
        """


class Apart(Exception):
    """Why an evaluator cannot try several architectures together, in words.

    Attributes:
        most: so many at a time it may be able to; 1: one after another.
    """

    def __init__(self, reason: str, most: int = 1) -> None:
        super().__init__(reason)
        self.most = most


def takes_checkpoint(evaluator: Evaluator) -> bool:
    """Whether an evaluator can go on with a partial training."""
    return "checkpoint" in inspect.signature(evaluator).parameters
