"""The evaluator that a search's settings name."""

from __future__ import annotations

from se_nas.evaluate import Evaluator
from se_nas.evaluate.data import load_data
from se_nas.evaluate.paper import PaperEvaluator
from se_nas.evaluate.training import TrainingEvaluator
from se_nas.run.settings import SearchSettings
from se_nas.space.space import SearchSpace


def make_evaluator(space: SearchSpace, settings: SearchSettings) -> Evaluator:
    """Training on the settings' data, or with ``evaluator: paper`` estimates from the SENet paper's tables."""
    if settings.evaluator == "paper":
        return PaperEvaluator(space)
    return TrainingEvaluator(space, load_data(settings.data, space.input_size, settings.data_root), settings.train, settings.threads)
