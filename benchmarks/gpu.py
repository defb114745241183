"""What a GPU makes of trials: seconds an epoch by network, precision and memory layout, and what happens when memory runs out.

    python benchmarks/gpu.py                  # ten minutes on one GPU
    python benchmarks/gpu.py --device cpu --images 512 --networks resnet8     # a dry run anywhere

Needs torch and torchvision alone, no Ray, NNI or Optuna. Images are random: only time and memory are measured.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from itertools import pairwise, product

import torch

from se_nas.errors import OutOfMemory
from se_nas.evaluate.augment import Augment
from se_nas.evaluate.data import Data, Split
from se_nas.evaluate.memory import training_memory
from se_nas.evaluate.settings import TrainSettings
from se_nas.evaluate.training import TrainingEvaluator
from se_nas.space.space import SearchSpace

NETWORKS = {"resnet8": 32, "resnet20": 32, "resnet56": 32, "torchvision:resnet18": 224, "torchvision:resnet50": 224}
"""Name -> height and width of its images."""

EPOCHS = 3
"""Of a measurement; the first one, which also warms up, is left out."""


def images(count: int, size: int) -> Data:
    """Random ones, as many to validate on as a quarter of those to train on."""
    generator = torch.Generator().manual_seed(0)
    splits = [
        Split(torch.randint(256, (n, 3, size, size), dtype=torch.uint8, generator=generator), torch.randint(10, (n,), generator=generator))
        for n in (count, max(1, count // 4))
    ]
    return Data("random", *splits, None, tuple("0123456789"), (0.5,) * 3, (0.25,) * 3, Augment(flip=True, pad=size // 8))


def epochs(evaluator: TrainingEvaluator, device: str) -> list[float]:
    """Seconds of each epoch, with its validation."""
    marks = [time.perf_counter()]

    def report(*_: object) -> None:
        if device != "cpu":
            torch.cuda.synchronize()
        marks.append(time.perf_counter())

    evaluator(evaluator.space.reference("paper"), 0, {"epochs": EPOCHS}, device, report)
    return [after - before for before, after in pairwise(marks)]


def rows(names: list[str], count: int, device: str) -> Iterator[str]:
    yield "| network | batch | mixed precision | channels_last | images/s | estimated memory | peak memory |"
    yield "|---|---|---|---|---|---|---|"
    for name in names:
        space = SearchSpace(name, (3, NETWORKS[name], NETWORKS[name]), reduction=[16], backbone_args={"num_classes": 10})
        data = images(count if NETWORKS[name] < 100 else max(64, count // 8), NETWORKS[name])
        for batch, amp, last in product((64, 256), (False, True), (False, True)):
            if device == "cpu" and (amp or last):
                continue  # both are of CUDA alone
            settings = TrainSettings(batch_size=batch, amp=amp, channels_last=last)
            estimate = training_memory(space.build(space.reference("paper")), space.input_size, batch, amp)
            yield f"| {name} | {batch} | {amp} | {last} | {measured(TrainingEvaluator(space, data, settings), device, estimate)} |"


def measured(evaluator: TrainingEvaluator, device: str, estimate: int) -> str:
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    try:
        seconds = min(epochs(evaluator, device)[1:])
    except OutOfMemory as error:
        return f"out of memory: {error} | {estimate / 2**30:.2f} GiB | "
    peak = f"{torch.cuda.max_memory_allocated() / 2**30:.2f} GiB" if device != "cpu" else "not measured"
    return f"{len(evaluator.data.train) / seconds:,.0f} | {estimate / 2**30:.2f} GiB | {peak}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--images", type=int, default=8192, help="to train on; an eighth of them at 224 pixels")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    args = parser.parse_args()
    if args.device != "cpu":
        print(torch.cuda.get_device_name(args.device), f"torch {torch.__version__}")
    for row in rows(args.networks, args.images, args.device):
        print(row, flush=True)


if __name__ == "__main__":
    main()
