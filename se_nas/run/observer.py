"""Callbacks of a running search, for views that show it. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping

from se_nas.run.front import Front
from se_nas.run.run import Run
from se_nas.run.trial import Trial
from se_nas.space.architecture import Architecture


class Observer:
    """Is called on every event of a search, and does nothing. Views override the events that they show."""

    def search_started(self, run: Run, total: int) -> None:
        """A search of ``total`` trials begins or resumes; ``run.trials`` are already finished."""

    def trial_started(self, number: int, role: str, architecture: Architecture, costs: Mapping[str, float]) -> None:
        """A trial begins."""

    def epoch_finished(self, number: int, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        """A running trial has finished ``epoch`` of ``epochs``; ``metrics`` has at least its training ``loss``."""

    def trial_finished(self, trial: Trial, front: Front) -> None:
        """A trial is in the ledger; ``front`` is the front with it."""

    def search_finished(self, reason: str) -> None:
        """The search has ended; ``reason`` is ``complete``, ``exhausted`` (no architecture is left) or ``interrupted``."""

    def confirmation_started(self, run: Run) -> None:
        """Finalists and references are trained anew; ``run.config["confirm"]`` says which, ``run.confirmed`` are done."""

    def confirmation_finished(self, run: Run) -> None:
        """The confirmation has ended; ``run.verdict()`` is what it says."""

    def note(self, text: str) -> None:
        """A message for the user."""
