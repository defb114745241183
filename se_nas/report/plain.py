"""What a running search shows where there is no terminal: one line of text a finished trial."""

from __future__ import annotations

from typing import TextIO

from se_nas.report.facts import Facts
from se_nas.report.sentences import ending, outcome
from se_nas.report.words import flat
from se_nas.run.front import Front
from se_nas.run.observer import Observer
from se_nas.run.run import Run
from se_nas.run.trial import Trial


class PlainView(Observer):
    """Plain lines for logs: no colours, no control characters."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._facts: Facts | None = None

    def search_started(self, run: Run, total: int) -> None:
        facts = self._facts = Facts.of(run)
        before = f", {len(facts.trials)} of them finished before" if facts.trials else ""
        self._say(f"{total} trials of {facts.subject} in {run.path}{before}")

    def trial_finished(self, trial: Trial, front: Front) -> None:
        if self._facts:
            facts = self._facts = self._facts.after(trial, front)
            role = "" if trial.role == "proposal" else f" {trial.role}"
            self._say(f"{len(facts.trials)}/{facts.planned}  trial {trial.number}{role}  {'  '.join(outcome(facts, trial))}")

    def search_finished(self, reason: str) -> None:
        if self._facts:
            self._say(ending(self._facts, reason))

    def note(self, text: str) -> None:
        self._say(f"note: {text}")

    def _say(self, text: str) -> None:
        encoding = self._file.encoding or "utf-8"
        print(flat(text).encode(encoding, "replace").decode(encoding), file=self._file, flush=True)
