"""The SENet paper's printed sizes beside ours, and its gains beside what they cost (`paper_gains`), as Markdown.

    python benchmarks/paper_table.py > docs/paper.md

Sources: arXiv 1709.01507v4, and the authors' released models. tests/backbones/test_paper.py checks every row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import paper_gains
import torch
from torch import nn

from se_nas.backbones import build_backbone
from se_nas.errors import InputError
from se_nas.network.cost import count
from se_nas.network.inputs import Inputs
from se_nas.network.placement import Site
from se_nas.network.survey import survey
from se_nas.se.spec import SESpec, hidden_width
from se_nas.space.space import SearchSpace

OPERATIONS = ("pooling", "scaling", "residual sums")
"""What printed FLOPs may count besides MACs: one operation per element that an SE block pools or scales, or that is summed."""
PARAMETERS = ("running statistics", "biases")
"""What printed parameters may count besides: mean and variance of every batch norm, and biases in the SE blocks."""


@dataclass(frozen=True)
class Row:
    """A printed row.

    Attributes:
        network: its name.
        where: in the paper, or whose figure it is.
        backbone: name of the backbone.
        se: the setting at every site; none is the plain backbone.
        params: printed, in millions, as printed.
        macs: printed, in units of 10**9, as printed ("FLOPs" in the paper: one is a multiply-add).
        exact: parameters to the last one, by eq. 5 or of the released model.
        size: height and width of the images.
        options: further arguments of the space.
        also: what must be counted besides, of `OPERATIONS` and `PARAMETERS`, to meet the printed figures.
        why: why a printed figure is not met even so.
        within: how far off it may then be, in millions and in 10**9.
    """

    network: str
    where: str
    backbone: str
    se: SESpec | None = None
    params: str = ""
    macs: str = ""
    exact: int = 0
    size: int = 224
    options: Mapping[str, Any] = field(default_factory=dict)
    also: tuple[str, ...] = ()
    why: str = ""
    within: tuple[float, float] = (0.0, 0.0)

    @property
    def id(self) -> str:
        return f"{self.network}, {self.where}"


@dataclass(frozen=True)
class Computed:
    """Our parameters and MACs, and how much the other things that may be counted would add."""

    params: int
    macs: int
    extras: Mapping[str, int]

    def params_with(self, also: Iterable[str]) -> int:
        return self.params + sum(self.extras[name] for name in also if name in PARAMETERS)

    def macs_with(self, also: Iterable[str]) -> int:
        return self.macs + sum(self.extras[name] for name in also if name in OPERATIONS)


SE, NO_SQUEEZE = SESpec(16), SESpec(16, "none")
INNER, PRE = SESpec(16, placement="inner"), SESpec(16, placement="pre")
BIAS = {"bias": True}
STATISTICS, POOLING, SUMS = ("running statistics",), ("pooling",), ("residual sums",)
RELEASED = "another variant: ours is the one that its authors released"

ROWS = [
    Row("ResNet-50", "tables 2, 10", "resnet50", params="25.6", macs="3.86", exact=25_557_032),
    Row("ResNet-50 (torchvision's strides)", "torchvision", "torchvision:resnet50", params="25.6", macs="4.09", exact=25_557_032),
    Row("SE-ResNet-50", "tables 2, 10", "resnet50", SE, "28.1", "3.87", 28_071_976, also=POOLING),
    Row("SE-ResNet-50, r=2", "table 10", "resnet50", SESpec(2), "45.7", exact=45_676_584),
    Row("SE-ResNet-50, r=4", "table 10", "resnet50", SESpec(4), "35.7", exact=35_616_808, also=STATISTICS),
    Row("SE-ResNet-50, r=8", "table 10", "resnet50", SESpec(8), "30.7", exact=30_586_920, also=PARAMETERS),
    Row("SE-ResNet-50, r=32", "table 10", "resnet50", SESpec(32), "26.9", exact=26_814_504, also=STATISTICS),
    Row("SE-ResNet-50, with biases", "released model", "resnet50", SE, exact=28_088_024, options=BIAS),
    Row("SE_Stage_2", "table 13", "resnet50", SE, "25.6", "3.86", options={"sites": {"stages": ["layer1"]}}),
    Row("SE_Stage_3", "table 13", "resnet50", SE, "25.7", "3.86", options={"sites": {"stages": ["layer2"]}}),
    Row(
        "SE_Stage_4",
        "table 13",
        "resnet50",
        SE,
        "26.4",
        "3.86",
        options={"sites": {"stages": ["layer3"]}},
        also=STATISTICS,
    ),
    Row("SE-PRE", "table 14", "resnet50", PRE, exact=27_548_200),
    Row("SE_3x3", "table 15", "resnet50", INNER, "25.8", "3.86", 25_714_216, also=STATISTICS),
    Row("NoSqueeze", "table 16", "resnet50", NO_SQUEEZE, "28.1", "4.27", 28_071_976),
    Row("ResNet-101", "table 2", "resnet101", macs="7.58", also=SUMS),
    Row("SE-ResNet-101", "table 2", "resnet101", SE, macs="7.60", also=OPERATIONS),
    Row("ResNet-152", "table 2", "resnet152", macs="11.30", also=SUMS),
    Row("SE-ResNet-152", "table 2", "resnet152", SE, macs="11.32", also=("pooling", "residual sums")),
    Row("ResNeXt-50", "table 2", "resnext50", macs="4.24", exact=25_028_904, also=SUMS),
    Row("SE-ResNeXt-50", "table 2", "resnext50", SE, macs="4.25", also=OPERATIONS),
    Row("SE-ResNeXt-50, with biases", "released model", "resnext50", SE, "27.560", exact=27_559_896, options=BIAS),
    Row("ResNeXt-101", "table 2", "resnext101", macs="7.99", why="not met by any count that we know", within=(0.0, 0.021)),
    Row("SE-ResNeXt-101", "table 2", "resnext101", SE, macs="8.00", also=OPERATIONS),
    Row("SE-ResNeXt-101, with biases", "released model", "resnext101", SE, "48.955", exact=48_955_416, options=BIAS),
    Row("VGG-16 (batch norm)", "table 2", "torchvision:vgg16_bn", macs="15.47"),
    Row("SE-VGG-16 (batch norm)", "table 2", "torchvision:vgg16_bn", SE, macs="15.48", also=POOLING),
    Row("BN-Inception", "table 2", "bn_inception", macs="2.03"),
    Row("SE-BN-Inception", "table 2", "bn_inception", SE, macs="2.04", also=("pooling", "scaling")),
    Row("SE-BN-Inception, with biases", "released model", "bn_inception", SE, "11.932", options=BIAS),
    Row(
        "Inception-ResNet-v2",
        "table 2",
        "inception_resnet_v2",
        macs="11.75",
        exact=55_843_464,
        size=299,
        why=RELEASED,
        within=(0.0, 1.5),
    ),
    Row(
        "SE-Inception-ResNet-v2",
        "table 2",
        "inception_resnet_v2",
        SE,
        macs="11.76",
        size=299,
        why=RELEASED,
        within=(0.0, 1.5),
    ),
    Row("MobileNet", "table 3", "mobilenet_v1", params="4.2", macs="0.569"),
    Row("SE-MobileNet", "table 3", "mobilenet_v1", SE, "4.7", "0.572", also=POOLING),
    Row(
        "ShuffleNet",
        "table 3",
        "shufflenet_v1",
        params="1.8",
        macs="0.140",
        why="ShuffleNet's nominal 140 M; 1.866 M cut, not rounded",
        within=(0.1, 0.003),
    ),
    Row(
        "SE-ShuffleNet",
        "table 3",
        "shufflenet_v1",
        SE,
        "2.4",
        "0.142",
        why="2 M more than the nominal 140 M; 2.476 M cut, not rounded",
        within=(0.1, 0.005),
    ),
    Row("SENet-154", "eq. 5", "senet154", SE, exact=115_038_120),
    Row("SENet-154, with biases", "released model", "senet154", SE, "115.1", "20.7", 115_088_984, options=BIAS),
]


def compute(row: Row) -> Computed:
    """Our figures for a row.

    Raises:
        InputError: if the backbone's space cannot be built.
    """
    with torch.device("meta"):
        images = torch.empty(1, 3, row.size, row.size)
        network = build_backbone(row.backbone, {}).eval()
        statistics = sum(2 * m.num_features for m in network.modules() if isinstance(m, nn.BatchNorm2d))
        if row.se is None:
            cost = count(network, Inputs((images,)))
            sums = _residual_sums(survey(network, (3, row.size, row.size)).sites)
            return Computed(cost.params, cost.macs, {"residual sums": sums, "running statistics": statistics})
        spec = row.se
        candidates = {"reduction": [spec.reduction], "squeeze": [spec.squeeze], "placement": [spec.placement]}
        space = SearchSpace(row.backbone, images.shape[1:], **candidates, **row.options)
    cost = space.cost(space.dearest())
    places = [site.attachments[spec.placement] for site in space.sites]
    elements = sum(place.channels * place.height * place.width for place in places)
    biases = sum(place.channels + hidden_width(place.channels, spec.reduction, 1) for place in places)
    extras = {"residual sums": _residual_sums(space.all_sites), "running statistics": statistics}
    return Computed(cost.params, cost.macs, {**extras, "pooling": elements, "scaling": elements, "biases": biases})


def _residual_sums(sites: Iterable[Site]) -> int:
    """Elements of the outputs of all blocks that have a shortcut."""
    blocks = [site.attachments for site in sites]
    return sum(a["post"].channels * a["post"].height * a["post"].width for a in blocks if "identity" in a)


def agrees(printed: str, value: float) -> bool:
    """Whether a value rounds to what is printed."""
    return not printed or f"{value:.{len(printed.partition('.')[2])}f}" == printed


def markdown() -> str:
    """All rows as one table."""
    lines = [
        "# The paper's sizes, printed and computed",
        "",
        "Further down: [what the paper's SE blocks gain for what they add](#what-the-papers-se-blocks-gain-for-what-they-add).",
        "",
        "Printed figures of Hu et al., *Squeeze-and-Excitation Networks*, arXiv 1709.01507v4, or of the authors' released models.",
        "Computed: trainable parameters, and multiply-adds of convolutions and linear layers of one image (MACs), nothing else.",
        "SE blocks have no biases unless the row says so, and r=16 unless it says so. `=` is agreement to the last printed digit;",
        "otherwise the last column says what the printed figure seems to count besides, one operation an element, and to what the",
        "sum then comes. We keep to one convention for all networks; the paper's figures follow none that we could find.",
        "",
        "`python benchmarks/paper_table.py > docs/paper.md` writes this page.",
        "",
        "| Network | Source | Printed, M | Parameters | | Printed, G | MACs, G | | Counted besides |",
        "|---|---|---:|---:|---|---:|---:|---|---|",
    ]
    for row in ROWS:
        try:
            found = compute(row)
        except InputError as error:
            lines.append(f"| {row.network} | {row.where} | {row.params} | | | {row.macs} | | | not computed: {error.problem} |")
            continue
        cells = [row.network, row.where, row.params, f"{found.params:,}", _mark(row.params, found.params / 1e6)]
        cells += [row.macs, f"{found.macs / 1e9:.4f}", _mark(row.macs, found.macs / 1e9), _besides(row, found)]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _mark(printed: str, value: float) -> str:
    if not printed:
        return ""
    return "=" if agrees(printed, value) else f"{value - float(printed):+.3f}"


def _besides(row: Row, found: Computed) -> str:
    if not row.also:
        return row.why
    params, gmacs = found.params_with(row.also) / 1e6, found.macs_with(row.also) / 1e9
    sums = [f"{params:.3f} M"] * (params > found.params / 1e6) + [f"{gmacs:.4f} G"] * (gmacs > found.macs / 1e9)
    return f"{', '.join(row.also)}: {', '.join(sums)}"


if __name__ == "__main__":
    print(f"{markdown()}\n\n{paper_gains.markdown()}")
