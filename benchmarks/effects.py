"""What effects say of SE after few of many ImageNet trainings, held against what all of them say.

The 5,138 networks of Accel-NASBench's MnasNet space (see `search/mnasnet.py`; the CSV file is not in the repository): SE on or off
in seven blocks, beside expansion, kernel and layers of each. The truth is least squares on all networks, one effect for each
value of the 28 dimensions. Networks are drawn at random, and go through the same function as a run's trials: SE at a block is
a group, everything else an extra dimension.

    python benchmarks/effects.py mnasnet_se_imagenet.csv
"""

from __future__ import annotations

import argparse
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


def least_squares(codes: Ints, values: Floats) -> tuple[Floats, Floats, float]:
    """Effects of SE by block, their standard errors, and R2: one coefficient for each value of each dimension but its first."""
    columns = [np.ones(len(codes))]
    where = []
    for name, options in DIMS.items():
        for value in range(1, len(options)):
            if name.endswith("_se"):
                where.append(len(columns))
            columns.append((codes[:, PLACES[name]] == value).astype(float))
    design = np.column_stack(columns)
    found, *_ = np.linalg.lstsq(design, values, rcond=None)
    residuals = values - design @ found
    variance = residuals @ residuals / (len(values) - design.shape[1])
    errors = np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))
    return found[where], errors[where], 1 - float(residuals.var() / values.var())


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
    args = parser.parse_args()
    warnings.filterwarnings("error")
    table = Table.read(args.table)
    codes, values = table.codes, table.columns["val_top1"]
    truth, errors, r2 = least_squares(codes, values)
    print(f"All {len(values):,} networks, least squares: R2 {r2:.2f}; points of top-1 accuracy that SE brings, with 95 % intervals:\n")
    print(f"| {' | '.join(BLOCKS)} |\n|{'---|' * 7}")
    print(f"| {' | '.join(f'{value:+.2f} ± {1.96 * error:.2f}' for value, error in zip(truth, errors, strict=True))} |\n")
    config = {"space": {"reduction": [4], "extra": {name: list(options) for name, options in OTHERS.items()}}}
    print("| networks | error (RMS) | half interval | intervals that hold it | sign right | found | found, sign wrong | R2 left out |")
    print("|---|---|---|---|---|---|---|---|")
    for size in args.sizes:
        rows = []
        for seed in range(args.seeds):
            drawn = np.random.default_rng(seed).choice(len(codes), size, replace=False)
            effects = estimate(make_trials(codes[drawn], values[drawn]), METRIC, config, size)
            estimates, low, high = sites(effects)
            found = (low > 0) | (high < 0)
            right = np.sign(estimates) == np.sign(truth)
            holds = (low <= truth) & (truth <= high)
            rows.append(
                [
                    ((estimates - truth) ** 2).mean(),
                    (high - low).mean() / 2,
                    holds.mean(),
                    right.mean(),
                    found.mean(),
                    (found & ~right).mean(),
                    effects.r2,
                ]
            )
        error, width, *shares, held_out = np.array(rows, float).mean(0)
        cells = [f"{size}", f"{error**0.5:.2f}", f"{width:.2f}", *(f"{100 * share:.0f} %" for share in shares), f"{held_out:.2f}"]
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
