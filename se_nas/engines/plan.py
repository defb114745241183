"""What a search still has to try: the references first, then what the strategy proposes."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from se_nas.goals.objective import Objective
from se_nas.goals.trade import resolve_trade
from se_nas.run.settings import SearchSettings
from se_nas.run.trial import Trial
from se_nas.space.architecture import REFERENCES, Architecture
from se_nas.space.space import SearchSpace
from se_nas.strategies import Strategy, create_strategy, replay, tell
from se_nas.strategies.exact import EXACT, Exact
from se_nas.strategies.external import External, is_external

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Job:
    """A trial still to be run. Its fields are those of `Trial`."""

    number: int
    role: str
    architecture: Architecture
    seed: int
    fidelity: Mapping[str, int]
    costs: Mapping[str, float]
    after: int

    def to_json(self) -> dict[str, Any]:
        """Plain data, for another process."""
        return {**asdict(self), "architecture": self.architecture.to_json()}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Job:
        """Inverse of `to_json`."""
        return cls(**{**data, "architecture": Architecture.from_json(data["architecture"])})


class Plan:
    """Hands out jobs in order, and takes back finished trials.

    Trials 0 and 1 are the references ``plain`` and ``paper``. With ``repeats``, they come again with the next seeds. All
    later trials come from the strategy; an architecture that it proposes again gets the next seed. A plan made from a
    ledger continues exactly where the search that wrote it stopped.

    Args:
        space: the search space.
        settings: of the search.
        objectives: of the search.
        trials: the ledger so far, in the order in which the trials ended.
        earlier: trials of another run; the strategy is told of them first.
        out: jobs that are handed out already.
        taken: numbers of trials that are not the search's (a confirmation's).

    Attributes:
        space: the search space.
        trade: how the objectives are traded.
        replayed: whether the strategy proposes again what the ledger holds, see `se_nas.strategies.replay`.
        keep: which weights engines shall give to the recorder; None: as the search's settings say.
    """

    keep: str | None = None

    def __init__(
        self,
        space: SearchSpace,
        settings: SearchSettings,
        objectives: Sequence[Objective],
        trials: Sequence[Trial],
        earlier: Sequence[Trial] = (),
        out: Sequence[Job] = (),
        taken: Collection[int] = (),
    ) -> None:
        self.space = space
        self._settings = settings
        self._finished = len(trials)
        external = is_external(settings.strategy)
        self.trade = resolve_trade(vars(settings), objectives, space.plain_cost._asdict(), len(space.budgets))
        compared = self.trade.compared(objectives)
        self._strategy = _strategy(space, settings, objectives, compared)
        for trial in earlier:
            tell(self._strategy, trial)
        self.replayed = external or replay(self._strategy, trials)
        self._references = {role: space.reference(role) for role in REFERENCES}
        for reference in self._references.values():
            self._strategy.expect(reference)  # with several workers, the strategy is asked before it hears of them
        self._seeds: dict[Architecture, set[int]] = {}
        for job in out:
            self._strategy.expect(job.architecture)
        known = [(trial.architecture, trial.seed) for trial in (*earlier, *trials)] + [(job.architecture, job.seed) for job in out]
        for architecture, seed in known:
            self._seeds.setdefault(architecture, set()).add(seed)
        done = {trial.number for trial in trials} | {job.number for job in out}
        free = (number for number in itertools.count() if number not in done and number not in taken)
        self._numbers = deque(itertools.islice(free, max(settings.trials - len(done), 0)))

    @property
    def left(self) -> int:
        """Number of jobs not handed out yet."""
        return len(self._numbers)

    @property
    def at_references(self) -> bool:
        """Whether the next job is a reference."""
        return bool(self._numbers) and self._numbers[0] < 2 * self._settings.repeats

    def next(self, proposed: Architecture | None = None) -> Job | None:
        """The next job, or None if all are handed out or the strategy proposes nothing more.

        Args:
            proposed: an architecture from another library's strategy; None to ask the plan's own strategy.
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
        """The first seed, from the search's own up, that no trial of the architecture has used."""
        seeds = self._seeds.get(architecture, set())
        return next(seed for seed in itertools.count(self._settings.seed) if seed not in seeds)

    def copy(self, job: Job) -> Job | None:
        """A new job that continues another one's training with other settings, or None if no job is left.

        Its fidelity is marked ``copied``, so it is compared with no other trial, and the strategy is not told of it.
        """
        if not self._numbers:
            return None
        fidelity = {**job.fidelity, "copied": 1}
        return replace(job, number=self._numbers.popleft(), role="copy", fidelity=fidelity, after=self._finished)

    def _job(self, number: int, role: str, architecture: Architecture, seed: int) -> Job:
        self._seeds.setdefault(architecture, set()).add(seed)
        costs = self.space.cost(architecture)._asdict()
        return Job(number, role, architecture, seed, {"epochs": self._settings.epochs}, costs, self._finished)

    def scored(self, trial: Trial, weights: Mapping[str, Tensor] | None) -> Trial:
        """The trial itself: a search never looks at the test split."""
        return trial

    def finished(self, trial: Trial) -> None:
        """Tell the strategy of a trial. The trial must be in the ledger already."""
        tell(self._strategy, trial)
        self._finished += 1


def _strategy(
    space: SearchSpace, settings: SearchSettings, objectives: Sequence[Objective], compared: Sequence[Objective]
) -> Strategy | External | Exact:
    if is_external(settings.strategy):
        return External()
    if settings.strategy == EXACT:
        return Exact(space, objectives)
    return create_strategy(settings.strategy, space, compared, settings.seed, **_options(space, settings))


def _options(space: SearchSpace, settings: SearchSettings) -> dict[str, Any]:
    """Arguments for the strategy that follow from the settings."""
    options: dict[str, Any] = {}
    if settings.front_seeds > 1:
        options["repeats"] = settings.front_seeds
    if settings.prior == "paper":
        from se_nas.evaluate.paper import PaperEvaluator

        options["prior"] = PaperEvaluator(space).estimates
    return options
