"""What cannot be exported, or not there, and what is said about it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torchvision
from conftest import digits_space
from exporting import export, written
from torch import Tensor, nn

from se_nas import exporter
from se_nas.errors import InputError
from se_nas.exporter.contract import Unsupported
from se_nas.space.space import SearchSpace

SMALL: dict[str, Any] = {"input_size": (1, 8, 8), "backbone_args": {"in_channels": 1}}


# Networks.


def changed(change: Callable[[Any], object], **arguments: Any) -> Any:
    network = torchvision.models.resnet18(num_classes=3, **arguments)
    change(network)
    return network


class Preactivated(torchvision.models.resnet.BasicBlock):  # type: ignore[misc]
    def forward(self, x: Tensor) -> Any:
        return x + super().forward(x)


class Renamed(torchvision.models.ResNet):  # type: ignore[misc]
    pass


def own_forward(module: nn.Module) -> None:
    module.forward = lambda x: x


CHANGED: dict[str, Callable[[], nn.Module]] = {
    "dilation": lambda: torchvision.models.ResNet(
        torchvision.models.resnet.Bottleneck, [1, 1, 1, 2], replace_stride_with_dilation=[False, False, True]
    ),
    "group norm": lambda: changed(lambda net: None, norm_layer=lambda c: nn.GroupNorm(4, c)),
    "eps": lambda: changed(lambda net: None, norm_layer=lambda c: nn.BatchNorm2d(c, eps=1e-3)),
    "one SiLU": lambda: changed(lambda net: setattr(net.layer2[1], "relu", nn.SiLU())),
    "no ReLU": lambda: changed(lambda net: setattr(net.layer2[1], "relu", nn.Identity())),
    "max at the end": lambda: changed(lambda net: setattr(net, "avgpool", nn.AdaptiveMaxPool2d(1))),
    "mean at the start": lambda: changed(lambda net: setattr(net, "maxpool", nn.AvgPool2d(3, 2, 1))),
    "dropout": lambda: changed(lambda net: setattr(net, "fc", nn.Sequential(nn.Dropout(0.1), net.fc))),
    "wrapped stem": lambda: changed(lambda net: setattr(net, "conv1", nn.Sequential(net.conv1))),
    "longer stage": lambda: changed(lambda net: setattr(net, "layer4", nn.Sequential(net.layer4, nn.Conv2d(512, 512, 1)))),
    "one other block": lambda: changed(lambda net: setattr(net.layer3[1], "__class__", Preactivated)),
    "subclass": lambda: changed(lambda net: setattr(net, "__class__", Renamed)),
    "padding": lambda: changed(lambda net: setattr(net.layer2[0].downsample[0], "padding_mode", "reflect")),
    "pooled shortcut": lambda: changed(lambda net: net.layer2[0].downsample.insert(0, nn.AvgPool2d(1))),
    "one stage": lambda: torchvision.models.resnet18().layer1,
}


@pytest.mark.parametrize("name", CHANGED)
def test_changed_networks_are_written(name: str) -> None:
    network = CHANGED[name]()
    space = SearchSpace(network, (64 if isinstance(network, nn.Sequential) else 3, 32, 32))
    written(space, space.sample(0), images=4)


UNSUPPORTED: list[tuple[Callable[[], nn.Module], str]] = [
    (lambda: changed(lambda net: net.layer1.register_forward_hook(lambda *_: None)), "layer1 has hooks"),
    (lambda: changed(lambda net: own_forward(net.layer1[0].conv1)), "layer1.0.conv1 has hooks or a forward of its own"),
    (lambda: changed(lambda net: nn.utils.parametrizations.weight_norm(net.layer1[0].conv1)), "ParametrizedConv2d is parametrized"),
    (lambda: changed(lambda net: setattr(net.layer1[1].conv1, "weight", net.layer1[0].conv1.weight)), "share parameters"),
    (lambda: changed(lambda net: net.double()), "float64"),
    (lambda: changed(lambda net: net.half()), "float16"),
]


@pytest.mark.parametrize(("make", "reason"), UNSUPPORTED, ids=range(len(UNSUPPORTED)))
def test_networks_that_the_file_cannot_express(make: Callable[[], nn.Module], reason: str, tmp_path: Path) -> None:
    """An object of Python, unlike a name, cannot be built by a file that imports its package: there is no other way then."""
    with pytest.raises(InputError, match=reason) as error:
        space = SearchSpace(make(), (3, 32, 32))
        export(space, space.sample(0), tmp_path / "network.py")
    assert error.value.fix and list(tmp_path.iterdir()) == []


def test_generators_are_asked_in_turn(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    space = SearchSpace("resnet8", **SMALL)
    asked = []

    def never(*arguments: Any) -> str:
        asked.append(arguments)
        raise Unsupported("too round")

    monkeypatch.setattr(exporter, "GENERATORS", [never, *exporter.GENERATORS])
    assert export(space, space.sample(0), tmp_path / "a.py").exists() and len(asked) == 1
    monkeypatch.setattr(exporter, "GENERATORS", [never, never])
    with pytest.raises(InputError, match="too round; too round"):
        export(space, space.sample(0), tmp_path / "b.py")


def test_architecture_of_another_space(tmp_path: Path) -> None:
    space, other = SearchSpace("resnet8"), SearchSpace("resnet20")
    with pytest.raises(InputError, match="another space"):
        export(space, other.sample(0), tmp_path / "network.py")


# Weights and targets.


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda tensors: tensors.pop("fc.bias"), "fc.bias is missing"),
        (lambda tensors: tensors.update({"fc.bias": torch.zeros(3)}), r"fc.bias has shape \[3\] instead of \[10\]"),
        (lambda tensors: tensors.update({"more": torch.zeros(3)}), "more is no tensor of the network"),
    ],
)
def test_weights_of_another_network(change: Callable[[dict[str, Tensor]], object], reason: str, tmp_path: Path) -> None:
    space = SearchSpace("resnet8", **SMALL)
    tensors = dict(space.build(space.sample(0)).state_dict())
    change(tensors)
    with pytest.raises(InputError, match=reason):
        export(space, space.sample(0), tmp_path / "network.py", weights=tensors)
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_views_of_one_tensor(tmp_path: Path, load: Callable[[Path], ModuleType]) -> None:
    space = SearchSpace("resnet8", **SMALL)
    tensors = dict(space.build(space.sample(0)).state_dict())
    flat = torch.rand(3 * 16)
    for i, name in enumerate(("bn1.weight", "bn1.bias", "bn1.running_mean")):
        tensors[name] = flat[i::3]
    path = export(space, space.sample(0), tmp_path / "network.py", weights=tensors)
    assert torch.equal(load(path).build(str(path.with_suffix(".safetensors"))).bn1.bias, flat[1::3])


def test_targets(tmp_path: Path) -> None:
    space = SearchSpace("resnet8", **SMALL)
    architecture = space.sample(0)
    weights = space.build(architecture).state_dict()
    for name in ("network.py", "folder"):
        target = tmp_path / name
        path = export(space, architecture, target, weights=weights)
        with pytest.raises(InputError, match="exists"):
            export(space, architecture, target, weights=weights)
        before = path.read_text()
        assert export(space, architecture, target, weights=weights, about={"round": "2"}, force=True) == path
        assert path.read_text() != before
        with pytest.raises(InputError, match="earlier export"):
            export(space, architecture, target, force=True)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="no folder"):
        export(space, architecture, tmp_path / "file" / "network.py")
    with pytest.raises(InputError, match="cannot write"):
        export(space, architecture, tmp_path / "file", force=True)
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder", "network.py", "network.safetensors"]


def test_other_files_of_a_folder_stay(tmp_path: Path) -> None:
    space = SearchSpace("resnet8", **SMALL)
    (tmp_path / "best").mkdir()
    (tmp_path / "best" / "notes.txt").write_text("mine")
    export(space, space.sample(0), tmp_path / "best", force=True)
    assert sorted(path.name for path in (tmp_path / "best").iterdir()) == ["README.md", "architecture.json", "model.py", "notes.txt"]


def test_nothing_half_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    space = SearchSpace("resnet8", **SMALL)
    architecture = space.sample(0)
    weights = space.build(architecture).state_dict()

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        for name in ("network.py", "folder"):
            with pytest.raises(InputError, match="No space left"):
                export(space, architecture, tmp_path / name, weights=weights)
    assert list(tmp_path.iterdir()) == []


def test_relative_target(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    space = SearchSpace("resnet8", **SMALL)
    assert export(space, space.sample(0), "network.py") == Path("network.py")
    assert export(space, space.sample(0), "folder") == Path("folder/model.py")
    assert sorted(os.listdir()) == ["folder", "network.py"]


@pytest.mark.parametrize("target", ["there", "there/model.py"])
def test_what_is_of_no_export_is_never_overwritten(target: str, tmp_path: Path) -> None:
    space = digits_space()
    folder = tmp_path / "there"
    folder.mkdir()
    mine = folder / ("model.py" if target.endswith(".py") else "README.md")
    mine.write_text("mine\n")
    with pytest.raises(InputError, match=f"{mine.name} is of no export of se-nas; move it away"):
        export(space, space.sample(0), tmp_path / target, prove=False, force=True)
    assert mine.read_text() == "mine\n" and list(folder.iterdir()) == [mine]
