"""Files that import the backbone's package: what they say, that they are right, and what they refuse."""

from __future__ import annotations

import ast
import copy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from se_nas import exporter
from se_nas.backbones import BACKBONES, register_backbone
from se_nas.errors import InputError
from se_nas.exporter import ExportOptions, fallback
from se_nas.exporter.contract import Unsupported, Written
from se_nas.exporter.generator import network as generator
from se_nas.exporter.generator import recording
from se_nas.exporter.proof import imported
from se_nas.space.space import SearchSpace

KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "every placement": ("torchvision:resnet18", {"placement": ["standard", "pre", "post", "identity", "inner"], "allow_none": False}),
    "own SE blocks replaced": ("torchvision:mobilenet_v3_small", {"backbone_args": {"num_classes": 7}}),
    "own SE blocks taken out": ("timm:seresnet18", {"reduction": [2], "init": "identity"}),
    "blocks in sequences": ("torchvision:mnasnet0_5", {"squeeze": ["none"], "bias": True}),
    "no squeeze and squeezes": ("torchvision:squeezenet1_1", {"squeeze": ["none", "std"]}),
}


def space_of(kind: str, **changes: Any) -> SearchSpace:
    backbone, arguments = KINDS[kind]
    candidates: dict[str, Any] = {"reduction": [4, 8], "squeeze": ["avg", "max"], "gate": ["sigmoid", "tanh"]}
    return SearchSpace(backbone, (3, 64, 64), **{**candidates, **arguments, **changes})


@pytest.fixture(scope="module")
def texts() -> dict[str, tuple[str, nn.Module]]:
    made = {}
    for kind in KINDS:
        space = space_of(kind)
        network = space.build(space.sample(1))
        made[kind] = fallback.source(space, space.sample(1), network, {}).text, network
    return made


def run(text: str) -> Any:
    namespace: dict[str, Any] = {"__name__": "exported"}
    exec(compile(text, "<exported>", "exec"), namespace)
    return namespace


@pytest.mark.parametrize("kind", KINDS)
def test_outputs_are_the_searched_networks(
    kind: str, texts: dict[str, tuple[str, nn.Module]], perturb: Callable[[nn.Module, int], nn.Module]
) -> None:
    text, network = texts[kind]
    written = run(text)["build"]()
    perturb(network, 0)
    written.load_state_dict(network.state_dict())
    twin = copy.deepcopy(written)  # whose hooks are its own
    perturb(written, 1)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = network.eval()(x)
        assert torch.equal(twin.eval()(x), expected)
        assert not torch.equal(written.eval()(x), expected)


def test_texts_are_formatted_and_clean(texts: dict[str, tuple[str, nn.Module]], tmp_path: Path) -> None:
    for number, (text, _) in enumerate(texts.values()):
        (tmp_path / f"file{number}.py").write_text(text)
    ruff = [sys.executable, "-m", "ruff"]
    options = ["--isolated", "--line-length", "120", str(tmp_path)]
    subprocess.run([*ruff, "format", "--check", *options], check=True)
    subprocess.run([*ruff, "check", "--select", "E,F,I,UP,B,SIM,RUF", *options], check=True)


def test_what_a_text_says(texts: dict[str, tuple[str, nn.Module]]) -> None:
    text, _ = texts["own SE blocks replaced"]
    assert 'torchvision.models.get_model("mobilenet_v3_small", num_classes=7)' in text
    assert 'clear(network, "features.1.block.1")' in text and "gate_output(network, " in text
    assert imported(text) == ("torch", "torchvision")
    text, _ = texts["own SE blocks taken out"]
    assert imported(text) == ("timm", "torch") and 'timm.create_model("seresnet18")' in text
    text, _ = texts["every placement"]
    assert 'clear(network, "layer1.1.downsample")' in text and 'gate_output(network, "layer1.1.downsample", "layer1.1.se"' in text
    assert "gate_input(" in text


def test_plain_backbones_need_no_helpers() -> None:
    space = space_of("blocks in sequences")
    text = fallback.source(space, space.reference("plain"), space.build(space.reference("plain")), {}).text
    assert "Gate" not in text and "SEBlock" not in text and text.count("\n") < 40


def test_the_message_says_what_was_written_and_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: Any) -> str:
        raise Unsupported("too round")

    monkeypatch.setattr(exporter, "GENERATORS", [never, fallback.source])
    space = space_of("no squeeze and squeezes")
    made = exporter.export(space, space.sample(0), tmp_path / "net", options=ExportOptions(prove=False))
    (note,) = made.notes
    assert "imports torchvision" in note and "(too round)" in note
    assert "too round" in (tmp_path / "net" / "README.md").read_text()
    assert imported(made.path.read_text()) == ("torch", "torchvision")


@pytest.mark.slow
def test_the_next_generator_is_tried_where_the_proof_of_the_first_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right, *others = exporter.GENERATORS

    def wrong(*arguments: Any) -> Written:
        return Written(right(*arguments).text.replace("torch.sigmoid(x)", "torch.sigmoid(2 * x)"))

    monkeypatch.setattr(exporter, "GENERATORS", [wrong, *others])
    space = SearchSpace("torchvision:squeezenet1_1", (3, 32, 32), reduction=[4], allow_none=False)
    made = exporter.export(space, space.sample(0), tmp_path / "net")
    (note,) = made.notes
    assert "imports torchvision" in note and "the written file is not the searched network: eval, 1x3x32x32" in note
    assert made.proof is not None and made.proof.imports == ("torch", "torchvision")


def test_a_bug_is_called_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    def buggy(*arguments: Any) -> Written:
        raise KeyError("layer3")

    space = SearchSpace("torchvision:squeezenet1_1", (3, 32, 32), reduction=[4])
    network = space.build(space.sample(0))
    monkeypatch.setattr(exporter, "GENERATORS", [buggy, fallback.source])
    (note,) = exporter.source(space, space.sample(0), network, {}).notes
    assert "a bug of se-nas in writing its source, please report it (KeyError in test_fallback.py, line " in note
    monkeypatch.setattr(recording, "is_sequential", None)  # so that recording it fails in the recorder itself
    monkeypatch.setattr(exporter, "GENERATORS", [generator.source])
    with pytest.raises(InputError, match=r"a bug of se-nas .* \(TypeError in recording.py"):
        exporter.source(space, space.sample(0), network, {})


PACKAGE = '''
import torch
from torch import nn


class Net(nn.Module):
    """Its forward computes with the values of its tensors, so that nothing can capture it, and returns maps in training."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, width, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(width)
        self.drop = nn.Dropout(0.5)
        self.fc = nn.Linear(width, 5)

    def forward(self, x):
        x = torch.relu(self.bn1(self.conv1(x)))
        x = torch.relu(self.bn2(self.conv2(x)) + (x if float(x.detach().sum()) > -1e30 else 0))
        y = self.fc(self.drop(x.mean((2, 3))))
        return {"out": y, "maps": [x]} if self.training else y
'''


@pytest.mark.slow
def test_a_package_of_ones_own_that_nothing_captures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_nets").mkdir()
    (tmp_path / "own_nets" / "nets.py").write_text(PACKAGE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(exporter, "GENERATORS", [fallback.source])
    space = SearchSpace("own_nets.nets:Net", (3, 16, 16), reduction=[2], backbone_args={"width": 12}, sites={"add": ["*"]})
    made = exporter.export(space, space.dearest(), tmp_path / "net.py")
    text = made.path.read_text()
    assert "import own_nets.nets as package\n" in text and "package.Net(width=12)" in text and "se_nas" not in text
    assert made.proof is not None and made.proof.imports == ("own_nets", "torch")
    assert all(made.proof.captured.values())
    assert any("captures neither this network nor the searched one" in line for line in made.proof.lines)
    assert "train, 4x3x16x16" in made.proof.apart


# What it refuses.


def refused(backbone: Any, **arguments: Any) -> str:
    space = SearchSpace(backbone, (3, 32, 32), **arguments)
    with pytest.raises(Unsupported) as error:
        fallback.source(space, space.sample(0), space.build(space.sample(0)), {})
    return str(error.value)


def test_backbones_that_no_file_can_import() -> None:
    assert "of se-nas" in refused("resnet8")
    assert "object of Python" in refused(torchvision.models.resnet18(num_classes=3))
    assert "object of Python" in refused(torchvision.models.resnet18)
    assert "of se-nas" in refused("se_nas.backbones.resnet:cifar_resnet", backbone_args={"depth": 8})
    assert "may run them all" in refused("torchvision:densenet121", reduction=[4], allow_none=False)


def test_registered_builders() -> None:
    register_backbone("mine", torchvision.models.resnet18)
    register_backbone("hidden", lambda: torchvision.models.resnet18())
    try:
        assert fallback.find_import("mine") == ("import torchvision.models.resnet as package", "package.resnet18", [])
        assert "no function of a module" in refused("hidden")
    finally:
        del BACKBONES["mine"], BACKBONES["hidden"]


def test_a_live_object_gets_a_clear_error(tmp_path: Path) -> None:
    network = torchvision.models.mobilenet_v2(num_classes=3)
    with pytest.raises(InputError, match=r"object of Python, which no file can import: name it package.module:callable"):
        exporter.GENERATORS, before = [fallback.source], exporter.GENERATORS
        try:
            space = SearchSpace(network, (3, 32, 32))
            exporter.export(space, space.sample(0), tmp_path / "net.py")
        finally:
            exporter.GENERATORS = before
    assert list(tmp_path.iterdir()) == []


HOSTILE = [
    '"""',
    "'''",
    '"',
    "'",
    "\\",
    "a\nb",
    "{x}",
    "$x",
    "#? a",
    '"); __import__("os").system("touch broken"); ("',
    "\ud800",
    "é\u2028",
]


@pytest.mark.parametrize("value", [*HOSTILE, HOSTILE, {"k": HOSTILE}, (1,), (), None, True, -1.5, 1e300, {"a": [1, (2, "x")]}])
def test_literals_are_what_they_say(value: Any) -> None:
    text = fallback.literal(value)
    assert ast.literal_eval(text) == value and text.isascii() and "\n" not in text


@pytest.mark.parametrize("value", [object(), float("nan"), float("inf"), {1, 2}, b"x", [nn.ReLU], type("Text", (int,), {})(3)])
def test_other_values_are_no_literals(value: Any) -> None:
    with pytest.raises(Unsupported, match="a file cannot say"):
        fallback.literal(value)


@pytest.mark.parametrize(
    "name", ["a b:c", "os;x:y", "a.b:c d", "a:b.c", "a:__import__('os')", 'a:b"', "a:b\nc", "class:x", "a..b:c", ":x", "a:"]
)
def test_names_that_are_no_names(name: str) -> None:
    with pytest.raises(Unsupported, match="no name that a file can import"):
        fallback.find_import(name)


def test_hostile_arguments_stay_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "own_builder.py").write_text(
        "import torchvision\n\ndef build(label=None):\n    return torchvision.models.resnet18(num_classes=3)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    space = SearchSpace(
        "own_builder:build",
        (3, 32, 32),
        backbone_args={"label": HOSTILE[:-2]},
        sites={"stages": ["layer1"], "rename": {"layer1.0": HOSTILE[0]}},
    )
    about = {'key """\nimport os': '"""\n__import__("os").system("touch broken")\n"""', "{x} $x": "\\"}
    text = fallback.source(space, space.sample(0), space.build(space.sample(0)), about).text
    tree = ast.parse(text)
    quiet = ast.parse(fallback.source(space, space.sample(0), space.build(space.sample(0)), {}).text)
    assert [ast.dump(node) for node in tree.body[1:]] == [ast.dump(node) for node in quiet.body[1:]]
    run(text)["build"]()
    assert not Path("broken").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backbone", "size", "arguments"),
    [
        ("torchvision:vgg11_bn", 64, {}),
        ("torchvision:mobilenet_v2", 64, {}),
        ("torchvision:mnasnet0_5", 64, {}),
        ("torchvision:efficientnet_b0", 64, {}),
        ("torchvision:shufflenet_v2_x0_5", 64, {}),
        ("torchvision:regnet_y_400mf", 64, {}),
        ("torchvision:convnext_tiny", 64, {}),
        ("torchvision:googlenet", 96, {"init_weights": False}),
        ("torchvision:inception_v3", 299, {"init_weights": False}),
        ("timm:mobilenetv3_small_050", 64, {}),
        ("timm:seresnet18", 64, {}),
    ],
)
def test_families_are_proven(backbone: str, size: int, arguments: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exporter, "GENERATORS", [fallback.source])
    space = SearchSpace(backbone, (3, size, size), reduction=[4, 8], squeeze=["avg", "max"], backbone_args=arguments)
    found = exporter.export(space, space.sample(0), tmp_path / "net.py").proof
    library = backbone.partition(":")[0]
    assert found is not None and set(found.imports) == {"torch", library} and library in found.lines[0]
    assert found is not None and max(found.apart.values()) <= 1e-6 and not any(found.captured.values()) and not found.left_out
