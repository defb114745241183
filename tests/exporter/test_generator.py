"""The generator on networks of every kind: what is written computes what was searched, and reads like code."""

from __future__ import annotations

import ast
import math
import re
import sys
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import odd_networks
import pytest
import torch
import torchvision
from exporting import written
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import StochasticDepth

from se_nas.errors import InputError
from se_nas.exporter import ExportOptions, export, load_network, source
from se_nas.exporter.contract import Unsupported
from se_nas.exporter.generator import network as generator
from se_nas.exporter.proof import prove
from se_nas.se.spec import SESpec
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace

EVERY = {
    "reduction": [4, 8],
    "squeeze": ["avg", "max", "std", "none"],
    "gate": ["sigmoid", "hard-sigmoid", "tanh"],
    "placement": ["standard", "pre", "post", "identity", "inner"],
}
SPACES = sorted((Path(__file__).parents[2] / "search_spaces").glob("*.yaml"))
FAMILIES = {
    *("resnet18", "resnext50_32x4d", "wide_resnet50_2", "vgg11_bn", "googlenet", "inception_v3", "densenet121", "mobilenet_v2"),
    *("mobilenet_v3_small", "shufflenet_v2_x0_5", "efficientnet_b0", "efficientnet_v2_s", "regnet_x_400mf", "regnet_y_400mf"),
    *("mnasnet0_5", "squeezenet1_1", "convnext_tiny"),
}
SIZES = {"inception_v3": 96, "squeezenet1_1": 96}
TIMM = ("resnet18", "efficientnet_b0", "mobilenetv3_small_050", "convnext_atto", "regnety_002")


def torchvision_model(name: str, **arguments: Any) -> nn.Module:
    if name in ("googlenet", "inception_v3"):
        arguments = {"init_weights": False, "aux_logits": False, **arguments}
    return torchvision.models.get_model(name, num_classes=10, **arguments)


def unit(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


# Networks of our own.


class Collect(nn.Module):
    """Takes a list, and does arithmetic on shapes."""

    def __init__(self) -> None:
        super().__init__()
        self.join = nn.Conv2d(24, 8, 1)

    def forward(self, maps: list[Tensor]) -> Tensor:
        x = self.join(torch.cat(maps, 1))
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        return F.interpolate(x, size=(x.shape[2] * 2, x.shape[3] * 2))


class Lists(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = unit(3, 8)
        self.steps = nn.ModuleList(unit(8, 8) for _ in range(2))
        self.collect = Collect()
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        maps = [self.stem(x)]
        for step in self.steps:
            maps.append(step(maps[-1]))
        return self.head(self.collect(maps).flatten(2).mean(-1))


class Scaled(nn.Module):
    """A parameter and a buffer of its own, chance, and one ReLU under two names."""

    def __init__(self, chance: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(8, 8, 3, padding=1)
        self.act = nn.ReLU()
        self.again = self.act
        self.scale = nn.Parameter(torch.full((8, 1, 1), 0.1))
        self.register_buffer("shift", torch.arange(8.0).view(8, 1, 1))
        self.depth = StochasticDepth(chance, "row")

    def forward(self, x: Tensor) -> Tensor:
        assert isinstance(self.shift, Tensor)
        return self.again(x + self.depth(self.act(self.conv(x)) * self.scale + self.shift))


class Chances(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = unit(3, 8)
        self.blocks = nn.ModuleDict({f"block{i}": Scaled(0.2 * i) for i in range(3)})
        self.head = nn.Sequential(nn.Dropout(0.4), nn.Linear(8, 5))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks.values():
            x = block(x)
        x = F.dropout(x, 0.1, self.training)
        return self.head(x.mean((2, 3)))


class Repeated(nn.Module):
    """The same module three times in a row, between others."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = unit(3, 8)
        self.same = unit(8, 8)
        self.last = unit(8, 8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for _ in range(3):
            x = x + self.same(x)
        x = x + self.last(x)
        return self.head(x.mean((2, 3)))


class TwoHeads(NamedTuple):
    logits: Tensor
    aux: Tensor


class Auxiliary(nn.Module):
    """Says more in training, as a tuple with names or a dict."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.first, self.second = unit(3, 8), unit(8, 8)
        self.head, self.aux = nn.Linear(8, 5), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Any:
        x = self.first(x)
        y = self.second(x) + x
        logits = self.head(y.mean((2, 3)))
        if not self.training:
            return logits
        aux = self.aux(x.mean((2, 3)))
        return TwoHeads(logits, aux) if self.kind == "named" else {"logits": logits, "aux": aux}


class Same(nn.Module):
    """Pads by the size of its images, as TensorFlow does."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.conv, self.head = unit(3, 8), nn.Conv2d(8, 8, 3, 2), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        height, width = (max((math.ceil(size / 2) - 1) * 2 + 3 - size, 0) for size in x.shape[-2:])
        x = F.pad(x, (width // 2, width - width // 2, height // 2, height - height // 2))
        return self.head(self.conv(x).mean((2, 3)))


class Deeper(nn.Module):
    """One more unit for large images."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block, self.more, self.head = unit(3, 8), unit(8, 8), unit(8, 8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        y = y + self.block(y)
        y = self.more(y) if x.shape[-1] > 32 else self.more(-y)
        return self.head(y.mean((2, 3)))


class Threshold(nn.Module):
    """Halves large images: at sizes that nobody tries, or by a number that Python makes of the size."""

    def __init__(self, large: Callable[[int], bool]) -> None:
        super().__init__()
        self.large, self.stem, self.block, self.head = large, unit(3, 8), unit(8, 8), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(F.avg_pool2d(x, 2) if self.large(x.shape[-1]) else x)
        return self.head((y + self.block(y)).mean((2, 3)))


class Guarded(nn.Module):
    """Compares what no image changes: channels; and takes part of its images apart from the gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block, self.head = unit(3, 8), unit(8, 8), nn.Linear(8, 5)
        self.stem[0].requires_grad_(False)
        self.head.bias.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape[1] == 3
        with torch.no_grad():
            x = self.stem(x)
        return self.head((x + self.block(x)).mean((2, 3)))


class Fickle(nn.Module):
    """Its way depends on the values of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.block = unit(3, 8), unit(8, 8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        y = y + self.block(y)
        return self.head(y.mean((2, 3))) if x.sum() > -1e9 else y.mean((2, 3))


def fickle() -> nn.Module:
    return Fickle()


OWN: dict[str, Callable[[], nn.Module]] = {
    "odd residual": odd_networks.OddResidual,
    "two branches": odd_networks.TwoBranches,
    "plain stack": odd_networks.plain_stack,
    "shared branch": odd_networks.SharedBranch,
    "lists": Lists,
    "chances": Chances,
    "repeated": Repeated,
    "named heads": partial(Auxiliary, "named"),
    "dict of heads": partial(Auxiliary, "dict"),
}


def space_of(network: Any, size: int = 32, **arguments: Any) -> SearchSpace:
    """Of a network, with the settings that all its sites have."""
    settings = {**EVERY, **arguments}
    while True:
        try:
            return SearchSpace(network, (3, size, size), **settings)
        except InputError as error:
            kept = [place for place in settings["placement"] if f'"{place}"' not in str(error) and repr(place) not in str(error)]
            if len(kept) in (0, len(settings["placement"])):
                raise
            settings["placement"] = kept


def classes(text: str) -> list[str]:
    return [node.name for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]


def check_imports(text: str) -> None:
    tree = ast.parse(text)
    names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert {name.partition(".")[0] for name in names} <= {"__future__", "torch", "safetensors", *sys.stdlib_module_names}


@pytest.mark.parametrize("name", OWN)
def test_networks_of_ones_own(name: str) -> None:
    space = space_of(OWN[name]())
    for seed in (0, 1):
        check_imports(written(space, space.sample(seed)))


def test_padding_by_the_size_of_the_image_is_a_formula() -> None:
    space = space_of(Same())
    network = space.build(space.sample(0))
    made = source(space, space.sample(0), network, {})
    assert "ceil(" in made.text and not made.one_size
    built = load_network(made.text, network)
    for size in (32, 33, 47):
        x = torch.randn(2, 3, size, size)
        torch.testing.assert_close(built.eval()(x), network.eval()(x))


def test_a_file_for_images_of_one_size_says_so() -> None:
    space = space_of(Deeper())
    architecture = space.sample(0)
    network = space.build(architecture)
    made = source(space, architecture, network, {})
    assert made.one_size and any("size" in note for note in made.notes)
    assert source(space, architecture, network, {}, inference=True).one_size
    assert "images of 32x32 alone" in " ".join(made.text.split())
    written(space, architecture)
    proof = prove(made.text, network, space.cost(architecture), space.input_size, one_size=True)
    assert len(proof.apart) == 3 and not any("36" in name for name in proof.apart)  # evaluation, training, buffers
    assert "not compared: other sizes of images: the file is for this one only" in proof.lines


DECISIONS: dict[str, Callable[[int], bool]] = {
    "compared": lambda n: n > 5000,
    "smallest": lambda n: min(n, 5000) == 5000,
    "bits": lambda n: int(n) >> 12 > 0,
    "root": lambda n: math.sqrt(n) > 70,
    "quotient": lambda n: n / 2 > 2500,
}


@pytest.mark.parametrize("large", DECISIONS.values(), ids=DECISIONS)
def test_what_decides_by_the_size_is_for_one_size(large: Callable[[int], bool]) -> None:
    space = SearchSpace(Threshold(large), (3, 32, 32), reduction=[4])
    assert source(space, space.sample(0), space.build(space.sample(0)), {}).one_size


def test_what_is_frozen_or_kept_from_the_gradient_stays_so() -> None:
    space = SearchSpace(Guarded(), (3, 32, 32), reduction=[4], allow_none=False)
    network = space.build(space.sample(0))
    made = source(space, space.sample(0), network, {})
    assert not made.one_size
    built = load_network(made.text, network)
    for net in (network, built):
        net.train()(torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))).square().sum().backward()
    own = dict(network.named_parameters())
    for name, parameter in built.named_parameters():
        assert parameter.requires_grad == own[name].requires_grad, name
        assert (parameter.grad is None) == (own[name].grad is None) == (name.startswith("stem.") or name == "head.bias"), name
        if parameter.grad is not None:
            torch.testing.assert_close(parameter.grad, own[name].grad)


QUICK = ("mobilenet_v3_small", "shufflenet_v2_x0_5", "short densenet")


@pytest.mark.parametrize("name", QUICK)
def test_networks_of_torchvision(name: str) -> None:
    short = torchvision.models.DenseNet(8, (4, 6, 5, 4), 16, num_classes=10)
    space = space_of(short if name == "short densenet" else torchvision_model(name), 64)
    text = written(space, space.sample(0))
    check_imports(text)
    if (
        name == "short densenet"
    ):  # 19 layers in 4 blocks, some of these with an SE block of their own, and a loop instead of a line for each layer
        assert len([one for one in classes(text) if "Dense" in one]) == 4
        block = next(part for part in text.split("\n\n\n") if part.startswith("class DenseBlock("))
        assert len(re.findall(r"^ +for ", block, re.M)) == 1 and "denselayer" not in block


def test_a_network_of_timm() -> None:
    pytest.importorskip("timm")
    space = space_of("timm:mobilenetv3_small_050", 64)
    check_imports(written(space, space.sample(0)))


def test_auxiliary_classifiers() -> None:
    space = space_of(torchvision_model("googlenet", aux_logits=True), 64)
    text = written(space, space.sample(1))
    assert "class GoogLeNetOutputs(NamedTuple):" in text and "if self.training:" in text


def test_few_classes() -> None:
    space = space_of(torchvision_model("mobilenet_v2"), 64)
    names = classes(written(space, space.sample(0)))
    assert 1 <= sum(name.startswith("InvertedResidual") for name in names) <= 3


@pytest.mark.parametrize("backbone", [pytest.param("resnet50", marks=pytest.mark.slow), "torchvision:resnet50"])
def test_a_resnet_50_is_short(backbone: str) -> None:
    space = SearchSpace(backbone, (3, 64, 64), reduction=[4, 8], placement=EVERY["placement"])
    for architecture in (space.reference("paper"), space.sample(0)):
        network = space.build(architecture)
        text = generator.source(space, architecture, network, {}).text
        assert text.count("\n") < 200
        assert len([name for name in classes(text) if name.startswith("Bottleneck")]) == 1


def test_a_forward_that_looks_at_values_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fickle_networks", sys.modules[__name__])
    space = SearchSpace("fickle_networks:fickle", (3, 16, 16), reduction=[4])
    architecture = space.sample(0)
    network = space.build(architecture)
    with pytest.raises(Unsupported, match="depends on the values of tensors"):
        generator.source(space, architecture, network, {})
    fallback = source(space, architecture, network, {})
    assert "fickle" in fallback.text and "it could not be written out" in fallback.notes[0]
    with pytest.raises(InputError, match="depends on the values of tensors"):
        unnamed = SearchSpace(Fickle(), (3, 16, 16), reduction=[4])
        source(unnamed, unnamed.sample(0), unnamed.build(unnamed.sample(0)), {})


def test_an_se_block_in_a_list_of_branches() -> None:
    space = SearchSpace("bn_inception", (3, 64, 64), reduction=[4, 8], allow_none=False)
    assert "class Inception(nn.ModuleDict):" in generator.source(space, space.sample(0), space.build(space.sample(0)), {}).text
    written(space, space.sample(0))


class Chain(nn.Module):
    """A residual block whose branch is one sequence, as ConvNeXt's."""

    def __init__(self) -> None:
        super().__init__()
        self.block = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.block(x)


def test_se_blocks_of_one_name_before_and_behind_a_step_of_a_sequence() -> None:
    """Both are called 0_se. They are two orders, so no class may put them at one place."""
    network = nn.Sequential(nn.Conv2d(3, 8, 3), Chain(), Chain(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    space = SearchSpace(network, (3, 12, 12), reduction=[2], placement=["pre", "inner"], allow_none=False)
    first, second = (group.name for group in space.groups)
    architecture = space.canonical({first: SESpec(2, placement="pre"), second: SESpec(2, placement="inner")})
    assert {name for name in space.build(architecture).state_dict() if "se.fc1" in name} == {f"{i}.block.0_se.fc1.weight" for i in (1, 2)}
    written(space, architecture)


# All that ships, and all families.


def three(space: SearchSpace, folder: Path) -> None:
    """A whole export, proven apart, of one architecture; two others in this process."""
    first, *others = architectures(space)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exported = export(space, first, folder / "proven", options=ExportOptions())
    assert exported.notes == () and exported.proof is not None
    check_imports(exported.path.read_text())
    for architecture in others:
        written(space, architecture)


def architectures(space: SearchSpace) -> list[Architecture]:
    return [space.sample(seed) for seed in range(3)]


@pytest.mark.slow
@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_every_shipped_space(path: Path, tmp_path: Path) -> None:
    three(SearchSpace.from_yaml(path), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(FAMILIES))
def test_every_family_of_torchvision(name: str, tmp_path: Path) -> None:
    three(space_of(torchvision_model(name), SIZES.get(name, 64)), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", TIMM)
def test_five_of_timm(name: str, tmp_path: Path) -> None:
    pytest.importorskip("timm")
    three(space_of(f"timm:{name}", 64), tmp_path)
