"""How many trainings a search spends: hypervolume over evaluations, beside its peers.

    python benchmarks/search/curves.py --problem params --table mnasnet_se_imagenet.csv --seeds 20
    python benchmarks/search/curves.py --problem throughput --table mnasnet_se_imagenet.csv --seeds 20
    python benchmarks/search/curves.py --problem analytic

All searches run in this process on the same problem, in batches of 4 as for four workers. Printed: median hypervolume, as a
share of the best front's, after so many evaluations, and evaluations to the target: what Optuna's NSGA-II (population 20)
has after 400, its median over the seeds. The plot shows medians and the middle half of the seeds.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mnasnet import Floats
from peers import PEERS, SEARCHES
from plot import draw_curves
from problems import Problem, make_problem

from se_nas.goals.hypervolume import dominated_volume

MARKS = (25, 50, 75, 100, 150, 400)


def main() -> None:
    parser = argparse.ArgumentParser(description="Hypervolume over evaluations, of several searches.")
    parser.add_argument("--problem", default="params", help="params, macs, throughput or analytic; NAME~0.4: with noise")
    parser.add_argument("--table", type=Path, help="CSV file of trained networks, see mnasnet.py")
    parser.add_argument("--searches", nargs="*", default=SEARCHES, choices=list(PEERS), metavar="NAME", help=", ".join(PEERS))
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--from-seed", type=int, default=100, help="the first of them")
    parser.add_argument("--keep", action="store_true", help="keep the other searches of an earlier call's file in table and plot")
    parser.add_argument("--evaluations", type=int, default=150)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--target", type=float, help="share of the best hypervolume (default: that of Optuna's NSGA-II at 400, run for it)")
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks"), help="where curves and plots go")
    args = parser.parse_args()
    problem, seeds = make_problem(args.problem, args.table, args.out), range(args.from_seed, args.from_seed + args.seeds)
    stem = args.out / f"{args.problem}-{args.from_seed}"
    file = stem.with_suffix(".json")
    earlier = json.loads(file.read_text()) if args.keep and file.exists() else {}
    about = f"seeds {args.from_seed} to {args.from_seed + args.seeds - 1}, batches of {args.batch}, Python {platform.python_version()}"
    print(f"{problem.name}: {problem.about}; {about}")
    target = args.target or earlier.get("target") or nsga2_at_400(problem, seeds, args.batch)
    print(f"target: {target:.3f} of the best hypervolume", flush=True)
    marks = [mark for mark in MARKS if mark <= args.evaluations]
    print(
        f"{'search':16}{'seeds':>6}"
        + "".join(f"{f'at {mark}':>9}" for mark in marks)
        + f"{'to target':>11}  {'middle half':>15}{'s/ask':>7}"
    )
    found: dict[str, dict[str, Any]] = earlier.get("searches", {})
    for name in [*(name for name in found if name not in args.searches), *args.searches]:
        if name in args.searches:
            found[name] = {"curves": [], "seconds": []}
            for seed in seeds:
                curve, seconds = run(problem, name, seed, args.evaluations, args.batch)
                found[name]["curves"].append(curve.tolist())
                found[name]["seconds"].append(seconds)
                file.write_text(json.dumps({"problem": problem.name, "target": target, "searches": found}))
        print(row(name, np.array(found[name]["curves"]), marks, target, float(np.mean(found[name]["seconds"]))), flush=True)
    curves = {name: np.array(search["curves"]) for name, search in found.items()}
    stem.with_suffix(".svg").write_text(draw_curves(problem.name, curves, target))
    print(f"{stem}.svg, {stem}.json")


def nsga2_at_400(problem: Problem, seeds: Sequence[int], batch: int) -> float:
    """What Optuna's NSGA-II (population 20) has after 400 evaluations: the median over seeds."""
    return float(np.median([run(problem, "optuna-nsga2-20", seed, 400, batch)[0][-1] for seed in seeds]))


def run(problem: Problem, name: str, seed: int, evaluations: int, batch: int) -> tuple[Floats, float]:
    """Share of the best hypervolume after each evaluation, shape (evaluations,), and processor seconds of an ask."""
    search, rng = PEERS[name](problem, seed), np.random.default_rng([seed, 7])
    gains: list[list[float]] = []
    asking = asks = 0.0
    while len(gains) < evaluations:
        start = time.process_time()
        asked = search.ask(min(batch, evaluations - len(gains)))
        asking, asks = asking + time.process_time() - start, asks + 1
        for architecture, metrics in zip(asked, problem.measure(asked, rng), strict=True):
            search.tell(architecture, metrics)
        gains += problem.gains(asked).tolist()
    return np.array([dominated_volume(gains[: n + 1]) for n in range(evaluations)]) / problem.best, asking / asks


def row(name: str, curves: Floats, marks: list[int], target: float, seconds: float) -> str:
    """One search's line of the table."""
    medians = "".join(f"{np.median(curves[:, mark - 1]):9.3f}" for mark in marks)
    reached = [int(np.argmax(curve >= target)) + 1 if curve.max() >= target else np.inf for curve in curves]
    low, high = (_count(np.quantile(reached, share, method="closest_observation")) for share in (0.25, 0.75))
    middle = _count(float(np.median(reached)))
    return f"{name:16}{len(curves):6}{medians}{middle:>11}  {f'{low} to {high}':>15}{seconds:7.2f}"


def _count(number: float) -> str:
    return f"{number:g}" if np.isfinite(number) else "never"


if __name__ == "__main__":
    main()
