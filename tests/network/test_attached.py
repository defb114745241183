"""Names of the tensors of a network with SE blocks."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.state_dict import get_model_state_dict
from torch.func import functional_call

from se_nas.network.attached import Attached, actual_modules, public_modules, public_paths
from se_nas.network.blocks import PLACEMENTS
from se_nas.network.placement import detach
from se_nas.se.spec import SESpec
from se_nas.space.space import SearchSpace

EVERYTHING = {"reduction": [2, 4, 8], "squeeze": ["avg", "none"], "placement": ["standard"]}


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("backbone", ["resnet8", "torchvision:resnet18"])
def test_se_is_a_child_of_its_block(backbone: str, placement: str) -> None:
    space = SearchSpace(backbone, (3, 32, 32), placement=[placement], reduction=[4])
    names = space.build(space.canonical({group.name: SESpec(4, placement=placement) for group in space.groups})).state_dict()
    assert "layer1.0.se.fc1.weight" in names


DENSENET = pytest.param("torchvision:densenet121", marks=pytest.mark.slow)


@pytest.mark.parametrize("backbone", ["resnet8", "torchvision:resnet50", "torchvision:mobilenet_v3_small", DENSENET])
def test_other_names_are_the_plain_networks(backbone: str) -> None:
    space = SearchSpace(backbone, (3, 64, 64), **EVERYTHING, bias=True, init="identity")
    plain = space.build_backbone().state_dict()
    for seed in range(2):
        tensors = space.build(space.sample(seed)).state_dict()
        own = {name for name in tensors if not any(part.strip("_").endswith("se") for part in name.split("."))}
        assert own <= plain.keys() and all(tensors[name].shape == plain[name].shape for name in own)
        assert any(name not in own for name in tensors)


@pytest.mark.parametrize(
    "backbone, block, name",
    [
        ("torchvision:vgg11_bn", "features.2", "features.2_se.fc1.weight"),
        ("torchvision:efficientnet_b0", "features.1.0.block.1", "features.1.0.block.1_se.fc1.weight"),
        ("torchvision:googlenet", "inception3a", "inception3a.se.fc1.weight"),
    ],
)
def test_se_in_a_sequential_stands_beside_its_neighbour(backbone: str, block: str, name: str) -> None:
    with torch.device("meta"):
        space = SearchSpace(backbone, (3, 64, 64), reduction=[4], placement=["standard"])
        network = space.build(space.dearest())
    assert name in network.state_dict()
    assert isinstance(network.get_submodule(block), Attached)


@pytest.mark.parametrize("backbone", ["resnet8", "torchvision:mobilenet_v3_small", DENSENET])
def test_names_round_trip(backbone: str) -> None:
    space = SearchSpace(backbone, (3, 64, 64), **EVERYTHING)
    architecture = space.sample(3)
    network, other = space.build(architecture), copy.deepcopy(space.build(architecture))
    inside = torch.nn.Sequential(space.build(architecture))
    tensors = network.state_dict()
    other.load_state_dict(tensors)
    inside.load_state_dict({f"0.{name}": tensor for name, tensor in tensors.items()})
    for (name, a), (_, b), (_, c) in zip(tensors.items(), other.state_dict().items(), inside.state_dict().items(), strict=True):
        assert torch.equal(a, b) and torch.equal(a, c), name
    parts = actual_modules(network).items()
    raw = {f"{path}.{name}": p for path, m in parts if type(m) is not Attached for name, p in (*m._parameters.items(), *m._buffers.items())}
    other.load_state_dict({name.strip("."): tensor for name, tensor in raw.items() if tensor is not None})


TIMM = pytest.param("timm:resnet18", marks=pytest.mark.slow)  # its blocks have an attribute ``se`` of their own, which is None
BY_NAME = ["resnet8", "torchvision:squeezenet1_1", "torchvision:efficientnet_b0", "torchvision:shufflenet_v2_x0_5", TIMM, DENSENET]


@pytest.mark.parametrize("backbone", BY_NAME)
def test_everything_that_goes_by_name_works(backbone: str) -> None:
    space = SearchSpace(backbone, (3, 64, 64), **EVERYTHING)
    network, x = space.build(space.sample(3)).eval(), torch.randn(2, 3, 64, 64)
    named = {**dict(network.named_parameters(remove_duplicate=False)), **dict(network.named_buffers(remove_duplicate=False))}
    assert named.keys() == network.state_dict().keys()
    for name, tensor in named.items():
        owner, _, last = name.rpartition(".")
        assert getattr(network.get_submodule(owner), last) is tensor, name
    other = space.build(space.sample(3)).eval()
    assert not torch.equal(other(x), network(x))
    torch.testing.assert_close(functional_call(other, named, x), network(x), rtol=0, atol=0)
    assert not torch.equal(other(x), network(x))  # all was put back
    for copied in (copy.deepcopy(network), pickle.loads(pickle.dumps(network))):
        torch.testing.assert_close(copied(x), network(x), rtol=0, atol=0)
        assert len(list(copied.parameters())) == len(list(network.parameters())) and copied.state_dict().keys() == named.keys()
        assert dict(copied.named_parameters()).keys() == dict(network.named_parameters()).keys()
    assert get_model_state_dict(network).keys() == named.keys()
    assert {tensor.dtype for tensor in copied.double().state_dict().values()} <= {torch.float64, torch.int64}
    gradients = torch.func.grad(lambda tensors: functional_call(network, tensors, x).sum())(dict(network.named_parameters()))
    assert all(gradient.isfinite().all() for gradient in gradients.values())


def test_a_wrapper_passes_for_what_it_wraps(space: SearchSpace) -> None:
    network = space.build(space.dearest())
    norm = network.get_submodule("layer1.0.bn2")
    assert isinstance(norm, Attached) and norm.num_features == 16 and norm.weight is norm.module.weight
    norm.weight = torch.nn.Parameter(torch.full((16,), 2.0))
    norm.running_mean = torch.full((16,), 3.0)
    assert norm.module.weight[0] == 2 and norm.module.running_mean[0] == 3 and "weight" not in vars(norm)
    assert network.layer1[0].se is norm.se and sum(module is norm.module for module in network.modules()) == 1
    converted = torch.nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(network))
    assert {type(module) for name, module in converted.named_modules() if name == "layer1.0.bn2"} == {Attached, torch.nn.SyncBatchNorm}
    detach(network)
    assert not hasattr(network.layer1[0], "se") and type(network.layer1[0].bn2) is torch.nn.BatchNorm2d
    assert [name for name, _ in network.named_parameters()] == [name for name, _ in space.build_backbone().named_parameters()]


@pytest.mark.parametrize("backbone", ["resnet8", "torchvision:shufflenet_v2_x0_5"])
def test_plain_weights_load(backbone: str) -> None:
    space = SearchSpace(backbone, (3, 64, 64), **EVERYTHING)
    plain = space.build_backbone().state_dict()
    network = space.build(space.dearest())
    left = network.load_state_dict(plain, strict=False)
    assert not left.unexpected_keys and all("se." in name for name in left.missing_keys) and left.missing_keys


def test_plain_network_keeps_its_names() -> None:
    network = SearchSpace("resnet8").build_backbone()
    assert all(old == new for old, new in public_paths(network).items())


def test_modules_are_those_within() -> None:
    space = SearchSpace("resnet8", reduction=[4], placement=["post"])
    modules = public_modules(space.build(space.dearest()))
    assert not any(isinstance(module, Attached) for module in modules.values())
    assert type(modules["layer1.0"]).__name__ == "BasicBlock" and type(modules["layer1.0.se"]).__name__ == "SEBlock"


def test_names_that_look_like_attached_ones_stay() -> None:
    network: Any = torch.nn.ModuleDict({"module": torch.nn.Linear(1, 1), "se": torch.nn.Linear(1, 1)})
    assert all(old == new for old, new in public_paths(network).items())
