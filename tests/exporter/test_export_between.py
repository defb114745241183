"""What modules hand to each other besides their maps (sizes, parameters), devices, and tensors that are written in parts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from exporting import written
from torch import Tensor, nn
from torch.nn import functional as F

from se_nas.exporter import ExportOptions, export
from se_nas.exporter.contract import Unsupported
from se_nas.exporter.generator.network import source
from se_nas.space.space import SearchSpace


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.bn(self.conv(x)))


class Base(nn.Module):
    """A stem, a residual block and a head; ``middle`` is what comes between block and head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block, self.head = nn.Conv2d(3, 8, 3, padding=1), Residual(), nn.Linear(8, 5)

    def middle(self, x: Tensor) -> Tensor:
        return x

    def forward(self, x: Tensor) -> Any:
        return self.head(self.middle(self.block(self.stem(x))).mean((2, 3)))


class Tokens(nn.Module):
    """Takes tokens and the size of the map that they are of; one in two hands the size on unread."""

    def __init__(self, reads: bool) -> None:
        super().__init__()
        self.conv, self.inner = nn.Conv2d(8, 8, 3, padding=1), Inner() if reads else None

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        y = self.conv(x.transpose(1, 2).reshape(x.shape[0], 8, *size)).flatten(2).transpose(1, 2)
        return y if self.inner is None else self.inner(y, size)


class Inner(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(8)

    def forward(self, x: Tensor, size: tuple[int, int]) -> Tensor:
        height, width = size
        return self.norm(x) * (height * width)


class Pairs(Base):
    """Sizes as a pair, to the blocks of a list."""

    def __init__(self, *reads: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(map(Tokens, reads))

    def middle(self, x: Tensor) -> Tensor:
        size, y = x.shape[2:], x.flatten(2).transpose(1, 2)
        for block in self.blocks:
            y = block(y, size)
        return y.transpose(1, 2).reshape(x.shape)


class Folded(nn.Module):
    def forward(self, x: Tensor, H: int, W: int) -> Tensor:
        return x.transpose(1, 2).reshape(-1, x.shape[2], H, W)


class Numbers(Base):
    """Sizes one by one, and a formula of one."""

    def __init__(self) -> None:
        super().__init__()
        self.fold = Folded()

    def middle(self, x: Tensor) -> Tensor:
        return self.fold(x.flatten(2).transpose(1, 2), W=x.shape[3] // 2, H=2 * x.shape[2])


class Embed(nn.Module):
    """Gives the size of its map beside its tokens, by a formula in which the modules differ."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.conv, self.stride = nn.Conv2d(8, 8, stride, stride), stride

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        return self.conv(x).flatten(2).transpose(1, 2), (x.shape[2] // self.stride, x.shape[3] // self.stride)


class Returned(Base):
    def __init__(self) -> None:
        super().__init__()
        self.embeds, self.block2 = nn.ModuleList([Embed(4), Embed(2)]), Tokens(True)

    def middle(self, x: Tensor) -> Tensor:
        for embed in self.embeds:
            y, size = embed(x)
            x = self.block2(y, size).transpose(1, 2).reshape(x.shape[0], -1, *size)
        return x


class Position(nn.Module):
    """Is given a size and no tensor, and asks a parameter for the device."""

    def __init__(self) -> None:
        super().__init__()
        self.project = nn.Conv2d(1, 8, 1)

    def forward(self, shape: tuple[int, int, int]) -> Tensor:
        images, height, width = shape
        rows = torch.arange(height, device=self.project.weight.device).float()
        columns = torch.arange(width, device=self.project.weight.device).float()
        return self.project((rows[:, None] - columns).expand(images, 1, height, width))


class Positions(Base):
    def __init__(self) -> None:
        super().__init__()
        self.position = Position()

    def middle(self, x: Tensor) -> Tensor:
        return x + self.position((len(x), *x.shape[2:])) + torch.arange(x.shape[3], device=x.device)


class Scale(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor, scale: Tensor) -> Tensor:
        return self.conv(x) * scale


class Parameters(Base):
    """Gives its own parameter and buffer to another module, which returns one."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.give, self.weight = Scale(), Give(), nn.Parameter(torch.rand(8, 1, 1))
        self.register_buffer("shift", torch.arange(8.0).view(8, 1, 1))

    def middle(self, x: Tensor) -> Tensor:
        assert isinstance(self.shift, Tensor)
        y = self.scale(x, self.weight)
        return self.scale(y, self.shift) + self.give() * self.give()


class Give(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.rand(1, 8, 1, 1))

    def forward(self) -> Tensor:
        return self.token


class Writes(Base):
    """Writes into parts: of a tensor of its own, in a row, by sizes, and through a view that something else reads."""

    def middle(self, x: Tensor) -> Tensor:
        half = x.shape[2] // 2
        mask = x.new_zeros(x.shape[2:])
        for i, rows in enumerate((slice(0, half), slice(half, None))):
            mask[rows] = i + 1
        y = x * 2
        first = y[:, 0]
        y[:, 1:3, :half] = mask[:half, None].transpose(0, 1) * y[:, :1, :half]
        first[...] = 1
        return y * mask + y[:, :1]


class WritesInTraining(Base):
    def middle(self, x: Tensor) -> Tensor:
        x = x * 2
        if self.training:
            x[:, 0] = 1
        return x


class SizesInTraining(Base):
    """The sizes of one tensor are read in training alone, and again in both modes."""

    def middle(self, x: Tensor) -> Tensor:
        y = x * 2
        if self.training:
            y = y + x.view(x.shape[0], x.shape[1], x.shape[2] * x.shape[3]).flip(2).view(x.shape)
        return y.reshape(x.shape[0], x.shape[1], x.shape[2] // 2, 2 * x.shape[3])


class WritesParameters(Base):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("last", torch.zeros(8))

    def middle(self, x: Tensor) -> Tensor:
        assert isinstance(self.last, Tensor)
        self.last[0] = x.mean()
        return x


class Remembers(Base):
    """A module reads a size that it is not given: its neighbour has left it behind."""

    def __init__(self) -> None:
        super().__init__()
        self.fold = Unfold()

    def middle(self, x: Tensor) -> Tensor:
        self.fold.height = x.shape[2]
        return self.fold(x.flatten(2))


class Unfold(nn.Module):
    height = 1

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.height, -1))


KINDS: dict[str, Callable[[], nn.Module]] = {
    "a pair of sizes": lambda: Pairs(True, True, True),
    "sizes that some hand on": lambda: Pairs(True, False),
    "sizes one by one": Numbers,
    "sizes returned": Returned,
    "sizes alone, and a device": Positions,
    "parameters": Parameters,
    "written in parts": Writes,
    "written in training": WritesInTraining,
    "sizes read in training": SizesInTraining,
}


def space_of(network: nn.Module) -> SearchSpace:
    return SearchSpace(network, (3, 16, 16), reduction=[2], allow_none=False)


@pytest.mark.parametrize("kind", KINDS)
def test_is_written(kind: str) -> None:
    space = space_of(KINDS[kind]())
    for images in (2, 3):
        written(space, space.sample(0), images)


def test_reads_like_code() -> None:
    space = space_of(Pairs(True, True, True))
    text = written(space, space.sample(0))
    assert "def forward(self, x: Tensor, size: tuple[int, ...]) -> Tensor:" in text
    assert "for block in self.blocks:\n            out = block(out, (height, width))" in text
    space = space_of(Returned())
    text = written(space, space.sample(0))
    assert "-> tuple[Tensor, tuple[int, ...]]:" in text and "out, size = self.embeds[0](x)" in text
    space = space_of(Numbers())
    assert "self.fold(out, 2 * x.shape[2], x.shape[3] // 2)" in written(space, space.sample(0))


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (Remembers, "fold computes with a tensor, or the size of one, that it is not given"),
        (WritesParameters, "writes into parts of its parameters or buffers"),
    ],
)
def test_is_told(network: Callable[[], nn.Module], reason: str) -> None:
    space = space_of(network())
    with pytest.raises(Unsupported, match=reason):
        source(space, space.sample(0), space.build(space.sample(0)), {})


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["sizes returned", "sizes alone, and a device", "parameters", "written in parts"])
def test_is_proven(kind: str, tmp_path: Path) -> None:
    space = space_of(KINDS[kind]())
    made = export(space, space.sample(0), tmp_path / "net.py", options=ExportOptions())
    assert made.proof is not None and not made.proof.one_size and len(made.proof.apart) == 5
