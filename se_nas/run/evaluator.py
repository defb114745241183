"""The evaluator that a search's settings name."""

from __future__ import annotations

from dataclasses import replace

from se_nas.evaluate import Evaluator
from se_nas.evaluate.data import load_data
from se_nas.evaluate.device import choose_device, find_device
from se_nas.evaluate.kept import check_cache
from se_nas.evaluate.normalisation import find_normalisation
from se_nas.evaluate.paper import PaperEvaluator
from se_nas.evaluate.table import TableEvaluator
from se_nas.evaluate.training import TrainingEvaluator
from se_nas.run.run import Run
from se_nas.run.settings import SearchSettings
from se_nas.run.start import read_start
from se_nas.space.space import SearchSpace


def make_evaluator(space: SearchSpace, settings: SearchSettings, run: Run | None = None) -> Evaluator:
    """Training on the settings' data, estimates from the SENet paper's tables (``paper``), or a table (``table:PATH``).

    Args:
        space: the architectures' space.
        settings: of the search.
        run: whose normalisation and start to take, once it has them.

    Raises:
        InputError: if the data or its normalisation cannot be had, a table is none, or the memory is too small for the cache.
    """
    if settings.evaluator == "paper":
        return PaperEvaluator(space)
    if settings.table:
        return TableEvaluator(space, settings.table, settings.seed, max(settings.repeats, settings.front_seeds))
    known = run.config.get("normalisation") if run else None
    found = (tuple(known["mean"]), tuple(known["std"])) if known else find_normalisation(settings.normalise, space, settings.start)
    data = load_data(settings.data, space.input_size, settings.data_root)
    if found:
        data = replace(data, mean=found[0], std=found[1])
    start = read_start(run) if run and "start" in run.config else None
    if settings.cache and settings.engine == "local":
        check_cache(settings.cache, find_device(choose_device(settings.device)))
    return TrainingEvaluator(space, data, settings.train, settings.threads, start, _cache(settings))


def _cache(settings: SearchSettings) -> float | None:
    """GB of memory for each process that trains; None for what suits one that is alone."""
    if settings.engine == "nni" and settings.nni_service != "none":
        return 0  # a process trains one network
    return 0 if settings.cache is None and settings.engine not in ("local", "nni") else settings.cache


def as_evaluated(space: SearchSpace, settings: SearchSettings, evaluator: Evaluator) -> tuple[SearchSpace, SearchSettings]:
    """What of a space the evaluator has metrics of, and the settings with the epochs that it has: of a table, what it holds."""
    if not isinstance(evaluator, TableEvaluator):
        return space, settings
    return evaluator.space, replace(settings, epochs=evaluator.table.epochs)


def validation_images(evaluator: Evaluator) -> int | None:
    """How many images an accuracy is the mean of; None if that is unknown."""
    if isinstance(evaluator, TableEvaluator):
        return evaluator.table.validation_images
    return len(evaluator.data.val.labels) if isinstance(evaluator, TrainingEvaluator) else None
