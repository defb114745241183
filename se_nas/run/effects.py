"""What each choice of a search brings, with 95 % intervals: from all trials together, not from two of them. Needs no numpy."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from se_nas.reading import parse_json
from se_nas.run.trial import is_finite

SCHEMA = 2
"""Version of ``effects.json``. A file of another version is computed anew."""

LEAST = 6
"""Fewest architectures that effects are estimated from."""


@dataclass(frozen=True)
class Effect:
    """What one choice brings, in the metric's own unit; positive is better.

    Of SE at a group (``field`` is None): against no SE there, its settings taken equally often. Of a value: against the mean
    of the field's other values, where there is SE.

    Attributes:
        group: of sites; None: all groups at once (the sum of their effects).
        field: ``reduction``, ``squeeze``, ``gate``, ``placement`` or the name of an extra dimension; None: SE itself.
        value: of the field.
        estimate: posterior mean.
        low: lower end of the 95 % interval.
        high: upper end.
        trials_with: trials with this choice (all groups: in at least one).
        trials_without: trials without it (of a group's value: with SE there).
        params: parameters that it adds against what the effect is against; None if the run does not know.
        macs: multiply-accumulates of one image, likewise.
    """

    group: str | None
    field: str | None
    value: Any
    estimate: float
    low: float
    high: float
    trials_with: int
    trials_without: int
    params: float | None = None
    macs: float | None = None

    @property
    def found(self) -> bool:
        """Whether the interval excludes 0."""
        return self.low > 0 or self.high < 0

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2


@dataclass(frozen=True)
class Effects:
    """All effects of a run, as far as its ledger goes.

    Attributes:
        metric: what is measured.
        lines: of the ledger, from which they were computed.
        trials: complete trials of the run's fidelity among them.
        architectures: distinct ones.
        r2: of leaving one architecture out: the share of the variance that the others predict. None: too few trials.
        noise: standard deviation of a trial about what the effects say of it.
        interactions: whether pairs of groups are in the model: only where that predicts held-out trials better.
        sites: SE at each group, in the network's order, then at all of them together.
        values: each value of each field, all groups together, then by group.
        predictions: id of each architecture that was tried -> what its choices together say of the metric, with the ends of the
            95 % interval.
        plan: trials -> half the 95 % interval that a typical group's effect would have with so many of the same kind.
    """

    metric: str
    lines: int
    trials: int
    architectures: int
    r2: float | None = None
    noise: float | None = None
    interactions: bool = False
    sites: tuple[Effect, ...] = ()
    values: tuple[Effect, ...] = ()
    plan: tuple[tuple[int, float], ...] = ()
    predictions: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)

    @property
    def conclusive(self) -> bool:
        """Whether the data say anything: held-out architectures are predicted, and an interval excludes 0."""
        return self.r2 is not None and self.r2 > 0 and any(effect.found for effect in (*self.sites, *self.values))

    def trials_for(self, half_width: float) -> int | None:
        """How many trials of the same kind would make a typical group's interval so narrow; None if more than the plan reaches.

        Between the plan's points, the logarithms of both are interpolated.
        """
        points = [(trials, width) for trials, width in self.plan if width > 0]
        if not points or half_width >= points[0][1]:
            return points[0][0] if points else None
        for (few, wide), (many, narrow) in itertools.pairwise(points):
            if narrow <= half_width < wide:
                share = math.log(wide / half_width) / math.log(wide / narrow)
                return math.ceil(float(few * (many / few) ** share))
        return None

    def to_json(self) -> dict[str, Any]:
        lists: dict[str, Any] = {
            "sites": list(map(asdict, self.sites)),
            "values": list(map(asdict, self.values)),
            "plan": list(map(list, self.plan)),
        }
        lists["predictions"] = {name: list(values) for name, values in self.predictions.items()}
        return {"schema": SCHEMA, "conclusive": self.conclusive, **vars(self), **lists}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Effects:
        """Inverse of `to_json`; ValueError, TypeError or KeyError for anything else."""
        if data["schema"] != SCHEMA:
            raise ValueError(f"schema {data['schema']} is not {SCHEMA}")
        fields = {key: value for key, value in data.items() if key not in ("schema", "conclusive")}
        fields.update({name: tuple(Effect(**effect) for effect in data[name]) for name in ("sites", "values")})
        fields["predictions"] = {
            name: (float(middle), float(low), float(high)) for name, (middle, low, high) in data["predictions"].items()
        }
        return cls(**{**fields, "plan": tuple((int(trials), float(width)) for trials, width in data["plan"])})


def read_effects(path: Path) -> Effects | None:
    """Those in a file; None if there is none, or none that this version reads."""
    try:
        found = Effects.from_json(parse_json(path.read_bytes()))
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    return found if _sound(found) else None


def _sound(found: Effects) -> bool:
    """Whether numbers stand where they should, and texts: a hand may have been in the file."""
    effects = (*found.sites, *found.values)
    counts = [found.lines, found.trials, found.architectures]
    numbers = [value for effect in effects for value in (effect.estimate, effect.low, effect.high)]
    maybe = [found.r2, found.noise, *(value for effect in effects for value in (effect.params, effect.macs))]
    counts += [value for effect in effects for value in (effect.trials_with, effect.trials_without)]
    names = [name for effect in effects for name in (effect.group, effect.field)]
    return (
        isinstance(found.metric, str)
        and all(type(value) is int for value in counts)
        and all(map(is_finite, (*numbers, *(value for value in maybe if value is not None))))
        and all(name is None or isinstance(name, str) for name in names)
    )
