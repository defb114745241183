"""Who is worth a confirmation: the front, and the architecture that all trials together predict to be best."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from se_nas.errors import InputError
from se_nas.run.effects import Effects
from se_nas.run.run import Run
from se_nas.se.spec import FIELDS, SESpec
from se_nas.space.architecture import REFERENCES, Architecture

if TYPE_CHECKING:
    from se_nas.space.group import Group
    from se_nas.space.space import SearchSpace

DEFAULTS = {"top": 3, "seeds": 5, "paying": False, "race": False, "data": "", "start": "", "normalise": ""}
"""Of a confirmation; its epochs are those of the search, and so are data and a start of ""."""
RACE_SEEDS = 10

PREDICTED, PAYING = "best predicted", "no site that does not pay"


def begin_confirmation(run: Run, space: SearchSpace, asked: Mapping[str, Any]) -> dict[str, Any]:
    """What ``run.yaml`` says of a confirmation: the one that was begun, perhaps with more seeds, or a new one.

    Args:
        run: the search.
        space: its space.
        asked: ``top``, ``seeds``, ``epochs``, ``paying``, ``race``, ``data``, ``start`` and ``normalise``; None is the default,
            or what was begun.

    Raises:
        InputError: for numbers that cannot be, or that differ from what was begun: choosing anew after a look at the test
            split would not confirm anything.
    """
    begun: dict[str, Any] | None = run.config.get("confirm")
    given = {name: value for name, value in asked.items() if value is not None}
    for name, least in (("top", 1), ("seeds", 2), ("epochs", 1)):
        if name in given and (type(given[name]) is not int or given[name] < least):
            raise InputError(f"{given[name]!r} is not a whole number from {least}", "give such a number", f"confirm, {name}")
    if begun:
        begun = {**DEFAULTS, **begun}
        for name in ("top", "epochs", "paying", "race", "data", "start", "normalise"):
            if given.get(name, begun[name]) != begun[name]:
                was = begun[name] if begun[name] != "" else "of the search"
                problem = f"this run's confirmation was begun with {name} {was}: the test split has been looked at"
                raise InputError(problem, "go on with that, or confirm another search", f"confirm, {name}")
        count = given.get("seeds", len(begun["seeds"]))
        if count < len(begun["seeds"]):
            raise InputError(f"{len(begun['seeds'])} seeds were begun", "give as many or more", "confirm, seeds")
        if begun["race"] and count > len(begun["seeds"]):
            raise InputError(f"this race was begun with {len(begun['seeds'])} seeds at most", "confirm another search", "confirm, seeds")
        return {**begun, "seeds": [begun["seeds"][0] + index for index in range(count)]}
    seeds = RACE_SEEDS if given.get("race") else DEFAULTS["seeds"]
    plan = {**DEFAULTS, "seeds": seeds, "epochs": run.config["search"]["epochs"], **given}
    chosen = finalists(run, space, plan["top"], plan["paying"])
    trials = run.trials
    fresh = max(trial.seed for trial in trials) + 1
    return {
        **plan,
        "seeds": [fresh + index for index in range(plan["seeds"])],
        "first": max(run.config["search"]["trials"], max(trial.number for trial in trials) + 1),
        "architectures": {name: architecture.to_json() for name, architecture in chosen.items()},
    }


def finalists(run: Run, space: SearchSpace, top: int, paying: bool) -> dict[str, Architecture]:
    """Names and architectures: both references, the best predicted, the front's best, then the best of the others.

    Args:
        run: a search with both references.
        space: its space.
        top: most finalists.
        paying: besides, the front's best without SE at sites where effects do not say that SE pays.

    Raises:
        InputError: without references or anything to compare with them; with ``paying`` where no site is known to pay.
    """
    front, effects = run.front, run.effects()
    if set(front.references) != set(REFERENCES):
        raise InputError("the search has not trained both references yet", f"go on with it: se-nas resume {run.path}", str(run.path))
    chosen = {role: front.references[role].architecture for role in REFERENCES}
    on_front = {id(entry) for entry in front.front}
    limits = {budget["metric"]: budget["limit"] for budget in run.config["budgets"]}
    within = [entry for entry in front.entries if all(entry.values[metric] <= limit for metric, limit in limits.items())]
    ranked = sorted(within, key=lambda entry: (id(entry) not in on_front, front.trade.loss(front.objectives, entry.values)))
    found = {f"trial {entry.number}": entry.architecture for entry in ranked if entry.architecture not in chosen.values()}
    if effects and effects.conclusive and (predicted := best_predicted(space, effects)) not in (None, *chosen.values()):
        known = next((name for name, architecture in found.items() if architecture == predicted), PREDICTED)
        assert predicted is not None
        found = {known: predicted, **found}
    if not found:
        raise InputError(
            "nothing but the references was tried within the budgets", "search on, with more trials or more room", str(run.path)
        )
    picked = dict(list(found.items())[:top])
    if paying:
        lean = only_paying(next(iter(found.values())), effects)
        if lean is None or not space.contains(lean):
            raise InputError("effects say of no site that SE pays there", "leave it out, or search on", "paying")
        picked = picked if lean in (*chosen.values(), *picked.values()) else {**picked, PAYING: lean}
    return {**chosen, **picked}


def best_predicted(space: SearchSpace, effects: Effects) -> Architecture | None:
    """The architecture within the budgets with the largest sum of effects; None for a space with extra dimensions."""
    if space.extra:
        return None
    import numpy as np

    brings = {(effect.group, effect.field, effect.value): effect.estimate for effect in (*effects.sites, *effects.values)}

    def worth(group: Group, spec: SESpec | None) -> float:
        if spec is None:
            return 0.0
        total = brings.get((group.name, None, None), 0.0)
        for name in FIELDS:
            value, count = getattr(spec, name), len(group.candidates[name])
            over_others = brings.get((group.name, name, value), brings.get((None, name, value), 0.0) if len(space.groups) == 1 else 0.0)
            total += over_others * (count - 1) / count  # against the mean of all, not of the others
        return total

    tables = [np.array([worth(group, option) for option in group.options]) for group in space.groups]
    return next(space.ranked(tables), None)


def only_paying(architecture: Architecture, effects: Effects | None) -> Architecture | None:
    """The architecture without SE where its effect is not found to be above 0; None if that is everywhere."""
    pays = {effect.group for effect in effects.sites if effect.low > 0} if effects else set()
    choices: Mapping[str, SESpec | None] = {group: spec if group in pays else None for group, spec in architecture}
    return Architecture(tuple(choices.items()), architecture.extra) if any(choices.values()) else None
