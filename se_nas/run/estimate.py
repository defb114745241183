"""From trials to effects: which columns the mixed model has, and which sums of its coefficients are effects."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from se_nas.goals.objective import Objective
from se_nas.run.effects import Effect, Effects
from se_nas.run.mixed_model import Floats, Ints, MixedModel
from se_nas.run.trial import Trial
from se_nas.se.spec import FIELDS
from se_nas.space.architecture import Architecture
from se_nas.space.budget import METRICS

PAYS = 4.0
"""Nats of held-out log density that pairs of groups must bring: smaller differences say nothing (Vehtari et al., 2017)."""

TIMES = (1, 2, 4, 8, 16, 32, 64)
"""The plan looks ahead to so many times the trials."""

SHUFFLES, SHUFFLED = 8, 2000
"""Made-up sets of trials whose mean the plan looks ahead with, and the most trials of one."""


SEEDS = 100
"""Most seeds that have an effect of their own each: of more, each is told by few trials."""


@dataclass(frozen=True)
class Design:
    """Columns of the model, each of one variance component, and effects as weighted sums of their coefficients.

    Attributes:
        columns: values of each column, shape (trials,).
        components: name of each column's component.
        effects: without their estimates.
        targets: of each effect, column -> weight.
    """

    columns: list[Floats] = field(default_factory=list)
    components: list[str] = field(default_factory=list)
    effects: list[Effect] = field(default_factory=list)
    targets: list[dict[int, float]] = field(default_factory=list)

    def column(self, component: str, values: Floats) -> int:
        self.columns.append(values)
        self.components.append(component)
        return len(self.columns) - 1

    def effect(self, effect: Effect, weights: Mapping[int, float]) -> None:
        self.effects.append(effect)
        self.targets.append(dict(weights))

    def with_columns(self, component: str, columns: Sequence[Floats]) -> Design:
        """The same with one more component, of no effect's concern."""
        return replace(self, columns=[*self.columns, *columns], components=[*self.components, *[component] * len(columns)])

    @property
    def kept(self) -> list[int]:
        """Columns of components in which trials differ."""
        varies = {name for name, column in zip(self.components, self.columns, strict=True) if np.ptp(column) > 0}
        return [index for index, name in enumerate(self.components) if name in varies]

    def features(self, kept: Sequence[int]) -> Floats:
        """These columns, shape (trials, kept)."""
        columns: Floats = np.array([self.columns[index] for index in kept]).reshape(len(kept), -1)
        return np.ascontiguousarray(columns.T)

    def component(self, kept: Sequence[int]) -> Ints:
        """Of each of these columns the number of its component, shape (kept,)."""
        numbers: dict[str, int] = {}
        return np.array([numbers.setdefault(self.components[index], len(numbers)) for index in kept], np.int64)

    def weights(self, kept: Sequence[int]) -> Floats:
        """Of each effect its weights of these columns, shape (effects, kept); of an effect of none of them, all 0."""
        return np.array([[target.get(index, 0.0) for index in kept] for target in self.targets]).reshape(-1, len(kept))


def estimate(trials: Sequence[Trial], measured: Objective, config: Mapping[str, Any], lines: int) -> Effects:
    """The effects of these trials.

    Args:
        trials: complete ones of one fidelity, which all have the metric.
        measured: its name, and which way is better.
        config: of the run.
        lines: of the ledger that the trials are from.
    """
    y = -np.array([measured.loss(trial.metrics[measured.name]) for trial in trials])
    numbers: dict[Any, int] = {}
    units = np.array([numbers.setdefault(trial.architecture, len(numbers)) for trial in trials], np.int64)
    found = Effects(measured.name, lines, len(trials), len(numbers))
    if np.ptp(y) == 0:
        return found
    design, paired = make_design(trials, config), False
    if not design.weights(design.kept).any():
        return found
    model = _model(y, design, units)
    if any(np.ptp(product) > 0 for product in _pairs(design)):
        richer = _with_pairs(design)
        other = _model(y, richer, units)
        if other.held_out.log_density > model.held_out.log_density + PAYS:
            model, design, paired = other, richer, True
    weights = design.weights(design.kept)
    told = np.flatnonzero(weights.any(1))
    expected = _expected(design, units)
    both = np.concatenate([weights[told], expected])
    posterior = model.posterior(both, np.repeat([0.0, 1.0], [len(told), len(expected)]))
    rows = list(zip(posterior.estimate.tolist(), posterior.low.tolist(), posterior.high.tolist(), strict=True))
    made = [replace(design.effects[i], estimate=mean, low=low, high=high) for i, (mean, low, high) in zip(told, rows, strict=False)]
    of_metric = [tuple(sorted(-measured.loss(value) for value in row)) for row in rows[len(told) :]]
    typical = [i for i, effect in enumerate(made) if effect.field is None and effect.group is not None] or list(range(len(made)))
    information = _information(trials, config, design.kept, paired)
    widths = [float(np.median(model.half_widths(weights[told[typical]], information, times))) for times in TIMES]
    now = float(np.median([made[i].half_width for i in typical]))
    plan = tuple((times * len(trials), now * width / widths[0]) for times, width in zip(TIMES, widths, strict=True))
    return replace(
        found,
        r2=model.held_out.r2,
        noise=posterior.noise,
        interactions=paired,
        sites=tuple(effect for effect in made if effect.field is None),
        values=tuple(effect for effect in made if effect.field is not None),
        plan=plan,
        predictions={each.id: (middle, low, high) for each, (low, middle, high) in zip(numbers, of_metric, strict=True)},
    )


def _expected(design: Design, units: Ints) -> Floats:
    """The columns of each architecture at a seed like any other, shape (architectures, kept columns)."""
    kept = design.kept
    features = design.features(kept)
    of_seed = np.array([design.components[index] == "seed" for index in kept], bool)
    features[:, of_seed] = features[:, of_seed].mean(0)
    first = np.unique(units, return_index=True)[1]
    found: Floats = features[first]
    return found


def _model(y: Floats, design: Design, units: Ints) -> MixedModel:
    return MixedModel(y, design.features(design.kept), design.component(design.kept), units)


def make_design(trials: Sequence[Trial], config: Mapping[str, Any]) -> Design:
    """SE at each group, values of each field where there is SE (over all groups, and by group), extra dimensions, and seeds.

    Columns of values are centred by how often a group's settings have them, so that the coefficient of SE at the group is
    the mean over its settings.
    """
    space = config.get("space") or {}
    described = (config.get("backbone") or {}).get("groups") or {}
    design = Design()
    groups = [name for name, _ in trials[0].architecture]
    choices = [dict(trial.architecture.choices) for trial in trials]
    present = {group: np.array([choice[group] is not None for choice in choices], float) for group in groups}
    settings = {group: (described.get(group) or {}).get("settings") or {} for group in groups}
    _add_presence(design, groups, present, settings, bool(space.get("allow_none", True)))
    for name in FIELDS:
        taken = {group: [getattr(spec, name) if (spec := choice[group]) else None for choice in choices] for group in groups}
        candidates = list(space.get(name) or [])
        others = {value for values in taken.values() for value in values if value is not None} - set(candidates)
        levels = [*candidates, *sorted(others, key=str)]
        if len(levels) > 1:
            _add_field(design, name, levels, candidates, taken, settings)
    _add_extra(design, space.get("extra") or {}, trials)
    seeds = [trial.seed for trial in trials]
    if 1 < len(set(seeds)) < len(seeds) and len(set(seeds)) <= SEEDS:
        for seed in sorted(set(seeds)):
            design.column("seed", np.array([own == seed for own in seeds], float))
    return design


def _add_presence(
    design: Design, groups: Sequence[str], present: Mapping[str, Floats], settings: Mapping[str, Mapping[str, Any]], by_group: bool
) -> None:
    """One coefficient a group, about one that all groups share."""
    own = {group: design.column("presence", present[group]) for group in groups}
    shared = [design.column("common", np.sum([present[group] for group in groups], 0))] if len(groups) > 1 else []
    if by_group:
        for group in groups:
            there = int(present[group].sum())
            costs = {metric: settings[group].get(metric) for metric in METRICS}
            effect = Effect(group, None, None, 0.0, 0.0, 0.0, there, len(present[group]) - there, **costs)
            design.effect(effect, {own[group]: 1.0, **dict.fromkeys(shared, 1.0)})
    anywhere = int(np.max([present[group] for group in groups], 0).sum())
    total = {metric: _total(settings[group].get(metric) for group in groups) for metric in METRICS}
    effect = Effect(None, None, None, 0.0, 0.0, 0.0, anywhere, len(present[groups[0]]) - anywhere, **total)
    if len(groups) > 1 or not by_group:
        design.effect(effect, {**dict.fromkeys(own.values(), 1.0), **dict.fromkeys(shared, float(len(groups)))})


def _add_field(
    design: Design,
    name: str,
    levels: Sequence[Any],
    candidates: Sequence[Any],
    taken: Mapping[str, Sequence[Any]],
    settings: Mapping[str, Mapping[str, Any]],
) -> None:
    """One coefficient a value, and one a value and group about it."""
    own: dict[str, dict[Any, int]] = {}
    sums = {level: np.zeros(len(next(iter(taken.values())))) for level in levels}
    known = {group: _known(settings[group], name, candidates) for group in taken}
    for group, values in taken.items():
        there = np.array([value is not None for value in values], float)
        total = sum(count for count, _ in known[group].values())
        for level in levels:
            share = known[group].get(level, (0, {}))[0] / total
            column = np.array([value is not None and value == level for value in values], float) - share * there
            sums[level] += column
            if len(taken) > 1:
                own.setdefault(group, {})[level] = design.column("by group", column)
    shared = {level: design.column(name, sums[level]) for level in levels}
    reported = [value for value in candidates if len(candidates) > 1]
    by_group: list[tuple[Effect, dict[int, float]]] = []
    for value in reported:
        whole: dict[int, float] = {}
        added: dict[str, list[float | None]] = {metric: [] for metric in METRICS}
        for group, values in taken.items():
            here = [level for level in reported if known[group].get(level, (0, {}))[0]]
            if value not in here or len(here) < 2:
                continue
            contrast = {level: 1.0 if level == value else -1 / (len(here) - 1) for level in here}
            weights = {shared[level]: weight for level, weight in contrast.items()}
            weights |= {own[group][level]: weight for level, weight in contrast.items() if group in own}
            costs = {metric: _total(_times(known[group][level][1].get(metric), contrast[level]) for level in here) for metric in METRICS}
            for metric in METRICS:
                added[metric].append(costs[metric])
            for index, weight in weights.items():
                whole[index] = whole.get(index, 0.0) + weight
            count = sum(other == value for other in values)
            there_count = sum(other is not None for other in values)
            by_group.append((Effect(group, name, value, 0.0, 0.0, 0.0, count, there_count - count, **costs), weights))
        if whole:
            anywhere = sum(any(values[row] == value for values in taken.values()) for row in range(len(sums[value])))
            costs = {metric: _total(added[metric]) for metric in METRICS}
            design.effect(Effect(None, name, value, 0.0, 0.0, 0.0, anywhere, len(sums[value]) - anywhere, **costs), whole)
    if len(taken) > 1:
        for effect, weights in by_group:
            design.effect(effect, weights)


def _add_extra(design: Design, extra: Mapping[str, Sequence[Any]], trials: Sequence[Trial]) -> None:
    """One coefficient a value of each extra dimension; true is not 1."""
    for name, values in extra.items():
        if len(values) < 2:
            continue
        taken = [dict(trial.architecture.extra).get(name) for trial in trials]
        chosen = [np.array([own == value and isinstance(own, bool) == isinstance(value, bool) for own in taken], float) for value in values]
        indices = [design.column("extra", column - 1 / len(values)) for column in chosen]
        for value, column, index in zip(values, chosen, indices, strict=True):
            count = int(column.sum())
            weights = {other: 1.0 if other == index else -1 / (len(values) - 1) for other in indices}
            design.effect(Effect(None, name, value, 0.0, 0.0, 0.0, count, len(taken) - count), weights)


def _pairs(design: Design) -> list[Floats]:
    """Products of two groups' presence, each about its mean: main effects then stay means over what was tried."""
    columns = [column for column, name in zip(design.columns, design.components, strict=True) if name == "presence"]
    centred = [column - column.mean() for column in columns]
    return [a * b for a, b in itertools.combinations(centred, 2)]


def _with_pairs(design: Design) -> Design:
    return design.with_columns("pairs", _pairs(design))


def _information(trials: Sequence[Trial], config: Mapping[str, Any], kept: Sequence[int], paired: bool) -> Floats:
    """Products of the model's columns, summed over as many trials whose choices are drawn apart from each other.

    Each group's choices are those tried, shuffled, and so are values of extra dimensions: other trials of the same kind, which
    share no chance of which choices met in one network. The mean of several shuffles; of very many trials, of some (`SHUFFLED`).
    """
    rng, total, weight = np.random.default_rng(0), np.zeros(()), 1.0
    if len(trials) > SHUFFLED:
        weight = len(trials) / SHUFFLED
        trials = [trials[i] for i in rng.choice(len(trials), SHUFFLED, replace=False)]
    for _ in range(SHUFFLES):
        design = make_design(_shuffled(trials, rng), config)
        features = (_with_pairs(design) if paired else design).features(kept)
        rows = np.column_stack([np.ones(len(features)), features])
        total = total + weight * rows.T @ rows / SHUFFLES
    return total


def _shuffled(trials: Sequence[Trial], rng: np.random.Generator) -> list[Trial]:
    def columns(rows: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
        shuffled = [[column[i] for i in rng.permutation(len(column))] for column in zip(*rows, strict=True)]
        return list(zip(*shuffled, strict=True)) or [()] * len(rows)

    choices = columns([trial.architecture.choices for trial in trials])
    extras = columns([trial.architecture.extra for trial in trials])
    made = zip(trials, choices, extras, strict=True)
    return [replace(trial, architecture=Architecture(chosen, extra)) for trial, chosen, extra in made]


def _known(settings: Mapping[str, Any], name: str, candidates: Sequence[Any]) -> dict[Any, tuple[int, Mapping[str, float]]]:
    """How many settings of a group have each value, and what they add on average; of runs that do not say, all alike."""
    told = settings.get(name)
    if not told:
        return {value: (1, {}) for value in candidates} or {None: (1, {})}
    return {value: (int(entry["number"]), entry) for value, entry in told.items()}


def _total(values: Any) -> float | None:
    """Their sum; None if one is unknown."""
    known = list(values)
    return None if not known or any(value is None for value in known) else float(sum(known))


def _times(value: float | None, weight: float) -> float | None:
    return None if value is None else value * weight
