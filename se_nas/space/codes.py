"""Option codes of many architectures: an array of shape (n, groups), row by row, in bytes where 256 options suffice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Codes = npt.NDArray[np.integer[Any]]


def draw_codes(sizes: Sequence[int], n: int, rng: np.random.Generator) -> Codes:
    """Codes with every option equally likely; shape (n, groups), uint8 if no group has more than 256 options.

    Args:
        sizes: how many options each group has.
        n: how many architectures.
        rng: source of the draws.
    """
    if max(sizes) > 256:
        return rng.integers(0, sizes, (n, len(sizes)))
    codes = np.zeros((n, len(sizes) + len(sizes) % 2), np.uint8)
    pairs = codes.view("<u2")  # two groups by one draw
    for pair, (first, second) in enumerate(zip(sizes[::2], [*sizes[1::2], 1], strict=False)):
        both = (np.arange(first) + 256 * np.arange(second)[:, None]).astype("<u2").ravel()
        pairs[:, pair] = both[rng.integers(0, len(both), n, np.uint16)]
    return np.ascontiguousarray(codes[:, : len(sizes)])
