"""Ledgers whose truth is known: SE settings with planted effects, measured with noise."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from se_nas.run.trial import Trial
from se_nas.se.spec import FIELDS, SESpec
from se_nas.space.architecture import Architecture

Key = tuple[str | None, str | None, Any]
"""Group, field and value of an effect."""

_DEFAULTS = {"reduction": [16], "squeeze": ["avg"], "gate": ["sigmoid"], "placement": ["standard"]}


def make_ledger(
    seed: object,
    space: Mapping[str, Any],
    groups: Sequence[str],
    n: int,
    site: float = 0.003,
    value: float = 0.002,
    by_group: float = 0.001,
    extra: float = 0.004,
    unit: float = 0.002,
    noise: float = 0.005,
) -> tuple[list[Trial], dict[Key, float]]:
    """Both references with two seeds, then random proposals; and the true effects.

    Args:
        seed: of truth, choices and noise.
        space: candidates by field, ``allow_none`` and ``extra`` of a space.
        groups: names of the groups.
        n: trials.
        site: deviation of the effects of SE at a group, of which about half are 0.
        value: deviation of effects of values, shared by all groups.
        by_group: deviation of what a group adds to these.
        extra: deviation of effects of extra dimensions.
        unit: deviation of what an architecture has of its own.
        noise: deviation of a trial.
    """
    rng = random.Random(repr(seed))
    fields = {name: space.get(name, _DEFAULTS[name]) for name in FIELDS}
    extras = space.get("extra", {})
    present = {group: rng.gauss(0, site) * (rng.random() < 0.5) for group in groups}
    shared = {name: _centred(rng, values, value) for name, values in fields.items()}
    own = {(group, name): _centred(rng, values, by_group) for group in groups for name, values in fields.items()}
    chosen_extra = {name: _centred(rng, values, extra) for name, values in extras.items()}
    block = {seed: rng.gauss(0, 0.001) for seed in (0, 1)}
    options = [SESpec(*values) for values in itertools.product(*fields.values())]

    def worth(architecture: Architecture) -> float:
        total = 0.8 + sum(chosen_extra[name][chosen] for name, chosen in architecture.extra)
        for group, spec in architecture:
            if spec:
                total += present[group]
                total += sum(shared[name].get(getattr(spec, name), 0) + own[group, name].get(getattr(spec, name), 0) for name in FIELDS)
        return total

    trials, units = [], {}
    for number in range(n):
        if number < 4:
            choices = {group: None if number % 2 == 0 else SESpec(16) for group in groups}
            extra_choice = {name: values[0] for name, values in extras.items()}
        else:
            none = space.get("allow_none", True)
            choices = {group: None if none and rng.random() < 0.4 else rng.choice(options) for group in groups}
            extra_choice = {name: rng.choice(values) for name, values in extras.items()}
        architecture = Architecture(tuple(choices.items()), tuple(extra_choice.items()))
        own_unit = units.setdefault(architecture, rng.gauss(0, unit))
        run_seed = number // 2 if number < 4 else 0
        accuracy = worth(architecture) + own_unit + block[run_seed] + rng.gauss(0, noise)
        role = ("plain", "paper")[number % 2] if number < 4 else "proposal"
        trials.append(Trial(number, role, architecture, run_seed, {"epochs": 3}, "complete", {"accuracy": accuracy}, {"params": 1}, number))
    truth: dict[Key, float] = {(group, None, None): present[group] for group in groups}
    truth[None, None, None] = sum(present.values())
    for name, values in fields.items():
        for chosen in values:
            others = [other for other in values if other != chosen]
            if others:
                for group in groups:
                    sums = {v: shared[name][v] + own[group, name][v] for v in values}
                    truth[group, name, chosen] = sums[chosen] - fmean(sums[other] for other in others)
                truth[None, name, chosen] = sum(truth[group, name, chosen] for group in groups)
    for name, values in extras.items():
        for chosen in values:
            truth[None, name, chosen] = chosen_extra[name][chosen] - fmean(chosen_extra[name][v] for v in values if v != chosen)
    return trials, truth


def _centred(rng: random.Random, values: Sequence[Any], deviation: float) -> dict[Any, float]:
    drawn = [rng.gauss(0, deviation) for _ in values]
    return {value: number - fmean(drawn) for value, number in zip(values, drawn, strict=True)}
