"""The findings of a run in sentences."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from se_nas.report.facts import Facts
from se_nas.report.words import amount, amount_of, duration, gain, heading, is_share, percent, summary
from se_nas.run.front import Entry
from se_nas.run.trial import Trial
from se_nas.space.architecture import REFERENCES
from se_nas.space.budget import LATENCY, METRICS
from se_nas.text import clean

REASONS = 10
"""Most reasons for failures that are told."""


def progress(facts: Facts) -> str:
    """Progress: ``24 of 24 trials, 1 of them failed, 9 stopped early, 24 min of work``."""
    done, failed, stopped = len(facts.trials), len(facts.failed), len(facts.stopped)
    seconds = sum(trial.seconds for trial in facts.trials)
    parts = [f"{failed} of them failed"] * bool(failed) + [f"{stopped} stopped early"] * bool(stopped)
    return ", ".join([f"{done} of {facts.planned} trials", *parts, f"{duration(seconds)} of work"])


def findings(facts: Facts) -> list[str]:
    """The best architecture, the cheapest one that beats plain, where the references stand, and scores on the test split."""
    best = facts.front.best()
    if best is None:
        return ["No architecture within the budgets has a complete trial yet."]
    found = [
        _best(facts, best),
        *_cheapest(facts, best),
        *_per_million(facts, best),
        *_references(facts),
        *_test(facts, best),
        *_further(facts),
        *(clean(line) for key in ("left_out", "narrowed") for line in (facts.run.config.get("backbone") or {}).get(key, [])),
    ]
    return found


def noise(facts: Facts, tie: str = "≈") -> str:
    """How large the noise is, and what the mark of a tie means. Empty until there is something to compare."""
    measured, known = facts.front.measured, facts.front.noise
    if measured is None:
        return "All objectives are exact: there is no noise."
    if not facts.front.entries:
        return ""
    if facts.run.config.get("evaluator") == "paper":
        whole = facts.run.config["search"].get("strategy") == "exact" and facts.finished
        exact = "The front is exact: no architecture of the space is estimated better at no more cost. " if whole else ""
        return f"{exact}The paper's figures are of single trainings: differences up to 0.1 points are ties."
    if known is None:
        return f"Noise of {clean(measured.name)} is unknown: no seed was repeated (repeats: 2 measures it)."
    size = gain(measured, known.deviation, signed=False) + (" points" if is_share(measured.name) else "")
    return (
        f"Noise of {clean(measured.name)}: a trial's standard deviation is {size} ({known.source}). "
        f"{tie} marks ties: differences that this noise explains (95 % interval)."
    )


def failures(facts: Facts) -> list[str]:
    """Each reason for a failure, with its trials."""
    reasons: dict[str, list[int]] = {}
    for trial in facts.failed:
        reasons.setdefault(clean(trial.error or "no reason given"), []).append(trial.number)
    told = [f"{'Trial' if len(numbers) == 1 else 'Trials'} {_some(numbers)} failed: {reason}" for reason, numbers in reasons.items()]
    more = f"{len(told) - REASONS + 1} other reasons for failures stand in {facts.run.ledger.path.name}"
    return told if len(told) <= REASONS else [*told[: REASONS - 1], more]


def commands(facts: Facts) -> list[str]:
    """Commands to go on with, as typed in a shell."""
    run = shlex.quote(str(facts.run.path))
    export = [f"se-nas export {run} --trial best -o net.py"] if facts.front.front else []
    on = "ask" if facts.run.config["search"].get("engine") == "outside" else "resume"
    return export if facts.finished else [f"se-nas {on} {run}", *export]


def costs(facts: Facts, entry: Entry) -> str:
    """Costs in words: ``282,490 parameters (+4.7 %) and 40.56 M MACs (+0.03 %)``."""
    parts = []
    for cost in facts.metrics:
        if cost in entry.values:
            ratio = facts.over_plain(entry.values, cost)
            parts.append(amount_of(cost, entry.values[cost]) + (f" ({percent(ratio)})" if ratio is not None else ""))
    return " and ".join(parts)


def compared(facts: Facts, entry: Entry) -> str:
    """Comparison with the references: ``2.6 points better than plain, a tie with paper (+0.1)``. Empty without references."""
    parts = [_compared(facts, entry, reference) for reference in REFERENCES]
    return ", ".join(part for part in parts if part)


def outcome(facts: Facts, trial: Trial) -> list[str]:
    """A finished trial in parts: ``accuracy 97.8 %``, ``params +1.2 %``, ``1.3 s``, ``6 of 9 sites, r 4-16, avg; standard``."""
    if trial.status != "failed":
        names = [objective.name for objective in facts.front.objectives if objective.name in trial.metrics]
        result = [f"{heading(name)} {amount(name, trial.metrics[name])}" for name in names] + ([stopped_at(trial)] if trial.stopped else [])
    else:
        result = [f"failed: {clean(trial.error or 'no reason given')}"]
    return [*result, *overheads(facts, trial.costs), duration(trial.seconds), summary(trial.architecture, facts.share)]


def stopped_at(trial: Trial) -> str:
    """Where a scheduler stopped a trial: ``stopped after 3 of 9 epochs``."""
    return f"stopped after {trial.fidelity.get('epochs', 0)} of {trial.fidelity.get('of', '?')} epochs"


def overheads(facts: Facts, values: Mapping[str, float]) -> list[str]:
    """Costs relative to plain: ``params +1.2 %``, ``MACs +0.005 %``."""
    ratios = {cost: facts.over_plain(values, cost) for cost in facts.metrics}
    return [f"{heading(cost)} {percent(ratio)}" for cost, ratio in ratios.items() if ratio is not None]


def standing(facts: Facts) -> str:
    """The best architecture so far in one sentence. Empty until there is one."""
    best = facts.front.best()
    return _best(facts, best, " so far") if best else ""


def ending(facts: Facts, reason: str) -> str:
    """Why a search ended, and its progress."""
    why = {"complete": "complete", "exhausted": "complete, no architecture is left to try", "interrupted": "interrupted"}
    return f"Search {why.get(reason, reason)}: {progress(facts)}"


def _compared(facts: Facts, entry: Entry, reference: str) -> str:
    measured, difference = facts.front.measured, facts.gain(entry, reference)
    if measured is None or difference is None:
        return ""
    if difference == 0:
        return f"equal to {reference}"
    if facts.tied(entry, reference):
        return f"a tie with {reference} ({gain(measured, difference)})"
    size = gain(measured, difference, signed=False) + (" points" if is_share(measured.name) else "")
    return f"{size} {'better' if difference > 0 else 'worse'} than {reference}"


def _who(facts: Facts, entry: Entry) -> str:
    role = facts.role(entry)
    return f"trial {entry.number}" + ("" if role == "proposal" else f", the reference {role} itself")


def _best(facts: Facts, best: Entry, when: str = "") -> str:
    measured = facts.front.measured
    value = f"{amount_of(measured.name, best.values[measured.name])}, " if measured else ""
    against = compared(facts, best)
    return f"Best {best_by(facts)}{when}: {_who(facts, best)}, {value}{costs(facts, best)}" + (f"; {against}." if against else ".")


def best_by(facts: Facts) -> str:
    """What "best" means: ``accuracy``, ``accuracy x (params / 75,002)^-0.07``, ``accuracy within the budgets (params <= +5%)``."""
    trade, first = facts.front.trade, heading(facts.front.objectives[0].name)
    if trade.kind == "weighted":
        return " x ".join(
            [first, *(f"({heading(name)} / {amount(name, target)})^{trade.weight:g}" for name, target in trade.targets.items())]
        )
    if trade.kind == "constrained":
        limits = ", ".join(clean(f"{budget['metric']} {budget['text']}") for budget in facts.run.config["budgets"])
        return f"{first} within the budgets ({limits})"
    return first


def _cheapest(facts: Facts, best: Entry) -> list[str]:
    """The cheapest architecture that beats plain by more than noise, unless it is the best one."""
    if facts.front.noise is None:
        return []
    winners = (entry for entry in facts.front.front if (facts.gain(entry, "plain") or 0) > 0 and not facts.tied(entry, "plain"))
    first = next(winners, None)
    if first is None:
        return ["No architecture on the front is better than plain by more than noise."] if "plain" in facts.front.references else []
    if first is best:
        return []
    return [f"Cheapest that beats plain by more than noise: {_who(facts, first)}, {costs(facts, first)}; {compared(facts, first)}."]


def _per_million(facts: Facts, best: Entry) -> list[str]:
    """What the best gains for each million that it costs more than a reference; nothing where noise may explain the gain."""
    measured = facts.front.measured
    if measured is None:
        return []
    parts = []
    for reference in REFERENCES:
        for cost in METRICS:
            rate = facts.per_million(best, reference, cost)
            if rate is not None:
                parts.append(f"{gain(measured, rate)} over {reference} for each added million {heading(cost)}")
    return [f"The best gains {', '.join(parts)}" + (" (points)." if is_share(measured.name) else ".")] if parts else []


def _further(facts: Facts) -> list[str]:
    """Where each further cost is from, and which of its differences are none."""
    said = []
    for name, cost in facts.run.costs.items():
        if cost["about"] or cost["tie"]:
            tie = f"differences up to {amount(name, cost['tie'])} are ties" if cost["tie"] else ""
            said.append(f"{clean(name).capitalize()}: {'; '.join(filter(None, [clean(cost['about']), tie]))}.")
    limit = next((budget["limit"] for budget in facts.run.config["budgets"] if budget["metric"] == LATENCY), None)
    if measured := facts.run.latencies:
        over = [entry for entry in facts.front.front if limit is not None and measured.over(entry.architecture.id, limit)]
        ratios = [f"trial {entry.number} ({percent(measured.seconds[entry.architecture.id] / measured.plain - 1)})" for entry in over]
        beyond = f"; over the budget: {', '.join(ratios)}" if ratios else ""
        said.append(f"Measured after the search, plain takes {amount(LATENCY, measured.plain)}{beyond}.")
    return said


def volume(facts: Facts) -> str:
    """The hypervolume of the front, with its reference point. Empty until both references are trained."""
    if facts.worst is None or facts.volume is None or len(facts.front.objectives) < 2:
        return ""
    point = ", ".join(amount_of(name, value) for name, value in facts.worst.items())
    return f"Hypervolume of the front: {facts.volume:.4g}, from the worse of both references in each objective ({point})."


def _references(facts: Facts) -> list[str]:
    said = []
    for role in REFERENCES:
        entry = facts.front.references.get(role)
        if entry is None:
            continue
        over = [_excess(b["metric"], entry.values[b["metric"]], b["limit"]) for b in facts.exceeded(entry)]
        if over:
            said.append(f"The reference {role} (trial {entry.number}) is over budget ({', '.join(over)}).")
        elif any(entry is other for other in facts.front.front):
            said.append(f"The reference {role} (trial {entry.number}) is on the front.")
        else:
            said.append(f"The reference {role} (trial {entry.number}) is not on the front; another is at least as good in every objective.")
    return said


def _excess(metric: str, value: float, limit: float) -> str:
    spent, most = amount(metric, value), amount(metric, limit)
    return f"{heading(metric)} {spent} > {most}" + (f" by {percent(value / limit - 1)}" if spent == most else "")


def _test(facts: Facts, best: Entry) -> list[str]:
    """Scores of the best and the references on the test split, which was not used to choose them."""
    measured = facts.front.measured
    if measured is None:
        return []
    metric = f"test_{measured.name}"
    scored = [best, *(entry for entry in facts.front.references.values() if entry is not best)]
    scores = [
        f"{amount(metric, values[metric])} ({f'trial {entry.number}' if facts.role(entry) == 'proposal' else facts.role(entry)})"
        for entry in scored
        if metric in (values := facts.test.get(entry.number, {}))
    ]
    return [f"Test split (never used to choose): {', '.join(scores)}."] if scores else []


def _some(numbers: Sequence[int], most: int = 8) -> str:
    shown = ", ".join(map(str, numbers[:most]))
    return shown + (f" and {len(numbers) - most} more" if len(numbers) > most else "")
