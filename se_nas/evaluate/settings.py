"""How networks are trained. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from se_nas.errors import InputError
from se_nas.setting import check_settings, setting

TRAINING = "training"

FREEZES = ("none", "statistics", "backbone")

SCRATCH = {"se": 1.0, "head": 1.0, "backbone": 1.0}
STARTED = {"se": 1.0, "head": 0.01, "backbone": 0.01}
FROZEN = {"se": 0.3, "head": 0.01, "backbone": 0.0}
"""Learning rates of a network's parts as multiples of ``lr``: from fresh weights, from trained ones, in a frozen backbone
(docs/evidence.md, "Rates of a start")."""


def one_cycle(progress: float) -> float:
    """From 1/25 up to 1 in the first 30 %, then down to 0, both along half a cosine (arXiv 1708.07120)."""
    if progress < 0.3:
        return 0.52 - 0.48 * math.cos(math.pi * progress / 0.3)
    return 0.5 + 0.5 * math.cos(math.pi * (progress - 0.3) / 0.7)


def cosine(progress: float) -> float:
    """From 1 down to 0 along half a cosine (arXiv 1608.03983)."""
    return 0.5 + 0.5 * math.cos(math.pi * progress)


def constant(progress: float) -> float:
    """Always 1: goes with ``average``."""
    return 1.0


SCHEDULES: dict[str, Callable[[float], float]] = {"one-cycle": one_cycle, "cosine": cosine, "constant": constant}
"""Share of the training done, 0..1 -> share of the learning rate, 0..1."""


@dataclass(frozen=True)
class TrainSettings:
    """Stochastic gradient descent with Nesterov momentum.

    Raises:
        InputError: for a value beyond its limits; the source is ``train.NAME``.
    """

    batch_size: int = setting(64, "images of a step", TRAINING, least=1)
    lr: float = setting(0.2, "highest learning rate", TRAINING, above=0, example="0.1")
    lr_se: float | None = setting(
        None, "of inserted SE blocks, as a multiple of lr", TRAINING, least=0, otherwise="1; in a frozen backbone 0.3"
    )
    lr_head: float | None = setting(None, "of the last layer, as a multiple of lr", TRAINING, least=0, otherwise="1; from a start 0.01")
    lr_backbone: float | None = setting(
        None, "of all else, as a multiple of lr, unless it is frozen", TRAINING, least=0, otherwise="1; from a start 0.01"
    )
    freeze: str | None = setting(
        None,
        "what of a start stays as it is: nothing (none), its batch norms' statistics, or all of its backbone",
        TRAINING,
        choices=FREEZES,
        otherwise="none; from a start backbone, or statistics with lr_backbone",
    )
    momentum: float = setting(0.9, "of the gradients; 0 for none", TRAINING, least=0, below=1)
    weight_decay: float = setting(5e-4, "of weights; biases and norms have none", TRAINING, least=0)
    schedule: str = setting("one-cycle", "of the learning rate", TRAINING, choices=tuple(SCHEDULES))
    average: bool = setting(False, "measure the mean of the weights over the second half, in place of the last ones", TRAINING)
    label_smoothing: float = setting(0.1, "in training only", TRAINING, least=0, below=1)
    augment: bool = setting(True, "vary training images at random", TRAINING)
    amp: bool = setting(True, "mixed precision on CUDA", TRAINING)
    channels_last: bool = setting(True, "that memory layout on CUDA", TRAINING)

    def __post_init__(self) -> None:
        try:
            check_settings(self)
            if self.freeze == "backbone" and self.lr_se == 0 and self.lr_head == 0:
                raise InputError("nothing is left to train", "take lr_se or lr_head above 0, or freeze: none", "freeze")
        except InputError as error:
            raise InputError(error.problem, error.fix, f"train.{error.source}") from None

    def rates(self, started: bool) -> dict[str, float]:
        """Part of a network -> its learning rate as a multiple of ``lr``; 0 for a part that does not train.

        Args:
            started: whether the backbone is trained already.
        """
        usual = SCRATCH if not started else FROZEN if self.frozen(started) == "backbone" else STARTED
        given = {"se": self.lr_se, "head": self.lr_head, "backbone": self.lr_backbone if usual["backbone"] else None}
        return {part: usual[part] if rate is None else rate for part, rate in given.items()}

    def frozen(self, started: bool) -> str:
        """What stays as it is: one of `FREEZES`."""
        usual = "backbone" if self.lr_backbone is None else "statistics"
        return self.freeze or (usual if started else "none")

    @property
    def whole(self) -> TrainSettings:
        """The same for a network as it is trained in the end: from a start everything trains, unless ``freeze`` says otherwise."""
        return replace(self, freeze=self.freeze or "statistics")
