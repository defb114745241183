"""Choices of a supernet: each gives its values weights. NNI's one-shot strategies differ in how they make these weights.

All places with the same label hold the same choice, so sites that share a setting also share every random draw.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Choice(nn.Module):
    """One value has weight 1; it is set from outside or drawn (RandomOneShot, ENAS).

    Drawn like cards: each value once before any comes again, so that all are trained equally often (FairNAS, arXiv
    1907.01845, section 3.2; there, the gradients of a round make one step).

    Args:
        label: name of the choice in a sample.
        values: the candidates.
    """

    def __init__(self, label: str, values: Sequence[Any]) -> None:
        super().__init__()
        self.label, self.values = label, tuple(values)
        self.index = 0
        self._deck: list[int] = []

    def draw(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        """Take the value that ``sample`` holds, or else draw one. Returns {label: value}."""
        self.index = self.values.index(sample[self.label]) if self.label in sample else self.chance()
        return {self.label: self.values[self.index]}

    def chance(self) -> int:
        """The index of a value drawn at random."""
        self._deck = self._deck or torch.randperm(len(self.values)).tolist()
        return self._deck.pop()

    def weights(self) -> list[float] | Tensor:
        """The weights of the values in this step, with sum 1; shape (values,)."""
        return [float(i == self.index) for i in range(len(self.values))]

    def given(self, some: slice) -> list[float] | Tensor:
        """The weights of the values ``some``, given that one of them is chosen; with sum 1."""
        weights = [float(i == self.index) for i in range(len(self.values))[some]]
        return weights if any(weights) else [1.0, *weights[1:]]

    def probabilities(self) -> Tensor:
        """The learned probabilities, without the randomness of a step; float64, shape (values,)."""
        return torch.full((len(self.values),), 1 / len(self.values), dtype=torch.float64)


class Mixed(Choice):
    """All values at once, weighted by their probabilities (DARTS, arXiv 1806.09055).

    Args:
        alpha: logits that the strategy learns, shape (values,).
    """

    def __init__(self, label: str, values: Sequence[Any], alpha: nn.Parameter) -> None:
        super().__init__(label, values)
        self.alpha = alpha

    def draw(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    def weights(self) -> Tensor:
        return self.alpha.softmax(0)

    def given(self, some: slice) -> Tensor:
        return self.alpha[some].softmax(0)

    def probabilities(self) -> Tensor:
        return self.alpha.double().softmax(0)


class Gumbel(Mixed):
    """Nearly one value, drawn with Gumbel noise that stays the same within a step (FBNet, arXiv 1812.03443).

    Args:
        softmax: NNI's module; NNI lowers its temperature ``tau``.
    """

    def __init__(self, label: str, values: Sequence[Any], alpha: nn.Parameter, softmax: Any) -> None:
        super().__init__(label, values, alpha)
        self.softmax: Any = softmax
        self.noise: Tensor | float = 0.0

    def draw(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        self.noise = -torch.empty_like(self.alpha).exponential_().log()
        return {}

    def weights(self) -> Tensor:
        return self._logits().softmax(0)

    def given(self, some: slice) -> Tensor:
        return self._logits()[some].softmax(0)

    def _logits(self) -> Tensor:
        logits: Tensor = (self.alpha + self.noise) / self.softmax.tau
        return logits


class OnePath(Mixed):
    """One value, drawn by its probability, with the gradient of the weighted sum (ProxylessNAS, arXiv 1812.00332, eq. 4)."""

    def draw(self, sample: Mapping[str, Any]) -> dict[str, Any]:
        return Choice.draw(self, sample)

    def chance(self) -> int:
        return int(torch.multinomial(self.alpha.detach().softmax(0), 1))

    def weights(self) -> Tensor:
        return _one_hot(self.alpha.softmax(0), self.index)

    def given(self, some: slice) -> Tensor:
        shares = self.alpha[some].softmax(0)
        inside = range(len(self.values))[some]
        return _one_hot(shares, inside.index(self.index)) if self.index in inside else shares.detach()


def _one_hot(shares: Tensor, index: int) -> Tensor:
    """1 at ``index`` and exactly 0 elsewhere, with the gradient of ``shares``."""
    hard = torch.zeros_like(shares)
    hard[index] = 1
    return hard + (shares - shares.detach())
