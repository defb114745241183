"""What an architecture drawn from a supernet's choices costs in the mean: exact, from the space's tables, and differentiable."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from functools import reduce

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from se_nas.errors import InputError, known
from se_nas.se.spec import SESpec
from se_nas.space.budget import METRICS, parse_budget
from se_nas.space.group import Group
from se_nas.space.space import SearchSpace

FIELDS = ("reduction", "squeeze", "gate", "placement")


class Expectation:
    """Every group's table: what each combination of its values costs, and which of its options it builds.

    Groups are chosen independently, and so are the fields of a group, so the mean is the sum over groups of the tables
    weighted by products of probabilities. Nothing is approximated.

    Args:
        space: whose dimensions name the probabilities.
        metric: ``params`` or ``macs``.
        target: what may be spent without loss, as a budget is written (``+2%``, ``1.2M``); empty for none.

    Raises:
        InputError: for an unknown metric, or a target of another form.
    """

    def __init__(self, space: SearchSpace, metric: str = "params", target: str = "") -> None:
        known(metric, METRICS, "cost_metric")
        self.space, self.metric = space, metric
        self._costs = [torch.tensor([getattr(group.cost(spec), metric) for spec in _specs(group)]).double() for group in space.groups]
        self._options = [torch.tensor([group.options.index(group.canonical(spec)) for spec in _specs(group)]) for group in space.groups]
        self.plain = int(getattr(space.plain_cost, metric))
        self.dearest = int(getattr(space.cost(space.dearest(metric)), metric))
        self.target = self.plain
        if target:
            try:
                self.target = parse_budget(metric, target, self.plain).limit
            except InputError as error:
                raise InputError(error.problem.replace("budget", "target"), error.fix, "cost_target") from None

    def mean(self, probabilities: Mapping[str, Tensor]) -> Tensor:
        """Parameters or MACs in the mean, a float64 scalar.

        Args:
            probabilities: of each dimension of the space, in the order of its values.
        """
        joint = (self._joint(group, probabilities) for group in self.space.groups)
        return self.plain + torch.stack([(costs.to(p.device) * p).sum() for costs, p in zip(self._costs, joint, strict=True)]).sum()

    def excess(self, cost: Tensor | float) -> Tensor | float:
        """How far a cost is over the target, in units of what the dearest architecture adds to the plain backbone; at least 0."""
        over = (cost - self.target) / max(1, self.dearest - self.plain)
        return over.clamp(min=0) if isinstance(over, Tensor) else max(0.0, over)

    def worth(self, probabilities: Mapping[str, Tensor]) -> list[npt.NDArray[np.float64]]:
        """Of each group's options, the logarithm of the most probable combination of values that builds it; shape (options,).

        No SE is built whatever the other fields say, so it goes with the best of them. The greatest sum is then each
        dimension's most probable value, as NNI exports it.
        """
        worth = []
        for group, options in zip(self.space.groups, self._options, strict=True):
            best = torch.full((len(group.options),), 1e-300, dtype=torch.float64)
            best.scatter_reduce_(0, options, self._joint(group, probabilities).detach().cpu(), "amax")
            worth.append(best.log().numpy())
        return worth

    def _joint(self, group: Group, probabilities: Mapping[str, Tensor]) -> Tensor:
        """Of each combination of a group's values, float64, flat."""
        one = torch.ones(1, dtype=torch.float64)
        fields = [probabilities.get(f"{group.name}.{field}", one).double() for field in FIELDS]
        device = max((field.device for field in fields), key=lambda device: device.type != "cpu")
        joint: Tensor = reduce(lambda a, b: (a[:, None] * b).flatten(), (field.to(device) for field in fields))
        return joint


def _specs(group: Group) -> list[SESpec | None]:
    """What each combination of a group's values stands for."""
    values = itertools.product(*(group.candidates[field] for field in FIELDS))
    return [None if reduction is None else group.fitting(SESpec(reduction, *rest)) for reduction, *rest in values]
