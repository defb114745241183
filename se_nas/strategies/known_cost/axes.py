"""The axes on which hypervolume is measured: gains over a reference point, larger is better, linear or logarithmic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from se_nas.goals.objective import Objective
from se_nas.strategies.domain.base import Floats

WIDE = 1.5
"""Use a logarithmic axis if all values are positive and the best is this many times better than the median."""

MEASURED_SHARE, KNOWN_SHARE = 0.15, 0.05
"""Share of the first trials (for a known objective: of random architectures) that are worse than the reference point."""


@dataclass(frozen=True)
class Axis:
    """Turns losses of one objective into gains.

    Attributes:
        sign: 1 if the objective is minimised, -1 if it is maximised: ``sign * loss`` is the metric's value.
        log: whether the axis is logarithmic.
        reference: value of the reference point on the axis.
    """

    sign: float
    log: bool
    reference: float = 0.0

    def gain(self, losses: Floats) -> Floats:
        """Gains over the reference point."""
        return self.turn(losses) - self.reference

    def turn(self, losses: Floats) -> Floats:
        """Losses on the axis's scale, larger is better, without the reference point. This is what is modelled."""
        if not self.log:
            return -losses
        values: Floats = self.sign * np.log(np.maximum(self.sign * losses, 1e-300))
        return -values


def choose_axis(objective: Objective, spread: Floats, losses: Floats, budget: float, share: float) -> Axis:
    """Choose the axis of an objective: its scale and its reference point.

    Args:
        objective: the objective.
        spread: losses of architectures that were not selected for being good, shape (n,).
        losses: all losses. A logarithmic axis needs all values to be positive.
        budget: largest loss allowed. The reference point is not worse than this.
        share: share of ``spread`` that is worse than the reference point.
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
