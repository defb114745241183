"""The plan of a confirmation: finalists and references anew, seed by seed, on any engine."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from se_nas.engines.plan import Job, Plan
from se_nas.errors import InputError
from se_nas.goals.objective import Objective
from se_nas.goals.trade import Trade
from se_nas.run.trial import CONFIRM, Trial
from se_nas.run.verdict import race_so_far
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace

if TYPE_CHECKING:
    from torch import Tensor

Score = Callable[[Architecture, Mapping[str, "Tensor"]], Mapping[str, float]]
"""From an architecture and its trained weights to metrics on the test split."""


class Confirmation(Plan):
    """Hands out finalists in place of a strategy's proposals. A seed is a block: every architecture has it, plain first.

    In a race, those that have left it are not trained again, and it ends when it is decided. Workers that would wait for a
    seed to be whole begin the next one.

    Args:
        space: of the search.
        confirmation: ``architectures`` (name -> JSON), ``seeds``, ``epochs``, and ``first``, the number of the first trial.
        trials: those with role `CONFIRM` in the ledger.
        trade: of the search's objectives.
        compared: the metric by which a race is decided; None if there is none.
        score: scores a finished trial on the test split; None if there is none.
    """

    def __init__(
        self,
        space: SearchSpace,
        confirmation: Mapping[str, Any],
        trials: Sequence[Trial],
        trade: Trade,
        compared: Objective | None,
        score: Score | None,
    ) -> None:
        self.space, self.trade, self.replayed, self._score = space, trade, True, score
        self.keep = "all" if score else None
        self._confirmation, self._trials, self._compared = confirmation, list(trials), compared
        fidelity, after = {"epochs": int(confirmation["epochs"])}, 0
        self._names = {Architecture.from_json(data): name for name, data in confirmation["architectures"].items()}
        done, number = {trial.number for trial in trials}, int(confirmation["first"])
        self._jobs: deque[Job] = deque()
        for seed in confirmation["seeds"]:
            for architecture in self._names:
                if number not in done:
                    costs = space.cost(architecture)._asdict()
                    self._jobs.append(Job(number, CONFIRM, architecture, seed, fidelity, costs, after))
                number += 1
        self._leave()

    @property
    def left(self) -> int:
        """Number of jobs not handed out yet."""
        return len(self._jobs)

    @property
    def at_references(self) -> bool:
        """False: plain and paper are finalists like the others here."""
        return False

    def next(self, proposed: Architecture | None = None) -> Job | None:
        """The next job, or None if all are handed out; nothing else is ever tried."""
        return self._jobs.popleft() if self._jobs else None

    def copy(self, job: Job) -> Job | None:
        """None: a confirmation's trainings are their own."""
        return None

    def scored(self, trial: Trial, weights: Mapping[str, Tensor] | None) -> Trial:
        """The trial with its scores on the test split.

        Raises:
            InputError: if there is a test split, and the weights did not come back.
        """
        if self._score is None or not trial.complete:
            return trial
        if not weights:
            fix = "let weights come back: keep_weights front or all, and a storage that all machines see"
            raise InputError(f"trial {trial.number} came back without weights to score on the test split", fix, "confirm")
        return replace(trial, metrics={**trial.metrics, **self._score(trial.architecture, weights)})

    def finished(self, trial: Trial) -> None:
        """In a race, those that are told to be worse than the leader leave."""
        self._trials.append(trial)
        self._leave()

    def _leave(self) -> None:
        if self._compared and self._confirmation.get("race"):
            race = race_so_far(self._confirmation, self._trials, self._compared)
            self._jobs = deque(job for job in self._jobs if not race.over and self._names[job.architecture] in race.left)
