"""Schedulers end bad trials early. The references always run to their end: everything is compared with them."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, HyperBandScheduler, PopulationBasedTraining, TrialScheduler

from se_nas.space.architecture import REFERENCES

COMMON = {"time_attr": "epoch", "metric": "score", "mode": "max"}
Copy = Callable[[dict[str, Any]], dict[str, Any]]


def make_scheduler(name: str, epochs: int, copy: Copy, over: Callable[[], bool]) -> TrialScheduler:
    """Make a scheduler by name (`se_nas.run.settings.SCHEDULERS`).

    Args:
        name: ``asha`` (arXiv 1810.05934), ``hyperband`` (arXiv 1603.06560), ``pbt`` (arXiv 1711.09846) or ``none``.
        epochs: epochs of a whole trial.
        copy: makes the config of a copied trial (``pbt``).
        over: says whether no further trial will begin (``hyperband``).
    """
    if name == "hyperband":
        return SpareReferences(FullBracketHyperBand(epochs, over))
    return {"none": FIFOScheduler, "asha": lambda: _asha(epochs), "pbt": lambda: _pbt(epochs, copy)}[name]()


def _asha(epochs: int) -> TrialScheduler:
    return SpareReferences(AsyncHyperBandScheduler(**COMMON, max_t=epochs, grace_period=1, reduction_factor=3))


def _pbt(epochs: int, copy: Copy) -> TrialScheduler:
    """A trial in the worst quarter continues as a copy of one in the best, at 0.8 or 1.2 times its learning rate."""
    mutations = {"lr": tune.uniform(0.1, 10.0)}
    return SpareReferences(
        StrategyPBT(
            **COMMON,
            perturbation_interval=max(1, epochs // 4),
            hyperparam_mutations=mutations,
            resample_probability=0.0,
            custom_explore_fn=copy,
            log_config=False,
        )
    )


class StrategyPBT(PopulationBasedTraining):
    """Population based training over the trials that a strategy proposes. Tune's own refuses a search algorithm."""

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        super().on_trial_add(SimpleNamespace(search_alg=None), trial)


class FullBracketHyperBand(HyperBandScheduler):
    """HyperBand that halves a bracket only once it is full, or no trial is left to fill it.

    Tune's own halves the trials that are there. With few workers that is each trial alone, so none is ever stopped.
    """

    def __init__(self, epochs: int, over: Callable[[], bool]) -> None:
        super().__init__(**COMMON, max_t=epochs, reduction_factor=3)
        self._over = over

    def _create_bracket(self, s: int) -> Any:
        bracket = super()._create_bracket(s)
        # count all trials it was given; Tune counts only unfinished ones, and one worker has one of those at a time
        bracket.filled = lambda: len(bracket._all_trials) >= bracket._n0
        return bracket

    def _process_bracket(self, tune_controller: Any, bracket: Any) -> str:
        if not bracket.filled() and not self._over():
            return str(TrialScheduler.PAUSE)
        return str(super()._process_bracket(tune_controller, bracket))

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        if self._over():
            for bracket in (bracket for band in self._hyperbands for bracket in band if bracket and not bracket.filled()):
                waiting = bracket.current_trials()
                paused = waiting and all(trial.status == Trial.PAUSED for trial in waiting)
                if paused and bracket.cur_iter_done() and not bracket.finished():
                    super()._process_bracket(tune_controller, bracket)
        chosen: Trial | None = super().choose_trial_to_run(tune_controller)
        return chosen


class SpareReferences(TrialScheduler):
    """Hides the references from a scheduler, so that it cannot stop them."""

    def __init__(self, inner: TrialScheduler) -> None:
        super().__init__()
        self._inner = inner

    @property
    def supports_buffered_results(self) -> bool:
        return False

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        return bool(self._inner.set_search_properties(metric, mode, **spec))

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        if not _spared(trial):
            self._inner.on_trial_add(tune_controller, trial)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        if not _spared(trial):
            self._inner.on_trial_error(tune_controller, trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        return TrialScheduler.CONTINUE if _spared(trial) else str(self._inner.on_trial_result(tune_controller, trial, result))

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        if not _spared(trial):
            self._inner.on_trial_complete(tune_controller, trial, result)

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        if not _spared(trial):
            self._inner.on_trial_remove(tune_controller, trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        for trial in tune_controller.get_live_trials():
            if trial.status == Trial.PENDING and _spared(trial):
                return trial
        chosen: Trial | None = self._inner.choose_trial_to_run(tune_controller)
        return chosen

    def debug_string(self) -> str:
        return str(self._inner.debug_string())


def _spared(trial: Trial) -> bool:
    return trial.config["task"].job.role in REFERENCES
