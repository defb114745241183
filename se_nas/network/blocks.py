"""Known block classes, and where the paper's placements are in each. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from se_nas.errors import known

PLACEMENTS = ("standard", "pre", "post", "identity", "inner")
"""SE, SE-PRE, SE-POST, SE-Identity and SE_3x3 of the paper (tables 14 and 15)."""


@dataclass(frozen=True)
class Anchor:
    """Where in a block a placement attaches.

    Attributes:
        child: name of the child to wrap; "" means the block itself. A child that is ``None`` becomes an identity.
        side: whether the SE block gates the child's ``output`` or its ``input``.
    """

    child: str
    side: str


def _residual(last: str, inner: str, first: str = "conv1", shortcut: str = "downsample") -> dict[str, Anchor]:
    """Placements of a residual block, by the names of its children.

    ``standard``: the branch's end, before the sum. ``pre``: the branch's input (the shortcut sees the ungated x).
    ``post``: the block's output, after the last ReLU. ``identity``: the shortcut's output, after its projection if
    it has one (the paper does not say which). ``inner``: after the 3x3 convolution's batch norm.
    """
    return {
        "standard": Anchor(last, "output"),
        "pre": Anchor(first, "input"),
        "post": Anchor("", "output"),
        "identity": Anchor(shortcut, "output"),
        "inner": Anchor(inner, "output"),
    }


def _branched(branch: str, shortcut: str = "shortcut") -> dict[str, Anchor]:
    """Placements of a residual block whose branch is one child. There is no ``inner``: no 3x3 convolution is its middle."""
    return {
        "standard": Anchor(branch, "output"),
        "pre": Anchor(branch, "input"),
        "post": Anchor("", "output"),
        "identity": Anchor(shortcut, "output"),
    }


BLOCKS: dict[str, Mapping[str, Anchor]] = {
    "torchvision.models.resnet.BasicBlock": _residual(last="bn2", inner="bn1"),
    "torchvision.models.resnet.Bottleneck": _residual(last="bn3", inner="bn2"),
    "se_nas.backbones.resnet.BasicBlock": _residual(last="bn2", inner="bn1"),
    "se_nas.backbones.resnet.Bottleneck": _residual(last="bn3", inner="bn2"),
    "se_nas.backbones.senet.SENetBottleneck": _residual(last="conv3", inner="conv2"),
    "se_nas.backbones.preact_resnet.PreactBasicBlock": _residual(last="conv2", inner="bn2"),
    "se_nas.backbones.preact_resnet.PreactBottleneck": _residual(last="conv3", inner="bn3"),
    "se_nas.backbones.shufflenet.ShuffleUnit": _residual(last="expand", inner="depthwise", first="compress", shortcut="shortcut"),
    "se_nas.backbones.shake_shake.ShakeBlock": _branched("branches"),
    "se_nas.backbones.inception_resnet.InceptionResidual": _branched("branch"),
    "se_nas.backbones.bn_inception.Inception": {"standard": Anchor("", "output")},
    "se_nas.backbones.mobilenet.SeparableBlock": {"standard": Anchor("pointwise", "output"), "inner": Anchor("depthwise", "output")},
}
"""Known block classes, by qualified name (so that no library is imported to look one up), and their placements."""


def register_block(block: type | str, placements: Mapping[str, tuple[str, str]]) -> None:
    """Describe a block class, so that blocks of this class become sites.

    Args:
        block: the class, or its qualified name.
        placements: name -> (child to wrap, ``output`` or ``input`` of it); ``""`` is the block itself.
    """
    for placement, (_, side) in placements.items():
        known(placement, PLACEMENTS, "placement")
        known(side, ("output", "input"), "side")
    BLOCKS[block if isinstance(block, str) else _name(block)] = {name: Anchor(*place) for name, place in placements.items()}


def find_anchors(block: type) -> Mapping[str, Anchor] | None:
    """The placements of a block class, or of its nearest base class that is known; None if there is none."""
    return next((BLOCKS[_name(cls)] for cls in block.__mro__ if _name(cls) in BLOCKS), None)


def _name(block: type) -> str:
    return f"{block.__module__}.{block.__qualname__}"
