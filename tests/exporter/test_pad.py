"""Modules of one class are made alike before they are recorded; that changes nothing of what they compute."""

from __future__ import annotations

import ast
import copy

import pytest
import torch
from exporting import written
from torch import Tensor, nn

from se_nas.exporter.generator.classes import Classes
from se_nas.exporter.generator.pad import LABEL, pad
from se_nas.se.spec import SESpec
from se_nas.space.space import SearchSpace


class Mix(nn.Module):
    """Joins what it is given last with what came first, which may be the same tensor."""

    def __init__(self, given: int, first: int, out: int, active: bool) -> None:
        super().__init__()
        self.active = active
        self.conv, self.join = nn.Conv2d(given, out, 3, padding=1), nn.Conv2d(out + first, out, 1)

    def forward(self, x: Tensor, seen: list[Tensor]) -> Tensor:
        y = self.join(torch.cat([seen[0], self.conv(x)], 1))
        return torch.tanh(y) if self.active else y


class Reduced(nn.Module):
    def __init__(self, given: int, out: int, reduce: bool) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(given, out, 1) if reduce else None
        self.mix = Mix(out if reduce else given, given, out, reduce)

    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        if self.reduce is not None:
            x = self.reduce(x)
        return self.mix(x, seen)


class Biased(nn.Module):
    """Computes something else where a child is None."""

    def __init__(self, channels: int, normed: bool) -> None:
        super().__init__()
        self.conv, self.bias = nn.Conv2d(channels, channels, 3, padding=1), nn.Parameter(torch.ones(1))
        self.norm = nn.BatchNorm2d(channels) if normed else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        y = y * self.bias if self.norm is None else self.norm(y)
        return x + y


class Shortcut(nn.Module):
    """One block of a class has a convolution on its shortcut, in the others it is None."""

    def __init__(self, given: int, out: int) -> None:
        super().__init__()
        self.conv, self.bn = nn.Conv2d(given, out, 3, padding=1), nn.BatchNorm2d(out)
        self.shortcut = nn.Conv2d(given, out, 1) if given != out else None

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn(self.conv(x))
        if self.shortcut is not None:
            x = self.shortcut(x)
        return torch.relu(x + y)


def network(*blocks: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


NETWORKS = {
    "a tensor given twice": lambda: network(Reduced(8, 8, False), Reduced(8, 8, True), Reduced(8, 8, True)),
    "None means another step": lambda: network(Biased(8, True), Biased(8, False), Biased(8, True)),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_blocks_that_only_look_alike_are_written_as_what_they_are(name: str) -> None:
    space = SearchSpace(NETWORKS[name](), (3, 16, 16), reduction=[2])
    for seed in range(4):
        written(space, space.sample(seed))


def test_one_class_serves_blocks_with_se_at_different_places_and_without() -> None:
    space = SearchSpace("resnet8", (3, 16, 16), reduction=[2], placement=["standard", "pre", "post", "identity"])
    for seed in range(4):
        text = written(space, space.sample(seed))
        names = [node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
        assert len([name for name in names if name.startswith("BasicBlock")]) == 1


def test_one_class_serves_blocks_with_a_child_and_with_none() -> None:
    space = SearchSpace(network(Shortcut(8, 8), Shortcut(8, 4), Shortcut(4, 8)), (3, 16, 16), reduction=[2])
    for seed in range(3):
        text = written(space, space.sample(seed))
        assert [node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef)].count("Shortcut") == 1
        assert "Shortcut2" not in text


def test_pads_stand_where_others_have_se_and_compute_nothing() -> None:
    space = SearchSpace("resnet8", (3, 16, 16), reduction=[2], placement=["standard", "pre"])
    first, second, third = (group.name for group in space.groups)
    architecture = space.canonical({first: SESpec(2), second: SESpec(2, placement="pre"), third: None})
    built = space.build(architecture).eval()
    found = Classes(built, space.inputs, space.all_sites, frozenset())
    found.find()
    x = torch.randn(2, 3, 16, 16)
    padded = pad(copy.deepcopy(built), space.all_sites, found.kinds, set(found.kinds.values()))
    assert torch.equal(padded.network(x), built(x))
    names = {name for name in padded.names.values() if LABEL in name}
    assert names == {f"{site.name}.se{LABEL}{label}" for site in space.sites for label in ("standard", "pre")}
    assert {f"{third}.se{LABEL}pre", f"{third}.se{LABEL}standard", f"{first}.se{LABEL}pre"} <= padded.pads
    assert f"{first}.se{LABEL}standard" not in padded.pads
