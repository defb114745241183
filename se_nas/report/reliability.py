"""How far a run's trials can be trusted, in sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from se_nas.goals.objective import STANDARD, Objective
from se_nas.reading import load_json
from se_nas.report.facts import Facts
from se_nas.report.words import count, duration, gain, is_share
from se_nas.run.reliability import Components, Estimate, Reliability, agreement, components, measure, paired_difference, rows_of
from se_nas.run.run import Run
from se_nas.space.architecture import Architecture
from se_nas.text import clean

AFFORDABLE = 20
"""Seeds of an architecture beyond which a search is said to be out of reach."""

FREEDOM = 2
"""Degrees of freedom of the noise below which a search says nothing of it here: both references with three seeds have these."""

ALONE = 8
"""Networks trained alone that a supernet's ranking is held against, at least."""

TRUSTED = 0.3
"""Kendall's tau below which a supernet's ranking is not to be trusted."""

RANKED = ("accuracy", "loss")
"""Metrics of which one is to be ranked by."""


def show_reliability(run: Run, truth: Run | None, planned: int, full: Mapping[str, int] | None = None) -> list[str]:
    """What `se-nas reliability` prints: for each metric that could be ranked by, all that is known.

    Args:
        run: architectures with several seeds each.
        truth: the same architectures, trained as they will be in the end.
        planned: trials of the search that is to come.
        full: fidelity of the truth.
    """
    lines: list[str] = []
    seconds = [trial.seconds for trial in run.trials if trial.complete]
    each = sum(seconds) / len(seconds) if seconds else 0.0
    for objective in _ranked(run):
        rows = rows_of(run.trials, objective.name, {"epochs": run.config["search"]["epochs"]})
        right = rows_of(truth.trials, objective.name, full or {}) if truth else None
        found = measure(rows, right)
        if found is None:
            lines.append(f"{clean(objective.name)}: too little to say: 4 architectures are needed, and several seeds of them.")
            continue
        lines += [*sentences(objective, found), needed(found, planned, each)]
        own = measure(right) if right else None
        if own:
            lines.append(f"The truth's own ICC of one trial is {_interval(own.icc)}: a low one lowers that tau too.")
        lines.append("")
    return lines[:-1] if lines and not lines[-1] else lines


def sentences(objective: Objective, found: Reliability) -> list[str]:
    """What one trial is worth."""
    unit = " points" if is_share(objective.name) else ""
    name = clean(objective.name)
    least, loose = (f"{gain(objective, found.tells(paired), signed=False)}{unit}" for paired in (True, False))
    said = [
        f"Reliability of one trial's {name} ({found.repeated} of {found.architectures} architectures with several seeds): ICC "
        f"{_interval(found.icc)} within a seed, {_interval(found.icc_unpaired)} between seeds (1: a trial says all, 0: nothing).",
        f"Architectures differ by a standard deviation of {gain(objective, found.spread, signed=False)}{unit}. One trial each, with "
        f"the same seed, tells {least} apart; with other seeds, {loose}.",
    ]
    if found.tau:
        said.append(f"Two seeds rank alike by Kendall's tau {_interval(found.tau)}.")
    if found.truth:
        doubt = "" if found.truth.positive else ": not shown to be better than chance, so do not rank by it"
        said.append(f"One trial ranks as the truth does by Kendall's tau {_interval(found.truth)}{doubt}.")
    if found.means:
        said.append(f"By the mean of each architecture's seeds that tau is {_interval(found.means)}.")
    return said


def needed(found: Reliability, planned: int, seconds: float) -> str:
    """How many trials the planned search needs, or that none will do."""
    seeds = found.seeds_needed
    if seeds > AFFORDABLE:
        why = f"two typical ones take {math.ceil(seeds):,} seeds each" if math.isfinite(seeds) else "here they differ by noise alone"
        return (
            f"No affordable search will tell these architectures apart: {why}. Call them ties and take the cheapest, or change the space, "
            "the data or the length of a trial."
        )
    number = math.ceil(seeds)
    total = number * planned
    return (
        f"To tell two typical ones apart takes {number} {'seed' if number == 1 else 'seeds'} of each (5 % errors, found 4 times in 5): "
        f"{count(total)} trials for {planned} architectures, {duration(total * seconds)} of work."
    )


def ledger_sentences(facts: Facts) -> list[str]:
    """The same of a search's own ledger, with what the best gains over plain within its seeds. Empty without repeated seeds."""
    measured = facts.front.measured
    if measured is None or facts.run.config.get("evaluator") == "paper":
        return []
    rows = rows_of(facts.trials, measured.name, {"epochs": facts.run.config["search"]["epochs"]})
    noise, found = components(list(rows.values())), measure(rows)
    if noise is None or noise.freedom < FREEDOM:
        return []
    said = _paired(facts, rows, measured, noise)
    return [*said, *(sentences(measured, found) if found else [])]


def supernet_sentences(facts: Facts) -> list[str]:
    """How far a supernet's ranking can be trusted: against its architectures trained alone. Empty without a supernet."""
    measured, path = facts.front.measured, facts.run.path / "one_shot.json"
    if measured is None or not path.exists():
        return []
    place = {Architecture.from_json(each).id: i for i, each in enumerate(load_json(path)["architectures"])}
    found = [entry for entry in facts.front.entries if entry.architecture.id in place]
    pairs = [(float(place[entry.architecture.id]), measured.loss(entry.values[measured.name])) for entry in found]
    tau = agreement(pairs) if len(pairs) >= ALONE else None
    if tau is None:
        return [f"Whether the supernet's ranking can be trusted is not known: {ALONE} of its architectures trained alone would say."]
    doubt = " Do not trust its ranking." if tau.value < TRUSTED else ""
    return [
        f"The supernet's ranking agrees with {len(pairs)} of its best architectures trained alone by Kendall's tau {_interval(tau)}.{doubt}"
    ]


def _paired(facts: Facts, rows: Mapping[str, Any], measured: Objective, noise: Components) -> list[str]:
    best, plain = facts.front.best(), facts.front.references.get("plain")
    if best is None or plain is None or best is plain:
        return []
    found = paired_difference(rows[best.architecture.id], rows[plain.architecture.id], noise)
    if found is None:
        return []
    value, half, seeds = found
    better = measured.loss(0.0) - measured.loss(value)
    unit = " points" if is_share(measured.name) else ""
    within = f"within {seeds} seeds" if seeds > 1 else "within its seed"
    low, high = gain(measured, better - half), gain(measured, better + half)
    tie = " (a tie)" if abs(better) <= half else ""
    return [f"Against plain {within}, trial {best.number} gains {gain(measured, better)}{unit} (95 % interval {low} to {high}){tie}."]


def _ranked(run: Run) -> list[Objective]:
    known = {name for trial in run.trials for name in trial.metrics}
    return [STANDARD[name] for name in RANKED if name in known and name in STANDARD]


def _interval(found: Estimate) -> str:
    if math.isnan(found.low):
        return f"{found.value:.2f} (interval unknown)"
    return f"{found.value:.2f} ({found.low:.2f} to {found.high:.2f})"
