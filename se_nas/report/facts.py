"""The facts of a run that every view shows, and how its architectures compare with the references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import PurePath
from typing import Any

from se_nas.goals.hypervolume import hypervolume
from se_nas.report.words import data_name
from se_nas.run.effects import Effects
from se_nas.run.front import Entry, Front
from se_nas.run.run import Run
from se_nas.run.settings import TABLE
from se_nas.run.trial import Trial
from se_nas.space.architecture import REFERENCES
from se_nas.space.budget import METRICS

LEAST_ADDED = 100_000
"""Least that an architecture must cost more than another for its gain to be told for each million."""


@dataclass(frozen=True)
class Facts:
    """A run, read once.

    Attributes:
        run: the run.
        trials: the finished trials.
        front: the front of these trials.
        test: trial's number -> metrics on the test split.
    """

    run: Run
    trials: Sequence[Trial]
    front: Front
    test: Mapping[int, Mapping[str, float]]

    @classmethod
    def of(cls, run: Run) -> Facts:
        trials = run.trials
        return cls(run, trials, run.front_of(trials), run.test_scores)

    def after(self, trial: Trial, front: Front) -> Facts:
        """The facts with one more trial, and the front that it makes."""
        return replace(self, trials=[*self.trials, trial], front=front)

    @cached_property
    def effects(self) -> Effects | None:
        """What each choice brings."""
        return self.run.effects(self.front, len(self.trials))

    @property
    def planned(self) -> int:
        return int(self.run.config["search"]["trials"])

    @property
    def failed(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.status == "failed"]

    @property
    def stopped(self) -> list[Trial]:
        """The trials that a scheduler ended early."""
        return [trial for trial in self.trials if trial.stopped]

    @property
    def finished(self) -> bool:
        """Whether all planned trials are in the ledger, or no architecture was left to try."""
        return len(self.trials) >= self.planned or self.run.config.get("ended") == "exhausted"

    @property
    def share(self) -> str:
        """Which sites of the space share one choice: ``site``, ``stage`` or ``network``."""
        return str((self.run.config.get("space") or {}).get("share", "site"))

    @property
    def subject(self) -> str:
        """What was searched: ``resnet20 on cifar10``."""
        where = {"own": "on an own evaluator", "paper": "as the SENet paper's tables imply (an estimate, nothing was trained)"}
        evaluator = str(self.run.config.get("evaluator"))
        if evaluator.startswith(TABLE):
            where[evaluator] = f"as the table {PurePath(evaluator.removeprefix(TABLE)).name} holds it (nothing was trained)"
        what = where.get(evaluator, f"on {data_name(str(self.run.config['search'].get('data')))}")
        return f"{self.backbone.get('name') or 'network'} {what}"

    @property
    def backbone(self) -> Mapping[str, Any]:
        """Name, costs and groups of the plain backbone, as far as ``run.yaml`` holds them."""
        return self.run.backbone

    @property
    def metrics(self) -> tuple[str, ...]:
        """The costs that every view shows: params, macs and the further ones by name."""
        return (*METRICS, *self.run.costs)

    @property
    def rows(self) -> list[Entry]:
        """The references, then the rest of the front, cheapest first."""
        references = [self.front.references[name] for name in REFERENCES if name in self.front.references]
        return references + [entry for entry in self.front.front if all(entry is not reference for reference in references)]

    def role(self, entry: Entry) -> str:
        """``plain``, ``paper`` or ``proposal``."""
        return next((name for name in REFERENCES if self.front.references.get(name) is entry), "proposal")

    def gain(self, entry: Entry, reference: str) -> float | None:
        """How much better than a reference the measured objective is (positive is better). None if they cannot be compared."""
        measured, other = self.front.measured, self.front.references.get(reference)
        if measured is None or other is None or other is entry:
            return None
        return measured.loss(other.values[measured.name]) - measured.loss(entry.values[measured.name])

    def per_million(self, entry: Entry, reference: str, cost: str) -> float | None:
        """`gain` for each million by which a cost exceeds the reference's.

        None where there is nothing to say: no gain beyond noise, no cost beyond the reference's, or so little of it that a
        million would be a guess (`LEAST_ADDED`).
        """
        gained, other = self.gain(entry, reference), self.front.references.get(reference)
        if gained is None or other is None or not {cost} <= entry.values.keys() & other.values.keys():
            return None
        added = entry.values[cost] - other.values[cost]
        beyond_noise = gained > 0 and self.front.noise is not None and not self.tied(entry, reference)
        return gained / added * 1e6 if beyond_noise and added >= LEAST_ADDED else None

    @property
    def worst(self) -> dict[str, float] | None:
        """The reference point of the hypervolume: the worse of the two references in each objective. None until both are trained."""
        known = self.front.references.values()
        if len(known) < len(REFERENCES):
            return None
        return {o.name: max((entry.values[o.name] for entry in known), key=o.loss) for o in self.front.objectives}

    @property
    def volume(self) -> float | None:
        """Hypervolume of the front over the reference point `worst`, in the product of the objectives' units."""
        worst = self.worst
        return None if worst is None else hypervolume([entry.values for entry in self.front.front], self.front.objectives, worst)

    def tied(self, entry: Entry, reference: str) -> bool:
        """Whether noise hides the difference between an architecture and a reference."""
        other = self.front.references.get(reference)
        return other is not None and self.front.tied(entry, other)

    def over_plain(self, values: Mapping[str, float], cost: str) -> float | None:
        """A cost divided by the plain backbone's, minus 1: 0.05 for 5 % more. None if either is unknown."""
        plain = self.backbone.get(cost)
        return values[cost] / plain - 1 if plain and cost in values else None

    def ties_plain(self, values: Mapping[str, float], cost: str) -> bool:
        """Whether a further cost differs from the plain backbone's by less than its table may be off."""
        plain, known = self.backbone.get(cost), self.run.costs.get(cost)
        return bool(plain and known and cost in values and abs(values[cost] - plain) <= known["tie"])

    def exceeded(self, entry: Entry) -> list[Mapping[str, Any]]:
        """The budgets that an architecture exceeds."""
        return [budget for budget in self.run.config["budgets"] if entry.values.get(budget["metric"], 0) > budget["limit"]]
