"""What grows with the number of trials: recording one, asking for the next, and looking at all of them.

    python benchmarks/growth.py                          # some minutes
    python benchmarks/growth.py --part ask --strategies known-cost

Nothing is trained: accuracy is a function of the choices, so that what is timed is se-nas alone. Seconds are CPU seconds of this
process on one thread (waiting for the disk does not count), the median of several. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import se_nas
from se_nas.evaluate import Evaluation, Report
from se_nas.goals.objective import STANDARD
from se_nas.run.front import Front
from se_nas.run.ledger import Ledger
from se_nas.run.observer import Observer
from se_nas.run.run import Run
from se_nas.run.trial import Trial
from se_nas.space.architecture import Architecture
from se_nas.strategies import STRATEGIES, create_strategy

SIZES = (100, 1000, 3000)
LOOKED = (1000, 20_000)
WINDOW = 50
"""Trials around each size over which recording is timed."""

OBJECTIVES = (STANDARD["accuracy"], STANDARD["params"])


def make_space() -> se_nas.SearchSpace:
    """ResNet-20 for CIFAR: 9 sites, 25 settings each."""
    return se_nas.SearchSpace("resnet20", (3, 32, 32), reduction=[2, 4, 8, 16], squeeze=["avg", "max", "avg+max"], gate=["sigmoid", "relu"])


def accuracy(architecture: Architecture) -> float:
    """More of everything helps less and less, and the digest is the noise."""
    size = sum(1 / spec.reduction for _, spec in architecture if spec)
    return 0.9 + 0.05 * (1 - math.exp(-size)) + 0.002 * (int(architecture.id, 16) % 1000) / 1000


def evaluate(architecture: Architecture, seed: int, fidelity: Mapping[str, int], device: str, report: Report) -> Evaluation:
    return Evaluation({"accuracy": accuracy(architecture)})


class Clock(Observer):
    """CPU seconds at the end of each trial."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def trial_finished(self, trial: Trial, front: Front) -> None:
        self.times.append(time.process_time())


def recording(space: se_nas.SearchSpace, sizes: Sequence[int], folder: Path) -> list[float]:
    """Milliseconds of a whole no-op trial of a random search, around each size."""
    clock = Clock()
    se_nas.search(space, trials=max(sizes) + WINDOW, strategy="random", evaluator=evaluate, out=folder / "run", observer=clock)
    return [1000 * (clock.times[n + WINDOW - 1] - clock.times[n - WINDOW]) / (2 * WINDOW - 1) for n in sizes]


def asks(space: se_nas.SearchSpace, name: str, sizes: Sequence[int], repeats: int) -> list[float]:
    """Seconds of an ask after each number of trials: the median of several, with a result told between."""
    strategy, found = create_strategy(name, space, OBJECTIVES, seed=0), []
    architectures = space.sample_many(np.random.default_rng(0), 2 * max(sizes))
    distinct = list(dict.fromkeys(map(space.decode, architectures)))
    told = 0
    for size in sizes:
        for architecture in distinct[told : size - repeats]:
            strategy.tell(architecture, {"accuracy": accuracy(architecture)})
        told, seconds = size, []
        for _ in range(repeats):
            clock = time.process_time()
            (architecture,) = strategy.ask(1)
            seconds.append(time.process_time() - clock)
            strategy.tell(architecture, {"accuracy": accuracy(architecture)})
        found.append(statistics.median(seconds))
    return found


def grown(space: se_nas.SearchSpace, size: int, folder: Path) -> Run:
    """A run with so many trials, written at once."""
    run = se_nas.search(space, trials=2, evaluator=evaluate, out=folder / f"run-{size}")
    first, rng = run.trials, np.random.default_rng(1)
    trials = list(first)
    for architecture in map(space.decode, space.sample_many(rng, size - len(first))):
        costs, value = space.cost(architecture)._asdict(), accuracy(architecture) + 0.001 * rng.standard_normal()
        number = len(trials)
        trials.append(Trial(number, "proposal", architecture, 0, first[0].fidelity, "complete", {"accuracy": float(value)}, costs, number))
    Ledger(run.ledger.path).write(trials)
    run.config["search"]["trials"] = size
    run.save_config()
    return run


def looking(space: se_nas.SearchSpace, size: int, folder: Path) -> tuple[float, float, float]:
    """Seconds of ``show`` and of ``report``, each the second time (effects are kept), and the report's size in MB."""
    from se_nas.cli import main

    run = grown(space, size, folder)
    seconds = []
    for command in (["show", str(run.path)], ["report", str(run.path)]):
        for _ in range(2):
            clock = time.process_time()
            with contextlib.redirect_stdout(io.StringIO()):
                assert main(command) == 0
        seconds.append(time.process_time() - clock)
    return seconds[0], seconds[1], (run.path / "report.html").stat().st_size / 1e6


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def row(name: str, values: Sequence[float], decimals: int = 3) -> list[str]:
    return [name, *(f"{value:.{decimals}f}" for value in values)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=("record", "ask", "look"), help="one part alone")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="N", help="numbers of trials, rising")
    parser.add_argument("--looked", type=int, nargs="+", default=LOOKED, metavar="N", help="sizes of the runs that are looked at")
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES))
    parser.add_argument("--repeats", type=int, default=5, help="asks at each size")
    args = parser.parse_args()
    asked = [name for name in args.strategies if name != "grid"]  # goes through a list
    space, sizes = make_space(), [f"{size:,} trials" for size in args.sizes]
    with tempfile.TemporaryDirectory(prefix="se-nas-growth-") as name:
        parts: dict[str, Callable[[], tuple[list[str], list[list[str]]]]] = {
            "record": lambda: (["recording", *sizes], [row("ms of a no-op trial", recording(space, args.sizes, Path(name)), 1)]),
            "ask": lambda: (["seconds of an ask", *sizes], [row(each, asks(space, each, args.sizes, args.repeats)) for each in asked]),
            "look": lambda: (
                ["looking", "`show`, s", "`report`, s", "its size, MB"],
                [row(f"{size:,} trials", looking(space, size, Path(name)), 2) for size in args.looked],
            ),
        }
        for part in [args.part] if args.part else parts:
            print(table(*parts[part]()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
