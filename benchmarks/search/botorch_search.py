"""BoTorch's multi-objective search of discrete dimensions: qLogNEHVI over Gaussian processes (``pip install botorch``; optional).

As its tutorials put it together: `SingleTaskGP` of each objective over the dimensions' values scaled to [0, 1], objectives
standardised, 2 (d + 1) first points drawn at random, batches by `optimize_acqf_discrete_local_search`, sequentially.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from botorch.acquisition.multi_objective.logei import qLogNoisyExpectedHypervolumeImprovement
from botorch.fit import fit_gpytorch_mll
from botorch.models import ModelListGP, SingleTaskGP
from botorch.models.deterministic import GenericDeterministicModel
from botorch.models.model import ModelList
from botorch.optim.optimize import optimize_acqf_discrete_local_search
from botorch.utils.multi_objective.hypervolume import infer_reference_point
from botorch.utils.multi_objective.pareto import is_non_dominated
from gpytorch.mlls import ExactMarginalLogLikelihood
from problems import Problem

RESTARTS, RAW = 10, 512


class BotorchSearch:
    """Asks in batches.

    Args:
        problem: to search.
        seed: of its draws.
        known: whether a known objective is given as a function rather than modelled.
    """

    def __init__(self, problem: Problem, seed: int, known: bool = False) -> None:
        self._problem, self._rng, self._seed = problem, np.random.default_rng(seed), seed
        self._known = [o.known and known for o in problem.objectives]
        space = problem.space
        dims = space.dims if hasattr(space, "dims") else space.dimensions
        self._make = space.from_dimensions if hasattr(space, "from_dimensions") else dict
        self._names, self._values = list(dims), [list(values) for values in dims.values()]
        self._choices = [torch.linspace(0, 1, len(values), dtype=torch.double) for values in self._values]
        self._x: list[list[int]] = []
        self._y: list[list[float]] = []
        self._asked: dict[str, list[int]] = {}

    def ask(self, n: int) -> list[Any]:
        first = 2 * (len(self._names) + 1)
        rows = self._random(n) if len(self._y) < first else self._best(n)
        architectures = [self._make({name: v[c] for name, v, c in zip(self._names, self._values, row, strict=True)}) for row in rows]
        self._asked = {str(architecture): row for architecture, row in zip(architectures, rows, strict=True)}
        return architectures

    def tell(self, architecture: Any, metrics: dict[str, float] | None) -> None:
        assert metrics is not None
        self._x.append(self._asked[str(architecture)])
        self._y.append([self._gain(o, metrics[o.name]) for o in self._problem.objectives])

    def _random(self, n: int) -> list[list[int]]:
        return [[int(self._rng.integers(len(values))) for values in self._values] for _ in range(n)]

    def _best(self, n: int) -> list[list[int]]:
        torch.manual_seed(self._seed + len(self._y))
        x = torch.stack([choices[[row[i] for row in self._x]] for i, choices in enumerate(self._choices)], 1)
        y = torch.tensor(self._y, dtype=torch.double)
        shift, scale = y.mean(0), y.std(0)
        y = (y - shift) / scale
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            models: list[Any] = []
            for i, known in enumerate(self._known):
                if known:
                    models.append(GenericDeterministicModel(self._exact(i, float(shift[i]), float(scale[i]))))
                    continue
                models.append(SingleTaskGP(x, y[:, [i]]))
                fit_gpytorch_mll(ExactMarginalLogLikelihood(models[-1].likelihood, models[-1]))
            acquisition = qLogNoisyExpectedHypervolumeImprovement(
                ModelList(*models) if any(self._known) else ModelListGP(*models),
                infer_reference_point(y[is_non_dominated(y)]),
                x,
                prune_baseline=True,
                cache_root=not any(self._known),
            )
            found, _ = optimize_acqf_discrete_local_search(acquisition, self._choices, n, RESTARTS, RAW, X_avoid=x)
        return [self._codes(row) for row in found]

    def _codes(self, row: Any) -> list[int]:
        return [int((choices - value).abs().argmin()) for choices, value in zip(self._choices, row, strict=True)]

    def _exact(self, i: int, shift: float, scale: float) -> Any:
        def values(x: Any) -> Any:
            flat = x.reshape(-1, x.shape[-1]).detach()
            rows = [self._codes(row) for row in flat]
            objective = self._problem.objectives[i]
            cost = self._problem.space.costs[objective.name].rows(np.array(rows))
            gains = torch.tensor([self._gain(objective, c) for c in cost], dtype=torch.double)
            return ((gains - shift) / scale).reshape(*x.shape[:-1], 1)

        return values

    @staticmethod
    def _gain(objective: Any, value: float) -> float:
        """More is better; costs by their logarithms."""
        gain = value if objective.name == "accuracy" else float(np.log(value))
        return gain if objective.direction == "max" else -gain
