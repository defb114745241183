"""Sites of networks that se-nas does not know: every classification network of torchvision, and odd ones."""

from __future__ import annotations

import contextlib
import copy
import warnings

import pytest
import torch
import torchvision
from counting import count_by_hooks
from odd_networks import OddResidual, SharedBranch, TwoBranches, plain_stack
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from se_nas.backbones import BACKBONES, register_backbone
from se_nas.cli import main
from se_nas.errors import InputError
from se_nas.evaluate.data import load_data
from se_nas.evaluate.training import TrainingEvaluator
from se_nas.network.placement import detach
from se_nas.network.survey import survey
from se_nas.run.run import Run
from se_nas.space.space import SearchSpace

TRANSFORMERS = {"maxvit_t", "swin_b", "swin_s", "swin_t", "swin_v2_b", "swin_v2_s", "swin_v2_t"}
TRANSFORMERS |= {"vit_b_16", "vit_b_32", "vit_h_14", "vit_l_16", "vit_l_32"}
MODELS = [name for name in torchvision.models.list_models(module=torchvision.models) if name not in TRANSFORMERS]
QUICK = {
    *("alexnet", "efficientnet_b0", "googlenet", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf"),
    *("regnet_y_400mf", "resnet18", "resnet50", "shufflenet_v2_x0_5", "squeezenet1_1", "vgg11_bn"),
}
"""One of each family that is small; the others are marked slow."""
FAMILIES = QUICK | {"convnext_tiny", "densenet121", "inception_v3", "resnext50_32x4d"}

SIZE = {"inception_v3": 96, "alexnet": 96, "squeezenet1_0": 96, "squeezenet1_1": 96}
SITES = {  # hand-counted blocks of the architectures' papers
    "resnet18": 8,
    "resnet50": 16,
    "resnet152": 50,
    "vgg16_bn": 13,
    "googlenet": 9,
    "inception_v3": 11,
    "densenet121": 58,
    "mobilenet_v2": 17,
    "mobilenet_v3_small": 11,
    "mobilenet_v3_large": 15,
    "efficientnet_b0": 16,
    "shufflenet_v2_x1_0": 16,
    "squeezenet1_1": 8,
    "regnet_y_400mf": 16,
    "convnext_tiny": 18,
    "mnasnet1_0": 17,
    "alexnet": 5,
}


def torchvision_model(name: str) -> nn.Module:
    arguments = {"init_weights": False, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}
    return torchvision.models.get_model(name, num_classes=10, **arguments)


def marked(name: str) -> object:
    return name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)


def outputs(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    torch.manual_seed(0)
    with torch.no_grad():
        return network.eval()(images)


@pytest.mark.parametrize("name", list(map(marked, MODELS)))
def test_every_convolutional_network_of_torchvision(name: str) -> None:
    with contextlib.nullcontext() if name.startswith("regnet") else torch.device("meta"):  # RegNet computes its widths with tensors
        plain = torchvision_model(name)
    large = sum(p.numel() for p in plain.parameters()) > 60e6  # then only shapes, without arithmetic
    plain = plain if large else torchvision_model(name)
    size = SIZE.get(name, 64)
    space = SearchSpace(plain, (3, size, size), reduction=[2, 4, 8], squeeze=["avg", "std", "none"], gate=["sigmoid", "tanh"])
    if name in SITES:
        assert len(space.sites) == SITES[name]
    device = "meta" if large else "cpu"
    images = torch.randn(2, 3, size, size, device=device)
    for seed in range(3):
        architecture = space.sample(seed)
        network = space.build(architecture).to(device)
        cost = space.cost(architecture)
        one = images[:1]
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network.eval()(one)
        assert (cost.params, cost.macs) == (sum(p.numel() for p in network.parameters()), counter.get_total_flops() // 2)
        assert (cost.params, cost.macs) == count_by_hooks(network, one)
        scores = network.train()(images)
        scores.square().mean().backward()
        assert all(p.grad is not None and (large or p.grad.isfinite().all()) for p in network.parameters())
        if seed == 0 and not large:
            trained_statistics = space.build(architecture)
            before = outputs(plain, images)
            detach(trained_statistics)
            assert torch.equal(outputs(trained_statistics, images), before)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FAMILIES - {"alexnet"}))
def test_families_compile_export_and_keep_their_outputs(name: str) -> None:
    plain = torchvision_model(name)
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    size = SIZE.get(name, 64)
    space = SearchSpace(plain, (3, size, size), reduction=[2, 4, 8], squeeze=["avg", "none"], init="identity")
    network, images = space.build(space.sample(1)).eval(), torch.randn(2, 3, size, size)
    expected = outputs(network, images)
    if not any(site.existing for site in space.sites):  # a block of the network's own is replaced, which changes its outputs
        torch.testing.assert_close(expected, outputs(plain, images), atol=1e-6, rtol=0)
    torch.compiler.reset()
    torch.testing.assert_close(outputs(torch.compile(network, backend="eager", fullgraph=True), images), expected)
    torch.testing.assert_close(torch.export.export(network, (images,)).module()(images), expected)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "regnet_y_400mf", "efficientnet_b0"])
def test_networks_with_se_blocks_of_their_own(name: str) -> None:
    """Each own block is a site; "no SE" removes it, a setting replaces it, and a site that is not chosen keeps it."""
    plain = torchvision_model(name)
    own = [n for n, m in plain.named_modules() if type(m).__name__ == "SqueezeExcitation"]
    space = SearchSpace(plain, (3, 64, 64), reduction=[2])
    assert [site.existing for site in space.sites if site.existing] == own
    bare = space.build(space.reference("plain"))
    assert not any(type(m).__name__ == "SqueezeExcitation" for m in bare.modules())
    assert space.cost(space.reference("plain")).params == sum(p.numel() for p in bare.parameters())
    replaced = space.build(space.dearest())
    assert sum(type(m).__name__ == "SEBlock" for m in replaced.modules()) == len(space.sites)
    first = next(site.name for site in space.sites if site.existing)
    others = SearchSpace(plain, (3, 64, 64), reduction=[2], sites={"drop": [first]})
    kept = others.build(others.reference("plain"))
    assert [n for n, m in kept.named_modules() if type(m).__name__ == "SqueezeExcitation"] == own[:1]


@pytest.mark.parametrize(
    ("make", "sites", "placements"),
    [
        (OddResidual, ["units.a", "units.b", "units.c"], {"standard", "pre", "inner"}),
        (TwoBranches, ["join", "out"], {"standard"}),
        (plain_stack, ["0", "2", "6"], {"standard"}),
    ],
)
def test_odd_networks(make, sites: list[str], placements: set[str]) -> None:
    plain = make()
    found = survey(plain, (3, 16, 16))
    usual = [site for site in found.sites if not site.spare]
    if make is not TwoBranches:
        assert [site.name for site in usual] == sites
    assert all(placements <= set(site.attachments) for site in usual if site.kind == "residual")
    images = torch.randn(2, 3, 16, 16)
    for placement in set.intersection(*(set(site.attachments) for site in usual)):
        for init in ("default", "identity"):
            space = SearchSpace(plain, (3, 16, 16), reduction=[2, 4], squeeze=["avg", "none"], placement=[placement], init=init)
            for seed in range(2):
                architecture = space.sample(seed)
                network = space.build(architecture)
                cost = space.cost(architecture)
                assert (cost.params, cost.macs) == count_by_hooks(network, images[:1])
                if init == "identity":
                    assert torch.equal(outputs(network, images), outputs(plain, images))
                network.train()(images).sum().backward()
                network.eval()
                loaded = network.load_state_dict(plain.state_dict(), strict=False)
                assert not loaded.unexpected_keys and all("se." in key for key in loaded.missing_keys)
                if seed != (init == "identity"):  # compiled and exported: one architecture for each placement and init
                    continue
                torch.compiler.reset()
                expected = network(images)
                torch.testing.assert_close(torch.compile(network, backend="eager", fullgraph=True)(images), expected)
                torch.testing.assert_close(torch.export.export(network, (images,)).module()(images), expected)


@pytest.mark.parametrize(
    ("name", "sites", "own"),
    [
        ("resnet18d", 8, 0),
        ("seresnet18", 8, 8),
        ("semnasnet_050", 16, 8),
        ("ghostnet_050", 16, 7),
        ("repvgg_a0", 22, 0),
        ("dla46_c", 18, 0),
    ],
)
def test_networks_of_timm(name: str, sites: int, own: int) -> None:
    space = SearchSpace(f"timm:{name}", (3, 64, 64), reduction=[2], backbone_args={"num_classes": 10}, allow_none=False)
    images = torch.randn(2, 3, 64, 64)
    network = space.build(space.dearest())
    cost = space.cost(space.dearest())
    assert (len(space.sites), sum(bool(site.existing) for site in space.sites)) == (sites, own)
    assert (cost.params, cost.macs) == count_by_hooks(network, images[:1])
    network.train()(images).square().mean().backward()
    assert all(p.grad is not None for p in network.parameters())
    with pytest.raises(InputError, match="timm has no model 'resnet18z'"):
        SearchSpace("timm:resnet18z")


def test_a_residual_network_of_ones_own_gets_every_placement_that_a_module_makes() -> None:
    found = survey(OddResidual(), (3, 16, 16))
    first, projected, _ = (site for site in found.sites if not site.spare)
    assert {name: (a.module, a.side, a.channels) for name, a in projected.attachments.items()} == {
        "standard": ("units.b.norms.1", "output", 32),
        "pre": ("units.b.first", "input", 16),
        "post": ("units.b", "output", 32),
        "identity": ("units.b.skip", "output", 32),
        "inner": ("units.b.norms.0", "output", 32),
    }
    assert "identity" not in first.attachments  # the shortcut is x itself, which no module makes
    assert [site.name for site in found.sites if site.spare] == ["stem"]


def test_what_is_called_twice_has_a_site_at_each_expression() -> None:
    space = SearchSpace(SharedBranch(), (3, 16, 16), reduction=[4])
    assert [(site.name, site.attachments["standard"].side) for site in space.sites] == [
        ("branch", "inside"),
        ("branch_2", "inside"),
        ("last.1", "output"),
    ]
    network = space.build(space.dearest())
    assert {"se.fc1.weight", "se2.fc1.weight", "last.1_se.fc1.weight"} <= network.state_dict().keys()


def test_sites_are_added_dropped_and_renamed() -> None:
    space = SearchSpace(
        OddResidual(), (3, 16, 16), reduction=[4], sites={"add": ["stem"], "drop": ["units.a"], "rename": {"units.c": "last"}}
    )
    assert [site.name for site in space.sites] == ["stem", "units.b", "last"]
    assert SearchSpace.from_dict({**space.to_dict(), "backbone": OddResidual()}, "x").to_dict() == space.to_dict()
    for sites, message in [
        ({"add": ["nothing"]}, "sites.add: 'nothing' fits no site"),
        ({"drop": ["*"]}, "sites: no site is chosen"),
        ({"drop": ["stem"]}, "sites.drop: 'stem' fits no site"),
        ({"rename": {"units.z": "q"}}, "sites.rename: 'units.z' is none of the chosen sites"),
        ({"rename": {"units.a": "units.b"}}, "gives two sites one name"),
        ({"rename": ["units.a"]}, "is not a mapping of names"),
        ({"match": "units.a"}, "sites.match: 'units.a' is not a list"),
        ({"only": ["units.a"]}, "is no choice of sites"),
    ]:
        with pytest.raises(InputError, match=message):
            SearchSpace(OddResidual(), (3, 16, 16), reduction=[4], sites=sites)


def test_pretrained_weights_go_in_unchanged() -> None:
    plain = torchvision_model("mobilenet_v2")
    for parameter in plain.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    space = SearchSpace(copy.deepcopy(plain), (3, 64, 64), reduction=[4], init="identity")
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(outputs(space.build(space.dearest()), images), outputs(plain, images), atol=1e-6, rtol=0)


def test_weights_enums_go_to_the_builder_and_into_the_run(tmp_path) -> None:
    weights = torchvision.models.ResNet18_Weights.DEFAULT
    given = []

    def build(weights=None) -> nn.Module:
        given.append(weights)
        return OddResidual()

    register_backbone("with-weights", build)
    try:
        space = SearchSpace("with-weights", (3, 16, 16), reduction=[4], backbone_args={"weights": weights})
        assert given[0] is weights
        assert space.to_dict()["backbone_args"] == {"weights": "ResNet18_Weights.IMAGENET1K_V1"}
        with pytest.raises(InputError, match=r"backbone_args: run\.yaml cannot hold an argument"):
            Run.create(tmp_path / "run", {"space": {"backbone_args": {"weights": object()}}})
        assert not (tmp_path / "run").exists()
    finally:
        del BACKBONES["with-weights"]
    assert torchvision.models.ResNet18_Weights["ResNet18_Weights.IMAGENET1K_V1".partition(".")[2]] is weights  # as its builder reads it


def test_of_transformers_only_convolutions_are_sites() -> None:
    for name, sites in [("swin_t", ["features.0.0"]), ("vit_b_16", ["conv_proj"])]:
        found = survey(torchvision.models.get_model(name), (3, 224, 224))
        assert [site.name for site in found.sites] == sites


def test_networks_that_return_maps_are_searched_too() -> None:
    space = SearchSpace(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 2, 1)), (3, 16, 16), reduction=[2])
    assert [site.name for site in space.sites] == ["0", "2"] and space.classes == 0
    assert space.build(space.dearest())(torch.randn(1, 3, 16, 16)).shape == (1, 2, 14, 14)
    with pytest.raises(InputError, match=r"does not return class scores \(N, classes\)"):
        TrainingEvaluator(space, load_data("digits", (3, 16, 16)))


def test_half_precision() -> None:
    space = SearchSpace(OddResidual(), (3, 16, 16), reduction=[4], squeeze=["avg", "max", "std", "avg+max", "none"])
    for seed in range(5):
        network = space.build(space.sample(seed)).eval().bfloat16()
        assert network(torch.randn(2, 3, 16, 16, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"backbone": nn.Sequential(nn.Flatten(), nn.Linear(768, 5))},
            "no site for an SE block found in Sequential: it has no convolution",
        ),
        ({"backbone": "odd_networks:broken"}, r"odd_networks:broken refuses \{\} \(KeyError: 'weights'\)"),
        ({"backbone": "odd_networks:nothing"}, "odd_networks has no 'nothing'"),
        ({"backbone": nn.Sequential(nn.Conv2d(4, 8, 1))}, r"the backbone refuses inputs of \[3, 16, 16\]"),
        ({"backbone": plain_stack(), "sites": {"match": ["9.*"]}}, "'9.\\*' fits no site; there are 0, 2, 6"),
    ],
)
def test_bad_networks_are_said(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SearchSpace(**{"input_size": (3, 16, 16), "reduction": [4], **arguments})


def test_the_sites_command(capsys) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert main(["sites", "torchvision:mobilenet_v3_small"]) == 0
    out = capsys.readouterr().out
    assert "11 sites" in out and "features.10 *" in out and "searched only with" in out
    assert main(["sites", "odd_networks:build", "--input-size", "3", "16", "16", "--json"]) == 0
    assert '"site": "6"' in capsys.readouterr().out
    assert main(["sites", "torchvision:resnet18", "--input-size", "1", "16", "16"]) == 2
