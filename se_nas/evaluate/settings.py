"""How networks are trained. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from se_nas.errors import InputError


def one_cycle(progress: float) -> float:
    """Up from 1/25 in the first 30 %, then down to 0, both along half a cosine (arXiv 1708.07120)."""
    if progress < 0.3:
        return 0.52 - 0.48 * math.cos(math.pi * progress / 0.3)
    return 0.5 + 0.5 * math.cos(math.pi * (progress - 0.3) / 0.7)


def cosine(progress: float) -> float:
    """Down from 1 to 0 along half a cosine (arXiv 1608.03983)."""
    return 0.5 + 0.5 * math.cos(math.pi * progress)


SCHEDULES: dict[str, Callable[[float], float]] = {"one-cycle": one_cycle, "cosine": cosine}
"""Share of the training done, 0..1 -> share of the learning rate, 0..1."""


@dataclass(frozen=True)
class TrainSettings:
    """Stochastic gradient descent with Nesterov momentum.

    Attributes:
        batch_size: images a step.
        lr: highest learning rate.
        momentum: 0 for none.
        weight_decay: of weights; not of biases and norms.
        schedule: a name in `SCHEDULES`.
        label_smoothing: in training only.
        augment: whether training images are augmented.
        amp: mixed precision on CUDA.
        channels_last: memory layout on CUDA.

    Raises:
        InputError: for a value out of range; its source is ``train.`` and the name.
    """

    batch_size: int = 64
    lr: float = 0.2
    momentum: float = 0.9
    weight_decay: float = 5e-4
    schedule: str = "one-cycle"
    label_smoothing: float = 0.1
    augment: bool = True
    amp: bool = True
    channels_last: bool = True

    def __post_init__(self) -> None:
        for name, (valid, rule) in _RULES.items():
            value = getattr(self, name)
            if not valid(value):
                raise InputError(f"{value!r} is not {rule[0]}", rule[1], f"train.{name}")


def _number(valid: Callable[[float], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and valid(value)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


_FLAG = (lambda value: isinstance(value, bool), ("true or false", "write true or false"))
_RULES: dict[str, tuple[Callable[[object], bool], tuple[str, str]]] = {
    "batch_size": (_is_count, ("a number of images", "write an integer from 1")),
    "lr": (_number(lambda value: value > 0), ("a learning rate", "write a number above 0, such as 0.1")),
    "momentum": (_number(lambda value: 0 <= value < 1), ("a momentum", "write a number from 0 to below 1, such as 0.9")),
    "weight_decay": (_number(lambda value: value >= 0), ("a weight decay", "write a number from 0, such as 0.0005")),
    "schedule": (lambda value: isinstance(value, str) and value in SCHEDULES, ("a schedule", f"take one of {', '.join(SCHEDULES)}")),
    "label_smoothing": (_number(lambda value: 0 <= value < 1), ("a label smoothing", "write a number from 0 to below 1, such as 0.1")),
    "augment": _FLAG,
    "amp": _FLAG,
    "channels_last": _FLAG,
}
