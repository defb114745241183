"""The report of a very long search: the front, the references, and some of the others, in less than 1 MB."""

from __future__ import annotations

import random
import re
import shutil
from dataclasses import replace
from pathlib import Path

from conftest import digits_space

from se_nas.report.facts import Facts
from se_nas.report.html import page
from se_nas.report.sample import SOME, shown_trials
from se_nas.run.run import Run
from se_nas.run.trial import Trial


def grown(run: Run, number: int) -> list[Trial]:
    """The trials of a run, and many others by chance."""
    rng, first, space = random.Random(0), run.trials, digits_space()
    every, found = list(space.enumerate()), list(first)
    for place in range(len(first), number):
        architecture = rng.choice(every)
        costs, failed = space.cost(architecture)._asdict(), place % 50 == 49
        metrics = {} if failed else {"accuracy": 0.05 + 0.1 * rng.random()}
        error = f"out of memory at <step {place}>" if failed else None
        found.append(
            replace(
                first[2],
                number=place,
                role="proposal",
                architecture=architecture,
                status="failed" if failed else "complete",
                metrics=metrics,
                costs=costs,
                error=error,
            )
        )
    return found


def test_a_long_search_has_a_small_report_that_says_what_it_left_out(finished_run: Run, tmp_path: Path) -> None:
    shutil.copytree(finished_run.path, tmp_path / "run")
    run = Run.open(tmp_path / "run")
    trials = grown(run, 1500)
    facts = Facts(run, trials, run.front_of(trials), {})
    text, shown = page(facts), shown_trials(facts)
    assert len(text.encode()) < 1_000_000 and f"{len(shown):,} of 1,500 trials" in text
    listed = {int(number) for number in re.findall(r'<tr class="[a-z]*"><th scope="row" class="name">(\d+)</th>', text)}
    always = {trial.number for entry in facts.rows for trial in entry.trials}
    assert listed == shown and always <= shown and SOME <= len(shown) <= SOME + len(always)
    assert f"Of 1,500 trials {len(shown):,} are drawn and listed" in text
    assert text.count("failed: out of memory") < 30 and "21 other reasons for failures stand in trials.jsonl" in text


def test_a_short_search_is_shown_whole(finished_run: Run) -> None:
    facts = Facts.of(finished_run)
    assert shown_trials(facts) == set(range(6)) and "All trials" in page(facts) and "drawn and listed" not in page(facts)
