"""What a proposal costs, and that none is over budget.

    python benchmarks/search/limits.py

Seconds are of the processor, which other work on the machine disturbs least.

Asks after 500 finished trials in a space of 1.04e11; seconds to score a million candidates; 10,000 proposals of each
strategy under a budget that 1 % of the space meets; chi-squared of drawing within a budget, over listed architectures.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence

import numpy as np
from mnasnet import DIMS, Ints

from se_nas.goals.objective import Objective
from se_nas.space.categorical import CategoricalSpace
from se_nas.strategies import STRATEGIES, create_strategy
from se_nas.strategies.domain import make_domain
from se_nas.strategies.known_cost.strategy import KnownCostStrategy

TRIAL_SECONDS = 60
"""Of a short trial, which an ask is held against."""

ACCURACY, SPEED = Objective("accuracy", "max"), Objective("speed", "max")


def params(architecture: Mapping[str, int]) -> float:
    """Made up: a sum over blocks, later ones dearer."""
    blocks = range(7)
    return 1.0 + sum(
        2**b * architecture[f"block{b}_e"] * architecture[f"block{b}_l"] * (architecture[f"block{b}_k"] + architecture[f"block{b}_se"])
        for b in blocks
    )


def measured(architecture: Mapping[str, int], rng: np.random.Generator) -> dict[str, float]:
    return {"accuracy": 60 + np.log(params(architecture)) + 0.1 * rng.standard_normal(), "speed": 1e6 / params(architecture) ** 0.8}


def main() -> None:
    parser = argparse.ArgumentParser(description="Seconds of an ask, and proposals over budget.")
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--proposals", type=int, default=10_000)
    parser.add_argument("--candidates", type=int, default=1_000_000)
    parser.add_argument("--strategies", nargs="+", default=list(STRATEGIES), choices=list(STRATEGIES), metavar="NAME")
    args = parser.parse_args()
    space = CategoricalSpace(DIMS, {"params": params})
    print(f"{space.size:.3g} architectures; costs by a function of one architecture")
    ask_times(space, args.strategies, args.trials)
    scoring(space, args.candidates)
    budgets(space, args.strategies, args.proposals)
    uniform()


def ask_times(space: CategoricalSpace, strategies: Sequence[str], trials: int) -> None:
    print(f"\nasks of 4 after {trials} finished trials, two objectives, both measured ({TRIAL_SECONDS} s a trial, four at once)")
    for name in strategies:
        strategy, rng = create_strategy(name, space, [ACCURACY, SPEED]), np.random.default_rng(0)
        for _ in range(trials):
            architecture = space.sample(rng)
            strategy.tell(architecture, measured(architecture, rng))
        seconds = []
        for _ in range(5):
            start = time.process_time()
            asked = strategy.ask(4)
            seconds.append(time.process_time() - start)
            for architecture in asked:
                strategy.tell(architecture, measured(architecture, rng))
        most = max(seconds)
        print(f"  {name:14} longest {most:6.2f} s, median {np.median(seconds):6.2f} s; {most / TRIAL_SECONDS:.1%} of a trial")


def scoring(space: CategoricalSpace, candidates: int) -> None:
    print(f"\nthe best 400 of {candidates:,} candidates by expected hypervolume improvement, accuracy measured, params known")
    for trials in (50, 200, 500):
        strategy = create_strategy("known-cost", space, [ACCURACY, Objective("params", "min", known=True)])
        assert isinstance(strategy, KnownCostStrategy)
        rng = np.random.default_rng(0)
        for _ in range(trials):
            architecture = space.sample(rng)
            strategy.tell(architecture, measured(architecture, rng))
        strategy.ask(1)
        codes = strategy.domain.sample(rng, candidates)
        start = time.process_time()
        found, _ = strategy.best(codes, 400)
        seconds = time.process_time() - start
        rows, columns = np.ones((1024, 43), np.float32), np.ones((43, trials), np.float32)
        start = time.process_time()
        for _ in range(candidates // 1024):
            rows @ columns
        floor = time.process_time() - start
        some = codes[:: max(1, candidates // 20_000)]
        exact = some[np.argsort(-strategy.score(some), kind="stable")[:400]]
        same = np.mean((strategy.best(some, 400)[0] == exact).all(1))
        text = f"{seconds / floor:.0f} times one product of features in single precision"
        print(f"  after {trials} trials: {seconds:.2f} s for {len(found)}, {text}; of {len(some):,} scored one by one, {same:.0%} the same")


def budgets(space: CategoricalSpace, strategies: Sequence[str], proposals: int) -> None:
    rng = np.random.default_rng(0)
    limit = float(np.quantile([params(space.sample(rng)) for _ in range(20_000)], 0.01))
    print("\nproposals over a budget that 1 % of the space meets (asked in batches of 100, told every tenth)")
    for name in strategies:
        strategy = create_strategy(name, space, [ACCURACY, Objective("params", "min", limit, known=True)])
        asked = over = 0
        start = time.process_time()
        while asked < proposals:
            batch = strategy.ask(100)
            asked += len(batch)
            over += sum(params(architecture) > limit for architecture in batch)
            for architecture in batch[: 10 if asked <= 1000 else 0]:
                strategy.tell(architecture, measured(architecture, rng))
        print(f"  {name:14} {over} of {asked:,} over budget ({time.process_time() - start:.0f} s)", flush=True)


def uniform(draws: int = 200_000) -> None:
    """The drawing by sums of costs, where listing would do as well, so that every architecture can be counted."""
    import se_nas.strategies.domain.categorical as named

    dims = {f"d{i}": range(3) for i in range(10)}
    weights = np.random.default_rng(1).random(10) + 0.5
    space = CategoricalSpace(dims, {"cost": lambda a: sum(w * a[f"d{i}"] for i, w in enumerate(weights))})
    every: Ints = np.stack(np.unravel_index(np.arange(3**10), (3,) * 10), 1)
    cost = every @ weights
    limit = float(np.quantile(cost, 0.01))
    named.LISTED, listed = 0, named.LISTED
    domain = make_domain(space, [Objective("cost", "min", limit, known=True)])
    named.LISTED = listed
    drawn = domain.sample(np.random.default_rng(0), draws)
    number = drawn @ 3 ** np.arange(9, -1, -1)
    within = np.flatnonzero(cost <= limit)
    counts = np.bincount(number, minlength=3**10)
    expected = draws / len(within)
    statistic, freedom = float(((counts[within] - expected) ** 2 / expected).sum()), len(within) - 1
    print(f"\n{draws:,} draws within a budget that {len(within)} of {3**10:,} architectures meet:")
    away = (statistic - freedom) / (2 * freedom) ** 0.5
    over = counts.sum() - counts[within].sum()
    print(f"  {over} over it; chi-squared {statistic:.0f} with {freedom} degrees of freedom ({away:+.1f} standard deviations)")


if __name__ == "__main__":
    main()
