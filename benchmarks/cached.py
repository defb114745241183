"""What is gained by keeping what a frozen backbone computes: seconds of a trial, by its first site, with and without.

    python benchmarks/cached.py                        # a few minutes
    python benchmarks/cached.py --clock processor      # where other work runs, too: waiting for a disk does not count

ResNet-20 on random 32x32 images, one epoch, only SE blocks and the head train. Side by side in every round: a trial that keeps
nothing, the first one that keeps, a later one that begins in memory, and a later one that begins on disk; medians of several
rounds. Then a sequence of random candidates, as a search tries them, each without and with.
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import time
from collections.abc import Callable

import torch

from se_nas.evaluate.augment import Augment
from se_nas.evaluate.cached import Activations
from se_nas.evaluate.data import Data, Split
from se_nas.evaluate.settings import TrainSettings
from se_nas.evaluate.training import TrainingEvaluator
from se_nas.se.spec import SESpec
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace

SIZE = (3, 32, 32)
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "processor": time.process_time}


def random_data(train: int, val: int) -> Data:
    """Images and labels at random."""

    def split(number: int) -> Split:
        return Split(torch.randint(256, (number, *SIZE), dtype=torch.uint8), torch.randint(10, (number,)))

    return Data("random", split(train), split(val), None, tuple("0123456789"), (0.5,) * 3, (0.3,) * 3, Augment(True, 4))


def seconds(evaluator: TrainingEvaluator, architecture: Architecture, device: str, clock: Callable[[], float]) -> float:
    start = clock()
    evaluator(architecture, 0, {"epochs": 1}, device, lambda *_: None)
    return clock() - start


def with_cache(evaluator: TrainingEvaluator, limit: float | None, patience: float = 1.0) -> Activations:
    """Give an evaluator a new cache."""
    evaluator.activations = Activations(limit, patience)
    return evaluator.activations


def row(evaluator: TrainingEvaluator, architecture: Architecture, device: str, clock: Callable[[], float], rounds: int) -> str:
    """Cells of a table: seconds without, of the first trial, of later ones in memory and on disk; MB kept."""
    measured = []
    for _ in range(rounds):
        with_cache(evaluator, 0)
        times = [seconds(evaluator, architecture, device, clock)]
        memory = with_cache(evaluator, None)
        times += [seconds(evaluator, architecture, device, clock) for _ in range(2)]
        with_cache(evaluator, 1e-9, patience=1e9)
        times += [seconds(evaluator, architecture, device, clock) for _ in range(2)][1:]
        measured.append(times)
    medians = [statistics.median(column) for column in zip(*measured, strict=True)]
    return f"{' | '.join(f'{value:.2f}' for value in medians)} | {memory.kept.in_memory / 1e6:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--images", type=int, default=256, help="to train on; half as many to validate")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--every", type=int, default=3, metavar="N", help="of the nine sites, every Nth is the first")
    parser.add_argument("--random", type=int, default=16, help="random candidates in the sequence")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    clock, threads = CLOCKS[args.clock], torch.get_num_threads()
    torch.manual_seed(0)
    space = SearchSpace("resnet20", SIZE, reduction=[4, 8])
    start = space.build(space.reference("plain")).state_dict()
    settings = TrainSettings(batch_size=args.batch, freeze="backbone")
    evaluator = TrainingEvaluator(space, random_data(args.images, args.images // 2), settings, threads, start)
    print(f"{os.cpu_count()} cores, {threads} threads, torch {torch.__version__}; seconds ({args.clock}), medians of {args.rounds}.\n")
    print("| first SE block | nothing kept | the first that keeps | later, in memory | later, on disk | kept, MB |")
    print("|---|---|---|---|---|---|")
    sites = [group.name for group in space.groups]
    for name in (*sites[:: args.every], "none"):
        architecture = space.canonical({site: SESpec(4) if site == name else None for site in sites})
        print(f"| {name} | {row(evaluator, architecture, args.device, clock, args.rounds)} |", flush=True)
    candidates = [space.sample(seed) for seed in range(args.random)]
    other = copy.copy(evaluator)
    with_cache(evaluator, 0)
    kept = with_cache(other, None).kept
    totals = [
        sum(times)
        for times in zip(*([seconds(one, each, args.device, clock) for one in (evaluator, other)] for each in candidates), strict=True)
    ]
    print(f"\n{args.random} random candidates: {totals[0]:.1f} s, and {totals[1]:.1f} s with what was kept ({', '.join(kept.summary())})")


if __name__ == "__main__":
    main()
