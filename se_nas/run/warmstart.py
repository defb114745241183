"""Warm start: a new search begins with an earlier run's trials. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence

from se_nas.errors import InputError
from se_nas.goals.objective import Objective
from se_nas.run.run import Run
from se_nas.run.settings import SearchSettings
from se_nas.run.trial import Trial


def read_earlier(settings: SearchSettings, objectives: Sequence[Objective]) -> list[Trial]:
    """The complete trials of the run ``settings.warm_start`` that have this search's measured objectives.

    The two spaces need only overlap: strategies ignore architectures that are not in the new space.

    Raises:
        InputError: if the metrics cannot be compared (other data, epochs or start), or no trial is left.
    """
    if not settings.warm_start:
        return []
    run = Run.open(settings.warm_start)
    theirs = run.config["search"]
    for key, value in (("data", settings.data), ("epochs", settings.epochs), ("start", settings.start)):
        their = theirs.get(key, SearchSettings.start)
        if their != value:
            raise InputError(
                f"its {key} is {their} and this search's is {value}: results cannot be compared",
                f"search with {key} {their}, or without the warm start",
                "warm_start",
            )
    measured = [objective.name for objective in objectives if not objective.known]
    trials = [trial for trial in run.trials if trial.complete and all(name in trial.metrics for name in measured)]
    if not trials:
        raise InputError(f"{run.path} holds no complete trial with {', '.join(measured)}", "take another run", "warm_start")
    return trials
