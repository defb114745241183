"""Known-cost Bayesian search: what the other strategies do not have."""

from __future__ import annotations

import numpy as np
import pytest

from se_nas.objective import Objective, parse_objectives
from se_nas.space import SearchSpace
from se_nas.strategies import create_strategy, replay
from se_nas.trial import Trial


def made_up(space: SearchSpace, architecture, seed: int = 0) -> dict[str, float]:
    """Later sites are worth more; noise of a tenth of a point."""
    gain = sum((1 + i) * spec.reduction**-0.2 for i, (_, spec) in enumerate(architecture) if spec is not None)
    noise = np.random.default_rng([int(architecture.id, 16), seed]).standard_normal()
    return {"accuracy": 0.8 + gain / 1000 + noise / 1000}


def test_a_search_resumed_late_proposes_the_same() -> None:
    """From 24 trials on, weights are learned from fewer than all that are finished: which must not depend on when it was asked."""
    space = SearchSpace("resnet20", (3, 32, 32), reduction=[2, 4, 8, 16], squeeze=["avg", "max"])
    objectives = parse_objectives(["accuracy", "params"])

    def make():
        return create_strategy("known-cost", space, objectives, 5, pool=400)

    strategy, ledger, compared = make(), list[Trial](), 0
    for number in range(60):
        if number in (25, 31, 38, 59):
            again = make()
            assert replay(again, ledger)
            assert again.ask(3) == strategy.ask(3), f"after {number} trials"
            strategy.withdraw()
            compared += 1
        (architecture,) = strategy.ask(1)
        metrics, cost = made_up(space, architecture), space.cost(architecture)
        ledger.append(Trial(number, "proposal", architecture, 0, {}, "complete", metrics, {"params": cost.params, "macs": cost.macs}, number))
        strategy.tell(architecture, ledger[-1].values)
    assert compared == 4
