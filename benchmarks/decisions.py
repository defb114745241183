"""What it costs to find the best of a few architectures: independent trainings, paired ones, and a race.

    python benchmarks/decisions.py --between 0.56 --seed 0.31 --noise 0.44        # simulated, from measured deviations
    python benchmarks/decisions.py --lines design.jsonl --evaluation "scratch, 20k images" --metric loss --among plain "all r4"

All three name a winner at the same error: a wrong one in at most 5 of 100. Each plans the number of seeds with which it
names the right one in 80 of 100 cases; what is told is how many trainings that takes. Simulated, one architecture is better
than all others by what two typical ones differ by (sqrt 2 x ``--between``), and all others are equal: the hardest case of a
race. With ``--lines`` (of `reliability.py`), seeds are drawn from real trainings, with replacement, and the truth is the mean of
all of them.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from reliability import read
from reliability_table import rows
from scipy.special import stdtrit

from se_nas.run.race import ERROR, hold_race
from se_nas.run.reliability import components

Values = npt.NDArray[np.float64]
"""(architectures, seeds)"""

Draw = Callable[[np.random.Generator, int, bool], Values]
"""Draws values of so many seeds; paired: the same ones for all. The first architecture is the best one."""

PLANS = (*range(2, 31), *range(32, 101, 2))
RIGHT = 0.8


def simulate(architectures: int, between: float, seed: float, noise: float) -> Draw:
    truth = np.zeros(architectures)
    truth[0] = math.sqrt(2) * between

    def draw(rng: np.random.Generator, count: int, paired: bool) -> Values:
        shared = rng.normal(size=(1 if paired else architectures, count)) * seed
        return truth[:, None] + shared + rng.normal(size=(architectures, count)) * noise

    return draw


def resample(values: Values) -> Draw:
    values = values[np.argsort(-values.mean(1))]

    def draw(rng: np.random.Generator, count: int, paired: bool) -> Values:
        size = (1 if paired else len(values), count)
        return np.take_along_axis(values, np.broadcast_to(rng.integers(values.shape[1], size=size), (len(values), count)), axis=1)

    return draw


def at_the_end(values: Values, paired: bool) -> tuple[int | None, int]:
    """The winner after a fixed number of seeds, None for a tie, and the number of trainings."""
    rest = values - values.mean(1, keepdims=True)
    if paired:
        rest = rest - rest.mean(0)
    many, count = values.shape
    freedom = many * (count - 1) - (count - 1 if paired else 0)
    half = stdtrit(freedom, 1 - ERROR / (many - 1)) * math.sqrt(2 * (rest**2).sum() / freedom / count)
    second, first = np.sort(values.mean(1))[-2:]
    return (int(values.mean(1).argmax()) if first - second > half else None), values.size


def raced(values: Values) -> tuple[int | None, int]:
    many, count = values.shape
    race = hold_race({str(name): dict(enumerate(row)) for name, row in enumerate(values.tolist())}, range(count), ())
    trained = sum(race.out.get(str(name), len(race.looks)) for name in range(many))
    return (int(race.left[0]) if race.over else None), trained


WAYS: dict[str, tuple[bool, Callable[[Values], tuple[int | None, int]]]] = {
    "independent seeds": (False, lambda values: at_the_end(values, False)),
    "paired seeds": (True, lambda values: at_the_end(values, True)),
    "paired and raced": (True, raced),
}


def costs(draw: Draw, repeats: int) -> None:
    print("| way | seeds planned | trainings, mean | right | wrong | of independent ones' trainings |")
    print("|---|---:|---:|---:|---:|---:|")
    yardstick = math.nan
    for name, (paired, decide) in WAYS.items():
        for planned in PLANS:
            found = [decide(draw(np.random.default_rng(repeat), planned, paired)) for repeat in range(repeats)]
            right, wrong = (sum(test) / repeats for test in ([w == 0 for w, _ in found], [w not in (0, None) for w, _ in found]))
            if right >= RIGHT:
                break
        trained = sum(many for _, many in found) / repeats
        yardstick = trained if math.isnan(yardstick) else yardstick
        enough = "" if right >= RIGHT else " (too few)"
        print(f"| {name} | {planned}{enough} | {trained:.1f} | {right:.0%} | {wrong:.1%} | {trained / yardstick:.2f} |")


def deviations(found: list[dict[int, float]]) -> str:
    """As the arguments of a simulation."""
    parts = components(found)
    if parts is None:
        return "unknown"
    sizes = {"between": parts.between, "seed": max(0.0, parts.within - parts.residual), "noise": parts.residual}
    return " ".join(f"--{name} {math.sqrt(size):.4f}" for name, size in sizes.items())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--architectures", type=int, default=5)
    parser.add_argument("--between", type=float, help="deviation between architectures")
    parser.add_argument("--seed", type=float, help="deviation of what all trainings of a seed share")
    parser.add_argument("--noise", type=float, help="deviation of what is left")
    parser.add_argument("--lines", type=Path, help="real trainings, of reliability.py")
    parser.add_argument("--evaluation", help="which of them")
    parser.add_argument("--metric", default="test_accuracy")
    parser.add_argument("--among", nargs="+", metavar="NAME", help="architectures to choose from (default: all)")
    parser.add_argument("--repeats", type=int, default=400)
    args = parser.parse_args()
    if not args.lines:
        costs(simulate(args.architectures, args.between, args.seed, args.noise), args.repeats)
        return
    found = rows(read(args.lines), args.evaluation, args.metric)
    if unknown := set(args.among or ()) - set(found):
        parser.error(f"--among: {', '.join(sorted(unknown))}: not of {', '.join(found)}")
    found = {name: found[name] for name in args.among or found}
    seeds = sorted(set.intersection(*(set(row) for row in found.values())))
    values = np.array([[row[seed] for seed in seeds] for row in found.values()])
    print(f"{len(found)} architectures, {len(seeds)} seeds; deviations: {deviations(list(found.values()))}\n")
    costs(resample(values if args.metric.endswith("accuracy") else -values), args.repeats)


if __name__ == "__main__":
    main()
