from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from conftest import digits_space

from se_nas.errors import InputError
from se_nas.oneshot.expected_cost import ExpectedCost
from se_nas.space.space import SearchSpace


def probabilities(space: SearchSpace, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        label: torch.randn(len(values), generator=generator, dtype=torch.float64).softmax(0) for label, values in space.dimensions.items()
    }


@pytest.mark.parametrize("metric", ["params", "macs", "energy"])
@pytest.mark.parametrize("changes", [{}, {"allow_none": False}, {"placement": ["standard", "pre"], "squeeze": ["avg", "none"]}], ids=str)
def test_the_mean_is_that_of_all_architectures(metric: str, changes: dict[str, object]) -> None:
    space = digits_space(share="stage", sites={"drop": ["layer3.0"]}, **changes)
    space = space.with_cost("energy", lambda a: 2.5 + sum(0.25 / spec.reduction for _, spec in a if spec))
    chances = probabilities(space)
    mean = 0.0
    for values in itertools.product(*(enumerate(values) for values in space.dimensions.values())):
        chance = math.prod(float(chances[label][i]) for label, (i, _) in zip(space.dimensions, values, strict=True))
        architecture = space.from_dimensions({label: value for label, (_, value) in zip(space.dimensions, values, strict=True)})
        mean += chance * getattr(space.cost(architecture), metric)
    assert float(ExpectedCost(space, metric).mean(chances)) == pytest.approx(mean, rel=1e-12)


def test_its_gradient_leads_to_less() -> None:
    space = digits_space()
    logits = {label: torch.zeros(len(values), requires_grad=True) for label, values in space.dimensions.items()}
    cost = ExpectedCost(space)
    before = cost.mean({label: value.softmax(0) for label, value in logits.items()})
    before.backward()
    after = cost.mean({label: (value - 1e-4 * value.grad).softmax(0) for label, value in logits.items() if value.grad is not None})
    assert float(after.detach()) < float(before.detach())


def test_excess_is_0_up_to_the_target_and_1_from_plain_to_dearest() -> None:
    space = digits_space()
    cost = ExpectedCost(space, "params")
    assert cost.excess(float(cost.plain)) == 0 and cost.excess(float(cost.dearest)) == 1
    half = ExpectedCost(space, "params", str((cost.plain + cost.dearest) // 2))
    assert half.excess(float(cost.plain)) == 0 and half.excess(float(cost.dearest)) == pytest.approx(0.5, abs=1e-3)
    assert ExpectedCost(space, target="paper").target == space.cost(space.reference("paper")).params
    with pytest.raises(InputError, match="cost_target"):
        ExpectedCost(space, "params", "cheap")
    for name, message in [("latency", "nothing is known of the latency"), ("energy", "unknown cost_metric")]:
        with pytest.raises(InputError, match=message):
            ExpectedCost(space, name)


def test_the_ranking_begins_with_each_dimensions_best_and_stays_within_the_budgets() -> None:
    space = digits_space(share="stage", placement=["standard", "pre"])
    chances = probabilities(space, 1)
    best = space.from_dimensions({label: values[int(chances[label].argmax())] for label, values in space.dimensions.items()})
    assert next(space.ranked(ExpectedCost(space).worth(chances))) == best
    tight = space.with_budgets({"params": "<= +2%"})
    worth = ExpectedCost(tight).worth(chances)
    ranked = list(tight.ranked(worth))
    assert len(ranked) == tight.feasible_size == len({a.id for a in ranked}) and all(map(tight.is_feasible, ranked))
    sums = [sum(row[code] for row, code in zip(worth, tight.encode(a), strict=True)) for a in ranked]
    assert np.all(np.diff(sums) <= 1e-9)
