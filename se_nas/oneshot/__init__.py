"""One-shot search: one network that holds every architecture of a space, trained once, in NNI's one-shot strategies.

Importing this module needs neither torch nor NNI.
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
    """Raise `InputError` for what a one-shot search cannot do, before anything is trained."""
    from se_nas.evaluate.training import TrainingEvaluator
    from se_nas.oneshot.cost import Expectation

    if not isinstance(evaluator, TrainingEvaluator):
        raise InputError("a one-shot search trains networks, and this evaluator does not", "take --evaluator training", "evaluator")
    refuse_extra(evaluator.space)
    Expectation(evaluator.space, settings.cost_metric, settings.cost_target)


def refuse_extra(space: SearchSpace) -> None:
    """Raise `InputError` for a space with extra dimensions, which are several backbones."""
    if space.extra:
        fix = "take a strategy that trains each architecture alone, or one value of each by backbone_args"
        raise InputError(f"a supernet has one backbone, and {', '.join(space.extra)} would change it", fix, "extra")
