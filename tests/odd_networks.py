"""Networks that no table entry knows, written as differently from the usual ones as people do."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Unit(nn.Module):
    """A residual block of its own class: functional ReLU, one module for both activations' statistics, an in-place sum."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1)
        self.norms = nn.ModuleList(nn.GroupNorm(4, outputs) for _ in range(2))
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.skip = nn.Conv2d(inputs, outputs, 1, stride) if inputs != outputs else None

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norms[0](self.first(x)), inplace=True)
        y = self.norms[1](self.second(y))
        y += x if self.skip is None else self.skip(x)
        return F.relu(y)


class OddResidual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 1, 1)
        self.units = nn.ModuleDict({"a": Unit(16, 16, 1), "b": Unit(16, 32, 2), "c": Unit(32, 32, 1)})
        self.head = nn.Linear(32, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = F.relu(self.stem(images))
        for unit in self.units.values():
            x = unit(x)
        return self.head(F.adaptive_avg_pool2d(x, 1).flatten(1))


class TwoBranches(nn.Module):
    """Concatenations in the root's own forward, read by one module each."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.right = nn.Sequential(nn.Conv2d(3, 8, 3, 1, 1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.join = nn.Conv2d(16, 24, 3, 2, 1)
        self.more = nn.Conv2d(24, 8, 3, 1, 1)
        self.out = nn.Linear(32, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = torch.relu(self.join(torch.cat([self.left(images), self.right(images)], 1)))
        x = torch.cat((x, torch.relu(self.more(x))), dim=1)
        return self.out(x.mean((2, 3)))


def plain_stack() -> nn.Module:
    """Convolutions in a row, some with a norm, some with an activation."""
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, 1, 1),
        nn.ReLU(),
        nn.Conv2d(16, 16, 3, 1, 1, bias=False),
        nn.BatchNorm2d(16),
        nn.SiLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, 1, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 5),
    )


class SharedBranch(nn.Module):
    """One block called twice: nothing in it is called just once, so it cannot be wrapped for one place alone."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, 1, 1)
        self.branch = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1), nn.BatchNorm2d(16))
        self.last = nn.Sequential(nn.Conv2d(16, 16, 3, 1, 1), nn.BatchNorm2d(16))
        self.head = nn.Linear(16, 5)

    def forward(self, images: Tensor) -> Tensor:
        x = self.stem(images)
        x = x + self.branch(x)
        x = x + self.branch(x)
        x = x + self.last(x)
        return self.head(x.mean((2, 3)))


def build(num_classes: int = 5) -> nn.Module:
    """For ``odd_networks:build``."""
    return plain_stack()


def broken() -> nn.Module:
    raise KeyError("weights")
