"""Which trials a page draws and lists: all, or, of very many, the front, the references and some of the others."""

from __future__ import annotations

from collections.abc import Iterable, Set

from se_nas.report.facts import Facts

WHOLE = 1000
"""A run of so many trials is shown whole."""

SOME = 600
"""Of a longer one, so many trials beside the front and the references."""


def shown_trials(facts: Facts) -> Set[int]:
    """Numbers of the trials that are drawn and listed. Those left out are spread evenly over the search."""
    numbers = sorted(trial.number for trial in facts.trials)
    if len(numbers) <= WHOLE:
        return set(numbers)
    always = {trial.number for entry in facts.rows for trial in entry.trials}
    others = [number for number in numbers if number not in always]
    return always | {others[place * len(others) // SOME] for place in range(min(SOME, len(others)))}


def sample_note(facts: Facts, shown: Iterable[int]) -> str:
    """Says what was left out; empty if nothing was."""
    number, total = len(list(shown)), len(facts.trials)
    if number == total:
        return ""
    return (
        f"Of {total:,} trials {number:,} are drawn and listed: the front, the references, and every so many of the others. "
        f"All are in {facts.run.ledger.path.name}."
    )
