"""What ``together: K`` brings: trainings a second of K networks as one, over the same ones one after another.

    python benchmarks/together.py                       # some minutes
    python benchmarks/together.py --device cuda         # on a GPU

Digits, one epoch, hosts of several widths and batch sizes; and a frozen host, where only SE blocks and the head train. Both
ways in turn, the median of the ratios of several rounds. On the CPU the time is that of the clock, so nothing else should run.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import Any

import torch

from se_nas.evaluate import Evaluation
from se_nas.evaluate.data import load_data
from se_nas.evaluate.settings import TrainSettings
from se_nas.evaluate.training import TrainingEvaluator
from se_nas.space.space import SearchSpace

HOSTS: dict[str, tuple[float, int, bool]] = {
    "widths 4-8-16, batch 16": (0.25, 16, False),
    "widths 4-8-16, batch 64": (0.25, 64, False),
    "widths 8-16-32, batch 16": (0.5, 16, False),
    "widths 8-16-32, batch 64": (0.5, 64, False),
    "widths 16-32-64, batch 64": (1.0, 64, False),
    "widths 16-32-64, batch 64, frozen": (1.0, 64, True),
}


def ratio(evaluator: TrainingEvaluator, number: int, device: str, seed: int) -> float:
    """Seconds of one after another over those of all together."""
    space = evaluator.space
    architectures = [space.sample(seed * number + i) for i in range(number)]
    reports = [lambda *_: None] * number
    start = time.perf_counter()
    for architecture in architectures:
        evaluator(architecture, 0, {"epochs": 1}, device, reports[0])
    middle = time.perf_counter()
    found = evaluator.together(architectures, 0, {"epochs": 1}, device, reports)  # type: ignore[arg-type]
    assert all(isinstance(each, Evaluation) for each in found)
    return (middle - start) / (time.perf_counter() - middle)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--networks", type=int, nargs="+", default=[2, 8, 32], metavar="K")
    parser.add_argument("--threads", type=int, default=0, help="0: as a search chooses")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    data = load_data("digits", (1, 8, 8))
    name = torch.cuda.get_device_name() if args.device.startswith("cuda") else f"{os.cpu_count()} cores"
    print(f"{name}, torch {torch.__version__}. Throughput together over one after another, medians of {args.rounds}.\n")
    print(f"| host | {' | '.join(f'K = {number}' for number in args.networks)} |")
    print("|---|" + "---|" * len(args.networks))
    for host, (width, batch, frozen) in HOSTS.items():
        space = SearchSpace(
            "resnet8", (1, 8, 8), backbone_args={"in_channels": 1, "width": width}, reduction=[2, 4, 8], squeeze=["avg", "max"]
        )
        start: Any = space.build(space.reference("plain")).state_dict() if frozen else None
        settings = TrainSettings(batch_size=batch, freeze="backbone" if frozen else None)
        evaluator = TrainingEvaluator(space, data, settings, args.threads, start)
        cells = [statistics.median(ratio(evaluator, k, args.device, seed) for seed in range(args.rounds)) for k in args.networks]
        print(f"| {host} | {' | '.join(f'{cell:.2f}' for cell in cells)} |", flush=True)


if __name__ == "__main__":
    main()
