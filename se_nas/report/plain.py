"""What a running search shows where there is no terminal: one line of text a finished trial."""

from __future__ import annotations

from typing import TextIO

from se_nas.observer import Observer
from se_nas.report.sentences import ending, outcome
from se_nas.report.standing import Standing
from se_nas.report.words import flat
from se_nas.run import Run
from se_nas.trial import Trial


class PlainView(Observer):
    """Plain lines for logs: no colours, no control characters."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._standing: Standing | None = None

    def search_started(self, run: Run, total: int) -> None:
        self._standing = Standing(run)
        facts = self._standing.facts
        before = f", {len(facts.trials)} of them finished before" if facts.trials else ""
        self._say(f"{total} trials of {facts.subject} in {run.path}{before}")

    def trial_finished(self, trial: Trial) -> None:
        if self._standing:
            facts = self._standing.add(trial)
            role = "" if trial.role == "proposal" else f" {trial.role}"
            self._say(f"{len(facts.trials)}/{facts.planned}  trial {trial.number}{role}  {'  '.join(outcome(facts, trial))}")

    def search_finished(self, reason: str) -> None:
        if self._standing:
            self._say(ending(self._standing.facts, reason))

    def note(self, text: str) -> None:
        self._say(f"note: {text}")

    def _say(self, text: str) -> None:
        encoding = self._file.encoding or "utf-8"
        print(flat(text).encode(encoding, "replace").decode(encoding), file=self._file, flush=True)
