"""What a search still has to try: both references first, then what the strategy proposes."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from se_nas.goals.objective import Objective
from se_nas.goals.trade import resolve_trade
from se_nas.run.settings import SearchSettings
from se_nas.run.trial import Trial
from se_nas.space.architecture import Architecture
from se_nas.space.space import REFERENCES, SearchSpace
from se_nas.strategies import Strategy, create_strategy, replay, tell
from se_nas.strategies.elsewhere import Elsewhere, is_elsewhere


@dataclass(frozen=True)
class Job:
    """A trial to be run; its fields are those of `Trial`."""

    number: int
    role: str
    architecture: Architecture
    seed: int
    fidelity: Mapping[str, int]
    costs: Mapping[str, int]
    after: int


class Plan:
    """Hands out jobs in order, and takes back finished trials.

    Trials 0 and 1 are the references; with ``repeats`` they come again with the next seeds. All later ones are the
    strategy's; what it proposes again is tried with the next seed. A plan made from a ledger goes on just where the search
    that wrote it stopped.

    Args:
        space: what is searched.
        settings: how.
        objectives: what for.
        trials: the ledger so far, in the order in which the trials ended.
        earlier: trials of another run, of which the strategy is told first.

    Attributes:
        space: as given.
        trade: of the objectives.
        replayed: whether the strategy proposes what the ledger holds, see `se_nas.strategies.replay`.
    """

    def __init__(
        self,
        space: SearchSpace,
        settings: SearchSettings,
        objectives: Sequence[Objective],
        trials: Sequence[Trial],
        earlier: Sequence[Trial] = (),
    ) -> None:
        self.space = space
        self._settings = settings
        self._finished = len(trials)
        elsewhere = is_elsewhere(settings.strategy)
        self.trade = resolve_trade(vars(settings), objectives, space.plain_cost._asdict(), len(space.budgets))
        compared = self.trade.compared(objectives)
        self._strategy: Strategy | Elsewhere = (
            Elsewhere() if elsewhere else create_strategy(settings.strategy, space, compared, settings.seed, **_options(space, settings))
        )
        for trial in earlier:
            tell(self._strategy, trial)
        self.replayed = elsewhere or replay(self._strategy, trials)
        self._references = {role: space.reference(role) for role in REFERENCES}
        for reference in self._references.values():
            self._strategy.expect(reference)  # with several workers, the strategy is asked before it hears of them
        self._seeds: dict[Architecture, set[int]] = {}
        for trial in (*earlier, *trials):
            self._seeds.setdefault(trial.architecture, set()).add(trial.seed)
        done = {trial.number for trial in trials}
        self._numbers = deque(number for number in range(settings.trials) if number not in done)

    @property
    def left(self) -> int:
        """How many jobs are not handed out yet."""
        return len(self._numbers)

    @property
    def at_references(self) -> bool:
        """Whether the next job is a reference."""
        return bool(self._numbers) and self._numbers[0] < 2 * self._settings.repeats

    def next(self, proposed: Architecture | None = None) -> Job | None:
        """The next job; None when all are handed out or no architecture is left.

        Args:
            proposed: by a strategy that is not this plan's; in place of what its own would propose.
        """
        if not self._numbers:
            return None
        number = self._numbers.popleft()
        if number < 2 * self._settings.repeats:
            role = REFERENCES[number % 2]
            return self._job(number, role, self._references[role], self._settings.seed + number // 2)
        asked = [proposed] if proposed else self._strategy.ask(1)
        return self._job(number, "proposal", asked[0], self._new_seed(asked[0])) if asked else None

    def _new_seed(self, architecture: Architecture) -> int:
        """The first, from the search's own on, that no trial of the architecture had."""
        seeds = self._seeds.get(architecture, set())
        return next(seed for seed in itertools.count(self._settings.seed) if seed not in seeds)

    def copy(self, job: Job) -> Job | None:
        """A further trial that goes on from where another is, with other settings of its training; None when none is left.

        Its fidelity is none that a search asks for: it is compared with nothing, and no strategy hears of it.
        """
        if not self._numbers:
            return None
        fidelity = {**job.fidelity, "copied": 1}
        return replace(job, number=self._numbers.popleft(), role="copy", fidelity=fidelity, after=self._finished)

    def _job(self, number: int, role: str, architecture: Architecture, seed: int) -> Job:
        self._seeds.setdefault(architecture, set()).add(seed)
        costs = self.space.cost(architecture)._asdict()
        return Job(number, role, architecture, seed, {"epochs": self._settings.epochs}, costs, self._finished)

    def finished(self, trial: Trial) -> None:
        """Tell the strategy of a trial that is in the ledger."""
        tell(self._strategy, trial)
        self._finished += 1


def _options(space: SearchSpace, settings: SearchSettings) -> dict[str, Any]:
    """What settings say to a strategy of its own."""
    options: dict[str, Any] = {}
    if settings.front_seeds > 1:
        options["repeats"] = settings.front_seeds
    if settings.prior == "paper":
        from se_nas.evaluate.paper import PaperEvaluator

        options["prior"] = PaperEvaluator(space).estimates
    return options
