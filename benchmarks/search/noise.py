"""What noise between seeds does to what a search reports, where the truth is known.

    python benchmarks/search/noise.py --problem analytic~0.2

Each search trains the two references with two seeds first, as ``repeats: 2`` does, and has the same number of trials in all.
Its reported front is that of the means it measured. Printed, over the seeds: the true hypervolume of the reported front, and
of all that was tried; what the best reported value promises too much; how often the reported winner (the best accuracy on
the front) is truly within the tie band of the best that was tried; the share of the reported front that nothing tried truly
beats by more than the band at no more cost; trials that were repeats. The band is that of `se_nas.run.front.Noise` with the noise as
it truly is: a run's own, from two references with two seeds, is twice as wide.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
from problems import Problem, make_problem

from se_nas.goals.hypervolume import dominated_volume
from se_nas.run.front import Noise
from se_nas.strategies import create_strategy

SURE = 10**6
"""Degrees of freedom of a deviation that is known."""

SEARCHES: dict[str, tuple[str, dict[str, Any]]] = {
    "random": ("random", {}),
    "nsga2": ("nsga2", {}),
    "known-cost": ("known-cost", {}),
    "known-cost, 3 seeds": ("known-cost", {"repeats": 3}),
}
"""Label -> strategy and its options."""


def main() -> None:
    parser = argparse.ArgumentParser(description="What noise does to what a search reports.")
    parser.add_argument("--problem", default="analytic~0.2")
    parser.add_argument("--table", type=Path, help="CSV file of trained networks, see mnasnet.py")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--from-seed", type=int, default=100, help="the first of them")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"))
    args = parser.parse_args()
    problem, seeds = make_problem(args.problem, args.table, args.out), range(args.from_seed, args.from_seed + args.seeds)
    print(f"{problem.name}: {problem.about}; seeds {seeds[0]} to {seeds[-1]}, {args.trials} trials in batches of {args.batch}; means")
    columns = ("true HV", "HV tried", "promised", "winner ties", "front ties", "repeats")
    print(f"{'search':22}" + "".join(f"{column:>13}" for column in columns))
    for label in SEARCHES:
        rows = np.array([report(problem, label, seed, args.trials, args.batch) for seed in seeds])
        cells = "".join(f"{value:13.3f}" for value in rows.mean(0))
        print(f"{label:22}{cells}   (true HV +- {rows[:, 0].std() / len(rows) ** 0.5:.3f})", flush=True)


def report(problem: Problem, label: str, seed: int, trials: int, batch: int) -> list[float]:
    """One search's row, see the top of the file."""
    name, options = SEARCHES[label]
    strategy, rng = create_strategy(name, problem.space, problem.objectives, seed, **options), np.random.default_rng([seed, 7])
    told: dict[Any, list[dict[str, float]]] = defaultdict(list)

    def tell(architectures: list[Any]) -> None:
        for architecture, metrics in zip(architectures, problem.measure(architectures, rng), strict=True):
            strategy.tell(architecture, metrics)
            told[architecture].append(metrics)

    references = [problem.space.reference(role) for role in ("plain", "paper")]
    tell(references + references)
    while (left := trials - sum(map(len, told.values()))) > 0:
        tell(strategy.ask(min(batch, left)))
    tried, numbers = list(told), np.array([len(values) for values in told.values()])
    first, second = problem.objectives
    gains = problem.gains(tried)
    true = np.array([metrics[first.name] for metrics in problem.true(tried)])
    means = np.array([np.mean([metrics[first.name] for metrics in values]) for values in told.values()])
    costs = np.array([second.loss(values[0][second.name]) for values in told.values()])
    noise = Noise(problem.noise, SURE, "known")
    front = [
        i for i in range(len(tried)) if not ((means >= means[i]) & (costs <= costs[i]) & ((means > means[i]) | (costs < costs[i]))).any()
    ]
    winner, best = front[int(np.argmax(means[front]))], int(np.argmax(true))

    def ties(i: int, other: int) -> bool:
        return bool(true[other] - true[i] <= noise.band(int(numbers[i]), int(numbers[other])))

    unbeaten = [all(ties(i, j) for j in np.flatnonzero(costs <= costs[i])) for i in front]
    volumes = [dominated_volume(gains[front].tolist()) / problem.best, dominated_volume(gains.tolist()) / problem.best]
    return [*volumes, means[winner] - true[winner], float(ties(winner, best)), float(np.mean(unbeaten)), float((numbers - 1).sum() - 2)]


if __name__ == "__main__":
    main()
