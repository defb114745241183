"""What `reliability.py` trains: hosts, images, architectures, and evaluations with their cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from se_nas.se.spec import SESpec
from se_nas.space.space import SearchSpace

Chosen = Callable[[float, int], SESpec | None]
"""(place of a site in the network, 0..1; its number) -> its SE block."""


@dataclass(frozen=True)
class Recipe:
    """One way to evaluate.

    Attributes:
        start: ``scratch``, ``weights`` (trained ones), or the epochs of the plain network that is trained first.
        truth: whether the others are held against it.
        supernet: whether the weights are those of one network that holds all architectures.
        seeds: how many of the plan's it is tried with.
    """

    name: str
    start: str
    epochs: int
    train: Mapping[str, Any] = field(default_factory=dict)
    truth: bool = False
    supernet: bool = False
    seeds: int = 3


@dataclass(frozen=True)
class Plan:
    """One part of the benchmark.

    Attributes:
        train, val, test: how many images of each split.
        skip: training images before the first one, so that recipes are chosen on others than the tables use.
    """

    name: str
    backbone: str
    arguments: Mapping[str, Any]
    size: tuple[int, int, int]
    train: int
    val: int
    test: int
    statistics: tuple[tuple[float, ...], tuple[float, ...]]
    architectures: Mapping[str, Chosen]
    recipes: tuple[Recipe, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    skip: int = 0
    placements: tuple[str, ...] = ("standard", "inner")

    def space(self, init: str) -> SearchSpace:
        return SearchSpace(
            self.backbone,
            self.size,
            backbone_args=self.arguments,
            reduction=[4, 16],
            squeeze=["avg", "max", "std"],
            placement=self.placements,
            init=init,
        )


def everywhere(**spec: Any) -> Chosen:
    return lambda place, number: SESpec(**{"reduction": 4, **spec})


def within(low: float, high: float, **spec: Any) -> Chosen:
    return lambda place, number: SESpec(**{"reduction": 4, **spec}) if low <= place < high else None


def at(*numbers: int, **spec: Any) -> Chosen:
    return lambda place, number: SESpec(**{"reduction": 4, **spec}) if number in numbers else None


INSERT: dict[str, Chosen] = {
    "plain": at(),
    "all r4": everywhere(),
    "all r16": everywhere(reduction=16),
    "all max": everywhere(squeeze="max"),
    "all std inner": everywhere(squeeze="std", placement="inner"),
    "all inner": everywhere(placement="inner"),
    "first third": within(0, 0.34),
    "middle third": within(0.34, 0.67),
    "last third": within(0.67, 1),
    "first third inner": within(0, 0.34, placement="inner"),
    "last third inner": within(0.67, 1, placement="inner"),
    "site 1": at(1),
    "site 12 inner": at(12, placement="inner"),
}
DESIGN: dict[str, Chosen] = {
    "plain": at(),
    "all r4": everywhere(),
    "all r16": everywhere(reduction=16),
    "all max": everywhere(squeeze="max"),
    "all std": everywhere(squeeze="std"),
    "all pre": everywhere(placement="pre"),
    "all identity": everywhere(placement="identity"),
    "all post": everywhere(placement="post"),
    "stage 1": within(0, 0.33),
    "stage 2": within(0.33, 0.66),
    "stage 3": within(0.66, 1),
    "stage 3 max": within(0.66, 1, squeeze="max"),
}
DESIGN_MOBILE: dict[str, Chosen] = {
    **{name: DESIGN[name] for name in ("plain", "all r4", "all r16", "all max", "all std")},
    "all inner": everywhere(placement="inner"),
    "all inner r16": everywhere(reduction=16, placement="inner"),
    "stage 1": within(0, 0.25),
    "stage 2": within(0.25, 0.625),
    "stage 3": within(0.625, 1),
    "stage 1 inner": within(0, 0.25, placement="inner"),
    "stage 3 inner": within(0.625, 1, placement="inner"),
}

HALF = ((0.5,) * 3, (0.5,) * 3)
CIFAR = ((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616))
LITE = {"backbone": "timm:tf_efficientnet_lite0", "arguments": {"num_classes": 10}, "size": (3, 64, 64), "statistics": HALF}
SMALL = {"size": (3, 16, 16), "statistics": CIFAR}
RESNET = {"backbone": "resnet20", "arguments": {"num_classes": 10}, "placements": ("standard", "pre", "identity", "post"), **SMALL}
MOBILE = {"backbone": "mobilenet_v1", "arguments": {"num_classes": 10, "stages": [[32, 2], [64, 3], [128, 3]], "stem_stride": 1}, **SMALL}
OTHER_LITE = {**LITE, "train": 1024, "val": 1000, "test": 100, "skip": 2000}
OTHER_RESNET = {**RESNET, "train": 10_000, "val": 4000, "test": 100, "skip": 22_000}
"""With images that no table of truths uses: to choose recipes on."""

FEW_INSERT = {name: INSERT[name] for name in ("plain", "all r4", "last third inner")}
SOME_INSERT = {name: INSERT[name] for name in ("plain", "all r4", "all inner", "first third inner", "last third")}
FEW_DESIGN = {name: DESIGN[name] for name in ("plain", "all r4", "stage 3")}


FROZEN = {"freeze": "backbone", "lr_se": 1.0}
"""Only SE blocks and the last layer train."""

TUNED = {"freeze": "statistics", "lr_se": 1.0}
"""Fine-tuning of all weights."""

FULL = {"lr_se": 1.0, "lr_head": 1.0, "lr_backbone": 1.0, "freeze": "none"}
"""Of a start in the middle of its training: all parts at the full rate."""


def _rates(start: str, epochs: int) -> tuple[Recipe, ...]:
    """Rates of SE blocks and of all else, as multiples of the highest one, around those that a start has by default."""
    tried = ((0.1, 0.01, "statistics"), (0.1, 0.01, "none"), (0.01, 0.01, "statistics"), (1.0, 0.01, "statistics"))
    tried += ((0.1, 0.03, "statistics"), (0.1, 0.003, "statistics"), (0.1, 0.01, "backbone"))
    return tuple(
        Recipe(
            f"se {se:g}, rest {rest:g}, frozen: {freeze}",
            start,
            epochs,
            {"lr_se": se, "lr_head": rest, "lr_backbone": rest, "freeze": freeze},
            seeds=1,
        )
        for se, rest, freeze in tried
    )


def _frozen(start: str, *tried: tuple[float, int]) -> tuple[Recipe, ...]:
    """Of a frozen backbone: rates of SE blocks, as multiples of the highest one, and epochs."""
    return tuple(Recipe(f"se {se:g}, {epochs} epochs", start, epochs, {**FROZEN, "lr_se": se}) for se, epochs in tried)


PLANS = {
    plan.name: plan
    for plan in (
        Plan(
            "insert",
            **LITE,
            train=1024,
            val=1000,
            test=3000,
            architectures=INSERT,
            recipes=(
                Recipe("frozen, only SE at 1, 2 epochs", "weights", 2, {**FROZEN, "lr_head": 0.0}),
                Recipe("frozen, SE at 1 and head, 2 epochs", "weights", 2, FROZEN),
                Recipe("frozen, SE at 0.3 and head, 2 epochs", "weights", 2, {**FROZEN, "lr_se": 0.3}),
                Recipe("frozen, SE at 0.1 and head, 2 epochs", "weights", 2, {**FROZEN, "lr_se": 0.1}),
                Recipe("frozen supernet, 10 epochs", "weights", 10, {**FROZEN, "lr_se": 0.3}, supernet=True),
                Recipe("all trained, 2 epochs", "weights", 2, TUNED),
                Recipe("all trained, 10 epochs", "weights", 10, TUNED, truth=True),
            ),
        ),
        Plan(
            "design",
            **RESNET,
            train=20_000,
            val=5000,
            test=10_000,
            architectures=DESIGN,
            recipes=(
                Recipe("scratch, 20k images", "scratch", 1, seeds=8),
                Recipe("scratch, 20k, constant rate, averaged", "scratch", 1, {"schedule": "constant", "average": True}),
                Recipe("scratch, 60k images", "scratch", 3),
                Recipe("from mid-training, 20k", "3", 1, FULL),
                Recipe("from mid-training, frozen, 20k", "3", 1, {**FULL, "freeze": "backbone"}),
                Recipe("supernet, 120k images", "scratch", 6, supernet=True),
                Recipe("scratch, 240k images", "scratch", 12, truth=True),
            ),
            seeds=tuple(range(8)),
        ),
        Plan(
            "design-mobile",
            **MOBILE,
            train=20_000,
            val=5000,
            test=10_000,
            architectures=DESIGN_MOBILE,
            recipes=(
                Recipe("scratch, 20k images", "scratch", 1, seeds=6),
                Recipe("scratch, 240k images", "scratch", 12, truth=True),
            ),
            seeds=tuple(range(6)),
        ),
        Plan("recipe-insert", **OTHER_LITE, architectures=FEW_INSERT, recipes=_rates("weights", 2), seeds=(100,)),
        Plan("recipe-design", **OTHER_RESNET, architectures=FEW_DESIGN, recipes=_rates("6", 2), seeds=(100,)),
        Plan(
            "recipe-frozen",
            **OTHER_LITE,
            architectures=SOME_INSERT,
            recipes=_frozen("weights", (1.0, 2), (0.3, 2), (0.1, 2), (0.3, 3)),
            seeds=(100, 101),
        ),
        Plan(
            "recipe-frozen-design",
            **OTHER_RESNET,
            architectures=FEW_DESIGN,
            recipes=_frozen("6", (1.0, 2), (0.3, 2), (0.1, 2)),
            seeds=(100, 101),
        ),
    )
}
