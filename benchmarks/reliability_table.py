"""Tables of `reliability.py`: each evaluation held against itself with other seeds, and against the truth, good and bad."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from reliability_plans import Plan

from se_nas.run.reliability import Estimate, Reliability, agreement, components, kendall, measure

Line = Mapping[str, Any]
METRICS = ("accuracy", "loss")


def rows(lines: Iterable[Line], evaluation: str, metric: str) -> dict[str, dict[int, float]]:
    """Architecture -> seed -> value."""
    found: dict[str, dict[int, float]] = {}
    for line in lines:
        if line["evaluation"] == evaluation and metric in line:
            found.setdefault(line["architecture"], {})[line["seed"]] = line[metric]
    return found


def seconds(lines: Iterable[Line], evaluation: str) -> float:
    """Mean CPU time of a training, NaN without any."""
    known = [line["seconds"] for line in lines if line["evaluation"] == evaluation]
    return fmean(known) if known else float("nan")


def share(lines: Sequence[Line], evaluation: str, truth: str) -> float:
    """CPU time of a training as a share of the truth's."""
    return seconds(lines, evaluation) / seconds(lines, truth)


def mean_icc(found: Reliability, seeds: int) -> float:
    """ICC of the mean of so many seeds (Spearman and Brown)."""
    single = found.icc.value
    return seeds * single / (1 + (seeds - 1) * single) if single else 0.0


def print_table(plan: Plan, lines: list[Line]) -> None:
    """In Markdown. Of a part without a truth, the mean metrics of each recipe."""
    truth = next((recipe.name for recipe in plan.recipes if recipe.truth), None)
    if truth is None:
        print_means(plan, lines)
        return
    print(
        "| evaluation | metric | cost | seeds | deviation of architectures | ICC paired | unpaired | tau of two seeds | tau to the truth |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for recipe in plan.recipes:
        for metric in METRICS:
            right = rows(lines, truth, f"test_{metric}") if not recipe.truth else None
            name = f"test_{metric}" if recipe.truth else metric
            values = rows(lines, recipe.name, name)
            found = measure(values, right)
            if found is None:
                continue
            seeds = max(map(len, values.values()))
            size = f"{100 * found.spread:.2f} points" if metric == "accuracy" else f"{found.spread:.4f}"
            cells = [recipe.name, name.replace("_", " "), f"{share(lines, recipe.name, truth):.2f}", str(seeds), size]
            cells += [said(found.icc), said(found.icc_unpaired), said(found.tau), said(found.truth) if right else "the truth"]
            print(f"| {' | '.join(cells)} |")
    for metric in METRICS:
        values = rows(lines, truth, f"test_{metric}")
        if found := measure(values):
            seeds = max(map(len, values.values()))
            print(f"\nThe truth's {metric}: ICC of the mean of its {seeds} seeds {mean_icc(found, seeds):.2f}.", end="")
    print()
    by_seed(plan, lines, truth)
    decisions(plan, lines, truth)
    for metric in METRICS:
        print()
        print_means(plan, lines, metric)


def by_seed(plan: Plan, lines: list[Line], truth: str) -> None:
    """Each seed alone against the truth, and in the end the means of all seeds: a choice made on some is checked on the others.

    One seed is held against the truth of the same seed; where it has none, and so shares nothing with it, against the mean of its seeds.
    """
    own = {line["seed"] for line in lines if line["evaluation"] == truth}
    seeds = sorted({line["seed"] for line in lines})
    heads = [f"tau to the truth, seed {seed}" if seed in own else f"seed {seed}, to its mean" for seed in seeds]
    heads += ["mean of all seeds, to its mean"]
    print(f"\n| evaluation | metric | {' | '.join(heads)} |")
    print(f"|---|---|{'---|' * len(heads)}")
    for recipe in plan.recipes:
        for metric in METRICS if not recipe.truth else ():
            values, found = rows(lines, recipe.name, metric), rows(lines, truth, f"test_{metric}")
            cells = []
            for seed in seeds:
                same = {name: row[seed] for name, row in found.items() if seed in row}
                right = same if seed in own else {name: fmean(row.values()) for name, row in found.items()}
                both = [name for name in values if seed in values[name] and name in right]
                tau = kendall([values[name][seed] for name in both], [right[name] for name in both]) if len(both) > 2 else None
                cells.append("" if tau is None else f"{tau:.2f}")
            means = [(fmean(row.values()), fmean(found[name].values())) for name, row in values.items() if name in found]
            cells.append(said(agreement(means)) if len(means) > 2 else "")
            print(f"| {' | '.join([recipe.name, metric, *cells])} |")


def decisions(plan: Plan, lines: list[Line], truth: str) -> None:
    """What a decision between two typical architectures costs: paired and unpaired seeds, and the same in trainings of the truth."""
    print("\n| evaluation | metric | seeds to tell two typical ones apart, paired | unpaired | paired, in trainings of the truth |")
    print("|---|---|---|---|---|")
    for recipe in plan.recipes:
        for metric in METRICS:
            found = components(list(rows(lines, recipe.name, metric).values()))
            if found is None:
                continue
            paired, unpaired = (7.84 * noise / found.between if found.between else float("inf") for noise in (found.residual, found.within))
            cost = share(lines, recipe.name, truth)
            print(f"| {recipe.name} | {metric} | {max(1, paired):.1f} | {max(1, unpaired):.1f} | {max(1, paired) * cost:.2f} |")


def print_means(plan: Plan, lines: list[Line], metric: str = "loss") -> None:
    """Mean loss or accuracy (0..1) of each architecture, of validation; with several seeds also the noise within one, and the ICC."""
    repeated = len(plan.seeds) > 1
    names = [f"{metric} of {name}" for name in plan.architectures] + ["deviation in a seed", "ICC paired"] * repeated
    print(f"| recipe | {' | '.join(names)} |")
    print(f"|---|{'---|' * len(names)}")
    for recipe in plan.recipes:
        values = rows(lines, recipe.name, metric)
        cells = [f"{fmean(values[name].values()):.4f}" if name in values else "" for name in plan.architectures]
        if repeated:
            found = measure(values)
            cells += ["", ""] if found is None else [f"{found.paired:.4f}", said(found.icc)]
        print(f"| {recipe.name} | {' | '.join(cells)} |")


def said(found: Estimate | None) -> str:
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})" if found else ""
