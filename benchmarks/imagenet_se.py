"""Where SE pays on ImageNet, and what choosing its places is worth, from 5,138 trained networks.

The networks of Accel-NASBench's MnasNet space (see `search/mnasnet.py`; the CSV file is not in the repository). Accuracy is
modelled by one coefficient for each value of the 28 dimensions, parameters, MACs and seconds of an A100 by one for each setting
of each block; all by least squares. Under these sums fronts are exact: blocks are joined one by one, and what another
combination beats is dropped. Intervals are of 200 bootstrap samples of the networks.

    python benchmarks/imagenet_se.py mnasnet_se_imagenet.csv
"""

from __future__ import annotations

import argparse
import itertools
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from search.mnasnet import DIMS, Floats, Ints, Table

BLOCKS = range(7)
COSTS = ("params", "MACs", "A100 time")
SPACES = {"chosen block by block": (0, 1), "at all blocks": (1,), "nowhere": (0,)}


def settings(block: int) -> Ints:
    """Codes of every setting of a block, shape (settings, 4); SE comes last."""
    names = [name for name in DIMS if name.startswith(f"block{block}_")]
    return np.array(list(itertools.product(*(range(len(DIMS[name])) for name in names))))


def block_codes(codes: Ints, block: int) -> Ints:
    names = list(DIMS)
    return codes[:, [names.index(name) for name in DIMS if name.startswith(f"block{block}_")]]


def accuracy_design(codes: Ints) -> Floats:
    """One column for each value of each dimension but its first, shape (networks, columns)."""
    columns = [codes[:, place] == value for place, options in enumerate(DIMS.values()) for value in range(1, len(options))]
    return np.column_stack(columns).astype(float)


def block_design(codes: Ints) -> Floats:
    """One column for each setting of each block, shape (networks, columns)."""
    parts = []
    for block in BLOCKS:
        every = settings(block)
        parts.append((block_codes(codes, block)[:, None] == every).all(2))
    return np.concatenate(parts, 1).astype(float)


def fit(design: Floats, values: Floats) -> Floats:
    """Coefficients; those of an intercept first."""
    with_intercept = np.column_stack([np.ones(len(design)), design])
    found: Floats = np.linalg.lstsq(with_intercept, values, rcond=None)[0]
    return found


def accuracy_tables(coefficients: Floats) -> list[Floats]:
    """What each setting of each block adds to the accuracy, in points."""
    tables, place, values = [], 1, {}
    for name, options in DIMS.items():
        values[name] = np.array([0.0, *coefficients[place : place + len(options) - 1]])
        place += len(options) - 1
    for block in BLOCKS:
        names = [name for name in DIMS if name.startswith(f"block{block}_")]
        tables.append(np.array([sum(values[name][code] for name, code in zip(names, row, strict=True)) for row in settings(block)]))
    return tables


def cost_tables(coefficients: Floats) -> list[Floats]:
    """What each setting of each block adds to a cost."""
    ends = np.cumsum([len(settings(block)) for block in BLOCKS])
    return np.split(coefficients[1:], ends[:-1])


def se_effect(tables: list[Floats]) -> Floats:
    """What SE adds at each block, the mean over the block's other settings."""
    has = [settings(block)[:, 3] == 1 for block in BLOCKS]
    return np.array([table[se].mean() - table[~se].mean() for se, table in zip(has, tables, strict=True)])


def front(gains: list[Floats], costs: list[Floats], allowed: tuple[int, ...]) -> tuple[Floats, Floats]:
    """Accuracy and cost of the exact front, cheapest first, of networks whose SE is among those allowed at each block."""
    gain, cost = np.zeros(1), np.zeros(1)
    for block, (more_gain, more_cost) in enumerate(zip(gains, costs, strict=True)):
        here = np.isin(settings(block)[:, 3], allowed)
        gain, cost = (gain[:, None] + more_gain[here]).ravel(), (cost[:, None] + more_cost[here]).ravel()
        order = np.lexsort((-gain, cost))
        gain, cost = gain[order], cost[order]
        best = np.maximum.accumulate(gain)
        kept = np.concatenate([[True], gain[1:] > best[:-1]])
        gain, cost = gain[kept], cost[kept]
    return gain, cost


def area(found: tuple[Floats, Floats], worst: tuple[float, float]) -> float:
    """Hypervolume of a front over a worst accuracy and a largest cost."""
    gain, cost = found
    inside = (gain > worst[0]) & (cost < worst[1])
    gain, cost = gain[inside], np.append(cost[inside], worst[1])
    return float(((gain - worst[0]) * np.diff(cost)).sum())


def worth(gains: list[Floats], costs: list[Floats]) -> Floats:
    """Hypervolume of each of `SPACES`, as a share of the first's; the worst point is of the ends of the front without SE."""
    fronts = {name: front(gains, costs, allowed) for name, allowed in SPACES.items()}
    gain, cost = fronts["nowhere"]
    areas = np.array([area(found, (float(gain[0]), float(cost[-1]))) for found in fronts.values()])
    return areas / areas[0]


def interval(samples: Floats) -> tuple[Floats, Floats]:
    low, high = np.quantile(samples, [0.025, 0.975], axis=0)
    return low, high


def main() -> None:
    parser = argparse.ArgumentParser(description="where SE pays on ImageNet, from trained networks")
    parser.add_argument("table", help="CSV file of Accel-NASBench's MnasNet space")
    parser.add_argument("--samples", type=int, default=200, help="bootstrap samples (default: 200)")
    args = parser.parse_args()
    table = Table.read(args.table)
    whole = np.isfinite(table.columns["throughput_a100"])
    codes = table.codes[whole]
    top1 = table.columns["val_top1"][whole]
    columns = {name: values[whole] for name, values in table.columns.items()}
    measured = {"params": columns["params_m"], "MACs": columns["macs_m"], "A100 time": 1e6 / columns["throughput_a100"]}
    designs = accuracy_design(codes), block_design(codes)

    def estimate(rows: Ints) -> tuple[Floats, dict[str, Floats], dict[str, Floats]]:
        gains = accuracy_tables(fit(designs[0][rows], top1[rows]))
        costs = {name: cost_tables(fit(designs[1][rows], values[rows])) for name, values in measured.items()}
        added = {name: 100 * se_effect(tables) / measured[name].mean() for name, tables in costs.items()}
        return se_effect(gains), added, {name: worth(gains, tables) for name, tables in costs.items()}

    effect, added, share = estimate(np.arange(len(codes)))
    rng = np.random.default_rng(0)
    samples = [estimate(rng.integers(len(codes), size=len(codes))) for _ in range(args.samples)]
    low, high = interval(np.array([sample[0] for sample in samples]))
    means = [f"{measured[name].mean():.3g} {unit}" for name, unit in zip(COSTS, ("M parameters", "M MACs", "us an image"), strict=True)]
    print(f"{len(codes)} networks; on average {top1.mean():.1f} % top-1, {', '.join(means)}.")
    print("\n| SE at | points of top-1 | parameters | MACs | A100 time | points for each 1 % of time |\n|---|---:|---:|---:|---:|---:|")
    ends = {name: interval(np.array([sample[1][name] for sample in samples])) for name in COSTS}
    for block in BLOCKS:
        cells = [f"block {block}", f"{effect[block]:+.2f} ({low[block]:+.2f} to {high[block]:+.2f})"]
        cells += [f"{added[name][block]:+.2f} % ({ends[name][0][block]:+.2f} to {ends[name][1][block]:+.2f})" for name in COSTS]
        cells.append(f"{effect[block] / added['A100 time'][block]:.2f}")
        print(f"| {' | '.join(cells)} |")
    print("\n| SE | accuracy and parameters | accuracy and MACs | accuracy and A100 time |\n|---|---:|---:|---:|")
    for place, name in enumerate(SPACES):
        cells = []
        for cost in COSTS:
            bottom, top = interval(np.array([sample[2][cost][place] for sample in samples]))
            cells.append(f"{share[cost][place]:.3f} ({bottom:.3f} to {top:.3f})" if place else "1")
        print(f"| {name} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
