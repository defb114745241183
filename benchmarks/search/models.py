"""How far other surrogates and another acquisition rule get in the place of known-cost's own.

    python benchmarks/search/models.py --problem params --table mnasnet_se_imagenet.csv

Everything else (first trials, candidates, batches) is the same. ``near``: the covariance that falls with distance.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from curves import row, run
from mnasnet import Floats, Ints
from peers import PEERS
from problems import Problem, make_problem
from sklearn.ensemble import ExtraTreesRegressor

from se_nas.strategies.known_cost.improvement import expected_improvement
from se_nas.strategies.known_cost.strategy import CHUNK, KINDS, KnownCostStrategy
from se_nas.strategies.known_cost.surrogate import Surrogate

MARKS = (25, 50, 75, 100, 150)


class Trees:
    """Extra trees, their spread being the deviation."""

    least = 0.0

    def learn(self, rows: Floats, values: Floats, noise: float | None = None) -> None: ...

    def condition(self, rows: Floats, values: Floats, first: int | None = None) -> None:
        self._rows = rows
        self._trees = ExtraTreesRegressor(60, max_features=0.5, random_state=0).fit(rows[:, :-1], values)

    def believe(self, rows: Floats, values: Floats) -> None:
        self.condition(np.concatenate([self._rows, rows]), values)

    def means(self, rows: Floats) -> Floats:
        return self.predict(rows)[0]

    def predict(self, rows: Floats) -> tuple[Floats, Floats]:
        each = np.stack([tree.predict(rows[:, :-1]) for tree in self._trees.estimators_])
        return each.mean(0), each.std(0) + 1e-3


SURROGATES: dict[str, Sequence[str] | None] = {
    "linear + near + costs": KINDS,
    "linear + near": ("constant", "linear", "near"),
    "linear + costs": ("constant", "linear", "costs"),
    "extra trees": None,
}
"""Label -> components of the Gaussian process's covariance; None for trees."""

ACQUISITIONS = ("expected", "optimistic")
"""Expected improvement of the hypervolume, and that of the mean raised by one deviation."""


class Variant(KnownCostStrategy):
    """Known-cost search with another model or rule."""

    def __init__(self, problem: Problem, seed: int, surrogate: str, acquisition: str) -> None:
        super().__init__(problem.space, problem.objectives, seed)
        kinds = SURROGATES[surrogate]
        models: dict[int, Any] = {i: Surrogate(self._features.layout, kinds) if kinds else Trees() for i in self._models}
        self._models, self._acquisition = models, acquisition

    def score(self, codes: Ints) -> Floats:
        scores = [np.zeros(0)]
        for start in range(0, len(codes), CHUNK):
            means, deviations = self._predict(codes[start : start + CHUNK])
            if self._acquisition == "optimistic":
                means = means + np.stack([np.zeros(len(means)) if d is None else d for d in deviations], 1)
                deviations = [None] * len(deviations)
            scores.append(expected_improvement(means, deviations, self._front))
        return np.concatenate(scores)

    def best(self, codes: Ints, n: int) -> tuple[Ints, Floats]:
        scores = self.score(codes)
        first = np.argsort(-scores, kind="stable")[:n]
        return codes[first], scores[first]


def main() -> None:
    parser = argparse.ArgumentParser(description="Hypervolume over evaluations, of known-cost with other models and rules.")
    parser.add_argument("--problem", default="params")
    parser.add_argument("--table", type=Path, help="CSV file of trained networks, see mnasnet.py")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--from-seed", type=int, default=100, help="the first of them")
    parser.add_argument("--evaluations", type=int, default=150)
    parser.add_argument("--target", type=float, required=True, help="share of the best hypervolume, as curves.py prints it")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    args = parser.parse_args()
    problem, seeds = make_problem(args.problem, args.table, args.out), range(args.from_seed, args.from_seed + args.seeds)
    marks = [mark for mark in MARKS if mark <= args.evaluations]
    print(f"{problem.name}: {problem.about}; seeds {seeds[0]} to {seeds[-1]}, batches of 4")
    print(
        f"{'acquisition and surrogate':35}{'seeds':>6}" + "".join(f"{f'at {m}':>9}" for m in marks) + "  to target      middle half  s/ask"
    )
    for surrogate in SURROGATES:
        for acquisition in ACQUISITIONS:
            PEERS["variant"] = lambda problem, seed, s=surrogate, a=acquisition: Variant(problem, seed, s, a)  # type: ignore[misc]
            runs = [run(problem, "variant", seed, args.evaluations, 4) for seed in seeds]
            label = f"{acquisition:11}{surrogate:24}"
            print(row(label, np.array([curve for curve, _ in runs]), marks, args.target, float(np.mean([s for _, s in runs]))), flush=True)


if __name__ == "__main__":
    main()
