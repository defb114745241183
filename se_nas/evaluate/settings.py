"""How networks are trained. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from se_nas.errors import InputError
from se_nas.setting import check_settings, setting

TRAINING = "training"


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

    Raises:
        InputError: for a value out of its limits; its source is ``train.`` and the name.
    """

    batch_size: int = setting(64, "images of a step", TRAINING, least=1)
    lr: float = setting(0.2, "highest learning rate", TRAINING, above=0, example="0.1")
    momentum: float = setting(0.9, "of the gradients; 0 for none", TRAINING, least=0, below=1)
    weight_decay: float = setting(5e-4, "of weights; biases and norms have none", TRAINING, least=0)
    schedule: str = setting("one-cycle", "of the learning rate", TRAINING, choices=tuple(SCHEDULES))
    label_smoothing: float = setting(0.1, "in training only", TRAINING, least=0, below=1)
    augment: bool = setting(True, "vary training images at random", TRAINING)
    amp: bool = setting(True, "mixed precision on CUDA", TRAINING)
    channels_last: bool = setting(True, "that memory layout on CUDA", TRAINING)

    def __post_init__(self) -> None:
        try:
            check_settings(self)
        except InputError as error:
            raise InputError(error.problem, error.fix, f"train.{error.source}") from None
