from __future__ import annotations

import pytest
import torch
import torchvision
import yaml
from torch import nn

from se_nas.backbones import build_backbone, mobilenet, preact_resnet, resnet, senet, shake_shake, shufflenet
from se_nas.backbones.bn_inception import Inception
from se_nas.backbones.inception_resnet import InceptionResidual
from se_nas.network.graph import trace
from se_nas.network.placement import Site, attach, find_sites
from se_nas.space.space import SearchSpace

KNOWN = [
    ("resnet164", 32, 54, 1_703_258, 0.248),  # 1603.05027 prints 1.7M
    ("wrn_16_8", 32, 6, 10_961_370, 1.548),  # 1605.07146 prints 11.0M
    ("shake_shake_26_2x96d", 32, 12, 26_192_922, 3.777),  # 1705.07485 prints 26.2M
    ("resnext50", 224, 16, 25_028_904, 4.230),  # torchvision's resnext50_32x4d
    ("resnext101", 224, 33, 44_177_704, 7.970),  # torchvision's ResNet(Bottleneck, [3, 4, 23, 3], groups=32, width_per_group=4)
    ("bn_inception", 224, 10, 11_285_224, 2.033),
    ("inception_resnet_v2", 299, 40, 55_843_464, 13.156),  # timm's inception_resnet_v2
    ("mobilenet_v1", 224, 13, 4_231_976, 0.569),
    ("shufflenet_v1", 224, 16, 1_865_728, 0.137),
    ("senet154", 224, 50, 108_459_944, 20.682),
]


LARGE = {"inception_resnet_v2", "senet154", "resnext101"}
SIZES = [pytest.param(*row, id=row[0], marks=pytest.mark.slow if row[0] in LARGE else ()) for row in KNOWN]


@pytest.mark.parametrize(("name", "size", "sites", "params", "gmacs"), SIZES)
def test_sizes_are_the_known_ones(name: str, size: int, sites: int, params: int, gmacs: float) -> None:
    space = SearchSpace(name, (3, size, size), reduction=[1])
    assert (len(space.sites), space.plain_cost.params) == (sites, params)
    assert space.plain_cost.macs / 1e9 == pytest.approx(gmacs, abs=0.0006)


@pytest.mark.parametrize("name", [row[0] for row in KNOWN])
def test_classes_and_channels_are_chosen(name: str) -> None:
    with torch.device("meta"):
        network = build_backbone(name, {"num_classes": 7, "in_channels": 1})
        assert network.eval()(torch.empty(2, 1, 96, 96)).shape == (2, 7)


def test_a_small_mobilenet_keeps_the_resolution_in_its_first_stage() -> None:
    stages = [(8, 1), (16, 2)]
    space = SearchSpace("mobilenet_v1", (3, 16, 16), backbone_args={"num_classes": 5, "stages": stages, "stem_stride": 1}, reduction=[4])
    assert [site.name for site in space.sites] == ["stage1.0", "stage2.0", "stage2.1"]
    assert [(place.channels, place.height) for place in (site.attachments["inner"] for site in space.sites)] == [(32, 16), (8, 8), (16, 8)]
    assert space.build(space.dearest())(torch.randn(2, 3, 16, 16)).shape == (2, 5)
    again = SearchSpace.from_dict(yaml.safe_load(yaml.safe_dump(space.to_dict())), "x")
    assert again.plain_cost == space.plain_cost


@pytest.mark.parametrize(("name", "kind"), [("mobilenet_v1", "block"), ("bn_inception", "block"), ("shufflenet_v1", "residual")])
def test_a_block_without_a_shortcut_is_not_residual(name: str, kind: str) -> None:
    assert {site.kind for site in SearchSpace(name, (3, 96, 96), reduction=[4]).sites if not site.spare} == {kind}


def test_resnext_is_torchvisions() -> None:
    ours, theirs = build_backbone("resnext50", {"num_classes": 10}).eval(), torchvision.models.resnext50_32x4d(num_classes=10).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    x = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(x), theirs(x))


# One block a class: (the block, its input's channels, whether input and output have one shape).
TOWERS = [[(1, 4)], [(1, 4), ((1, 3), 6)]]
BLOCKS = {
    "resnext": (lambda: resnet.ResNeXtBottleneck(64, 32, 1, resnet.ProjectionShortcut), 64, True),
    "resnext, projection": (lambda: resnet.ResNeXtBottleneck(64, 64, 2, resnet.ProjectionShortcut), 64, False),
    "senet": (lambda: senet.SENetBottleneck(128, 128, 1), 128, True),
    "senet, projection": (lambda: senet.SENetBottleneck(64, 128, 2), 64, False),
    "preact basic": (lambda: preact_resnet.PreactBasicBlock(16, 16, 1), 16, True),
    "preact basic, projection": (lambda: preact_resnet.PreactBasicBlock(16, 32, 2), 16, False),
    "preact bottleneck": (lambda: preact_resnet.PreactBottleneck(16, 4, 1), 16, True),
    "preact bottleneck, projection": (lambda: preact_resnet.PreactBottleneck(16, 8, 2), 16, False),
    "shake": (lambda: shake_shake.ShakeBlock(16, 16, 1), 16, True),
    "shake, projection": (lambda: shake_shake.ShakeBlock(16, 32, 2), 16, False),
    "shuffle": (lambda: shufflenet.ShuffleUnit(48, 48, 1), 48, True),
    "shuffle, joined": (lambda: shufflenet.ShuffleUnit(24, 48, 2), 24, False),
    "separable": (lambda: mobilenet.SeparableBlock(16, 32, 2), 16, False),
    "inception": (lambda: Inception(16, (4, (4, 6), (4, 6), 4), max_pool=False), 16, False),
    "inception, halving": (lambda: Inception(16, (0, (4, 6), (4, 6), 0), max_pool=False), 16, False),
    "inception residual": (lambda: InceptionResidual(16, TOWERS, 0.2), 16, True),
    "inception residual, linear": (lambda: InceptionResidual(16, TOWERS, 1.0, act=False), 16, True),
}


class Scale(nn.Module):
    """Stands for an SE block whose gates are all ``factor``."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor


def one_block(kind: str) -> tuple[nn.Module, torch.Tensor, Site]:
    make, channels, _ = BLOCKS[kind]
    torch.manual_seed(0)
    network, x = nn.Sequential(make()).eval(), torch.rand(2, channels, 8, 8)
    (site,) = find_sites(network, trace(network, x)[0], 0).sites
    return network, x, site


@pytest.mark.parametrize("kind", BLOCKS)
def test_every_placement_gates_what_it_says(kind: str) -> None:
    plain_network, x, site = one_block(kind)
    plain = plain_network(x)
    residual = "identity" in site.attachments
    for placement, place in site.attachments.items():
        outputs = []
        for factor in (1.0, 0.0):
            network, _, _ = one_block(kind)
            attach(network, place, Scale(factor))
            outputs.append(network(x))
        opened, closed = outputs
        assert torch.equal(opened, plain)
        assert not torch.equal(closed, plain)
        if placement == "standard" and BLOCKS[kind][2]:
            assert torch.equal(closed, x)  # without its branch the block hands on its input, which is positive
        if placement == "post" or (placement == "standard" and not residual):
            assert not closed.any()


@pytest.mark.parametrize("kind", BLOCKS)
def test_recorded_shapes_are_the_gated_ones(kind: str) -> None:
    network, x, site = one_block(kind)
    for place in site.attachments.values():
        seen = []
        probe = nn.Identity()
        probe.register_forward_hook(lambda module, inputs, output, seen=seen: seen.append(tuple(output.shape[1:])))
        network, _, _ = one_block(kind)
        attach(network, place, probe)
        network(x)
        assert seen == [(place.channels, place.height, place.width)]


def test_shake_mixes_by_one_share_forward_and_another_backward() -> None:
    branches = shake_shake.ShakeBranches(4, 4, 1).train()
    branches.branch1, branches.branch2 = Scale(1.0), Scale(0.0)  # the mixture is then the share of the first branch
    x = torch.ones(64, 4, 2, 2, requires_grad=True)
    out = branches(x)
    forward = out.detach()[:, 0, 0, 0]
    out.sum().backward()
    backward = x.grad[:, 0, 0, 0]
    for share in (forward, backward):
        assert 0 <= share.min() < 0.2 and 0.8 < share.max() <= 1
    assert torch.equal(out, forward[:, None, None, None].expand_as(out))  # one share an image
    assert (forward - backward).abs().mean() > 0.1
    assert torch.equal(branches.eval()(x), 0.5 * x)
