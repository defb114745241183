"""The generated text: clean, free of what is not used, and safe whatever it is told to say."""

from __future__ import annotations

import ast
import importlib.util
import json
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torchvision
from exporting import export
from safetensors import safe_open
from torch import nn
from torchvision.models.resnet import Bottleneck

from se_nas.backbones import BACKBONES, register_backbone, resnet
from se_nas.se.block import avg_squeeze, register_squeeze
from se_nas.se.spec import SESpec
from se_nas.space.space import SearchSpace

SMALL: dict[str, Any] = {"input_size": (1, 8, 8), "backbone_args": {"in_channels": 1}}
HOSTILE = {
    "quotes": '""" + __import__("os").system("touch broken") + """',
    "single": "'''\nimport os\n'''",
    "backslash at the end": "\\",
    "escapes": r"\x22\x22\x22 \N{QUOTATION MARK} \u0022",
    "lines": "a\nb\r\nc\u2028d\x0be\x85f\x00g",
    "direction": "\u202eevil\u2066",
    "surrogate": "\ud800",
    'key """\nimport os': "value",
    "long": "word " * 100 + "x" * 300 + "\\" * 301,
    "parameters": "0",
    "empty": "",
}


@pytest.fixture(scope="module")
def small(everything: dict[str, Any]) -> SearchSpace:
    return SearchSpace("resnet8", **SMALL, **everything)


def one_stage(depth: int) -> nn.Module:
    """Residual blocks of 16 channels, one after another."""
    return resnet.ResNet(resnet.BasicBlock, (depth,), (16,), resnet.ProjectionShortcut, False, 10)


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory, everything: dict[str, Any]) -> Path:
    """A folder of files of every kind of space."""
    folder = tmp_path_factory.mktemp("generated")
    kinds: list[tuple[Any, dict[str, Any], int]] = [
        ("resnet8", everything, 8),
        ("resnet8", {"placement": everything["placement"], "bias": True}, 8),
        ("resnet8", {"squeeze": ["none"], "init": "identity"}, 8),
        ("resnet8", {"gate": ["tanh", "relu"], "placement": ["post"], "divisor": 8}, 8),
        (partial(torchvision.models.ResNet, Bottleneck, [1, 2, 1, 1], groups=32, width_per_group=4), everything, 32),
        (partial(torchvision.models.ResNet, Bottleneck, [1, 1, 1, 1]), {"reduction": [4, 8], "placement": ["inner"]}, 32),
        (partial(one_stage, 30), {"reduction": [2, 4, 8]}, 8),  # so long that a list takes several lines
    ]
    for number, (backbone, arguments, size) in enumerate(kinds):
        space = SearchSpace(backbone, (3, size, size), **arguments)
        export(space, space.sample(number), folder / f"random{number}.py", about=HOSTILE)
        if number < 2:
            export(space, space.reference("paper"), folder / f"paper{number}.py")
    export(space, space.reference("plain"), folder / "plain.py")
    return folder


def test_files_are_formatted_and_clean(generated: Path) -> None:
    pytest.importorskip("ruff")
    assert "for se in [\n" in (generated / "random6.py").read_text(), "no list takes several lines"
    ruff = [sys.executable, "-m", "ruff"]
    options = ["--isolated", "--line-length", "120"]
    subprocess.run([*ruff, "format", *options, "--check", str(generated)], check=True)
    subprocess.run([*ruff, "check", *options, "--select", "E,F,I,UP,B,SIM,RUF", str(generated)], check=True)


def test_files_compile(generated: Path) -> None:
    files = sorted(map(str, generated.glob("*.py")))
    assert len(files) == 10
    subprocess.run([sys.executable, "-I", "-W", "error", "-m", "py_compile", *files], check=True)


def test_files_import_torch_and_the_standard_library_alone(generated: Path) -> None:
    for file in generated.glob("*.py"):
        tree = ast.parse(file.read_text())
        names = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        names += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
        assert {name.partition(".")[0] for name in names} <= {"__future__", "torch", "safetensors", *sys.stdlib_module_names}
        assert [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "safetensors.torch"] == []


def test_nothing_breaks_out_of_the_docstring(small: SearchSpace, tmp_path: Path, load: Callable[[Path], ModuleType]) -> None:
    path = export(small, small.sample(0), tmp_path / "hostile.py", about=HOSTILE)
    quiet = export(small, small.sample(0), tmp_path / "quiet.py")
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in (path, quiet)]
    assert [ast.dump(node) for node in trees[0].body[1:]] == [ast.dump(node) for node in trees[1].body[1:]]
    docstring = load(path).__doc__
    assert docstring and HOSTILE["escapes"] in docstring
    assert "lines" in docstring and "a b c d e f g" in docstring
    assert all(character.isprintable() or character == "\n" for character in docstring)
    assert docstring.count("\\") == HOSTILE["long"].count("\\") + HOSTILE["escapes"].count("\\") + 1
    assert f"parameters            {small.cost(small.sample(0)).params:,}\n" in docstring, "a fact was overruled"
    assert list(tmp_path.iterdir()) and not Path("broken").exists()


def test_hostile_operator_and_backbone_names(tmp_path: Path, registries: None, load: Callable[[Path], ModuleType]) -> None:
    name = '"""\nimport os\\'
    register_squeeze(name, avg_squeeze)
    register_backbone(name, BACKBONES["resnet8"])
    try:
        space = SearchSpace(name, **SMALL, squeeze=[name], reduction=[2])
        module = load(export(space, space.dearest(), tmp_path / "network.py"))
    finally:
        del BACKBONES[name]
    assert module.__doc__ and "''' import os\\" in module.__doc__
    assert not hasattr(module, "os")


def test_docstring_tells_costs_and_table(small: SearchSpace, tmp_path: Path, load: Callable[[Path], ModuleType]) -> None:
    choices = {"layer1.0": SESpec(4, "std", "tanh", "pre"), "layer2.0": None, "layer3.0": SESpec(8, "none", "relu", "inner")}
    architecture = small.canonical(choices)
    text = load(export(small, architecture, tmp_path / "network.py", about={"val accuracy": "97.8 %"})).__doc__ or ""
    cost = small.cost(architecture)
    assert text.startswith("ResNet with Squeeze-and-Excitation, found by se-nas.\n")
    for fact in (f"{cost.params:,}", f"{cost.macs:,} an image", "1x8x8", "val accuracy  97.8 %", architecture.id):
        assert fact in text
    rows = [line.split() for line in text.splitlines() if line.startswith(("block", "layer"))]
    assert rows == [
        ["block", "channels", "r", "hidden", "squeeze", "gate", "placement"],
        ["layer1.0", "16", "4", "4", "std", "tanh", "pre"],
        ["layer2.0", *"------"],
        ["layer3.0", "64", "8", "8", "none", "relu", "inner"],
    ]


def test_only_what_is_used_is_written(tmp_path: Path) -> None:
    space = SearchSpace("resnet20", bias=True)
    paper = export(space, space.reference("paper"), tmp_path / "paper.py").read_text()
    for absent in (
        "max_squeeze",
        "tanh",
        "strength",
        "Conv2d(channels",
        "spatial",
        "se_at",
        "place =",
        "NamedTuple",
        "Operator",
        "math",
    ):
        assert absent not in paper
    assert "self.se = SEBlock(out_channels, 16)\n" in paper and "self.fc1 = nn.Linear(channels, hidden)\n" in paper
    assert "self.layer1 = nn.Sequential(*[BasicBlock(16, 16) for _ in range(3)])\n" in paper
    plain = export(space, space.reference("plain"), tmp_path / "plain.py").read_text()
    assert "SE" not in plain.replace("Squeeze-and-Excitation", "") and "gate" not in plain
    fifty = SearchSpace("resnet50", (3, 64, 64))
    text = export(fifty, fifty.reference("paper"), tmp_path / "fifty.py").read_text()
    assert text.count("\n") < 150


def test_plain_weights_load_into_the_file(everything: dict[str, Any], tmp_path: Path, load: Callable[[Path], ModuleType]) -> None:
    plain = torchvision.models.resnet18(num_classes=3)
    space = SearchSpace(plain, (3, 32, 32), **everything, allow_none=False)
    network = load(export(space, space.sample(0), tmp_path / "network.py")).build()
    missing, unexpected = network.load_state_dict(plain.state_dict(), strict=False)
    assert unexpected == []
    assert missing and all(".se." in key for key in missing)
    assert torch.equal(network.layer1[0].bn2.weight, plain.layer1[0].bn2.weight)


def test_se_convolutions_keep_their_own_initialisation(tmp_path: Path, load: Callable[[Path], ModuleType]) -> None:
    space = SearchSpace("resnet8", **SMALL, squeeze=["none"], reduction=[2])
    torch.manual_seed(0)
    network = load(export(space, space.dearest(), tmp_path / "network.py")).build()
    bound = 1 / 64**0.5  # of a convolution on 64 channels; He initialisation would exceed it
    assert float(network.layer3[0].se.fc1.weight.detach().abs().max()) <= bound
    spread = float(network.layer3[0].conv2.weight.detach().std())
    assert spread == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.05)


def test_folder(small: SearchSpace, tmp_path: Path) -> None:
    architecture = small.sample(3)
    weights = small.build(architecture).state_dict()
    path = export(small, architecture, tmp_path / "best", weights=weights)
    assert path == tmp_path / "best" / "model.py"
    assert sorted(file.name for file in path.parent.iterdir()) == ["README.md", "architecture.json", "model.py", "weights.safetensors"]
    cost = small.cost(architecture)
    record = json.loads((path.parent / "architecture.json").read_text())
    assert {key: record[key] for key in ("architecture", "id", "params", "macs", "input_size", "backbone")} == {
        "architecture": architecture.to_json(),
        "id": architecture.id,
        "params": cost.params,
        "macs": cost.macs,
        "input_size": [1, 8, 8],
        "backbone": "resnet8",
    }
    assert record["cost"] == cost._asdict() and SearchSpace.from_dict(record["space"], "record").cost(architecture) == cost
    with safe_open(path.parent / "weights.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt", "architecture": architecture.id}
    assert sorted(file.name for file in tmp_path.iterdir()) == ["best"], "something temporary was left"


def test_same_architecture_same_text(small: SearchSpace, tmp_path: Path) -> None:
    first, second = (export(small, small.sample(5), tmp_path / f"{name}.py").read_bytes() for name in "ab")
    assert first == second


@pytest.mark.slow
def test_generated_types(generated: Path) -> None:
    if not importlib.util.find_spec("mypy"):
        pytest.skip("needs mypy")
    files = sorted(map(str, generated.glob("random*.py")))
    options = ["--strict", "--no-warn-return-any", "--follow-imports=silent"]  # PyTorch says of a module's call that it gives Any
    command = [sys.executable, "-m", "mypy", *options, "--cache-dir", str(generated / "cache")]
    subprocess.run([*command, *files], check=True)
