"""What the SENet paper's networks gain for what their SE blocks add: the second half of docs/paper.md (`paper_table.py` writes it).

Errors are top-1 in %, printed in arXiv 1709.01507v4, tables 2 to 5; the plain network is the authors' own training of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from se_nas.backbones import build_backbone
from se_nas.network.cost import count
from se_nas.network.inputs import Inputs
from se_nas.se.spec import PAPER
from se_nas.space.space import SearchSpace

TITLES = {2: "ImageNet", 3: "ImageNet", 4: "CIFAR-10", 5: "CIFAR-100"}


@dataclass(frozen=True)
class Gain:
    """A printed pair of errors.

    Attributes:
        network: its name.
        table: in the paper.
        backbone: name of the backbone; empty if there is none here.
        plain: error without SE.
        se: error with SE.
        size: height and width of the images.
        arguments: of the backbone.
    """

    network: str
    table: int
    backbone: str
    plain: float
    se: float
    size: int = 224
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @property
    def points(self) -> float:
        return round(self.plain - self.se, 2)


def _cifar(network: str, table: int, backbone: str, plain: float, se: float) -> Gain:
    return Gain(network, table, backbone, plain, se, 32, {"num_classes": 10 if table == 4 else 100})


GAINS = [
    Gain("ResNet-50", 2, "resnet50", 24.80, 23.29),
    Gain("ResNet-101", 2, "resnet101", 23.17, 22.38),
    Gain("ResNet-152", 2, "resnet152", 22.42, 21.57),
    Gain("ResNeXt-50", 2, "resnext50", 22.11, 21.10),
    Gain("ResNeXt-101", 2, "resnext101", 21.18, 20.70),
    Gain("VGG-16 (batch norm)", 2, "torchvision:vgg16_bn", 27.02, 25.22),
    Gain("BN-Inception", 2, "bn_inception", 25.38, 24.23),
    Gain("Inception-ResNet-v2", 2, "inception_resnet_v2", 20.37, 19.80, 299),
    Gain("MobileNet", 3, "mobilenet_v1", 28.4, 25.3),
    Gain("ShuffleNet", 3, "shufflenet_v1", 32.6, 31.0),
    _cifar("ResNet-110", 4, "resnet110", 6.37, 5.21),
    _cifar("ResNet-164", 4, "resnet164", 5.46, 4.39),
    _cifar("WRN-16-8", 4, "wrn_16_8", 4.27, 3.88),
    _cifar("Shake-Shake 26 2x96d", 4, "shake_shake_26_2x96d", 2.56, 2.12),
    _cifar("ResNet-110", 5, "resnet110", 26.88, 23.85),
    _cifar("ResNet-164", 5, "resnet164", 24.33, 21.31),
    _cifar("WRN-16-8", 5, "wrn_16_8", 20.43, 19.14),
    _cifar("Shake-Even 29 2x4x64d", 5, "", 15.85, 15.41),
]


@dataclass(frozen=True)
class Added:
    """Our exact counts: of the plain network, and what the paper's default (SE everywhere, r = 16, no biases) adds."""

    params: int
    macs: int
    more_params: int
    more_macs: int


def added(row: Gain) -> Added:
    """Count a row's network with and without SE."""
    with torch.device("meta"):
        plain = count(build_backbone(row.backbone, row.arguments).eval(), Inputs((torch.empty(1, 3, row.size, row.size),)))
        space = SearchSpace(row.backbone, (3, row.size, row.size), reduction=[PAPER.reduction], backbone_args=dict(row.arguments))
    se = space.cost(space.reference("paper"))
    return Added(plain.params, plain.macs, se.params - plain.params, se.macs - plain.macs)


def markdown() -> str:
    """The tables, one for each data set, most points for each added million parameters first."""
    lines = [
        "## What the paper's SE blocks gain for what they add",
        "",
        "Gained: points of top-1 error that SE takes off, printed in tables 2 to 5; single trainings, so differences of a few tenths",
        "are noise. Added: our exact counts of the paper's default (SE at every site, r = 16, no biases). Each weight of an SE block",
        "is used once for an image, so it adds as many MACs as parameters, and points for each added million are the same for both.",
        "Sorted by them: first come networks to which SE adds little, not networks in which it gains most.",
    ]
    for data in dict.fromkeys(TITLES.values()):
        rows = [(row, added(row)) for row in GAINS if TITLES[row.table] == data and row.backbone]
        rows.sort(key=lambda pair: -pair[0].points / pair[1].more_params)
        lines += ["", f"### {data}", ""]
        lines += ["| Network | Table | Error, % | With SE | Gained | Added parameters | Added MACs | Points for each added million |"]
        lines += ["|---|---|---:|---:|---:|---:|---:|---:|"]
        lines += [_row(*pair) for pair in rows]
        if left_out := [f"{row.network} ({row.plain} to {row.se})" for row in GAINS if TITLES[row.table] == data and not row.backbone]:
            lines += ["", f"{', '.join(left_out)} is not among our backbones, so not counted."]
    return "\n".join(lines).rstrip()


def _row(row: Gain, more: Added) -> str:
    assert more.more_params == more.more_macs, "say both rates"
    costs = [(more.more_params, more.params), (more.more_macs, more.macs)]
    shares = [f"{extra:,} (+{100 * extra / plain:.2g} %)" for extra, plain in costs]
    rate = row.points / more.more_params * 1e6
    cells = [row.network, str(row.table), f"{row.plain:g}", f"{row.se:g}", f"{row.points:g}", *shares, f"{rate:.3g}"]
    return f"| {' | '.join(cells)} |"
