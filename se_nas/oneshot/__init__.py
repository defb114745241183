"""One-shot search: NNI's one-shot strategies train one supernet that holds every architecture of a space.

This module loads neither torch nor NNI.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from se_nas.errors import InputError
from se_nas.evaluate import Evaluator
from se_nas.run.settings import SearchSettings

if TYPE_CHECKING:
    from se_nas.space.space import SearchSpace

ONE_SHOT = ("darts", "gumbel-darts", "proxyless", "enas", "random-one-shot")
"""Names of NNI's one-shot strategies, as ``--strategy`` takes them."""


def check_one_shot(evaluator: Evaluator, settings: SearchSettings) -> None:
    """Check that a one-shot search is possible, before anything is trained.

    Raises:
        InputError: if the evaluator does not train, the space has extra dimensions, or the cost settings are wrong.
    """
    from se_nas.evaluate.training import TrainingEvaluator
    from se_nas.oneshot.expected_cost import ExpectedCost

    if not isinstance(evaluator, TrainingEvaluator):
        raise InputError("a one-shot search trains networks, and this evaluator does not", "take --evaluator training", "evaluator")
    refuse_extra(evaluator.space)
    ExpectedCost(evaluator.space, settings.cost_metric, settings.cost_target)


def refuse_extra(space: SearchSpace) -> None:
    """Raise `InputError` for a space with extra dimensions: they change the backbone, and a supernet has only one."""
    if space.extra:
        fix = "take a strategy that trains each architecture alone, or fix the value in backbone_args"
        raise InputError(f"a supernet has one backbone, and {', '.join(space.extra)} would change it", fix, "extra")
