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
        seeds: how many of the plan's it is tried with.
    """

    name: str
    start: str
    epochs: int
    train: Mapping[str, Any] = field(default_factory=dict)
    truth: bool = False
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

    def space(self, init: str) -> SearchSpace:
        placements = ["standard", "inner"] if self.backbone.startswith("timm:") else ["standard", "pre", "identity", "post"]
        return SearchSpace(
            self.backbone,
            self.size,
            backbone_args=self.arguments,
            reduction=[4, 16],
            squeeze=["avg", "max", "std"],
            placement=placements,
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

HALF = ((0.5,) * 3, (0.5,) * 3)
CIFAR = ((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616))
LITE = {"backbone": "timm:tf_efficientnet_lite0", "arguments": {"num_classes": 10}, "size": (3, 64, 64), "statistics": HALF}
RESNET = {"backbone": "resnet20", "arguments": {"num_classes": 10}, "size": (3, 16, 16), "statistics": CIFAR}

FEW_INSERT = {name: INSERT[name] for name in ("plain", "all r4", "last third inner")}
FEW_DESIGN = {name: DESIGN[name] for name in ("plain", "all r4", "stage 3")}


def _recipes(start: str, epochs: int) -> tuple[Recipe, ...]:
    """Rates, each part's as a multiple of the highest one."""
    return tuple(
        Recipe(f"lr {lr:g}, backbone {backbone:g}, se {se:g}", start, epochs, {"lr": lr, "lr_backbone": backbone, "lr_se": se}, seeds=1)
        for lr, backbone, se in (
            (0.05, 0.1, 1.0),
            (0.05, 0.1, 5.0),
            (0.05, 1.0, 1.0),
            (0.2, 0.1, 1.0),
            (0.2, 0.1, 5.0),
            (0.02, 1.0, 5.0),
        )
    )


PLANS = {
    plan.name: plan
    for plan in (
        Plan(
            "recipe-insert",
            **LITE,
            train=1024,
            val=1000,
            test=1000,
            architectures=FEW_INSERT,
            recipes=_recipes("weights", 2),
            seeds=(100,),
            skip=2000,
        ),
        Plan(
            "recipe-design",
            **RESNET,
            train=10_000,
            val=4000,
            test=1000,
            architectures=FEW_DESIGN,
            recipes=_recipes("4", 1),
            seeds=(100,),
            skip=22_000,
        ),
    )
}
