"""Small networks, each of a kind that people have, with the sites that an expert would choose.

`CASES`: name -> (a function that builds it, what it takes, names of the sites, names of the network's own SE blocks there).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Residual(nn.Module):
    """Two convolutions and a shortcut."""

    def __init__(self, c: int, o: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(c, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o)
        self.conv2, self.norm2 = nn.Conv2d(o, o, 3, 1, 1, bias=False), nn.BatchNorm2d(o)
        self.skip = nn.Identity() if (c, stride) == (o, 1) else nn.Conv2d(c, o, 1, stride)

    def branch(self, x: Tensor) -> Tensor:
        return self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.branch(x) + self.skip(x))


class Net(nn.Module):
    """A stem, two stages of blocks, a head."""

    def __init__(self, block: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 1, 1)
        self.a = nn.Sequential(block(16, 16), block(16, 16))
        self.b = nn.Sequential(block(16, 32, 2), block(32, 32))
        self.head = nn.Linear(32, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.b(self.a(self.stem(x))).mean((2, 3)))


class Permuted(Residual):
    """Linear layers on channels last, a scale, and the way back; drop path is an Identity."""

    def __init__(self, c: int, o: int, stride: int = 1) -> None:
        super().__init__(c, o, stride)
        self.widen, self.narrow = nn.Linear(o, 2 * o), nn.Linear(2 * o, o)
        self.gamma, self.drop_path = nn.Parameter(torch.ones(o)), nn.Identity()
        del self.conv2, self.norm2

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(self.conv1(x)).permute(0, 2, 3, 1)
        y = self.gamma * self.narrow(F.gelu(self.widen(y)))
        return self.skip(x) + self.drop_path(y.permute(0, 3, 1, 2))


class Affine(Residual):
    """A learned scale and bias, written as they are added."""

    def __init__(self, c: int, o: int, stride: int = 1) -> None:
        super().__init__(c, o, stride)
        self.scale, self.bias = nn.Parameter(torch.ones(1)), nn.Parameter(torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        out = self.branch(x) * self.scale + self.bias
        out += self.skip(x)
        return F.relu_(out)


class Halves(Residual):
    """Two branches, a half of each."""

    def __init__(self, c: int, o: int, stride: int = 1) -> None:
        super().__init__(c, o, stride)
        self.other = nn.Conv2d(c, o, 3, stride, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.skip(x) + (0.5 * self.branch(x) + 0.5 * self.other(x))


class Looped(Residual):
    """Its branches in a list, added up in a loop, as a helper of the class."""

    def __init__(self, c: int, o: int, stride: int = 1) -> None:
        super().__init__(c, o, stride)
        self.paths = nn.ModuleList(nn.Sequential(nn.Conv2d(c, o, 3, stride, 1), nn.ReLU(), nn.Conv2d(o, o, 1)) for _ in range(2))
        del self.conv1, self.norm1, self.conv2, self.norm2

    def forward(self, x: Tensor) -> Tensor:
        total = self.paths[0](x)
        for path in self.paths[1:]:
            total = total + path(x)
        return torch.relu(total + self.skip(x))


class InlineSE(Residual):
    """SE in the block's own forward, with 1x1 convolutions."""

    def __init__(self, c: int, o: int, stride: int = 1) -> None:
        super().__init__(c, o, stride)
        self.fc1, self.fc2 = nn.Conv2d(o, 4, 1), nn.Conv2d(4, o, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.branch(x)
        w = F.adaptive_avg_pool2d(y, 1)
        w = F.relu(self.fc1(w))
        w = torch.sigmoid(self.fc2(w))
        return F.relu(y * w + self.skip(x))


class OptionalInlineSE(Residual):
    """SE under an ``if``, in place, its layers in a list."""

    def __init__(self, c: int, o: int, stride: int = 1) -> None:
        super().__init__(c, o, stride)
        self.fc = nn.Sequential(nn.Linear(o, 4), nn.ReLU(), nn.Linear(4, o), nn.Sigmoid())
        self.ratio = 4

    def forward(self, x: Tensor) -> Tensor:
        out = self.branch(x)
        if self.ratio:
            n, c, _, _ = out.shape
            w = self.fc(out.mean((2, 3))).view(n, c, 1, 1)
            out *= w
        return F.relu(out + self.skip(x))


class InPlaceSE(InlineSE):
    """SE in place, as a statement."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.branch(x)
        w = torch.sigmoid(self.fc2(F.relu(self.fc1(y.mean((2, 3), keepdim=True)))))
        y.mul_(w)
        return F.relu(y + self.skip(x))


class GateModule(nn.Module):
    """Returns the gate alone, as CBAM's channel attention."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.shrink, self.grow = nn.Conv2d(c, 4, 1), nn.Conv2d(4, c, 1)

    def forward(self, x: Tensor) -> Tensor:
        low, high = F.adaptive_avg_pool2d(x, 1), F.adaptive_max_pool2d(x, 1)
        return torch.sigmoid(self.grow(F.relu(self.shrink(low))) + self.grow(F.relu(self.shrink(high))))


class GatedByModule(Residual):
    def __init__(self, c: int, o: int, stride: int = 1) -> None:
        super().__init__(c, o, stride)
        self.attention = GateModule(o)

    def forward(self, x: Tensor) -> Tensor:
        out = self.branch(x)
        return F.relu(torch.mul(self.attention(out), out) + self.skip(x))


class ExpandSE(nn.Module):
    """The most copied SE module."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(nn.Linear(c, 4, bias=False), nn.ReLU(inplace=True), nn.Linear(4, c, bias=False), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        b, c, _, _ = x.size()
        return x * self.fc(self.pool(x).view(b, c)).view(b, c, 1, 1).expand_as(x)


class ECA(nn.Module):
    """A convolution over the channels for layers."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(1, 1, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x.mean((2, 3)).unsqueeze(1))
        return x * torch.sigmoid(y).transpose(1, 2).unsqueeze(-1).expand_as(x)


def with_module(se: Callable[[int], nn.Module]) -> Callable[..., nn.Module]:
    class OwnSE(Residual):
        def __init__(self, c: int, o: int, stride: int = 1) -> None:
            super().__init__(c, o, stride)
            self.se = se(o)

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(self.se(self.branch(x)) + self.skip(x))

    return OwnSE


class Reparameterised(nn.Module):
    """Depthwise branches that are one convolution at inference, then a pointwise one."""

    def __init__(self, c: int, o: int, stride: int = 1) -> None:
        super().__init__()
        self.k3, self.n3 = nn.Conv2d(c, c, 3, stride, 1, groups=c, bias=False), nn.BatchNorm2d(c)
        self.k1, self.n1 = nn.Conv2d(c, c, 1, stride, groups=c, bias=False), nn.BatchNorm2d(c)
        self.point, self.norm, self.act = nn.Conv2d(c, o, 1, bias=False), nn.BatchNorm2d(o), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.point(self.n3(self.k3(x)) + self.n1(self.k1(x)))))


class RepVGG(nn.Module):
    """A 3x3, a 1x1 and a normed identity, added before the activation."""

    def __init__(self, c: int, o: int, stride: int = 1) -> None:
        super().__init__()
        self.dense = nn.Sequential(nn.Conv2d(c, o, 3, stride, 1, bias=False), nn.BatchNorm2d(o))
        self.point = nn.Sequential(nn.Conv2d(c, o, 1, stride, bias=False), nn.BatchNorm2d(o))
        self.identity = nn.BatchNorm2d(c) if (c, stride) == (o, 1) else None

    def forward(self, x: Tensor) -> Tensor:
        rest = 0 if self.identity is None else self.identity(x)
        return F.relu(self.dense(x) + self.point(x) + rest)


class SplitSums(Residual):
    """Sums of the parts of a split inside a block, as Res2Net's."""

    def __init__(self, c: int, o: int, stride: int = 1) -> None:
        super().__init__(c, o, stride)
        self.parts = nn.ModuleList(nn.Conv2d(o // 2, o // 2, 3, 1, 1) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        a, b = F.relu(self.norm1(self.conv1(x))).chunk(2, 1)
        a = F.relu(self.parts[0](a))
        b = self.parts[1](a + b)
        return F.relu(self.norm2(self.conv2(torch.cat([a, b], 1))) + self.skip(x))


class Cell(Residual):
    """Sums of pairs, concatenated, as in cells of NASNet and DARTS."""

    def __init__(self, c: int, o: int, stride: int = 1) -> None:
        super().__init__(c, o // 2, stride)
        self.other = nn.Sequential(nn.Conv2d(c, o // 2, 5, stride, 2), nn.ReLU(), nn.Conv2d(o // 2, o // 2, 1))
        self.pool, self.fit = nn.MaxPool2d(3, stride, 1), nn.Conv2d(c, o // 2, 1)
        del self.skip

    def forward(self, x: Tensor) -> Tensor:
        pooled = self.fit(self.pool(x))
        return torch.cat([self.branch(x) + pooled, self.other(x) + pooled], 1)


class DoubleConv(nn.Sequential):
    def __init__(self, c: int, o: int) -> None:
        super().__init__(
            nn.Conv2d(c, o, 3, 1, 1), nn.BatchNorm2d(o), nn.ReLU(True), nn.Conv2d(o, o, 3, 1, 1), nn.BatchNorm2d(o), nn.ReLU(True)
        )


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.middle = DoubleConv(3, 16), DoubleConv(16, 32), DoubleConv(32, 32)
        self.up2, self.left2 = nn.ConvTranspose2d(32, 32, 2, 2), DoubleConv(64, 32)
        self.up1, self.left1 = nn.ConvTranspose2d(32, 16, 2, 2), DoubleConv(32, 16)
        self.out = nn.Conv2d(16, 4, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        y = self.left2(torch.cat([b, self.up2(self.middle(F.max_pool2d(b, 2)))], 1))
        return self.out(self.left1(torch.cat([a, self.up1(y)], 1)))


class DepthwiseDown(nn.Module):
    """A depthwise down-sampling before a residual branch that begins with a 1x1 convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.down = nn.Conv2d(3, 16, 3, 1, 1), nn.Conv2d(16, 16, 3, 2, 1, groups=16)
        self.body = nn.Sequential(nn.Conv2d(16, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 3, 1, 1), nn.ReLU(), nn.Conv2d(8, 16, 1))
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.down(self.stem(x))
        return self.head(F.relu(x + self.body(x)).mean((2, 3)))


class Streams(nn.Module):
    """Two resolutions side by side, fused by sums, as HRNet's: the sums are no blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.lower = nn.Conv2d(3, 16, 3, 1, 1), nn.Conv2d(16, 32, 3, 2, 1)
        self.high = nn.Sequential(Residual(16, 16), Residual(16, 16))
        self.low = nn.Sequential(Residual(32, 32), Residual(32, 32))
        self.raise_, self.head = nn.Conv2d(32, 16, 1), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        high, low = self.high(x), self.low(self.lower(x))
        return self.head(F.relu(high + F.interpolate(self.raise_(low), scale_factor=2)).mean((2, 3)))


class Attention(nn.Module):
    """Scores with a bias computed from the query, added: four dimensions, and no maps."""

    def __init__(self, c: int, o: int, stride: int = 1) -> None:
        super().__init__()
        self.qkv, self.project = nn.Conv2d(c, 3 * o, 1, stride), nn.Conv2d(o, o, 1)
        self.positions = nn.Linear(o // 2, 64, bias=False)
        self.down = nn.Identity() if (c, stride) == (o, 1) else nn.Conv2d(c, o, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, 1)
        n, _, h, w = q.shape
        q, k, v = (t.reshape(n, 2, -1, h * w).transpose(2, 3) for t in (q, k, v))
        scores = q @ k.transpose(2, 3) + self.positions(q)[..., : h * w]
        y = (scores.softmax(-1) @ v).transpose(2, 3).reshape(n, -1, h, w)
        return self.down(x) + self.project(y)


class Called(nn.Module):
    """One module called twice, in a loop: neither it nor the loop's expression stands for one place."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.shared, self.last = nn.Conv2d(3, 16, 3, 1, 1), Residual(16, 16), Residual(16, 16)
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for _ in range(2):
            x = self.shared(x)
        return self.head(self.last(x).mean((2, 3)))


class Signal(nn.Module):
    class Block(nn.Module):
        def __init__(self, c: int) -> None:
            super().__init__()
            self.conv1, self.norm1 = nn.Conv1d(c, c, 9, padding=4), nn.BatchNorm1d(c)
            self.conv2, self.norm2 = nn.Conv1d(c, c, 9, padding=4), nn.BatchNorm1d(c)

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(x + self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))))

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body = nn.Conv1d(12, 16, 15, 2, 7), nn.Sequential(self.Block(16), self.Block(16))
        self.head = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)).mean(2))


class Wave(nn.Module):
    """Gated blocks, each with a second output; these are added up, as WaveNet's."""

    class Block(nn.Module):
        def __init__(self, c: int) -> None:
            super().__init__()
            self.filter, self.gate = nn.Conv1d(c, c, 3, padding=1), nn.Conv1d(c, c, 3, padding=1)
            self.more, self.aside = nn.Conv1d(c, c, 1), nn.Conv1d(c, c, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            z = torch.tanh(self.filter(x)) * torch.sigmoid(self.gate(x))
            return x + self.more(z), self.aside(z)

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.blocks = nn.Conv1d(2, 16, 1), nn.ModuleList(self.Block(16) for _ in range(3))
        self.last, self.head = nn.Conv1d(16, 16, 1), nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x, total = self.stem(x), 0
        for block in self.blocks:
            x, aside = block(x)
            total = total + aside
        return self.head(F.relu(total + self.last(x)).mean(2))


class Volume(nn.Module):
    class Block(nn.Module):
        def __init__(self, c: int) -> None:
            super().__init__()
            self.conv1, self.norm1 = nn.Conv3d(c, c, 3, padding=1), nn.InstanceNorm3d(c, affine=True)
            self.conv2, self.norm2 = nn.Conv3d(c, c, 3, padding=1), nn.InstanceNorm3d(c, affine=True)

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(x + self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))))

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body = nn.Conv3d(1, 16, 3, 2, 1), nn.Sequential(self.Block(16), self.Block(16))
        self.head = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.stem(x)).mean((2, 3, 4)))


class ImageAndNumbers(Net):
    def __init__(self) -> None:
        super().__init__(Residual)
        self.head = nn.Linear(34, 5)

    def forward(self, x: Tensor, *, numbers: Tensor) -> Tensor:
        return self.head(torch.cat([self.b(self.a(self.stem(x))).mean((2, 3)), numbers], 1))


def image_and_numbers() -> dict[str, Tensor]:
    """For ``network.cases:image_and_numbers``."""
    return {"x": torch.zeros(1, 3, 16, 16), "numbers": torch.zeros(1, 2)}


class Lazy(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block, self.head = nn.LazyConv2d(16, 3, 1, 1), Residual(16, 16), nn.LazyLinear(5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.block(self.stem(x)).mean((2, 3)))


BLOCKS = ["a.0", "a.1", "b.0", "b.1"]
IMAGE = (3, 16, 16)


def of(block: Callable[..., nn.Module]) -> Callable[[], nn.Module]:
    return lambda: Net(block)


def affine() -> nn.Module:
    """For ``network.cases:affine``."""
    return Net(Affine)


Case = tuple[Callable[[], nn.Module], Any, list[str], list[str]]

CASES: dict[str, Case] = {
    "residual": (of(Residual), IMAGE, BLOCKS, []),
    "permuted": (of(Permuted), IMAGE, BLOCKS, []),
    "affine": (of(Affine), IMAGE, BLOCKS, []),
    "halves": (of(Halves), IMAGE, BLOCKS, []),
    "looped": (of(Looped), IMAGE, BLOCKS, []),
    "inline SE": (of(InlineSE), IMAGE, BLOCKS, BLOCKS),
    "in-place SE": (of(InPlaceSE), IMAGE, BLOCKS, BLOCKS),
    "optional inline SE": (of(OptionalInlineSE), IMAGE, BLOCKS, BLOCKS),
    "gate by a module": (of(GatedByModule), IMAGE, BLOCKS, BLOCKS),
    "expand_as": (of(with_module(ExpandSE)), IMAGE, BLOCKS, [f"{block}.se" for block in BLOCKS]),
    "ECA": (of(with_module(ECA)), IMAGE, BLOCKS, [f"{block}.se" for block in BLOCKS]),
    "re-parameterised": (of(Reparameterised), IMAGE, BLOCKS, []),
    "RepVGG": (of(RepVGG), IMAGE, ["stem", *BLOCKS], []),
    "sums of a split": (of(SplitSums), IMAGE, BLOCKS, []),
    "cells": (of(Cell), IMAGE, BLOCKS, []),
    "attention": (of(Attention), (3, 8, 8), BLOCKS, []),
    "U-Net": (
        UNet,
        IMAGE,
        [f"{part}.{n}" for part in ("down1", "down2", "middle") for n in (0, 3)]
        + ["up2", "left2.0", "left2.3", "up1", "left1.0", "left1.3", "out"],
        [],
    ),
    "depthwise down-sampling": (DepthwiseDown, IMAGE, ["body.4"], []),
    "streams": (Streams, IMAGE, ["high.0", "high.1", "low.0", "low.1"], []),
    "signals": (Signal, (12, 64), ["body.0", "body.1"], []),
    "outputs added up": (Wave, (2, 32), ["blocks.0", "blocks.1", "blocks.2"], []),
    "volumes": (Volume, (1, 8, 8, 8), ["body.0", "body.1"], []),
    "two inputs": (ImageAndNumbers, image_and_numbers, BLOCKS, []),
    "lazy": (Lazy, IMAGE, ["block"], []),
}
