"""How a running search stands, kept up to date trial by trial without looking at all of them again."""

from __future__ import annotations

from dataclasses import replace

from se_nas.report.facts import Facts
from se_nas.run import Run
from se_nas.trial import Trial


class Standing:
    """The facts of a run in progress.

    A new architecture competes with the front alone: what an earlier front dominated stays dominated. Only another
    seed of an architecture already tried, which moves its mean, makes everything count again.

    Attributes:
        facts: as of the last trial. Their front's ``entries`` are only those that can still matter.
    """

    def __init__(self, run: Run) -> None:
        trials = run.trials
        self.facts = Facts(run, trials, run.front_of(trials), {})
        self._tried = {trial.architecture for trial in trials}

    def add(self, trial: Trial) -> Facts:
        """The facts with one more finished trial."""
        before, trials = self.facts.front, [*self.facts.trials, trial]
        if trial.architecture in self._tried:
            front = self.facts.run.front_of(trials)
        elif trial.complete:
            several = [entry for entry in before.entries if len(entry.trials) > 1]  # noise is estimated from these
            entries = {id(entry): entry for entry in (*before.references.values(), *several, *before.front)}
            front = self.facts.run.front_of([*(old for entry in entries.values() for old in entry.trials), trial])
        else:
            front = before
        self._tried.add(trial.architecture)
        self.facts = replace(self.facts, trials=trials, front=front)
        return self.facts
