"""What was found of a network's SE blocks, as plain data. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import StatisticsError, mean, pstdev
from typing import Any

from se_nas.errors import InputError

NEAR = 0.1
"""A gate is saturated near 1 if it differs from 1 by less."""

LOST = 0.01
"""A block is not needed if the network without it loses less accuracy than this, as far as the images can say (to 97.5 %)."""


@dataclass(frozen=True)
class Change:
    """What becomes of the network when a block is replaced: means over images, and half their 95 % intervals.

    Attributes:
        accuracy: added to the share of right answers.
        around: half the interval of that.
        loss: added to the mean cross-entropy.
    """

    accuracy: float
    around: float
    loss: float

    @property
    def harmless(self) -> bool:
        """Whether less than `LOST` is lost, as far as these images can say."""
        return self.accuracy - self.around > -LOST


@dataclass(frozen=True)
class Excitation:
    """What one SE block does.

    Attributes:
        block: its path in the network.
        gates: of each channel, its mean gate over the images.
        deviations: of each channel, the standard deviation of its gate between images.
        by_class: class -> mean gate of each channel over the images of that class (figure 6).
        within: class -> their standard deviation over these images (figure 7).
        near_one: share of all gates that differ from 1 by less than `NEAR`.
        passed: of each channel, root mean square of what the block passes on.
        without: the block replaced by what it gets: nothing is scaled.
        fixed: the block replaced by its mean gates, which no longer depend on the image.
    """

    block: str
    gates: tuple[float, ...]
    deviations: tuple[float, ...]
    by_class: Mapping[str, tuple[float, ...]]
    within: Mapping[str, tuple[float, ...]]
    near_one: float
    passed: tuple[float, ...]
    without: Change
    fixed: Change

    @property
    def between(self) -> float:
        """How far the classes differ: standard deviation between the classes' mean gates, mean over channels."""
        return float(mean(pstdev(values) for values in zip(*self.by_class.values(), strict=True)))

    @property
    def importance(self) -> tuple[float, ...]:
        """Of each channel, for pruning: the larger, the more is lost without it."""
        return self.passed


@dataclass(frozen=True)
class Explanation:
    """What the SE blocks of a network do on some images.

    Attributes:
        images: number of images.
        accuracy: of the network on them, 0..1.
        loss: mean cross-entropy.
        blocks: from the input on.
    """

    images: int
    accuracy: float
    loss: float
    blocks: tuple[Excitation, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data: what `from_json` reads, with what follows from it for people."""
        return {
            "images": self.images,
            "accuracy": round(self.accuracy, 6),
            "loss": round(self.loss, 6),
            "blocks": {each.block: _block_to_json(each) for each in self.blocks},
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Explanation:
        """Inverse of `to_json`, but for rounding.

        Raises:
            InputError: if the data does not have that form.
        """
        try:
            blocks = tuple(_block_from_json(*item) for item in data["blocks"].items())
            return cls(int(data["images"]), float(data["accuracy"]), float(data["loss"]), blocks)
        except (KeyError, TypeError, ValueError, AttributeError, StatisticsError):
            raise InputError("is no explanation of a network", "write it anew: se-nas explain") from None


def _rounded(values: Iterable[float]) -> list[float]:
    return [round(value, 5) for value in values]


def _block_to_json(each: Excitation) -> dict[str, Any]:
    return {
        "importance": _rounded(each.importance),
        "gates": _rounded(each.gates),
        "deviations": _rounded(each.deviations),
        "by_class": {label: _rounded(values) for label, values in each.by_class.items()},
        "within": {label: _rounded(values) for label, values in each.within.items()},
        "near_one": round(each.near_one, 5),
        "without": {name: round(value, 6) for name, value in vars(each.without).items()},
        "fixed": {name: round(value, 6) for name, value in vars(each.fixed).items()},
    }


def _block_from_json(name: str, data: Mapping[str, Any]) -> Excitation:
    by_class, within = ({label: tuple(values) for label, values in data[key].items()} for key in ("by_class", "within"))
    lists = (tuple(data["gates"]), tuple(data["deviations"]), by_class, within)
    changes = (Change(*(float(data[key][part]) for part in ("accuracy", "around", "loss"))) for key in ("without", "fixed"))
    return Excitation(name, *lists, float(data["near_one"]), tuple(data["importance"]), *changes)
