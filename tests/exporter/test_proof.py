"""The proof of an export: that it passes what is right, and sees what is not."""

from __future__ import annotations

import copy
import json
import random
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors import safe_open
from torch import nn

from se_nas import exporter
from se_nas.errors import InputError
from se_nas.exporter import proof
from se_nas.exporter.contract import Written
from se_nas.exporter.proof import Proof, ProofFailed, alone, imported, prove
from se_nas.exporter.proof.alone import Given
from se_nas.exporter.proof.randomise import randomise
from se_nas.space.space import SearchSpace

SMALL: dict[str, Any] = {"input_size": (1, 8, 8), "backbone_args": {"in_channels": 1}}


@pytest.fixture(scope="module")
def small() -> SearchSpace:
    return SearchSpace("resnet8", **SMALL, reduction=[4, 8], gate=["sigmoid", "tanh"])


def text_of(space: SearchSpace, seed: int) -> tuple[str, nn.Module]:
    network = space.build(space.sample(seed))
    return exporter.source(space, space.sample(seed), network, {}).text, network


def test_a_trained_network_is_proven_and_the_card_says_so(small: SearchSpace, tmp_path: Path) -> None:
    architecture = small.sample(1)
    network = small.build(architecture)
    made = exporter.export(small, architecture, tmp_path / "best", network.state_dict(), {"trial": 3})
    found = made.proof
    assert found is not None and found.weights == "given" and found.imports == ("torch",)
    sizes = ["eval, 1x1x8x8", "eval at another size, 1x1x9x9", "eval at a much larger size, 1x1x16x24", "train, 4x1x8x8"]
    assert list(found.apart) == [*sizes, "buffers"]
    assert max(found.apart.values()) <= 1e-6 and not found.left_out
    assert (found.params, found.macs) == small.cost(architecture)[:2]
    assert found.gradients == len(list(network.parameters()))
    assert found.captured == {"torch.export": "", "torch.compile": ""}
    readme = (tmp_path / "best" / "README.md").read_text()
    for line in (
        "run in a fresh interpreter without se-nas",
        "torch.compile: captures it whole",
        "eval at another size, 1x1x9x9",
        "| trial | 3 |",
    ):
        assert line in readme
    record = json.loads((tmp_path / "best" / "architecture.json").read_text())
    assert record["proof"]["macs"] == found.macs and record["about"] == {"trial": 3}
    with safe_open(tmp_path / "best" / "weights.safetensors", "pt") as file:
        assert set(file.keys()) == set(network.state_dict())


def test_a_wrong_file_is_refused_and_nothing_stays(small: SearchSpace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    right = exporter.GENERATORS[0]

    def wrong(*arguments: Any) -> Written:
        return Written(right(*arguments).text.replace("torch.relu(out + ", "torch.relu(1.0001 * out + "))

    monkeypatch.setattr(exporter, "GENERATORS", [wrong])
    with pytest.raises(ProofFailed, match=r"not the searched network: eval, 1x1x8x8: .* of the largest value apart"):
        exporter.export(small, small.sample(1), tmp_path / "best")
    assert list(tmp_path.iterdir()) == []


HEAD = "self.fc(x.mean((2, 3)))"
GATED = "return torch.relu(out + "
WRONG: dict[str, tuple[str, str, str]] = {
    "momentum": ("nn.BatchNorm2d(out_channels)", "nn.BatchNorm2d(out_channels, momentum=0.2)", "buffers"),
    "eps": ("nn.BatchNorm2d(out_channels)", "nn.BatchNorm2d(out_channels, eps=1e-4)", "eval, 1x1x8x8"),
    "detached": (HEAD, "self.fc(x.mean((2, 3)).detach())", "gets a gradient in the searched network, and not in the file's"),
    "frozen": (
        "network = ResNet()\n",
        "network = ResNet().requires_grad_(False)\n",
        "is frozen in the file's network",
    ),
    "gradient": (GATED, "return torch.relu(out.detach() / 2 + out / 2 + ", "gradients: .* of the largest apart"),
    "only at this size": (HEAD, "self.fc(x[:, :, :2, :2].mean((2, 3)))", "eval at another size"),
    "only at small sizes": (HEAD, "self.fc((x if x.shape[-1] < 5 else 2 * x).mean((2, 3)))", "eval at a much larger size"),
    "more parameters": ("self.fc = nn", "self.more = nn.Parameter(torch.zeros(3))\n        self.fc = nn", "ends with|parameters"),
    "se-nas": ("import torch\n", "import se_nas\nimport torch\n", "se_nas is kept from being imported"),
    "broken": ("return self.fc(x", "return self.fc(y", "name 'y' is not defined"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WRONG)
def test_every_kind_of_mistake_is_seen(small: SearchSpace, name: str) -> None:
    old, new, reason = WRONG[name]
    text, network = text_of(small, 1)
    assert old in text
    with pytest.raises(ProofFailed, match=reason):
        prove(text.replace(old, new), network, small.cost(small.sample(1)), small.input_size)


@pytest.mark.slow
def test_a_gradient_too_many_is_seen() -> None:
    backbone = torchvision.models.resnet18(num_classes=3)
    backbone.conv1.requires_grad_(False)
    space = SearchSpace(backbone, (3, 32, 32), reduction=[4])
    text, network = text_of(space, 1)
    assert "    network.conv1.requires_grad_(False)\n" in text
    with pytest.raises(ProofFailed, match=r"conv1\.weight is frozen in the searched network, and not in the file's"):
        prove(text.replace("    network.conv1.requires_grad_(False)\n", ""), network, space.cost(space.sample(1)), space.input_size)


@pytest.mark.slow
def test_a_wrong_claim_is_seen(small: SearchSpace) -> None:
    text, network = text_of(small, 1)
    with pytest.raises(ProofFailed, match=r"MACs: .* were claimed"):
        prove(text, network, small.cost(small.sample(1))._replace(macs=1), small.input_size)
    with pytest.raises(ProofFailed, match="parameters of the cost table"):
        prove(text, network, small.cost(small.sample(1))._replace(params=1), small.input_size)


@pytest.mark.slow
def test_what_only_the_file_cannot_be_captured_by_is_seen(small: SearchSpace) -> None:
    text, network = text_of(small, 1)
    wrong = text.replace("self.fc(x.mean((2, 3)))", "self.fc(x.mean((2, 3)) * (1 if float(x.sum()) > -1e30 else 2))")
    assert wrong != text
    with pytest.raises(ProofFailed, match=r"torch.export captures the searched network, and not the file's"):
        prove(wrong, network, small.cost(small.sample(1)), small.input_size)


@pytest.mark.slow
def test_resnet_50(tmp_path: Path) -> None:
    space = SearchSpace("torchvision:resnet50", (3, 224, 224), reduction=[4, 16], squeeze=["avg", "max"])
    found = exporter.export(space, space.sample(0), tmp_path / "net.py").proof
    assert found is not None and found.weights == "random"
    assert max(found.apart.values()) <= 1e-6 and not any(found.captured.values())
    assert "train, 2x3x224x224" in found.apart and "eval at another size, 1x3x252x252" in found.apart
    assert (found.params, found.macs) == space.cost(space.sample(0))[:2]


# Parts of it.


def test_outputs_of_any_form() -> None:
    pair = namedtuple("pair", "logits aux")
    a, b, c = torch.ones(1), torch.zeros(2), torch.ones(3)
    assert alone.tensors_of(a).keys() == {""}
    found = alone.tensors_of({"out": pair(a, None), "more": [b, (c,)]})
    assert found.keys() == {".out.0", ".more.0", ".more.1.0"} and found[".more.1.0"] is not c
    kept = alone.labelled(found, "train")
    assert alone.chosen(kept, "train").keys() == found.keys() and not alone.chosen(kept, "eval")


def test_distance_is_relative_and_sees_everything() -> None:
    x = torch.tensor([0.5, -100.0])
    assert alone.distance({"": x + torch.tensor([1e-3, 0.0])}, {"": x}) == pytest.approx(1e-5, rel=1e-2)
    assert alone.distance({}, {}) == 0
    for other in ({}, {"": x[:1]}, {"": x.double()}, {"": x * float("nan")}, {"a": x}):
        assert alone.distance(other, {"": x}) == float("inf")
    mean, var = torch.tensor([1e-9]), torch.tensor([1.0])  # a mean of nothing but rounding, beside a deviation of 1
    tensors = {"bn.running_mean": mean, "bn.running_var": var}
    assert alone.distance({**tensors, "bn.running_mean": 2 * mean}, tensors) < 1e-8


def test_only_what_was_compared_is_said() -> None:
    found = Proof(("torch",), "random", {"eval, 1x3x8x8": 0.0}, {"train, 4x3x8x8": "refused"}, 1, 1, None, {}, 1.0)
    assert not any("gradient" in line for line in found.lines) and "not compared: train, 4x3x8x8: refused" in found.lines


def test_attention_has_no_macs_of_its_own() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Flatten(2), nn.TransformerEncoderLayer(16, 2, 32, batch_first=True))
    expected = 3 * 8 * 16 + 8 * (4 * 16 * 16 + 2 * 16 * 32)
    for device in ("meta", "cpu"):
        assert alone.macs(lambda: copy.deepcopy(network).to(device), alone.Given((torch.zeros(1, 3, 4, 4),))) == expected  # noqa: B023


def test_imported_packages() -> None:
    text = "from __future__ import annotations\nimport math, torch.nn\ndef f():\n    from safetensors.torch import load\n"
    text += "    import timm as t\n"
    assert imported(text) == ("torch", "timm")


def test_refused_packages_are_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [alone.Refuse(["colorsys"]), *sys.meta_path])
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    with pytest.raises(ModuleNotFoundError, match="colorsys is kept"):
        __import__("colorsys")


@pytest.mark.parametrize("backbone", ["resnet20", "torchvision:squeezenet1_1", "torchvision:convnext_tiny"])
def test_random_weights_leave_nothing_that_hides_errors(backbone: str) -> None:
    space = SearchSpace(backbone, (3, 64, 64), reduction=[4], init="identity", placement=["standard"])
    network = space.build(space.dearest())
    images = torch.randn(4, 3, 64, 64)
    randomise(network, Given((images,)), 0)
    for name, parameter in network.named_parameters():
        assert parameter.numel() == 1 or float(parameter.detach().std() / parameter.detach().abs().max()) > 0.05, name
    gates: list[torch.Tensor] = []
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert module.momentum == 0.1 and float(module.running_mean.abs().max()) > 0  # type: ignore[union-attr]
        if type(module).__name__ == "SEBlock":
            module.register_forward_hook(lambda _, given, output: gates.append(output.detach() / given[0].detach()))
    with torch.no_grad():
        assert bool(network.eval()(images).isfinite().all())
    for gate in gates:
        assert float(gate[gate.isfinite()].std()) > 1e-3, "a block whose gates are all alike shows nothing"


def test_a_network_that_cannot_run_is_the_persons_own_fault() -> None:
    class Broken(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("no")

    space = SearchSpace("resnet8", **SMALL)
    with pytest.raises(InputError, match="the searched network refuses it"):
        prove("import torch\n", Broken(), space.plain_cost, (1, 8, 8))


def test_the_interpreter_is_not_waited_for_ever(small: SearchSpace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "LIMIT", 1)
    text, network = text_of(small, 1)
    before = torch.get_rng_state(), random.getstate()
    with pytest.raises(ProofFailed, match="does not end within 1 s"):
        slow = "import time\ntime.sleep(60)\n" + text.replace("from __future__ import annotations\n", "")
        prove(slow, network, small.plain_cost, (1, 8, 8))
    assert torch.equal(torch.get_rng_state(), before[0]) and random.getstate() == before[1]
