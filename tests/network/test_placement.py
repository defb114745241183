from __future__ import annotations

import copy

import pytest
import torch
import torchvision
from torch import nn

from se_nas.errors import InputError
from se_nas.network.attached import Attached
from se_nas.network.blocks import PLACEMENTS
from se_nas.network.placement import detach
from se_nas.se.spec import SESpec
from se_nas.space.space import SearchSpace

BACKBONES = ["resnet8", "resnet20", "torchvision:resnet18", "torchvision:resnet50", "resnet50", "torchvision:resnext50_32x4d"]


def make_space(backbone: str, **changes: object) -> SearchSpace:
    arguments = {"placement": list(PLACEMENTS), "reduction": [4], "backbone_args": {"num_classes": 10}, **changes}
    return SearchSpace(backbone, (3, 32, 32), **arguments)  # type: ignore[arg-type]


def everywhere(space: SearchSpace, placement: str) -> nn.Module:
    return space.build(space.canonical({group.name: SESpec(4, placement=placement) for group in space.groups}))


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_identity_block_changes_nothing_and_plain_weights_load(backbone: str, placement: str) -> None:
    space = make_space(backbone, init="identity")
    plain = space.build_backbone().eval()
    network = everywhere(space, placement).eval()
    assert sum(isinstance(module, Attached) for module in network.modules()) == len(space.sites)
    loaded = network.load_state_dict(plain.state_dict(), strict=False)
    assert loaded.unexpected_keys == []
    assert loaded.missing_keys and all(".se." in key for key in loaded.missing_keys)
    x = torch.randn(2, 3, 32, 32)
    assert torch.equal(network(x), plain(x))
    detach(network)
    assert torch.equal(network(x), plain(x))


def residual(block: nn.Module, x: torch.Tensor, placement: str, se: nn.Module) -> torch.Tensor:
    """One basic block of a torchvision ResNet, written out from the paper's figure 5."""
    shortcut = x if block.downsample is None else block.downsample(x)
    inside = se(x) if placement == "pre" else x
    out = block.bn1(block.conv1(inside))
    out = torch.relu(se(out) if placement == "inner" else out)
    out = block.bn2(block.conv2(out))
    out = se(out) if placement == "standard" else out
    out = torch.relu(out + (se(shortcut) if placement == "identity" else shortcut))
    return se(out) if placement == "post" else out


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("name", ["layer1.0", "layer2.0"])  # without and with a projection
def test_placements_are_the_papers(placement: str, name: str) -> None:
    plain = torchvision.models.resnet18(num_classes=10).eval()
    space = SearchSpace(copy.deepcopy(plain), (3, 32, 32), reduction=[4], placement=[placement], sites={"match": [name]})
    network = space.build(space.dearest()).eval()
    (se,) = (module.se for module in network.modules() if isinstance(module, Attached))
    block = plain.get_submodule(name)
    x = torch.randn(2, block.conv1.in_channels, 8, 8)
    torch.testing.assert_close(network.get_submodule(name)(x), residual(block, x, placement, se))


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_compiles_exports_copies_and_saves(placement: str, tmp_path) -> None:
    space = make_space("resnet8")
    network = everywhere(space, placement).eval()
    x = torch.randn(2, 3, 32, 32)
    expected = network(x)
    torch.testing.assert_close(torch.compile(network, backend="eager", fullgraph=True)(x), expected)
    torch.testing.assert_close(torch.export.export(network, (x,)).module()(x), expected)
    torch.testing.assert_close(copy.deepcopy(network)(x), expected)
    torch.save(network, tmp_path / "network.pt")
    torch.testing.assert_close(torch.load(tmp_path / "network.pt", weights_only=False)(x), expected)
    again = everywhere(space, placement).eval()
    again.load_state_dict(network.state_dict(), strict=True)
    torch.testing.assert_close(again(x), expected)
    assert network.half()(x.half()).dtype == torch.float16


def test_trains_through_every_placement() -> None:
    space = make_space("resnet8")
    for placement in PLACEMENTS:
        network = everywhere(space, placement)
        network(torch.randn(4, 3, 32, 32)).square().mean().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_sites_of_resnet50_are_the_papers_sixteen() -> None:
    space = make_space("torchvision:resnet50")
    stages = [site.stage for site in space.sites]
    assert [stages.count(f"layer{i}") for i in (1, 2, 3, 4)] == [3, 4, 6, 3]
    first = space.sites[3].attachments  # layer2.0: 256 channels in, 512 out, 128 inside
    assert [first[p].channels for p in PLACEMENTS] == [512, 256, 512, 512, 128]


def test_a_network_without_known_blocks_is_said() -> None:
    with pytest.raises(InputError, match="no site for an SE block found in Sequential"):
        SearchSpace(nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 10)), (3, 8, 8))
