"""What effects say of SE after few of many ImageNet trainings, held against what all of them say.

The 5,138 networks of Accel-NASBench's MnasNet space (see `search/mnasnet.py`; the CSV file is not in the repository): SE on or off
in seven blocks, beside expansion, kernel and layers of each. The truth is least squares on all networks, one effect for each
value of the 28 dimensions. Networks are drawn by a strategy, which can propose those of the table alone and is told their accuracy,
and go through the same function as a run's trials: SE at a block is a group, everything else an extra dimension.

    python benchmarks/effects.py mnasnet_se_imagenet.csv
    python benchmarks/effects.py mnasnet_se_imagenet.csv --strategy random effects nsga2 tpe known-cost --seeds 10 --sizes 50 100 200
"""

from __future__ import annotations

import argparse
import itertools
import sys
import warnings
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from search.mnasnet import DIMS, Floats, Ints, Table

from se_nas.goals.objective import Objective
from se_nas.run.effects import Effects
from se_nas.run.estimate import estimate
from se_nas.run.trial import Trial
from se_nas.se.spec import SESpec
from se_nas.space.architecture import Architecture
from se_nas.space.categorical import CategoricalSpace
from se_nas.strategies import STRATEGIES, create_strategy

BLOCKS = [f"block{block}" for block in range(7)]
OTHERS = {name: values for name, values in DIMS.items() if not name.endswith("_se")}
PLACES = {name: place for place, name in enumerate(DIMS)}
METRIC = Objective("top1", "max", unit="%")


def make_trials(codes: Ints, values: Floats) -> list[Trial]:
    """The networks as trials of one seed; accuracy in percent."""
    trials = []
    for number, (row, value) in enumerate(zip(codes.tolist(), values.tolist(), strict=True)):
        choices = tuple((block, SESpec(4) if row[PLACES[f"{block}_se"]] else None) for block in BLOCKS)
        extra = tuple((name, options[row[PLACES[name]]]) for name, options in OTHERS.items())
        architecture = Architecture(choices, extra)
        trials.append(Trial(number, "proposal", architecture, 0, {"epochs": 1}, "complete", {"top1": value}, {}, number))
    return trials


def least_squares(codes: Ints, values: Floats, weights: Floats | None = None) -> tuple[Floats, Floats, float]:
    """Effects of SE by block, their standard errors, and R2: one coefficient for each value of each dimension but its first.

    Args:
        weights: of the networks; None for equal ones. With weights the errors mean nothing.
    """
    root = np.ones(len(codes)) if weights is None else np.sqrt(weights)
    columns = [np.ones(len(codes))]
    where = []
    for name, options in DIMS.items():
        for value in range(1, len(options)):
            if name.endswith("_se"):
                where.append(len(columns))
            columns.append((codes[:, PLACES[name]] == value).astype(float))
    design = np.column_stack(columns)
    found, *_ = np.linalg.lstsq(design * root[:, None], values * root, rcond=None)
    residuals = values - design @ found
    variance = residuals @ residuals / (len(values) - design.shape[1])
    errors = np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))
    return found[where], errors[where], 1 - float(residuals.var() / values.var())


def likeness(codes: Ints, places: Ints) -> Floats:
    """Weights under which all networks have each value as often as some of them do: the product over the dimensions."""
    weights = np.ones(len(codes))
    for column in codes.T:
        among, overall = (np.bincount(some, minlength=column.max() + 1) + 0.5 for some in (column[places], column))
        weights *= (among / overall)[column]
    return weights / weights.mean()


def drawn(table: Table, name: str, seed: int, number: int) -> Ints:
    """Places in the table of the first networks that a strategy tries, for accuracy and few MACs."""
    if name == "random":
        return np.random.default_rng(seed).choice(len(table.codes), number, replace=False)
    space = CategoricalSpace(DIMS, {"macs_m": table.additive("macs_m")})
    space.rows = np.unique(table.codes, axis=0)  # type: ignore[attr-defined]
    objectives = [METRIC, Objective("macs_m", "min", known=True)]
    strategy, places = create_strategy(name, space, objectives, seed), {tuple(row): place for place, row in enumerate(table.codes.tolist())}
    found: list[int] = []
    while len(found) < number:
        (asked,) = strategy.ask(1)
        found.append(places[tuple(space.encode(asked).tolist())])
        strategy.tell(asked, {"top1": float(table.columns["val_top1"][found[-1]])})
    return np.array(found)


def sites(effects: Effects) -> tuple[Floats, Floats, Floats]:
    """Estimates and ends of the intervals, by block."""
    by_block = [effect for effect in effects.sites if effect.group is not None]
    estimates, low, high = (np.array([getattr(effect, name) for effect in by_block]) for name in ("estimate", "low", "high"))
    return estimates, low, high


def main() -> None:
    parser = argparse.ArgumentParser(description="effects of SE by block after few ImageNet trainings")
    parser.add_argument("table", help="CSV file of Accel-NASBench's MnasNet space")
    parser.add_argument("--seeds", type=int, default=20, help="draws of each size (default: 20)")
    parser.add_argument("--sizes", type=int, nargs="+", default=[50, 100, 200, 500], help="networks a draw (default: 50 100 200 500)")
    parser.add_argument("--strategy", nargs="+", default=["random"], choices=STRATEGIES, help="who draws them (default: random)")
    args = parser.parse_args()
    warnings.filterwarnings("error")
    table = Table.read(args.table)
    codes, values = table.codes, table.columns["val_top1"]
    truth, errors, r2 = least_squares(codes, values)
    print(f"All {len(values):,} networks, least squares: R2 {r2:.2f}; points of top-1 accuracy that SE brings, with 95 % intervals:\n")
    print(f"| {' | '.join(BLOCKS)} |\n|{'---|' * 7}")
    print(f"| {' | '.join(f'{value:+.2f} ± {1.96 * error:.2f}' for value, error in zip(truth, errors, strict=True))} |\n")
    config = {"space": {"reduction": [4], "extra": {name: list(options) for name, options in OTHERS.items()}}}
    print("| drawn by | networks | error (RMS) | half interval | hold it | hold it near | sign right | found | found wrong | R2 left out |")
    print("|---" * 10 + "|")
    longest: dict[tuple[str, int], Ints] = {}
    among: dict[str, list[Floats]] = {}
    for name, size in itertools.product(args.strategy, args.sizes):
        rows, among[name] = [], []
        for seed in range(args.seeds):
            if name != "random" and (name, seed) not in longest:  # its first networks do not depend on how many follow
                longest[name, seed] = drawn(table, name, seed, max(args.sizes))
            places = drawn(table, name, seed, size) if name == "random" else longest[name, seed][:size]
            effects = estimate(make_trials(codes[places], values[places]), METRIC, config, size)
            estimates, low, high = sites(effects)
            found = (low > 0) | (high < 0)
            right = np.sign(estimates) == np.sign(truth)
            near, *_ = least_squares(codes, values, likeness(codes, places))
            among[name].append(near)
            holds, holds_near = ((low <= effect) & (effect <= high) for effect in (truth, near))
            rows.append(
                [
                    ((estimates - truth) ** 2).mean(),
                    (high - low).mean() / 2,
                    holds.mean(),
                    holds_near.mean(),
                    right.mean(),
                    found.mean(),
                    (found & ~right).mean(),
                    effects.r2,
                ]
            )
        error, width, *shares, held_out = np.array(rows, float).mean(0)
        cells = [name, f"{size}", f"{error**0.5:.2f}", f"{width:.2f}", *(f"{100 * share:.0f} %" for share in shares), f"{held_out:.2f}"]
        print(f"| {' | '.join(cells)} |", flush=True)
    print(f"\nThe effects near {args.sizes[-1]} networks, means over the draws:\n\n| drawn by | {' | '.join(BLOCKS)} |\n|{'---|' * 8}")
    for name, effects_near in among.items():
        print(f"| {name} | {' | '.join(f'{value:+.2f}' for value in np.mean(effects_near, axis=0))} |")


if __name__ == "__main__":
    main()
