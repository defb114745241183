from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from conftest import ROOT, digits_space
from counting import count_by_hooks

from se_nas.errors import InputError
from se_nas.network.blocks import PLACEMENTS
from se_nas.se.block import GATES, SQUEEZES
from se_nas.se.spec import SESpec
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace

SHIPPED = sorted((ROOT / "search_spaces").glob("*.yaml"))


SMALL = {"digits_resnet8", "cifar10_resnet20"}
LARGE = {"imagenet_inception_resnet_v2", "imagenet_vgg16_bn"}
DEEP = {*LARGE, "cifar10_resnet110", "imagenet_densenet121"}
COUNTED = [pytest.param(path, 20 if path.stem in SMALL else 2, id=path.stem) for path in SHIPPED if path.stem not in DEEP]
COUNTED += [pytest.param(path, 200, id=f"{path.stem} at length", marks=pytest.mark.slow) for path in SHIPPED]


@pytest.mark.parametrize(("path", "number"), COUNTED)
def test_costs_equal_an_independent_count(path, number: int) -> None:
    with torch.device("meta"):
        space = SearchSpace.from_yaml(path)
        images = torch.empty(1, *space.input_size)
        rng = np.random.default_rng(0)
        for architecture in [space.reference("plain"), space.dearest(), *(space.sample(rng) for _ in range(number))]:
            cost = space.cost(architecture)
            assert (cost.params, cost.macs) == count_by_hooks(space.build(architecture), images)
    assert all(space.is_feasible(space.sample(rng)) for _ in range(number))


TRAINED = [pytest.param(path, id=path.stem, marks=pytest.mark.slow if path.stem in DEEP else ()) for path in SHIPPED]


@pytest.mark.parametrize("path", TRAINED)
def test_every_shipped_space_trains(path) -> None:
    """One real step of one architecture, on two small images."""
    space = SearchSpace.from_yaml(path)
    size = min(space.input_size[1], 96 if "inception_resnet" in path.stem else 64)
    network = space.build(space.sample(0)).train()
    network(torch.randn(2, space.input_size[0], size, size)).logsumexp(1).mean().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in network.parameters())


@pytest.mark.parametrize("init", ["default", "identity"])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("share", ["site", "stage", "network"])
def test_costs_with_every_operator_and_option(init: str, bias: bool, share: str) -> None:
    every = {"squeeze": list(SQUEEZES), "gate": list(GATES), "placement": list(PLACEMENTS), "divisor": 3}
    space = digits_space(**every, init=init, bias=bias, share=share)
    images = torch.randn(1, 1, 8, 8)
    for seed in range(30):
        architecture = space.sample(seed)
        cost = space.cost(architecture)
        assert (cost.params, cost.macs) == count_by_hooks(space.build(architecture), images)


@pytest.mark.parametrize(("r", "params"), [(2, 45_676_584), (4, 35_616_808), (8, 30_586_920), (16, 28_071_976), (32, 26_814_504)])
def test_se_resnet50_has_the_papers_parameters(r: int, params: int) -> None:
    """Table 10; the exact integers follow from eq. 5."""
    for backbone in ("resnet50", "torchvision:resnet50"):
        space = SearchSpace(backbone, (3, 224, 224), reduction=[r])
        architecture = space.canonical({group.name: SESpec(r) for group in space.groups})
        assert space.cost(architecture).params == params


def test_se_resnet50_with_bias_and_at_other_placements() -> None:
    biased = SearchSpace("resnet50", (3, 224, 224), bias=True)
    assert biased.cost(biased.reference("paper")).params == 28_088_024
    for placement, params in [("inner", 25_714_216), ("pre", 27_548_200)]:
        space = SearchSpace("resnet50", (3, 224, 224), placement=[placement])
        assert space.cost(space.dearest()).params == params


def test_resnet50_macs_at_both_strides() -> None:
    assert round(SearchSpace("resnet50", (3, 224, 224)).plain_cost.macs / 1e9, 3) == 3.858
    assert round(SearchSpace("torchvision:resnet50", (3, 224, 224)).plain_cost.macs / 1e9, 3) == 4.089


def test_cifar_resnets_have_the_known_parameters() -> None:
    """He et al. print 0.27M, 0.85M and 1.7M for 20, 56 and 110 layers (table 6)."""
    with torch.device("meta"):
        millions = {depth: SearchSpace(f"resnet{depth}").plain_cost.params / 1e6 for depth in (20, 56, 110)}
    assert {depth: round(value, 2) for depth, value in millions.items()} == {20: 0.27, 56: 0.85, 110: 1.73}


def test_settings_that_build_the_same_network_are_one_architecture() -> None:
    space = digits_space(reduction=[4, 6, 8], divisor=8, squeeze=["avg"])  # 16 channels: all of width 8
    first = space.groups[0]
    assert [option and option.reduction for option in first.options] == [None, 4]
    choices = {group.name: SESpec(8) for group in space.groups}
    same = {**choices, "layer1.0": SESpec(4)}
    assert space.canonical(choices) == space.canonical(same)
    assert space.canonical(choices).id == space.canonical(same).id
    assert hash(space.canonical(choices)) == hash(space.canonical(same))


def test_architectures_go_through_json_codes_and_dimensions() -> None:
    space = digits_space(placement=["standard", "pre"])
    for seed in range(20):
        architecture = space.sample(seed)
        assert Architecture.from_json(json.loads(json.dumps(architecture.to_json()))) == architecture
        assert space.decode(space.encode(architecture)) == architecture
        assert space.from_dimensions(space.to_dimensions(architecture)) == architecture


def test_the_id_is_stable() -> None:
    assert Architecture.of({"layer1.0": None, "layer2.0": SESpec(16)}).id == "a26c6eacab9a"


def test_sharing_and_selecting() -> None:
    assert [g.name for g in SearchSpace("resnet20", share="stage").groups] == ["layer1", "layer2", "layer3"]
    assert [len(g.sites) for g in SearchSpace("resnet20", share="network").groups] == [9]
    assert [s.name for s in SearchSpace("resnet20", sites={"match": ["layer3.*"]}).sites] == ["layer3.0", "layer3.1", "layer3.2"]
    assert {s.stage for s in SearchSpace("resnet20", sites={"stages": ["layer1", "layer3"]}).sites} == {"layer1", "layer3"}


def test_budgets_are_relative_or_absolute() -> None:
    base = digits_space().plain_cost
    relative = digits_space(budgets={"params": "<= +2%"})
    assert relative.budgets[0].limit == int(base.params * 1.02)
    assert digits_space(budgets={"macs": "<= 0.75M"}).budgets[0].limit == 750_000
    assert digits_space(budgets={"params": 75_500}).budgets[0].limit == 75_500
    assert SearchSpace("resnet20", budgets={"macs": "<= 41000000"}).budgets[0].limit == 41_000_000
    assert 0 < relative.feasible_size < relative.size
    assert all(relative.is_feasible(a) for a in relative.enumerate())
    assert sum(1 for _ in relative.enumerate()) == relative.feasible_size
    assert relative.with_budgets({"params": "<= +3%"}).feasible_size > relative.feasible_size


def test_a_budget_of_what_the_paper_costs() -> None:
    space = digits_space(budgets={"params": "<= paper", "macs": "paper"})
    paper = space.reference("paper")
    assert [budget.limit for budget in space.budgets] == [space.cost(paper).params, space.cost(paper).macs]
    assert str(space.budgets[1]) == "macs <= paper" and space.is_feasible(paper)
    assert 0 < space.feasible_size < space.size
    tied = SearchSpace("resnet8", (1, 8, 8), backbone_args={"in_channels": 1}, share="network", budgets={"params": "paper"})
    assert tied.budgets[0].limit == tied.cost(tied.reference("paper")).params


def test_no_se_can_be_left_out() -> None:
    space = digits_space(allow_none=False)
    assert all(None not in group.options for group in space.groups)
    assert space.cheapest() != space.reference("plain")
    assert space.cost(space.reference("plain")) == space.plain_cost


def test_one_seed_gives_every_architecture_the_same_backbone() -> None:
    space = digits_space()
    torch.manual_seed(0)
    plain = space.build(space.reference("plain")).state_dict()
    torch.manual_seed(0)
    se = space.build(space.reference("paper")).state_dict()
    assert torch.equal(plain["layer1.0.conv1.weight"], se["layer1.0.conv1.weight"])


def test_a_module_keeps_its_weights_and_is_left_alone() -> None:
    module = digits_space().build_backbone()
    keys = list(module.state_dict())
    space = SearchSpace(module, (1, 8, 8), reduction=[4])
    network = space.build(space.dearest())
    assert list(module.state_dict()) == keys and next(module.parameters()).device.type == "cpu"
    assert torch.equal(network.state_dict()["conv1.weight"], module.state_dict()["conv1.weight"])


def test_a_space_comes_back_from_its_dict() -> None:
    space = digits_space(budgets={"params": "<= +2%"}, sites={"match": ["layer[12]*"]})
    again = SearchSpace.from_dict(space.to_dict(), "run.yaml")
    assert again.to_dict() == space.to_dict()
    assert again.sample(3) == space.sample(3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reduction": []}, "reduction: no candidate"),
        ({"reduction": 16}, "reduction: 16 is not a list"),
        ({"reduction": [0]}, "reduction: 0 is not allowed"),
        ({"reduction": [True]}, "reduction: True is not allowed"),
        ({"reduction": [4, 4]}, "reduction: .* contains a value twice"),
        ({"reduction": [128]}, "reduction: 128 is larger than the 16 channels of site layer1.0"),
        ({"squeeze": ["median"]}, "squeeze: 'median' is not allowed; each value is one of avg"),
        ({"gate": "sigmoid"}, "gate: 'sigmoid' is not a list"),
        ({"placement": ["after"]}, "placement: 'after' is not allowed"),
        ({"share": "block"}, "share: unknown share 'block'"),
        ({"sites": {"match": ["layer9.*"]}}, "sites.match: 'layer9.\\*' fits no site"),
        ({"sites": "none"}, "sites: 'none' is no choice"),
        ({"budgets": {"params": "+5"}}, "budgets.params: '\\+5' is not a budget"),
        ({"budgets": {"params": "<= 10"}}, "no architecture meets params <= 10: that is 10 and the cheapest has 75,002"),
        ({"budgets": {"latency": "<= 10"}}, "budgets.latency: nothing is known of the latency"),
        ({"init": "zeros"}, "unknown init 'zeros'"),
        ({"backbone_args": {"in_channels": 3}}, "input_size: the backbone refuses inputs of \\[1, 8, 8\\]"),
        ({"backbone_args": {"depth": 3}}, "backbone_args: resnet8 refuses"),
    ],
)
def test_bad_arguments_are_said(changes: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        digits_space(**changes)


def test_encode_refuses_what_the_space_lacks() -> None:
    space = digits_space(reduction=[4])
    with pytest.raises(InputError, match="r16 avg sigmoid standard is not a candidate"):
        space.encode(space.reference("paper"))
