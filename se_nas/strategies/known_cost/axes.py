"""The axes on which a strategy measures volume: gains, more being better, from a reference point that it chooses itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from se_nas.goals.objective import Objective
from se_nas.strategies.domain.base import Floats

WIDE = 1.5
"""Where the best of positive values is so many times better than the median, ratios count rather than differences."""

MEASURED_SHARE, KNOWN_SHARE = 0.15, 0.05
"""The reference point: so many of the first trials (of architectures drawn at random) are worse."""


@dataclass(frozen=True)
class Axis:
    """One objective's values as gains.

    Attributes:
        sign: of a loss, to give the metric's own value.
        log: whether gains are of logarithms.
        reference: gain of the reference point.
    """

    sign: float
    log: bool
    reference: float = 0.0

    def gain(self, losses: Floats) -> Floats:
        """Gains over the reference point."""
        return self.turn(losses) - self.reference

    def turn(self, losses: Floats) -> Floats:
        """Losses as what is modelled: more is better, on the axis's scale."""
        if not self.log:
            return -losses
        values: Floats = self.sign * np.log(np.maximum(self.sign * losses, 1e-300))
        return -values


def choose_axis(objective: Objective, spread: Floats, losses: Floats, budget: float, share: float) -> Axis:
    """The axis of an objective.

    Args:
        objective: whose direction decides.
        spread: losses of architectures that were not chosen for being good, shape (n,).
        losses: all of them; a logarithm needs each to be of a positive value.
        budget: largest loss allowed; the reference point is no worse.
        share: of them that are worse than the reference point.
    """
    sign = objective.loss(1.0)
    values = sign * spread
    best = values.max() if objective.direction == "max" else values.min()
    ratio = max(best / np.median(values), np.median(values) / best) if (values > 0).all() and (sign * losses > 0).all() else 1.0
    log = bool(ratio > WIDE)
    axis = Axis(sign, log)
    reference = float(np.quantile(axis.turn(spread), share))
    if np.isfinite(budget) and (not log or sign * budget > 0):
        reference = max(reference, float(axis.turn(np.array([budget]))[0]))
    return Axis(sign, log, reference)
