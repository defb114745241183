"""Schedulers: what ends bad trials early. References are spared: they are yardsticks, and run to their end."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from ray import tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, HyperBandScheduler, PopulationBasedTraining, TrialScheduler

from se_nas.space.space import REFERENCES

COMMON = {"time_attr": "epoch", "metric": "score", "mode": "max"}
Copy = Callable[[dict[str, Any]], dict[str, Any]]


def make_scheduler(name: str, epochs: int, copy: Copy, over: Callable[[], bool]) -> TrialScheduler:
    """A scheduler by name (`se_nas.run.settings.SCHEDULERS`).

    Args:
        name: ``asha`` (arXiv 1810.05934), ``hyperband`` (arXiv 1603.06560), ``pbt`` (arXiv 1711.09846) or ``none``.
        epochs: of a whole trial.
        copy: what makes the config of a copied trial (``pbt``).
        over: whether there will be no further trials (``hyperband``).
    """
    if name == "hyperband":
        return Sparing(Filling(epochs, over))
    return {"none": FIFOScheduler, "asha": lambda: _asha(epochs), "pbt": lambda: _pbt(epochs, copy)}[name]()


def _asha(epochs: int) -> TrialScheduler:
    return Sparing(AsyncHyperBandScheduler(**COMMON, max_t=epochs, grace_period=1, reduction_factor=3))


def _pbt(epochs: int, copy: Copy) -> TrialScheduler:
    """A trial of the worst quarter goes on as a copy of one of the best, at 0.8 or 1.2 times its learning rate."""
    mutations = {"lr": tune.uniform(0.1, 10.0)}
    return Sparing(
        Populating(
            **COMMON,
            perturbation_interval=max(1, epochs // 4),
            hyperparam_mutations=mutations,
            resample_probability=0.0,
            custom_explore_fn=copy,
            log_config=False,
        )
    )


class Populating(PopulationBasedTraining):
    """Population based training whose population comes from a strategy, which Tune's own refuses."""

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        super().on_trial_add(SimpleNamespace(search_alg=None), trial)


class Filling(HyperBandScheduler):
    """HyperBand that waits with halving until a bracket is full, or nothing is left to fill it.

    Tune's own halves what is there: with few workers, each trial alone, which stops none.
    """

    def __init__(self, epochs: int, over: Callable[[], bool]) -> None:
        super().__init__(**COMMON, max_t=epochs, reduction_factor=3)
        self._over = over

    def _create_bracket(self, s: int) -> Any:
        bracket = super()._create_bracket(s)
        # of all that it got: Tune counts those that are not over, of which one worker has one at a time
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


class Sparing(TrialScheduler):
    """A scheduler that never hears of the references."""

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
