"""The views of a running search: live in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.segment import Segments
from rich.text import Text

from se_nas.report.columns import front_columns
from se_nas.report.facts import Facts
from se_nas.report.sentences import ending, outcome, overheads, standing
from se_nas.report.table import draw, split, tie_mark
from se_nas.report.verdict import ConfirmationLines
from se_nas.report.words import duration, summary, wrapped
from se_nas.run.front import Entry, Front
from se_nas.run.observer import Observer
from se_nas.run.run import Run
from se_nas.run.trial import CONFIRM, Trial
from se_nas.space.architecture import Architecture
from se_nas.text import flat, several

PICTURES = 2
"""Redraws in a second."""

_LEAST_ROWS = 3
"""If fewer rows fit, a sentence replaces the table."""


def make_view(quiet: bool) -> Observer:
    """The view of this process, on standard error: live in a terminal, else plain lines. Standard output is left for results."""
    if quiet:
        return Observer()
    console = Console(stderr=True)
    return LiveView(console) if console.is_terminal and not console.is_dumb_terminal else PlainView(sys.stderr)


class PlainView(ConfirmationLines):
    """One line of text for each finished trial, for logs: no colours, no control characters."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._facts: Facts | None = None

    def search_started(self, run: Run, total: int) -> None:
        facts = self._facts = Facts.of(run)
        before = f", {len(facts.trials)} of them finished before" if facts.trials else ""
        self._say(f"{several(total, 'trial')} of {facts.subject} in {run.path}{before}")

    def trial_finished(self, trial: Trial, front: Front) -> None:
        if trial.role == CONFIRM:
            self.confirmed(trial)
        elif self._facts:
            facts = self._facts = self._facts.after(trial, front)
            role = "" if trial.role == "proposal" else f" {trial.role}"
            self._say(f"{len(facts.trials)}/{facts.planned}  trial {trial.number}{role}  {'  '.join(outcome(facts, trial))}")

    def search_finished(self, reason: str) -> None:
        if self._facts:
            self._say(ending(self._facts, reason))

    def note(self, text: str) -> None:
        self._say(f"note: {text}")

    def line(self, text: str) -> None:
        self._say(text)

    def _say(self, text: str) -> None:
        encoding = self._file.encoding or "utf-8"
        print(flat(text).encode(encoding, "replace").decode(encoding), file=self._file, flush=True)


@dataclass(frozen=True)
class _Running:
    """A running trial."""

    number: int
    role: str
    description: str
    costs: Mapping[str, float]
    epoch: int = 0
    epochs: int = 1
    loss: float | None = None


class LiveView(ConfirmationLines):
    """Progress, running trials and the front so far, redrawn in place until the search ends.

    It is a context manager, too: leaving it restores the terminal, even after an exception.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._facts: Facts | None = None
        self._running: dict[int, _Running] = {}
        self._begun = time.monotonic()
        self._finished_before = 0
        self._drawn: tuple[tuple[int, int, int], Segments] | None = None
        self._live = Live(
            get_renderable=self.picture, console=console, refresh_per_second=PICTURES, transient=True, vertical_overflow="crop"
        )

    def __enter__(self) -> LiveView:
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    # Events.

    def search_started(self, run: Run, total: int) -> None:
        self._facts, self._begun = Facts.of(run), time.monotonic()
        self._finished_before = len(self._facts.trials)
        self._live.start()

    def trial_started(self, number: int, role: str, architecture: Architecture, costs: Mapping[str, float]) -> None:
        share = self._facts.share if self._facts else "site"
        self._running[number] = _Running(number, role, summary(architecture, share), costs)

    def epoch_finished(self, number: int, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        if number in self._running:
            self._running[number] = replace(self._running[number], epoch=epoch, epochs=epochs, loss=metrics.get("loss"))

    def trial_finished(self, trial: Trial, front: Front) -> None:
        self._running.pop(trial.number, None)
        if trial.role == CONFIRM:
            return self.confirmed(trial)
        if self._facts:
            self._facts = self._facts.after(trial, front)
        if trial.status == "failed":
            self.note(f"trial {trial.number} failed: {trial.error}")

    def search_finished(self, reason: str) -> None:
        self._live.stop()
        if self._facts:
            self.note(ending(self._facts, reason))

    def note(self, text: str) -> None:
        self._console.print(Text(flat(text)))

    # Drawing.

    def picture(self) -> RenderableType:
        """The view as it is now, no larger than the terminal."""
        if self._facts is None:
            return Text()
        facts, width, height = self._facts, self._console.width, self._console.height - 1
        running = list(self._running.values())
        work = sum(trial.epoch / trial.epochs for trial in running)
        bar = Padding(ProgressBar(max(facts.planned, 1), len(facts.trials) + work), (0, max(width - 100, 0), 0, 0))
        lines = [Text(line) for line in flow(self._counts(facts, work), width)]
        for trial in running:
            more = _trial_lines(facts, trial, width)
            if len(lines) + len(more) > max(height // 2, 4):
                break
            lines += more
        room = height - len(lines) - 2  # two lines are for the bar and a blank line
        return Group(bar, *lines, Text(), self._front(facts, width, room)) if room > 0 else Group(bar, *lines[: max(height - 1, 0)])

    def _counts(self, facts: Facts, work: float) -> list[str]:
        """Counts of trials, and times. ``work`` is the finished part of the running trials, in trials."""
        elapsed, done = time.monotonic() - self._begun, len(facts.trials) - self._finished_before + work
        left = elapsed / done * max(facts.planned - len(facts.trials) - work, 0) if done else None
        return [
            f"{len(facts.trials)} of {facts.planned} trials",
            *([f"{len(facts.failed)} failed"] if facts.failed else []),
            *([f"{len(facts.stopped)} stopped early"] if facts.stopped else []),
            duration(round(elapsed)),
            *([f"about {duration(round(left))} left"] if left is not None else []),
        ]

    def _front(self, facts: Facts, width: int, room: int) -> RenderableType:
        """The front so far. It is drawn again only after a trial, or when the terminal's size changes."""
        if self._drawn is None or self._drawn[0] != (len(facts.trials), width, room):
            lines = Segments(self._console.render(_front(facts, width, room, tie_mark(self._console))))
            self._drawn = ((len(facts.trials), width, room), lines)
        return self._drawn[1]


def _front(facts: Facts, width: int, room: int, tie: str) -> RenderableType:
    """A table of references and front, cut to the most important columns and the best rows. If few rows fit, one sentence."""
    entries = _fitting(facts, max(room - 4, 0))  # four lines are for the heading and the legend
    if len(entries) < min(_LEAST_ROWS, len(facts.rows)):
        return Group(*[Text(line) for line in wrapped(standing(facts), width)][:room])
    if not entries:
        return Text()
    more = len(facts.rows) - len(entries)
    legend = [*([f"{tie} tie within noise"] if facts.front.noise else []), *([f"{more} more on the front"] if more else [])]
    return Group(draw(split(front_columns(facts, entries, tie), width)[0]), Text("  ".join(legend), "dim"))


def flow(parts: Iterable[str], width: int) -> list[str]:
    """Put parts side by side, two blanks apart, on as many lines as they need."""
    lines: list[str] = []
    for part in map(flat, parts):
        if lines and len(lines[-1]) + 2 + len(part) <= width:
            lines[-1] += f"  {part}"
        else:
            lines.append(part)
    return lines


def _trial_lines(facts: Facts, trial: _Running, width: int) -> list[Text]:
    parts = [
        f"trial {trial.number}" + ("" if trial.role == "proposal" else f" {flat(trial.role)}"),
        f"epoch {trial.epoch}/{trial.epochs}" if trial.loss is not None or trial.epoch else "starting",
        *([f"loss {trial.loss:.3f}"] if trial.loss is not None else []),
        *overheads(facts, trial.costs),
    ]
    words = Text(trial.description, "dim", no_wrap=True, overflow="ellipsis")
    return [*(Text(line, "bold") for line in flow(parts, width)), words]


def _fitting(facts: Facts, room: int) -> list[Entry]:
    """As many rows as fit, cheapest first: the references, and the best of the front in the first objective."""
    first, rows = facts.front.objectives[0], facts.rows
    ranked = sorted(rows, key=lambda entry: (facts.role(entry) == "proposal", first.loss(entry.values[first.name])))
    chosen = {id(entry) for entry in ranked[:room]}
    return [entry for entry in rows if id(entry) in chosen]
