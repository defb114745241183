"""The verdict of a confirmation in sentences, and its trainings as they end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from se_nas.goals.objective import Objective
from se_nas.report.facts import Facts
from se_nas.report.words import amount, data_name, duration, heading, is_share, percent, significant
from se_nas.run.observer import Observer
from se_nas.run.race import Race
from se_nas.run.run import Run
from se_nas.run.trial import Trial
from se_nas.run.verdict import Confirmed, Difference, Verdict
from se_nas.space.architecture import REFERENCES
from se_nas.text import NBSP, clean, joined, several


def verdict_sentences(facts: Facts, verdict: Verdict | None, around: str = "±") -> list[str]:
    """Which finalists are better than the references; empty without a confirmation.

    Example:
        Better than plain: trial 17 (+1.20 ± 0.60 points; params +0.3 %). Not told apart from paper: trial 17 (+0.10 ± 0.30
        points; params -2.1 %). At no more params than paper, trial 17 is at most 0.20 points worse.
    """
    measured = facts.run.compared
    if verdict is None or measured is None:
        return []
    split = "the test split" if verdict.test else "the validation split (there is no test split)"
    if not any(row.over_plain or row.over_paper for row in verdict.rows):
        return [f"Confirmation on {split}: {len(verdict.seeds)} of {verdict.planned} seeds are complete; it takes 2 at least."]
    words = _Words(facts, measured, around)
    said = []
    for reference in REFERENCES:
        beside = next(row for row in verdict.rows if row.name == reference)
        found = [(row, difference) for row in verdict.rows if (difference := getattr(row, f"over_{reference}"))]
        better = [words.against(row, beside, difference) for row, difference in found if difference.low > 0]
        worse = [words.against(row, beside, difference) for row, difference in found if difference.high < 0]
        open_ = [words.against(row, beside, difference) for row, difference in found if not difference.told]
        if better:
            said.append(f"Better than {reference}: {'; '.join(better)}.")
        elif found:
            said.append(f"None is better than {reference} by more than noise.")
        said += [f"Worse than {reference}: {'; '.join(worse)}."] if worse else []
        said += [f"Not told apart from {reference}: {'; '.join(open_)}."] if open_ else []
        said += [words.cheaper(row, beside, difference) for row, difference in found if not difference.told and words.saves(row, beside)]
    most = "at most " if verdict.race else ""
    state = "" if verdict.complete else f"; unfinished, {most}{verdict.planned} seeds are planned"
    correction = "for the number of looks and of finalists" if verdict.race else "Dunnett's correction for the number of finalists"
    asked = facts.run.config.get("confirm") or {}
    data = f" on {clean(data_name(str(asked['data'])))}" if asked.get("data") else ""
    begun = f", begun with {clean(PurePath(str(asked['start'])).name)}" if asked.get("start") else ""
    epochs = several(verdict.epochs, "epoch")
    how = (
        f"Confirmed on {split}: {len(verdict.seeds)} fresh seeds of {epochs}{data}{begun}, differences within a seed, "
        f"95 % intervals that hold together ({correction}){state}."
    )
    failed = [f"Failed in the confirmation: {', '.join(map(clean, verdict.failed))}."] if verdict.failed else []
    return [how, *(_race_sentences(verdict, verdict.race) if verdict.race else []), *said, *failed]


def _race_sentences(verdict: Verdict, race: Race) -> list[str]:
    trained = sum(len(row.scores) for row in verdict.rows)
    saved = f"{trained} of {len(verdict.rows) * verdict.planned} trainings"
    if race.over and race.left:
        return [f"The race is decided after {saved}: {clean(race.left[0])} is the best (another one is in at most 5 of 100 races)."]
    if not verdict.complete or not race.left:
        return []
    cheapest = min((row for row in verdict.rows if row.name in race.left), key=lambda row: tuple(row.costs.values()))
    names = joined([clean(name) for name in race.left])
    return [f"The race ends in a tie after {saved}: {names} are not told apart; {clean(cheapest.name)} is the cheapest of them."]


class _Words:
    """Says differences on one metric."""

    def __init__(self, facts: Facts, measured: Objective, around: str) -> None:
        self._facts, self._around, self._share = facts, around, is_share(measured.name)

    def against(self, row: Confirmed, reference: Confirmed, difference: Difference) -> str:
        """``trial 17 (+1.20 ± 0.60 points; params +0.3 %, MACs +0.02 %)``, costs over those of the reference."""
        half = (difference.high - difference.low) / 2
        sign = "+" if difference.estimate > 0 else ""
        size = f"{sign}{self._number(difference.estimate)}{NBSP}{self._around}{NBSP}{self._number(half)}{self._unit}"
        over = {cost: percent(values[0] / values[1] - 1) for cost, values in self._costs(row, reference).items()}
        costs = ", ".join(f"{heading(cost)} {ratio}" for cost, ratio in over.items())
        return f"{clean(row.name)} ({'; '.join([size, costs] if costs else [size])})"

    def saves(self, row: Confirmed, reference: Confirmed) -> bool:
        """Whether it costs less than the reference, and nothing more; a latency by more than it may be off."""
        less = {cost: values[1] - values[0] for cost, values in self._costs(row, reference).items()}
        ties = {cost: (self._facts.run.costs.get(cost) or {}).get("tie", 0) for cost in less}
        return all(saved >= 0 for saved in less.values()) and any(saved > ties[cost] for cost, saved in less.items())

    def cheaper(self, row: Confirmed, reference: Confirmed, difference: Difference) -> str:
        """``At no more params and MACs than paper, trial 17 is at most 0.10 points worse.``"""
        costs = joined([heading(cost) for cost in self._costs(row, reference)])
        loss = f"{self._number(-difference.low)}{self._unit}"
        return f"At no more {costs} than {reference.name}, {clean(row.name)} is at most {loss} worse."

    def _number(self, value: float) -> str:
        return f"{100 * value:.2f}" if self._share else significant(value, 2)

    @property
    def _unit(self) -> str:
        return f"{NBSP}points" if self._share else ""

    def _costs(self, row: Confirmed, reference: Confirmed) -> dict[str, tuple[float, float]]:
        """Each cost that the search looks at: of both."""
        costs = [cost for cost in self._facts.metrics if reference.costs.get(cost) and cost in row.costs]
        return {cost: (row.costs[cost], reference.costs[cost]) for cost in costs}


class ConfirmationLines(Observer):
    """A line for each training of a confirmation. Views inherit it."""

    _confirmation: Mapping[str, Any] | None = None
    _ended = 0

    def confirmation_started(self, run: Run) -> None:
        asked = self._confirmation = run.config["confirm"]
        self._ended = len(run.confirmed)
        names, seeds = list(asked["architectures"]), asked["seeds"]
        before = f", {self._ended} of them finished before" if self._ended else ""
        most = "at most " if asked.get("race") else ""
        many = f"{most}{len(names) * len(seeds)} trainings of {several(asked['epochs'], 'epoch')}"
        self.line(f"{many}{before}: {', '.join(names)}, {most}{several(len(seeds), 'seed')} each")

    def line(self, text: str) -> None:
        """Print one line."""
        self.note(text)

    def confirmed(self, trial: Trial) -> None:
        """A training of the confirmation has ended."""
        asked = self._confirmation or {}
        self._ended += 1
        names = [name for name, data in asked["architectures"].items() if data == trial.architecture.to_json()]
        whole = len(asked["architectures"]) * len(asked["seeds"])
        scores = {name: value for name, value in trial.metrics.items() if is_share(name) or len(trial.metrics) < 3}
        parts = [f"{heading(name).replace('_', ' ')} {amount(name, value)}" for name, value in scores.items()] or [
            f"failed: {clean(trial.error)}"
        ]
        self.line(f"{self._ended}/{whole}  {'  '.join([*names, f'seed {trial.seed}', *parts, duration(trial.seconds)])}")
