"""A model of latency from few networks: which to measure, the fit, and its error beside the noise of what was measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def choose_networks(rows: Floats, number: int, first: Sequence[int]) -> list[int]:
    """Which networks tell most of the coefficients: a D-optimal design, by adding and then exchanging one at a time.

    Args:
        rows: terms of the candidates, shape (n, terms).
        number: how many to choose.
        first: indices of those that must be among them.

    Returns:
        Indices, the first ones first.
    """
    scaled = rows / np.maximum(np.abs(rows).max(0), 1e-300)

    def gain(inverse: Floats) -> Floats:
        return np.asarray(np.einsum("ij,jk,ik->i", scaled, inverse, scaled))

    def inverse_of(chosen: Sequence[int]) -> Floats:
        some = scaled[list(chosen)]
        return np.asarray(np.linalg.inv(some.T @ some + 1e-6 * np.eye(scaled.shape[1])))

    chosen = list(first)
    while len(chosen) < min(number, len(rows)):
        gains = gain(inverse_of(chosen))
        gains[chosen] = -np.inf
        chosen.append(int(gains.argmax()))
    for _ in range(3):
        for place in range(len(first), len(chosen)):
            others = chosen[:place] + chosen[place + 1 :]
            gains = gain(inverse_of(others))
            gains[others] = -np.inf
            chosen[place] = int(gains.argmax())
    return chosen


def fit(rows: Floats, seconds: Floats) -> Floats:
    """Seconds for each unit of each term, none below 0, that explain the times best relatively; shape (terms,).

    Args:
        rows: terms of the measured networks, shape (n, terms).
        seconds: their times, shape (n,).
    """
    from scipy.optimize import nnls

    size = np.maximum(np.abs(rows).max(0), 1e-300)
    found, _ = nnls(rows / size / seconds[:, None], np.ones(len(rows)))
    return np.asarray(found / size)


@dataclass(frozen=True)
class Error:
    """How far two columns of times are apart.

    Attributes:
        whole: mean difference, relative to the whole network.
        added: mean difference, relative to the mean of what SE adds. None: SE adds nothing that can be measured.
        spearman: rank correlation; None if it is not defined.
    """

    whole: float
    added: float | None
    spearman: float | None


def error(said: Floats, true: Floats, plain: float) -> Error:
    """The error of what is said of networks' times.

    Args:
        said: seconds, shape (n,).
        true: seconds, shape (n,).
        plain: seconds of the plain network, measured as ``true``.
    """
    from scipy.stats import spearmanr

    apart, added = np.abs(said - true), float(np.mean(true - plain))
    spread = min(float(np.ptp(values)) for values in (said, true))
    spearman = float(spearmanr(said, true)[0]) if len(said) > 2 and spread > 0 else None
    return Error(float(np.mean(apart / true)), float(np.mean(apart)) / added if added > 0 else None, spearman)
