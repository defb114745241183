"""Problems to search whose best front is known (or as good as known), each behind the same face."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mnasnet import DIMS, SIZES, Floats, Ints, Profile, Table, encode

from se_nas.goals.hypervolume import dominated_volume
from se_nas.goals.objective import Objective
from se_nas.space.categorical import CategoricalSpace
from se_nas.space.space import SearchSpace


@dataclass(frozen=True)
class Problem:
    """Something to search.

    Attributes:
        name: of the problem.
        space: what strategies are given.
        objectives: two, the first of them accuracy.
        measure: what a trial tells of architectures: a mapping for each.
        true: the same without noise.
        gains: noiseless gains of architectures over the reference point, shape (n, 2), by which searches are judged.
        best: hypervolume of the best front known.
        about: what to know of it, in one line.
        noise: standard deviation of accuracy between trials.
    """

    name: str
    space: Any
    objectives: tuple[Objective, Objective]
    measure: Callable[[Sequence[Any], np.random.Generator], list[dict[str, float]]]
    true: Callable[[Sequence[Any]], list[dict[str, float]]]
    gains: Callable[[Sequence[Any]], Floats]
    best: float
    about: str
    noise: float


COSTS = {
    "params": ("params_m", "min", True, "parameters, known exactly"),
    "macs": ("macs_m", "min", True, "MACs, known exactly"),
    "profile12": ("throughput_a100", "max", False, "A100 throughput, predicted from 12 networks; judged as measured"),
    "profile100": ("throughput_a100", "max", False, "A100 throughput, predicted from 100 networks; judged as measured"),
    "throughput": ("throughput_a100", "max", False, "A100 throughput, measured of trained networks only; parameters and MACs known"),
}


PROFILES = {"profile12": 12, "profile100": 100}
"""Problem -> networks that its profile is fitted to."""


def table_problem(name: str, path: Path, cache: Path, noise: float = 0.0, bare: bool = False) -> Problem:
    """Accuracy against a cost over the table of `mnasnet`.

    Volume is of accuracy in % and the cost's logarithm, from the table's 5 % quantiles (of what is worst).

    Args:
        name: one of `COSTS`.
        path: of the CSV file.
        cache: directory that keeps the best front's volume, which takes a minute to find.
        noise: standard deviation of accuracy between seeds, in points.
        bare: whether to hide the known costs that are no objective.
    """
    table = Table.read(path)
    column, direction, known, about = COSTS[name]
    accuracy = table.boosted("val_top1", log=False)
    exact = {"params": table.additive("params_m"), "macs": table.additive("macs_m")}
    cost = exact[name] if known else table.boosted(column, log=True)
    sign = 1 if direction == "max" else -1
    worst = np.array([np.nanpercentile(table.columns["val_top1"], 5), np.nanpercentile(sign * np.log(table.columns[column]), 5)])

    looked_up: dict[bytes, Floats] = {}  # trees are slow for a few networks at a time

    def true(codes: Ints) -> Floats:
        new = np.array([row for row in codes if row.tobytes() not in looked_up])
        if len(new):
            looked_up.update(zip((row.tobytes() for row in new), np.stack([accuracy.rows(new), cost.rows(new)], 1), strict=True))
        return np.array([looked_up[row.tobytes()] for row in codes])

    def gains_of(values: Floats) -> Floats:
        return np.stack([values[:, 0], sign * np.log(values[:, 1])], 1) - worst

    def told(architectures: Sequence[Any]) -> list[dict[str, float]]:
        return [{"accuracy": float(a), name: float(c)} for a, c in true(encode(architectures))]

    costs: dict[str, Any] = {key: function for key, function in exact.items() if key == name or not bare}
    if name in PROFILES:
        costs[name] = Profile.of(table, PROFILES[name])
    if name in PROFILES:
        off, ranks = _held_against(costs[name], table)
        about += f" (of all networks: off by {100 * off:.0f} %, rank correlation {ranks:.3f})"
    held_out = f"accuracy R2 {accuracy.held_out:.3f}" + ("" if known else f", log throughput R2 {cost.held_out:.3f}")
    return Problem(
        name=f"accuracy x {name}" + (f", noise {noise:g}" if noise else "") + (", bare" if bare else ""),
        space=CategoricalSpace(DIMS, costs),
        objectives=(Objective("accuracy", "max"), Objective(name, direction, known=name in costs)),
        measure=noisy(told, noise),
        true=told,
        gains=lambda architectures: gains_of(true(encode(architectures))),
        best=_cached(
            cache / f"best-{'throughput' if name in PROFILES else name}.json",
            lambda: best_volume(lambda codes: gains_of(np.stack([accuracy.rows(codes), cost.rows(codes)], 1))),
        ),
        about=f"1.04e11 ImageNet networks; {about}; gradient boosting on networks held out: {held_out}",
        noise=noise,
    )


def _held_against(profile: Profile, table: Table) -> tuple[float, float]:
    """Mean relative error of a profile on the networks of the table, and the rank correlation."""
    from scipy.stats import spearmanr

    measured = np.isfinite(table.columns["throughput_a100"])
    true, said = table.columns["throughput_a100"][measured], profile.rows(table.codes[measured])
    return float(np.mean(np.abs(said / true - 1))), float(spearmanr(said, true)[0])


def noisy(true: Callable[[Sequence[Any]], list[dict[str, float]]], noise: float) -> Callable[..., list[dict[str, float]]]:
    """The truth with noise on accuracy, of this standard deviation."""

    def measure(architectures: Sequence[Any], rng: np.random.Generator) -> list[dict[str, float]]:
        errors = noise * rng.standard_normal(len(architectures))
        return [{**values, "accuracy": values["accuracy"] + float(e)} for values, e in zip(true(architectures), errors, strict=True)]

    return measure


def _cached(path: Path, compute: Callable[[], float]) -> float:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(compute()))
    return float(json.loads(path.read_text()))


def best_volume(gains_of: Callable[[Ints], Floats], runs: int = 4, population: int = 100, generations: int = 80) -> float:
    """Volume of four NSGA-II runs of 8,000 evaluations joined, then of neighbours of the front until none is better."""
    fronts = [_evolve(gains_of, np.random.default_rng(seed), population, generations) for seed in range(runs)]
    codes, gains = (np.concatenate(parts) for parts in zip(*fronts, strict=True))
    volume = -1.0
    while True:
        keep = _front(gains)
        codes, gains = codes[keep], gains[keep]
        if dominated_volume(gains) <= volume * (1 + 1e-9):
            return volume
        volume = dominated_volume(gains)
        near = [codes]
        for gene, size in enumerate(SIZES):
            for code in range(size):
                changed = codes.copy()
                changed[:, gene] = code
                near.append(changed)
        codes = np.unique(np.concatenate(near), axis=0)
        gains = gains_of(codes)


def _evolve(gains_of: Callable[[Ints], Floats], rng: np.random.Generator, population: int, generations: int) -> tuple[Ints, Floats]:
    codes = rng.integers(0, SIZES, (population, len(SIZES)))
    gains = gains_of(codes)
    for _ in range(generations - 1):
        first, second = (codes[rng.integers(0, len(codes), population)] for _ in range(2))
        mixed = np.where((rng.random(first.shape) < 0.5) & (rng.random((population, 1)) < 0.9), second, first)
        children = np.where(rng.random(first.shape) < 1 / len(SIZES), rng.integers(0, SIZES, first.shape), mixed)
        codes, places = np.unique(np.concatenate([codes, children]), axis=0, return_index=True)
        gains = np.concatenate([gains, gains_of(children)])[places]
        kept: list[int] = []
        left = np.arange(len(codes))
        while len(kept) < population and len(left):
            front = left[_front(gains[left])]
            room = population - len(kept)
            kept += (front if len(front) <= room else front[np.linspace(0, len(front) - 1, room).astype(int)]).tolist()
            left = np.setdiff1d(left, front)
        codes, gains = codes[kept], gains[kept]
    return codes, gains


def _front(gains: Floats) -> Ints:
    """Places of the points that none dominates, each once, from the best in the first objective."""
    best, kept = -math.inf, []
    for place in np.lexsort((-gains[:, 1], -gains[:, 0])):
        if gains[place, 1] > best:
            best = gains[place, 1]
            kept.append(int(place))
    return np.array(kept)


STAGE_WORTH = {"layer1": 0.2, "layer2": 0.5, "layer3": 1.0}
SQUEEZE_WORTH = {"avg": 1.0, "max": 0.8, "avg+max": 1.1, "std": 1.05}


def analytic_problem(noise: float = 0.0) -> Problem:
    """Made-up accuracy in a real SE space, additive over sites, so that the whole Pareto front can be computed.

    SE-ResNet-20 with one choice for each of nine sites (no SE, or 4 ratios x 4 squeezes x 2 gates). Each block adds to
    accuracy by its stage, ratio, squeeze and gate; the front over all sums of parameters is found by adding site by site.
    """
    space = SearchSpace("resnet20", reduction=[2, 4, 8, 16], squeeze=list(SQUEEZE_WORTH), gate=["sigmoid", "hard-sigmoid"])

    def worth(group: str, spec: Any) -> float:
        if spec is None:
            return 0.0
        stage, block = group.split(".")
        gate = 0.9 if spec.gate == "hard-sigmoid" else 1.0
        return STAGE_WORTH[stage] * (1 - 0.25 * int(block)) * SQUEEZE_WORTH[spec.squeeze] * gate * spec.reduction**-0.15

    def accuracy(architecture: Any) -> float:
        return 90.0 + sum(worth(group, spec) for group, spec in architecture)

    plain = space.plain_cost.params
    front = {0: 0.0}
    for group in space.groups:
        sums: dict[int, float] = {}
        for spent, gained in front.items():
            for option in group.options:
                cost, gain = spent + group.cost(option).params, gained + worth(group.name, option)
                if gain > sums.get(cost, -1.0):
                    sums[cost] = gain
        front, best = {}, -1.0
        for cost in sorted(sums):
            if sums[cost] > best:
                front[cost] = best = sums[cost]
    dearest = space.cost(space.dearest()).params

    def gain(value: float, params: float) -> list[float]:
        return [value - 89.9, (1.001 * dearest - params) / plain * 100]

    def gains(architectures: Sequence[Any]) -> Floats:
        return np.array([gain(accuracy(a), space.cost(a).params) for a in architectures])

    def true(architectures: Sequence[Any]) -> list[dict[str, float]]:
        return [{"accuracy": accuracy(a), "params": space.cost(a).params} for a in architectures]

    return Problem(
        name="analytic" + (f", noise {noise:g}" if noise else ""),
        space=space,
        objectives=(Objective("accuracy", "max"), Objective("params", "min", known=True)),
        measure=noisy(true, noise),
        true=true,
        gains=gains,
        best=dominated_volume([gain(90 + gained, plain + cost) for cost, gained in front.items()]),
        about=f"SE-ResNet-20, {space.size:.3g} architectures, {len(front)} on the true front",
        noise=noise,
    )


def make_problem(name: str, table: Path | None, cache: Path) -> Problem:
    """``params``, ``macs``, ``throughput`` or ``analytic``; ``NAME~0.4`` has noise, ``NAME-bare`` hides known costs."""
    base, _, noise = name.partition("~")
    bare = base.endswith("-bare")
    base = base.removesuffix("-bare")
    if base == "analytic":
        return analytic_problem(float(noise or 0))
    if base not in COSTS:
        raise SystemExit(f"unknown problem {name}; take {', '.join(COSTS)} or analytic")
    if table is None or not table.exists():
        raise SystemExit(f"problem {name} needs --table, the CSV file that mnasnet.py describes")
    return table_problem(base, table, cache, float(noise or 0), bare)
