"""Costing architectures by table, beside building and counting them.

    python benchmarks/cost.py [--repeats 5]

The space: SE-ResNet-50, 16 sites of 91 options each (no SE, or 6 ratios x 3 squeezes x 5 placements). One architecture:
`SearchSpace.cost_of` beside fvcore, ptflops, torchinfo and torch.utils.flop_counter, whose network is built anew each
time, as theirs is the cost of a built network; construction without weights (on meta) is taken where the counter
allows it and is quicker. Many: a million architectures by `SearchSpace.cost_many`, beside the time of moving their 32
bytes each (16 codes in, two 64-bit sums out). All on one core; medians of CPU time, which other work on the machine disturbs least.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import os
import platform
import statistics
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace

MILLION = 1_000_000
SHAPE = (1, 3, 224, 224)


def main() -> None:
    parser = argparse.ArgumentParser(description="Cost by table beside counters.")
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, one used; load {os.getloadavg()[0]:.1f}; "
          f"torch {torch.__version__}, numpy {np.__version__}")  # fmt: skip

    placements = ["standard", "pre", "post", "identity", "inner"]
    start = time.perf_counter()
    space = SearchSpace("resnet50", SHAPE[1:], reduction=[2, 4, 8, 16, 32, 64], squeeze=["avg", "max", "std"], placement=placements)
    space.cost_many(space.codes_many(1, 0))
    print(f"once for the space, trace and tables: {time.perf_counter() - start:.2f} s; options a site: {len(space.groups[0].options)}")
    one_architecture(space, repeats)
    a_million(space, repeats)


def one_architecture(space: SearchSpace, repeats: int) -> None:
    codes = space.codes_many(1000, 0).tolist()
    architectures = [space.decode(row) for row in codes[:100]]
    for architecture in architectures:
        space.cost(architecture)
    times: list[float] = []

    def quick() -> float:  # anew beside each counter: the machine's other work hits both
        times.extend(seconds_of(lambda: [space.cost_of(row) for row in codes]) / len(codes) for _ in range(10 * repeats))
        return statistics.median(times[-10 * repeats :])

    print(f"\none architecture\n  {'cost_of(codes)':34} {quick() * 1e6:12,.2f} us")
    print(f"  {'cost(architecture)':34} {median(lambda: [space.cost(a) for a in architectures], 5 * repeats) / 100 * 1e6:12,.2f} us")

    ratios: list[float] = []
    expected = space.cost(architectures[0])
    for name, counter in [("fvcore", by_fvcore), ("ptflops", by_ptflops), ("torchinfo", by_torchinfo), ("torch flop_counter", by_torch)]:
        for device in ("cpu", "meta"):
            label = f"{name}, built on {device}"
            try:
                with contextlib.redirect_stdout(io.StringIO()):
                    macs = counter(space, architectures[0], device)
                    seconds = median(lambda c=counter, d=device: c(space, architectures[0], d), repeats)
            except ModuleNotFoundError:
                print(f"  {label:34} not installed: pip install {name}")
                continue
            except Exception as error:  # a counter that cannot work without arithmetic
                print(f"  {label:34} fails: {type(error).__name__}")
                continue
            ratios.append(seconds / quick())
            print(f"  {label:34} {seconds * 1e6:12,.0f} us = {ratios[-1]:9,.0f} x    MACs {macs:,}")
    print(f"  cost_of over all: median {statistics.median(times) * 1e6:.2f} us, best {min(times) * 1e6:.2f} us")
    print(f"  exact MACs {expected.macs:,}; the fastest counter takes {min(ratios, default=0):,.0f} times as long as cost_of")


def a_million(space: SearchSpace, repeats: int) -> None:
    codes = space.codes_many(MILLION, 0)
    few = codes[:: MILLION // 1000]
    costs = space.cost_many(codes)
    assert [space.cost_of(row).macs for row in few.tolist()] == costs.macs[:: MILLION // 1000].tolist()
    source = np.zeros(1 << 26, np.uint8)
    target = source.copy()
    copies, sums = [], []
    for _ in range(3 * repeats):  # side by side: the machine's other work hits both
        copies.append(seconds_of(lambda: np.copyto(target, source)))
        sums.append(seconds_of(lambda: space.cost_many(codes)))
    floor = 32 * MILLION * statistics.median(copies) / (2 * source.nbytes)
    many = statistics.median(sums)
    print(f"\na million architectures\n  {'memory floor, 32 bytes each':34} {floor * 1e3:12,.2f} ms")
    print(f"  {'cost_many(codes)':34} {many * 1e3:12,.2f} ms = {1 / many:.1f} M/s, {many / floor:.1f} x the floor "
          f"(best {min(sums) * 1e3:.2f} ms = {1 / min(sums):.1f} M/s)")  # fmt: skip
    drawn = median(lambda: space.codes_many(MILLION, 0), repeats)
    print(f"  {'codes_many(n, rng)':34} {drawn * 1e3:12,.2f} ms")
    tight = space.with_budgets({"params": "<= +5%"})
    sampled = median(lambda: tight.sample_many(0, 10_000), repeats)
    print(f"  sample_many within params <= +5% ({tight.feasible_size / space.size:.2g} of all): {10_000 / sampled:,.0f} a second")


def build(space: SearchSpace, architecture: Architecture, device: str) -> nn.Module:
    with torch.device(device):
        return space.build(architecture).eval()


def by_fvcore(space: SearchSpace, architecture: Architecture, device: str) -> int:
    analysis = importlib.import_module("fvcore.nn").FlopCountAnalysis(build(space, architecture, device), torch.zeros(SHAPE, device=device))
    return int(analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total())


def by_ptflops(space: SearchSpace, architecture: Architecture, device: str) -> int:
    count = importlib.import_module("ptflops").get_model_complexity_info
    network = build(space, architecture, device)
    images = lambda _: {"x": torch.zeros(SHAPE, device=device)}  # noqa: E731
    return int(count(network, SHAPE[1:], as_strings=False, print_per_layer_stat=False, input_constructor=images, backend="pytorch")[0])


def by_torchinfo(space: SearchSpace, architecture: Architecture, device: str) -> int:
    summary = importlib.import_module("torchinfo").summary
    return int(summary(build(space, architecture, device), SHAPE, verbose=0, device=device).total_mult_adds)


def by_torch(space: SearchSpace, architecture: Architecture, device: str) -> int:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        build(space, architecture, device)(torch.zeros(SHAPE, device=device))
    return counter.get_total_flops() // 2


def seconds_of(run: Callable[[], object]) -> float:
    start = time.process_time()
    run()
    return time.process_time() - start


def median(run: Callable[[], object], repeats: int) -> float:
    return statistics.median(seconds_of(run) for _ in range(repeats))


if __name__ == "__main__":
    main()
