"""The exact front of what the SENet paper's tables imply. Estimates add up, so nothing needs to be sampled.

Groups of sites are taken one by one. Of the partial architectures only those are kept that may still lead to the front: for
which no other one costs as little and is estimated as good, whatever the open groups add. An estimate is linear in what each
stage gains, so it is enough to look where the open groups add the least or the most to a stage.
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from se_nas.evaluate.paper import PaperEvaluator
from se_nas.space.budget import METRICS
from se_nas.space.space import SearchSpace

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def paper_front(space: SearchSpace, metrics: tuple[str, ...] = METRICS) -> Ints:
    """Codes of all architectures within the budgets that no other one beats in estimated accuracy and these costs.

    Of architectures that are equal in all of them, one is kept. Shape (n, groups), cheapest first.

    Raises:
        InputError: for a space that the tables do not cover.
    """
    evaluator = PaperEvaluator(space)
    gains = evaluator.gains
    (table,) = space.tables.values()
    costs, names = table.options, table.metrics
    objectives = [names.index(name) for name in {*metrics, *(budget.metric for budget in space.budgets)}]
    codes, gained, spent = np.zeros((1, 0), np.int64), np.zeros((1, gains[0].shape[1])), np.zeros((1, len(names)), np.int64)
    for group, (adds, takes) in enumerate(zip(gains, costs, strict=True)):
        codes = np.column_stack([np.repeat(codes, len(adds), 0), np.tile(np.arange(len(adds)), len(codes))])
        gained = (gained[:, None] + adds).reshape(-1, gained.shape[1])
        spent = (spent[:, None] + takes).reshape(-1, spent.shape[1])
        still = [np.stack([other.min(0), other.max(0)]) for other in gains[group + 1 :]]
        cases = _corners(np.sum(still, 0) if still else np.zeros((2, gained.shape[1])))
        kept = _unbeaten(np.column_stack([*(evaluator.errors(gained + case) for case in cases), spent[:, objectives]]))
        codes, gained, spent = codes[kept], gained[kept], spent[kept]
    limits = {names.index(budget.metric): table.left(budget) for budget in space.budgets}
    within = np.all([spent[:, column] <= limit for column, limit in limits.items()] or [np.ones(len(codes), bool)], 0)
    codes, gained, spent = codes[within], gained[within], spent[within]
    last = _unbeaten(np.column_stack([evaluator.errors(gained), spent[:, [names.index(name) for name in metrics]]]))
    codes, spent = codes[last], spent[last]
    return np.asarray(codes[np.lexsort(spent.T[::-1])])


def _corners(limits: Floats) -> list[Floats]:
    """Each stage gains the least or the most that it may; ``limits`` has shape (2, stages)."""
    return list(map(np.array, itertools.product(*({low, high} for low, high in limits.T.tolist()))))


def _unbeaten(losses: Floats) -> Ints:
    """Indices of the rows that no other row beats or equals in every column; of equal rows the first."""
    losses = np.round(losses, 9)  # sums of the same gains in another order are the same
    kept: list[int] = []
    front = np.empty((0, losses.shape[1]))
    for index in np.lexsort(losses.T[::-1]):
        if not (front <= losses[index]).all(1).any():
            kept.append(int(index))
            front = losses[kept]
    return np.array(kept, np.int64)
