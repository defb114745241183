"""How well a profile predicts the latency of SE networks: the table of docs/latency.md.

    python benchmarks/latency.py                                        # everything: an hour on one quiet core
    python benchmarks/latency.py --network resnet18 --runtime eager     # one line of the table
    python benchmarks/latency.py --network resnet18 --runtime eager --picks 1000 # and what a budget lets pass, measured

Each network and runtime is a profile below ``runs/latency``: what is there is not measured again. 16 networks are held out. All
models are fitted to the same measured networks, and held against the same others.
"""

from __future__ import annotations

import argparse
import platform
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from se_nas.errors import InputError
from se_nas.latency.fingerprint import processor
from se_nas.latency.fit import Error, error, fit
from se_nas.latency.profile import FITTED, HOW, Profile, read_profile
from se_nas.profiling.profile import profile, time_networks
from se_nas.profiling.rounds import undisturbed
from se_nas.profiling.runtimes import How
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace

NETWORKS = {
    "resnet18": ("torchvision:resnet18", 112),
    "efficientnet_lite0": ("timm:efficientnet_lite0", 224),
    "resnet50": ("torchvision:resnet50", 224),
}
FITTED_TO = {"eager": 12, "deploy": 12, "onnx": 24}
HELD_OUT = 16

BESIDE = 40
"""Architectures that are timed side by side with the plain network, of those that a budget let pass."""


def space_of(name: str) -> SearchSpace:
    """The space of one line: two squeezes, three ratios and none."""
    backbone, side = NETWORKS[name]
    return SearchSpace(backbone, (3, side, side), reduction=[4, 8, 16], squeeze=["avg", "std"])


def measured(name: str, runtime: str, out: Path, rounds: int) -> Profile:
    """The profile of one line, from its file if it is there."""
    path, space = out / f"{name}-{runtime}.yaml", space_of(name)
    if path.exists():
        return read_profile(path, space)
    found = profile(space, runtime=runtime, networks=FITTED_TO[runtime], held_out=HELD_OUT, rounds=rounds)
    out.mkdir(parents=True, exist_ok=True)
    found.write(path)
    return found


def others(space: SearchSpace) -> dict[str, Callable[[Architecture], list[float]]]:
    """Other models: what they look at in an architecture."""

    def one_each(architecture: Architecture) -> list[float]:
        return [float(bool(spec) and spec.squeeze == squeeze) for _, spec in architecture for squeeze in space.squeeze]

    return {
        "params": lambda a: [space.cost(a).params - space.plain_cost.params],
        "MACs": lambda a: [space.cost(a).macs - space.plain_cost.macs],
        "bytes": lambda a: [space.cost(a).bytes],
        "a site": one_each,
    }


def held_against(found: Profile, space: SearchSpace) -> dict[str, Error]:
    """The error of each model on the networks that were held out."""
    architectures = [Architecture.from_json(each.architecture) for each in found.networks]
    seconds = np.array([each.seconds for each in found.networks])
    fitted = np.array([each.role == FITTED for each in found.networks])
    errors = {}
    for name, look in others(space).items():
        rows = np.array([[1.0, *look(architecture)] for architecture in architectures], float)
        said = rows @ fit(rows[fitted], seconds[fitted])
        errors[name] = error(said[~fitted], seconds[~fitted], float(seconds[0]))
    return errors


def told(one: Error | None) -> str:
    """``0.6 / 9 / .85``: percent of the whole, percent of what SE adds, rank correlation."""
    if one is None:
        return "-"
    added = "-" if one.added is None else f"{100 * one.added:.0f}"
    return f"{100 * one.whole:.2f} / {added} / {'-' if one.spearman is None else f'{one.spearman:.2f}'}"


def picks(found: Profile, space: SearchSpace, number: int, rounds: int, budget: str = "<= +2%") -> str:
    """Of architectures drawn within a latency budget, how many are within it when they are measured, in words."""
    tight = space.with_profile(found, foreign=True).with_budgets({"latency": budget})
    times_drawn = Counter(tight.decode(row) for row in tight.sample_many(0, number))
    drawn = list(times_drawn)
    how, plain = How(**{name: found.how[name] for name in HOW if name in found.how}), space.reference("plain")
    over, apart = list[float](), list[float]()
    for first in range(0, len(drawn), BESIDE):
        times, _ = time_networks(space, [plain, *drawn[first : first + BESIDE]], how, rounds, 1, lambda text: None)
        whole, halves = undisturbed(times)
        over += (whole[1:] / whole[0] - 1).tolist()
        apart += (np.abs(halves[1:, 0] - halves[1:, 1]) / halves[1:, 1]).tolist()
    floor = float(np.mean(apart))
    within = sum(times_drawn[architecture] for architecture, each in zip(drawn, over, strict=True) if each <= 0.02 + floor)
    return (
        f"{within} of {number} drawn within latency {budget} ({len(drawn)} different ones) measured within +2 % plus the floor of "
        f"{100 * floor:.2g} %; the slowest +{100 * max(over):.2g} %"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=NETWORKS, action="append")
    parser.add_argument("--runtime", choices=FITTED_TO, action="append")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--picks", type=int, default=0, metavar="N", help="also measure N architectures drawn within latency <= +2%%")
    parser.add_argument("--picks-rounds", type=int, default=20, metavar="N")
    parser.add_argument("--out", type=Path, default=Path("runs/latency"))
    args = parser.parse_args()
    print(f"{processor()}, one core; torch {torch.__version__}, Python {platform.python_version()}. In each cell: error of the whole (%),")
    print("error of what SE adds (%), rank correlation.\n")
    print("| network | runtime | plain, ms | fitted to | profile | noise floor | params | MACs | bytes | a site | minutes |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name in args.network or NETWORKS:
        for runtime in args.runtime or FITTED_TO:
            space = space_of(name)
            try:
                found = measured(name, runtime, args.out, args.rounds)
            except InputError as refused:
                print(f"| {name} | {runtime} | {refused} |")
                continue
            cells = [told(each) for each in (found.model, found.floor, *held_against(found, space).values())]
            plain, fitted = f"{1e3 * found.networks[0].seconds:.2f}", sum(each.role == FITTED for each in found.networks)
            print(f"| {name} | {runtime} | {plain} | {fitted} | {' | '.join(cells)} | {found.took / 60:.1f} |", flush=True)
            if args.picks:
                print(picks(found, space, args.picks, args.picks_rounds), flush=True)


if __name__ == "__main__":
    main()
