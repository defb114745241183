"""Optuna's samplers under tight budgets: `suggest` as it is, pruning, and the budgets as constraints.

ResNet-50 with a choice at each site; accuracy is what the SENet paper's tables make one expect (`se_nas.evaluate.paper`), so that
nothing is trained. For each way: trials within the budget, and what they found: the hypervolume of accuracy above the plain
backbone's and parameters below the limit (as a share of it), and the best accuracy. Means over seeds.

    python benchmarks/optuna_budgets.py
    python benchmarks/optuna_budgets.py --seeds 2 --budgets "<= +5%"     # a few minutes
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import mean

import optuna
import torch

from se_nas.evaluate.paper import PaperEvaluator
from se_nas.goals.hypervolume import dominated_volume
from se_nas.integrations.optuna import constraints, suggest
from se_nas.integrations.proposals import suggest_values
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace
from se_nas.space.spacefile import load_space

SPACE = Path(__file__).parents[1] / "search_spaces/paper_resnet50.yaml"


def mapped(trial: optuna.Trial, space: SearchSpace) -> Architecture:
    return suggest(trial, space)


def pruned(trial: optuna.Trial, space: SearchSpace) -> Architecture:
    """As `suggest` did before proposals were mapped."""
    architecture = space.from_dimensions(suggest_values(trial, space, mapped=False))
    if not space.is_feasible(architecture):
        raise optuna.TrialPruned
    return architecture


def constrained(trial: optuna.Trial, space: SearchSpace) -> Architecture:
    return suggest(trial, space, prune=False)


WAYS: dict[str, Callable[[optuna.Trial, SearchSpace], Architecture]] = {"mapped": mapped, "pruned": pruned, "constrained": constrained}
SAMPLERS: dict[str, Callable[..., optuna.samplers.BaseSampler]] = {
    "TPE": optuna.samplers.TPESampler,
    "NSGA-II": lambda **more: optuna.samplers.NSGAIISampler(population_size=20, **more),
}


def run(space: SearchSpace, sampler: str, way: str, seed: int, trials: int) -> tuple[int, float, float]:
    """Trials within the budget, hypervolume (x 1e6), best accuracy of one study."""
    accuracy, limit = PaperEvaluator(space), space.budgets[0].limit
    plain = 1 - accuracy.error(space.reference("plain")) / 100
    found: list[tuple[float, float]] = []

    def objective(trial: optuna.Trial) -> tuple[float, float]:
        architecture = WAYS[way](trial, space)
        values = 1 - accuracy.error(architecture) / 100, float(space.cost(architecture).params)
        if space.is_feasible(architecture):
            found.append(values)
        return values

    more = {"constraints_func": constraints} if way == "constrained" else {}
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=SAMPLERS[sampler](seed=seed, **more))
    study.optimize(objective, n_trials=trials)
    volume = dominated_volume([(top - plain, 1 - params / limit) for top, params in found])
    return len(found), 1e6 * volume, max((top for top, _ in found), default=plain)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budgets", nargs="+", default=["<= +5%", "<= +2%"])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trials", type=int, default=100)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with torch.device("meta"):
        whole = SearchSpace.from_dict({**load_space(SPACE)[0], "share": "site"}, str(SPACE))
    print("| params | within it | sampler | way | trials within | hypervolume | best accuracy |\n|---|---|---|---|---|---|---|")
    for budget in args.budgets:
        space = whole.with_budgets({"params": budget})
        for sampler in SAMPLERS:
            for way in WAYS:
                found = [run(space, sampler, way, seed, args.trials) for seed in range(args.seeds)]
                within, volume, best = (mean(values) for values in zip(*found, strict=True))
                share = f"{space.feasible_size / space.size:.2g}"
                print(f"| {budget} | {share} | {sampler} | {way} | {within:.0f} of {args.trials} | {volume:.0f} | {best:.4f} |", flush=True)


if __name__ == "__main__":
    main()
