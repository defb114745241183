"""What tells one residual network from another, read from its modules."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from torch import nn

from se_nas.attached import public_modules
from se_nas.exporter.check import Unsupported

NETWORKS = ("se_nas.backbones.resnet.ResNet", "torchvision.models.resnet.ResNet")
BLOCKS = {
    "se_nas.backbones.resnet.BasicBlock": "BasicBlock",
    "se_nas.backbones.resnet.Bottleneck": "Bottleneck",
    "se_nas.backbones.resnet.ResNeXtBottleneck": "Bottleneck",
    "torchvision.models.resnet.BasicBlock": "BasicBlock",
    "torchvision.models.resnet.Bottleneck": "Bottleneck",
}
SHORTCUTS = {
    "se_nas.backbones.resnet.PadShortcut": "pad",
    "se_nas.backbones.resnet.ProjectionShortcut": "projection",
    "torch.nn.modules.container.Sequential": "projection",
    "torch.nn.modules.linear.Identity": None,
}


@dataclass(frozen=True)
class Stage:
    """A stage's blocks, and the sizes of the first: the others keep its output's."""

    name: str
    blocks: tuple[str, ...]
    in_channels: int
    width: int
    out_channels: int
    stride: int


@dataclass(frozen=True)
class Shape:
    """All that tells one residual network from another.

    Attributes:
        block: ``BasicBlock`` or ``Bottleneck``.
        stages: in order.
        stem: source of the first convolution.
        pool: source of the pooling after it, or nothing.
        fc: source of the arguments of the last layer after the number of classes.
        pad: whether shortcuts pad with zeros instead of projecting.
        strided: the convolution of a bottleneck that has the stride.
        groups: of a bottleneck's 3x3 convolution.
    """

    block: str
    stages: tuple[Stage, ...]
    stem: str
    stem_channels: int
    in_channels: int
    pool: str
    classes: int
    fc: str
    pad: bool
    strided: str
    groups: int

    @property
    def title(self) -> str:
        """The name that such a network goes by."""
        first = self.stages[0]
        convolutions = 2 if self.block == "BasicBlock" else 3
        depth = sum(len(stage.blocks) for stage in self.stages) * convolutions + 2
        if self.groups > 1:
            return f"ResNeXt-{depth} {self.groups}x{first.width // self.groups}d"
        if self.block == "Bottleneck" and first.out_channels != 4 * first.width:
            return f"Wide ResNet-{depth}-{4 * first.width / first.out_channels:g}"
        return f"ResNet-{depth}"


def read_shape(network: nn.Module) -> Shape:
    """What the network is, read from its modules.

    Raises:
        Unsupported: if it is no residual network, or one of unknown blocks.
    """
    if _kind(network) not in NETWORKS:
        raise Unsupported(f"{type(network).__name__} is no residual network of se-nas or torchvision")
    modules = public_modules(network)
    names = [name for name in modules if re.fullmatch(r"layer\d+", name)]
    stages = tuple(_read_stage(modules, name) for name in names)
    blocks = [modules[block] for stage in stages for block in stage.blocks]
    kinds = {BLOCKS[_kind(block)] for block in blocks}
    if len(kinds) != 1:
        raise Unsupported(f"its blocks are of several kinds: {', '.join(sorted(kinds))}")
    shortcuts = {SHORTCUTS.get(_kind(module), _kind(module)) for path, module in modules.items() if path.endswith("downsample")} - {None}
    if not shortcuts <= set(SHORTCUTS.values()) or len(shortcuts) > 1:
        raise Unsupported(f"its shortcuts are {', '.join(sorted(map(str, shortcuts)))}")
    pool = modules.get("maxpool")
    return Shape(
        block=kinds.pop(),
        stages=stages,
        stem=_arguments(modules, "conv1", "out_channels", "kernel_size", "stride", "padding") + _bias(modules["conv1"]),
        stem_channels=_number(modules, "conv1", "out_channels"),
        in_channels=_number(modules, "conv1", "in_channels"),
        pool="" if isinstance(pool, nn.Identity) else _arguments(modules, "maxpool", "kernel_size", "stride", "padding"),
        classes=_number(modules, "fc", "out_features"),
        fc=_bias(modules["fc"]),
        pad="pad" in shortcuts,
        strided="conv1" if any(_number(modules, f"{stage.blocks[0]}.conv1", "stride") > 1 for stage in stages) else "conv2",
        groups=_number(modules, f"{stages[0].blocks[0]}.conv2", "groups"),
    )


def _read_stage(modules: Mapping[str, nn.Module], name: str) -> Stage:
    blocks = tuple(f"{name}.{child}" for child, _ in modules[name].named_children())
    if type(modules[name]) is not nn.Sequential or not blocks:
        raise Unsupported(f"{name} is no sequence of blocks")
    for block in blocks:
        if _kind(modules[block]) not in BLOCKS:
            raise Unsupported(f"{block} is a {_kind(modules[block])}")
    first, second, third = (f"{blocks[0]}.conv{i}" for i in (1, 2, 3))
    return Stage(
        name,
        blocks,
        in_channels=_number(modules, first, "in_channels"),
        width=_number(modules, first, "out_channels"),
        out_channels=_number(modules, third if third in modules else second, "out_channels"),
        stride=_number(modules, first, "stride") * _number(modules, second, "stride"),
    )


def _kind(module: nn.Module) -> str:
    return f"{type(module).__module__}.{type(module).__qualname__}"


def _number(modules: Mapping[str, nn.Module], path: str, field: str) -> int:
    module = modules.get(path)
    value = getattr(module, field, None)
    first = value[0] if isinstance(value, tuple) else value
    if not isinstance(first, int):
        raise Unsupported(f"{path} is a {type(module).__name__}, without a {field} that is a number")
    return first


def _arguments(modules: Mapping[str, nn.Module], path: str, *fields: str) -> str:
    return ", ".join(str(_number(modules, path, field)) for field in fields)


def _bias(module: nn.Module) -> str:
    return "" if getattr(module, "bias", None) is not None else ", bias=False"
