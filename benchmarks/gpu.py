"""What a GPU makes of trials, in five tables: time, several as one network, kept activations, too little memory, CUDA graphs.

    python benchmarks/gpu.py                  # on one GPU
    python benchmarks/gpu.py --only together graphs
    python benchmarks/gpu.py --device cpu --images 128 --networks resnet8 --most 2     # a dry run anywhere

Needs torch and torchvision alone, no Ray, NNI or Optuna. Images are random: only time and memory are measured. A table that
fails is said, and the next one follows.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from itertools import pairwise, product
from typing import Any

import torch
from together import ratio
from torch import nn
from torch.nn import functional as F

from se_nas.errors import OutOfMemory
from se_nas.evaluate.augment import Augment
from se_nas.evaluate.data import Data, Split
from se_nas.evaluate.memory import training_memory
from se_nas.evaluate.settings import TrainSettings
from se_nas.evaluate.training import TrainingEvaluator, make_optimizer
from se_nas.se.spec import SESpec
from se_nas.space.space import SearchSpace

NETWORKS = {"resnet8": 32, "resnet20": 32, "resnet56": 32, "torchvision:resnet18": 224, "torchvision:resnet50": 224}
"""Name -> height and width of its images."""

EPOCHS = 3
"""Of a measurement of time; the first one also builds the network and warms up."""

MEASURED = "first epoch, s | later ones, s | images/s | estimated memory | peak memory"

ROUNDS = 3
LIMIT = 2**30
"""Bytes that the table of too little memory allows."""


def space_of(name: str, init: str = "default") -> SearchSpace:
    size = (3, NETWORKS[name], NETWORKS[name])
    return SearchSpace(name, size, reduction=[4, 16], squeeze=["avg", "max"], backbone_args={"num_classes": 10}, init=init)


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
        wait(device)
        marks.append(time.perf_counter())

    evaluator(evaluator.space.reference("paper"), 0, {"epochs": EPOCHS}, device, report)
    return [after - before for before, after in pairwise(marks)]


def wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize(device)


def times(args: argparse.Namespace) -> Iterator[str]:
    """Seconds of epochs by network, batch size, precision and memory layout; memory as estimated and as it was."""
    yield f"| network | batch | mixed precision | channels_last | {MEASURED} |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for name in args.networks:
        data = images(args.images if NETWORKS[name] < 100 else max(64, args.images // 8), NETWORKS[name])
        for batch, amp, last in product((64, 256), (False, True), (False, True)):
            if args.device == "cpu" and (amp or last):
                continue  # both are of CUDA alone
            settings = TrainSettings(batch_size=batch, amp=amp, channels_last=last)
            yield f"| {name} | {batch} | {amp} | {last} | {measured(TrainingEvaluator(space_of(name), data, settings), args.device)} |"


def measured(evaluator: TrainingEvaluator, device: str) -> str:
    space, settings = evaluator.space, evaluator.settings
    estimate = training_memory(space.build(space.reference("paper")), space.input_size, settings.batch_size, settings.amp)
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats(device)
    try:
        first, *later = epochs(evaluator, device)
    except OutOfMemory as error:
        return f"out of memory: {error} | | | {estimate / 2**30:.2f} GiB | "
    peak = f"{torch.cuda.max_memory_allocated(device) / 2**30:.2f} GiB" if device != "cpu" else "not measured"
    return f"{first:.2f} | {min(later):.2f} | {len(evaluator.data.train) / min(later):,.0f} | {estimate / 2**30:.2f} GiB | {peak}"


def together(args: argparse.Namespace) -> Iterator[str]:
    """Trainings a second of K networks as one, over the same ones one after another."""
    numbers = [number for number in (1, 2, 4, 8, 16, 32) if number <= args.most]
    yield f"| one epoch, batch 64 |{''.join(f' K = {number} |' for number in numbers)}"
    yield f"|---|{'---|' * len(numbers)}"
    for name, frozen in product([name for name in args.networks if NETWORKS[name] < 100], (False, True)):
        evaluator = trained_evaluator(name, args.images // 8) if frozen else fresh_evaluator(name, args.images // 8)
        cells = [statistics.median(ratio(evaluator, k, args.device, seed) for seed in range(ROUNDS)) for k in numbers]
        yield f"| {name}{', frozen' if frozen else ''} | {' | '.join(f'{cell:.2f}' for cell in cells)} |"


def fresh_evaluator(name: str, count: int) -> TrainingEvaluator:
    return TrainingEvaluator(space_of(name), images(count, NETWORKS[name]), TrainSettings(batch_size=64))


def trained_evaluator(name: str, count: int, cache: float = 0) -> TrainingEvaluator:
    """Over a frozen backbone; its weights are random, for only time is measured."""
    space = space_of(name, "identity")
    start = space.build(space.reference("plain")).state_dict()
    settings = TrainSettings(batch_size=64, freeze="backbone")
    return TrainingEvaluator(space, images(count, NETWORKS[name]), settings, 0, start, cache)


def kept(args: argparse.Namespace) -> Iterator[str]:
    """Seconds of a trial over a frozen backbone by its first SE block: without, and with what an earlier one has kept."""
    yield "| network | first SE block | nothing kept, s | the first that keeps, s | later ones, s | kept |"
    yield "|---|---|---|---|---|---|"
    for name in args.networks:
        count = max(64, args.images // (8 if NETWORKS[name] < 100 else 32))
        for place in (0, 0.5, 1):
            without, with_it = trained_evaluator(name, count), trained_evaluator(name, count, cache=2)
            groups = [group.name for group in without.space.groups]
            first = groups[round(place * (len(groups) - 1))]
            trial(without, first, args.device)  # warms up
            found = [trial(one, first, args.device) for one in (without, with_it, with_it)]
            size = f"{with_it.activations.kept.in_memory / 2**20:.0f} MiB"
            yield f"| {name} | {first} | {' | '.join(f'{seconds:.2f}' for seconds in found)} | {size} |"


def trial(evaluator: TrainingEvaluator, group: str, device: str) -> float:
    """Seconds of one with SE at one group."""
    architecture = evaluator.space.canonical({each.name: SESpec(4) if each.name == group else None for each in evaluator.space.groups})
    began = time.perf_counter()
    evaluator(architecture, 0, {"epochs": 1}, device, lambda *_: None)
    wait(device)
    return time.perf_counter() - began


def memory(args: argparse.Namespace) -> Iterator[str]:
    """A trial that does not fit fails alone, with its reason, and the next one trains: the last row is the first one again."""
    if args.device == "cpu":
        yield "Of a GPU alone."
        return
    name = args.networks[-1]
    yield f"{name}, with {LIMIT / 2**30:g} GiB for tensors.\n"
    yield f"| batch | {MEASURED} |"
    yield "|---|---|---|---|---|---|"
    data = images(256, NETWORKS[name])
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(LIMIT / torch.cuda.get_device_properties(args.device).total_memory, args.device)
    try:
        for batch in (8, 32, 128, 256, 8):
            yield f"| {batch} | {measured(TrainingEvaluator(space_of(name), data, TrainSettings(batch_size=batch)), args.device)} |"
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0, args.device)


def graphs(args: argparse.Namespace) -> Iterator[str]:
    """A step of training as PyTorch runs it, and replayed as a CUDA graph.

    se-nas trains without graphs: this says whether they would pay.
    """
    if args.device == "cpu":
        yield "Of a GPU alone."
        return
    yield "| network | batch | step, ms | as a CUDA graph, ms | ratio |"
    yield "|---|---|---|---|---|"
    for name, batch in product(args.networks, (64, 256)):
        step = training_step(name, batch, args.device)
        alone, replayed = milliseconds(step, args.device), milliseconds(captured(step), args.device)
        yield f"| {name} | {batch} | {alone:.2f} | {replayed:.2f} | {alone / replayed:.2f} |"


def training_step(name: str, batch: int, device: str) -> Callable[[], None]:
    space, settings = space_of(name), TrainSettings()
    network: nn.Module = space.build(space.reference("paper")).to(device).train()
    optimizer = make_optimizer(network, settings, space.classes)
    inputs, labels = torch.rand(batch, *space.input_size, device=device), torch.randint(10, (batch,), device=device)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(torch.device(device).type, torch.bfloat16, cache_enabled=False):  # a graph must not use the cache
            loss = F.cross_entropy(network(inputs), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def captured(step: Callable[[], None]) -> Callable[[], Any]:
    """The step as a CUDA graph. It is run thrice before, on a stream of its own, as PyTorch's documentation asks."""
    stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def milliseconds(step: Callable[[], Any], device: str, count: int = 20) -> float:
    """Of one step: the median of a few rounds."""
    for _ in range(3):
        step()
    found = []
    for _ in range(ROUNDS):
        wait(device)
        began = time.perf_counter()
        for _ in range(count):
            step()
        wait(device)
        found.append(1000 * (time.perf_counter() - began) / count)
    return statistics.median(found)


TABLES: dict[str, Callable[[argparse.Namespace], Iterator[str]]] = {
    "times": times,
    "together": together,
    "kept": kept,
    "memory": memory,
    "graphs": graphs,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--images", type=int, default=8192, help="to train on; an eighth of them at 224 pixels and for K networks")
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--most", type=int, default=32, metavar="K", help="networks as one")
    parser.add_argument("--only", nargs="+", choices=TABLES, default=list(TABLES))
    args = parser.parse_args()
    if args.device != "cpu":
        torch.cuda.set_device(args.device)
        print(f"{torch.cuda.get_device_name(args.device)}, torch {torch.__version__}", flush=True)
    failed = False
    for name in args.only:
        began = time.perf_counter()
        print(f"\n## {name}: {(TABLES[name].__doc__ or '').splitlines()[0]}\n", flush=True)
        try:
            for row in TABLES[name](args):
                print(row, flush=True)
        except Exception:  # of one table; the others are worth their minutes
            failed = True
            print(f"\nfailed:\n{traceback.format_exc()}", flush=True)
        print(f"\n({time.perf_counter() - began:.0f} s)", flush=True)
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
