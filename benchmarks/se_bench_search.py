"""Strategies over SE-Bench: what each shows after so many trials, valued by the test split.

    python benchmarks/se_bench_search.py benchmarks/se_bench.jsonl

First, how far single trainings of the table can be trusted. Then, for each strategy and number of trials, means over seeds of

- *best*: mean test accuracy (over the table's seeds) of the architecture with the best validation accuracy that was seen, as what
  it lacks to the best of the whole table;
- *front*: hypervolume of the architectures on the front that was seen, by mean test accuracy and exact parameters, as a share of
  the hypervolume of all architectures. The worst point is the accuracy of the network without SE and the most parameters.

A trial sees one training: the first is that of the search's seed.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from se_nas.evaluate.table import TableEvaluator
from se_nas.goals.hypervolume import hypervolume
from se_nas.goals.objective import pareto, parse_objectives
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace
from se_nas.strategies import create_strategy

OBJECTIVES = parse_objectives(["accuracy", "params"])
STRATEGIES = ("random", "nsga2", "tpe", "known-cost", "evolution", "local-search")


def searched(evaluator: TableEvaluator, name: str, seed: int, number: int) -> list[tuple[Architecture, float]]:
    """The first trials of a search, and the validation accuracy that each saw."""
    strategy = create_strategy(name, evaluator.space, OBJECTIVES, seed)
    seen: list[tuple[Architecture, float]] = []
    while len(seen) < number and (asked := strategy.ask(1)):
        trainings = evaluator.table.trainings[asked[0]]
        seen.append((asked[0], trainings[seed % len(trainings)].metrics["accuracy"]))
        strategy.tell(asked[0], {"accuracy": seen[-1][1]})
    return seen


def reliability(evaluator: TableEvaluator) -> str:
    """Of single trainings, by one-way analysis of variance over architectures."""
    rows = np.array([[each.metrics["accuracy"] for each in some[:2]] for some in evaluator.table.trainings.values() if len(some) > 1])
    within = float(rows.var(1, ddof=1).mean())
    between = float(rows.mean(1).var(ddof=1)) - within / 2
    icc = max(between, 0.0) / (max(between, 0.0) + within)
    test = [np.mean([each.test["accuracy"] for each in some]) for some in evaluator.table.trainings.values()]
    val = [np.mean([each.metrics["accuracy"] for each in some]) for some in evaluator.table.trainings.values()]
    return (
        f"{len(rows)} architectures with two seeds or more. Validation accuracy: deviation between architectures "
        f"{100 * max(between, 0.0) ** 0.5:.2f} points, of a training {100 * within**0.5:.2f}; ICC of one training {icc:.2f}; "
        f"correlation of validation and test means {np.corrcoef(val, test)[0, 1]:.2f}."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("table", help="JSON lines, as se_bench.py writes them")
    parser.add_argument("--space", default=Path(__file__).with_name("se_bench.yaml"), help="YAML file (default: se_bench.yaml)")
    parser.add_argument("--strategies", nargs="+", default=STRATEGIES, help=f"default: {' '.join(STRATEGIES)}")
    parser.add_argument("--seeds", type=int, default=20, help="searches of each (default: 20)")
    parser.add_argument("--trials", type=int, nargs="+", default=[20, 40, 80, 160], help="default: 20 40 80 160")
    args = parser.parse_args()
    space = SearchSpace.from_yaml(args.space)
    evaluator = TableEvaluator(space, args.table)
    print(reliability(evaluator), "\n")
    true = {
        each: {"accuracy": float(np.mean([t.test["accuracy"] for t in evaluator.table.trainings[each]])), "params": space.cost(each).params}
        for each in evaluator.space.enumerate()
    }
    worst = {"accuracy": true[space.reference("plain")]["accuracy"], "params": max(v["params"] for v in true.values())}
    best, volume = max(v["accuracy"] for v in true.values()), hypervolume(list(true.values()), OBJECTIVES, worst)

    def shown(seen: Sequence[tuple[Architecture, float]]) -> list[Mapping[str, float]]:
        values = [{"accuracy": found, "params": true[each]["params"]} for each, found in seen]
        return [true[seen[place][0]] for place in pareto(values, OBJECTIVES)]

    print(
        f"| strategy | {' | '.join(f'best, {n} trials | front, {n} trials' for n in args.trials)} |\n|{'---|' * (1 + 2 * len(args.trials))}"
    )
    for name in args.strategies:
        runs = [searched(evaluator, name, seed, max(args.trials)) for seed in range(args.seeds)]
        cells = [name]
        for number in args.trials:
            lacks = [100 * (best - true[max(run[:number], key=lambda pair: pair[1])[0]]["accuracy"]) for run in runs]
            shares = [hypervolume(shown(run[:number]), OBJECTIVES, worst) / volume for run in runs]
            cells += [f"{np.mean(each):.2f} ± {1.96 * np.std(each, ddof=1) / len(runs) ** 0.5:.2f}" for each in (lacks, shares)]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
