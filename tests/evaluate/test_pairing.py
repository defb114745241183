"""A seed is a block: its architectures begin alike, and see the same images and the same random numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from se_nas.evaluate.augment import Augment
from se_nas.evaluate.batches import train_batches
from se_nas.evaluate.data import Data
from se_nas.evaluate.training import TrainingEvaluator, TrainSettings
from se_nas.network.attached import Attached
from se_nas.network.blocks import PLACEMENTS
from se_nas.se.spec import SESpec
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace


def only(space: SearchSpace, *groups: str, placement: str = "standard") -> Architecture:
    """SE at these groups alone."""
    spec = SESpec(4, placement=placement)
    return space.canonical({group.name: spec if group.name in groups else None for group in space.groups})


def build(space: SearchSpace, architecture: Architecture, seed: int = 0) -> tuple[nn.Module, Tensor]:
    """The network, and torch's random numbers after it."""
    torch.manual_seed(seed)
    return space.build(architecture), torch.get_rng_state()


def blocks(network: nn.Module) -> dict[str, dict[str, Tensor]]:
    """Path of what it is attached to -> state of each SE block."""
    return {name: m.se.state_dict() for name, m in network.named_modules() if isinstance(m, Attached)}


@pytest.fixture(scope="module", params=["resnet8", "wrn_16_8"])
def every_placement(request: pytest.FixtureRequest) -> SearchSpace:
    return SearchSpace(request.param, (3, 8, 8), reduction=[4], placement=PLACEMENTS)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_an_se_block_shifts_nothing_else(every_placement: SearchSpace, placement: str) -> None:
    space = every_placement
    first, second, *_ = (group.name for group in space.groups)
    plain, after = build(space, only(space))
    both, after_both = build(space, only(space, first, second, placement=placement))
    one, after_one = build(space, only(space, second, placement=placement))
    assert after.equal(after_both) and after.equal(after_one)
    for name, value in plain.state_dict().items():
        assert value.equal(both.state_dict()[name]) and value.equal(one.state_dict()[name])
    (found,) = blocks(one).items()
    assert found[0] in blocks(both) and all(value.equal(blocks(both)[found[0]][name]) for name, value in found[1].items())


def test_sites_and_seeds_have_weights_of_their_own() -> None:
    space = SearchSpace("resnet20", (3, 8, 8), reduction=[4])  # three sites of a stage have one shape
    paper = space.canonical({group.name: SESpec(4) for group in space.groups})
    same, again, other = (blocks(build(space, paper, seed)[0]) for seed in (0, 0, 1))
    firsts = [block["fc1.weight"] for block in same.values()]
    assert not any(a.shape == b.shape and a.equal(b) for i, a in enumerate(firsts) for b in firsts[:i])
    for path, block in same.items():
        assert block["fc1.weight"].equal(again[path]["fc1.weight"]) and not block["fc1.weight"].equal(other[path]["fc1.weight"])


class WithDropout(nn.Module):
    """Draws from torch's own random numbers in training."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(16, 10))

    def forward(self, x: Tensor) -> Tensor:
        scores: Tensor = self.head(self.second(self.first(x)).mean((2, 3)))
        return scores


def test_architectures_see_the_same_images_and_random_numbers(digits: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    data = replace(digits, train=digits.train.take(torch.arange(128)), augment=Augment(flip=True, pad=1))
    space = SearchSpace(WithDropout, (1, 8, 8), reduction=[4])
    seen: list[list[Tensor]] = []

    def spy(*arguments: Any) -> Any:
        for batch in train_batches(*arguments):
            seen[-1] += batch
            yield batch

    monkeypatch.setattr("se_nas.evaluate.training.train_batches", spy)
    evaluator = TrainingEvaluator(space, data, TrainSettings(batch_size=32))
    for groups in ([], [space.groups[0].name], [group.name for group in space.groups]):
        seen.append([])
        evaluator(only(space, *groups), 3, {"epochs": 2}, "cpu", lambda *_: seen[-1].append(torch.get_rng_state()))
    assert len(seen[0]) == 2 * (2 * 4 + 1)
    for other in seen[1:]:
        assert all(a.equal(b) for a, b in zip(seen[0], other, strict=True))
