"""The expected cost of an architecture drawn from a supernet's choices: exact and differentiable."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import reduce

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from se_nas.errors import InputError, known
from se_nas.se.spec import FIELDS, SESpec
from se_nas.space.budget import LATENCY, PROFILE, parse_budget
from se_nas.space.group import Group
from se_nas.space.space import SearchSpace


class ExpectedCost:
    """Computes the expected parameters, MACs or further cost from a table for each group: the cost of each combination of its values.

    Groups are chosen independently, and so are the fields of a group. So the expectation is a sum over groups, each the
    group's table weighted by products of probabilities. Nothing is approximated.

    Args:
        space: the search space. Probabilities are given by its dimensions.
        metric: ``params``, ``macs`` or a further cost of the space.
        target: cost that is free, written like a budget (``+2%``, ``paper``, ``1.2M``); empty for that of the plain backbone.

    Raises:
        InputError: for an unknown metric or a target that cannot be read.
    """

    def __init__(self, space: SearchSpace, metric: str = "params", target: str = "") -> None:
        if metric == LATENCY and metric not in space.costs:
            raise InputError("nothing is known of the latency", PROFILE, "cost_metric")
        known(metric, space.metrics, "cost_metric")
        table, named = next(iter(space.tables.values())), space.costs.get(metric)
        adds = [column[:, table.metrics.index(metric)] for column in table.options]
        worth = [named.value(steps) if named else steps for steps in adds]
        self.space, self.metric = space, metric
        self._options = [torch.tensor([group.options.index(group.canonical(spec)) for spec in _specs(group)]) for group in space.groups]
        self._costs = [torch.tensor(costs).double()[options] for costs, options in zip(worth, self._options, strict=True)]
        self.plain: float = getattr(space.plain_cost, metric)
        self.dearest: float = getattr(space.cost(space.dearest(metric)), metric)
        more = self.dearest - self.plain
        self._scale = more if named and more > 0 else max(1, more)
        self.target = self.plain
        if target:
            try:
                self.target = parse_budget(metric, target, self.plain, space.paper_cost, named.unit if named else None).limit
            except InputError as error:
                raise InputError(error.problem.replace("budget", "target"), error.fix, "cost_target") from None

    def mean(self, probabilities: Mapping[str, Tensor]) -> Tensor:
        """The expected cost, a float64 scalar.

        Args:
            probabilities: dimension of the space -> probabilities of its values, shape (values,).
        """
        joint = (self._joint(group, probabilities) for group in self.space.groups)
        return self.plain + torch.stack([(costs.to(p.device) * p).sum() for costs, p in zip(self._costs, joint, strict=True)]).sum()

    def excess(self, cost: Tensor | float) -> Tensor | float:
        """How far a cost is over the target. 0: not over it; 1: over it by what the dearest architecture adds to the plain backbone."""
        over = (cost - self.target) / self._scale
        return over.clamp(min=0) if isinstance(over, Tensor) else max(0.0, over)

    def worth(self, probabilities: Mapping[str, Tensor]) -> list[npt.NDArray[np.float64]]:
        """For each group, the log probability of each option; shape (options,).

        Several combinations of values can build the same option: without SE, the other fields change nothing. The most
        probable combination counts, so the architecture with the greatest sum has each dimension's most probable value,
        as NNI exports it.
        """
        worth = []
        for group, options in zip(self.space.groups, self._options, strict=True):
            best = torch.full((len(group.options),), 1e-300, dtype=torch.float64)
            best.scatter_reduce_(0, options, self._joint(group, probabilities).detach().cpu(), "amax")
            worth.append(best.log().numpy())
        return worth

    def _joint(self, group: Group, probabilities: Mapping[str, Tensor]) -> Tensor:
        """The probability of each combination of a group's values; float64, shape (combinations,)."""
        one = torch.ones(1, dtype=torch.float64)
        fields = [probabilities.get(f"{group.name}.{field}", one).double() for field in FIELDS]
        device = max((field.device for field in fields), key=lambda device: device.type != "cpu")
        joint: Tensor = reduce(lambda a, b: (a[:, None] * b).flatten(), (field.to(device) for field in fields))
        return joint


def _specs(group: Group) -> list[SESpec | None]:
    """What each combination of a group's values stands for."""
    values = itertools.product(*(group.candidates[field] for field in FIELDS))
    return [None if reduction is None else group.fitting(SESpec(reduction, *rest)) for reduction, *rest in values]
