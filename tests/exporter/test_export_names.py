"""Names of the searched network's tensors, and of the exported file's."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from se_nas.architecture import SESpec
from se_nas.blocks import PLACEMENTS
from se_nas.exporter.names import plain_modules, plain_names
from se_nas.placement import Attached
from se_nas.space import SearchSpace

HOMES = {
    "standard": "layer1.0.bn2.se.fc1.weight",
    "pre": "layer1.0.conv1.se.fc1.weight",
    "post": "layer1.0.se.fc1.weight",
    "identity": "layer1.0.downsample.se.fc1.weight",
    "inner": "layer1.0.bn1.se.fc1.weight",
}


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("backbone", ["resnet8", "torchvision:resnet18"])
def test_se_is_a_child_of_its_block(backbone: str, placement: str) -> None:
    space = SearchSpace(backbone, (3, 32, 32), placement=[placement], reduction=[4])
    names = plain_names(space.build(space.canonical({name: SESpec(4, placement=placement) for name, _ in space.sample(0)})))
    assert names[HOMES[placement]] == "layer1.0.se.fc1.weight"


@pytest.mark.parametrize("backbone", ["resnet8", "resnet50", "torchvision:resnet18", "torchvision:resnet50"])
def test_other_names_are_the_plain_networks(backbone: str, everything: dict[str, Any]) -> None:
    space = SearchSpace(backbone, (3, 64, 64), **everything, bias=True, init="identity")
    plain = space.build_backbone().state_dict()
    for seed in range(2):
        network = space.build(space.sample(seed))
        tensors, names = network.state_dict(), plain_names(network)
        assert list(names) == list(tensors)
        assert len(set(names.values())) == len(names), "two tensors got one name"
        assert {name for name in names.values() if ".se." not in name} == plain.keys()
        for old, new in names.items():
            if new in plain:
                assert tensors[old].shape == plain[new].shape


def test_plain_network_keeps_its_names() -> None:
    network = SearchSpace("resnet8").build_backbone()
    assert all(old == new for old, new in plain_names(network).items())


def test_modules_are_those_within() -> None:
    space = SearchSpace("resnet8", reduction=[4], placement=["post"])
    modules = plain_modules(space.build(space.dearest()))
    assert not any(isinstance(module, Attached) for module in modules.values())
    assert type(modules["layer1.0"]).__name__ == "BasicBlock" and type(modules["layer1.0.se"]).__name__ == "SEBlock"


def test_names_that_look_like_attached_ones_stay() -> None:
    network = torch.nn.ModuleDict({"module": torch.nn.Linear(1, 1), "se": torch.nn.Linear(1, 1)})
    assert plain_names(network) == {key: key for key in network.state_dict()}
