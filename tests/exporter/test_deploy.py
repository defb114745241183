"""The inference form: it computes what the searched network does, with folded batch norms and steps in place."""

from __future__ import annotations

import copy
import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import digits_space, needs_onnx
from exporting import export
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from se_nas import api, cli
from se_nas.errors import InputError
from se_nas.exporter import load_network
from se_nas.exporter.contract import Written
from se_nas.exporter.deploy import fold, inference_form, source
from se_nas.exporter.proof.alone import Given, load_module
from se_nas.exporter.proof.randomise import randomise
from se_nas.network.placement import attach
from se_nas.se.block import SEBlock
from se_nas.se.spec import SESpec
from se_nas.space.space import SearchSpace

SIZE = (3, 32, 32)
TORCHVISION = ["mobilenet_v3_small", pytest.param("densenet121", marks=pytest.mark.slow)]
SLOW = ["torchvision:googlenet", "torchvision:regnet_y_400mf", "torchvision:convnext_tiny", "torchvision:shufflenet_v2_x0_5"]
SLOW += ["torchvision:efficientnet_b0", "torchvision:vgg11_bn", "torchvision:mnasnet0_5", "torchvision:squeezenet1_1"]
SLOW += ["timm:seresnet50", "timm:resnetv2_50", "timm:regnety_002", "timm:mobilenetv3_small_100", "timm:ghostnet_100"]


class Branch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.relu = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(x + self.norm(self.conv(x)))


class ReadTwice(nn.Module):
    """Two blocks; what goes into the first is read again after it."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first, self.second, self.head = nn.Conv2d(3, 8, 3), Branch(), Branch(), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(self.second(self.first(x) + x).mean((2, 3)))


def form_of(space: SearchSpace, architecture: Any) -> tuple[nn.Module, nn.Module, str]:
    """A network with weights of which each matters, the network of its inference file, and that file."""
    network = space.build(architecture)
    text = source(space, architecture, network, {}).text
    randomise(network, Given((torch.randn(4, *space.input_size),)), 0)
    return network.eval(), load_network(text, inference_form(network, space.input_size)).eval(), text


def same(network: nn.Module, other: nn.Module, images: Tensor) -> bool:
    given = images.clone()
    with torch.no_grad():
        expected, found = network(images), other(given)
    assert torch.equal(images, given)  # the caller's images stay as they are
    if (found - expected).abs().max() <= 1e-5 * expected.abs().max():
        return True
    with torch.no_grad():  # deep networks round by as much themselves: float64 decides
        expected, found = copy.deepcopy(network).double()(images.double()), copy.deepcopy(other).double()(images.double())
    return bool((found - expected).abs().max() <= 1e-6 * expected.abs().max())


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, _BatchNorm) for module in network.modules())


def deployed(network: nn.Module) -> nn.Module:
    """The inference form of a module that is not of a search space."""
    torch.manual_seed(1)
    randomise(network, Given((torch.randn(4, *SIZE),)), 0)
    return inference_form(network.eval(), SIZE)


@pytest.mark.parametrize("squeeze", ["avg", "max", "avg+max", "std", "none"])
def test_every_squeeze_is_written_in_place(squeeze: str) -> None:
    space = digits_space(squeeze=[squeeze], gate=["tanh"])
    network, written, text = form_of(space, space.canonical({g.name: SESpec(4, squeeze, "tanh") for g in space.groups}))
    assert same(network, written, torch.randn(3, 1, 8, 8))
    assert norms(written) == 0 and "shortcut.addcmul_(x, scale" in text and "x * scale" not in text


def test_blocks_before_a_sum_add_in_the_same_pass_and_others_scale() -> None:
    space = SearchSpace(ReadTwice(), SIZE, reduction=[4])
    network, written, text = form_of(space, space.dearest())
    assert same(network, written, torch.randn(3, *SIZE))
    assert "shortcut: Tensor | None = None" in text and "shortcut.addcmul_(x, scale" in text and "x.mul_(scale" in text


def test_where_blocks_stand_at_different_places_none_adds() -> None:
    space = digits_space(placement=["standard", "inner"])
    specs = [SESpec(4), SESpec(4, placement="inner"), None]
    network, written, text = form_of(space, space.canonical(dict(zip([g.name for g in space.groups], specs, strict=True))))
    assert same(network, written, torch.randn(3, 1, 8, 8))
    assert "addcmul" not in text


@pytest.mark.parametrize("placement", ["standard", "pre", "post", "identity", "inner"])
def test_a_block_that_the_shortcut_reads_too_is_not_scaled_in_place(placement: str) -> None:
    space = digits_space(placement=[placement])
    network, written, text = form_of(space, space.canonical({g.name: SESpec(4, placement=placement) for g in space.groups}))
    assert same(network, written, torch.randn(3, 1, 8, 8))
    assert ("x * scale" in text) == (placement == "pre")  # on the shortcut it is the last to read the block's input
    assert norms(written) == 0


def test_blocks_of_one_class_may_differ_in_whether_they_scale_in_place() -> None:
    space = digits_space(placement=["standard", "pre"], squeeze=["avg", "none"], init="identity")
    specs = [SESpec(4, "avg"), SESpec(8, "none", placement="pre"), None]
    network, written, text = form_of(space, space.canonical(dict(zip([g.name for g in space.groups], specs, strict=True))))
    assert same(network, written, torch.randn(3, 1, 8, 8))
    assert "x.mul_(scale) if self.in_place else x * scale" in text and "in_place=True" in text


def test_the_file_is_of_inference_alone() -> None:
    space = digits_space()
    _, written, text = form_of(space, space.reference("paper"))
    assert "BatchNorm" not in text and "self.training" not in text and "not for training" in text and "init." not in text
    weights = [p for p in written.parameters() if p.dim() == 4 and p[0, 0].numel() > 1]
    assert weights and all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision(name: str) -> None:
    space = SearchSpace(f"torchvision:{name}", SIZE)
    network, written, _ = form_of(space, space.reference("paper"))
    assert same(network, written, torch.randn(2, *SIZE))
    assert (norms(written) == 0) == (name != "densenet121")  # where most of them come before their convolutions
    assert not any(isinstance(module, nn.Dropout) for module in written.modules())


class Dense(nn.Module):
    """Batch norm, activation, convolution, as in DenseNet: only the norm between the two convolutions follows one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm1, self.conv1 = nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.Conv2d(8, 16, 1, bias=False)
        self.norm2, self.conv2, self.fc = nn.BatchNorm2d(16), nn.Conv2d(16, 4, 3, padding=1, bias=False), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        new = self.conv2(torch.relu(self.norm2(self.conv1(torch.relu(self.norm1(x))))))
        result: Tensor = self.fc(torch.cat([x, new], 1).mean((2, 3)))
        return result


def test_a_norm_before_its_convolution_stays() -> None:
    network = Dense()
    form = deployed(network)
    assert same(network, form, torch.randn(2, *SIZE))
    assert isinstance(form.norm1, nn.BatchNorm2d) and isinstance(form.norm2, nn.Identity)


def test_an_activation_within_a_batch_norm_stays() -> None:
    pytest.importorskip("timm")
    space = SearchSpace("timm:mobilenetv3_small_050", SIZE)
    network, written, text = form_of(space, space.reference("paper"))
    assert same(network, written, torch.randn(2, *SIZE))
    assert norms(network) > 0 and norms(written) == 0 and "Hardswish" in text


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_families(name: str) -> None:
    if not importlib.util.find_spec(name.partition(":")[0]):
        pytest.skip("not installed")
    space = SearchSpace(name, (3, 96, 96), reduction=[4, 8])
    for seed in (0, 1):
        network, written, _ = form_of(space, space.sample(seed))
        assert same(network, written, torch.randn(2, 3, 96, 96))


@pytest.mark.parametrize(
    "layer",
    [nn.Conv2d(6, 8, 3, groups=2), nn.Conv2d(6, 8, 3, bias=False, padding_mode="reflect", padding=1), nn.Linear(6, 8, bias=False)],
)
@pytest.mark.parametrize("affine", [True, False])
def test_folding(layer: nn.Module, affine: bool) -> None:
    linear = isinstance(layer, nn.Linear)
    norm = (nn.BatchNorm1d if linear else nn.BatchNorm2d)(8, affine=affine, eps=0.01)
    images = torch.randn(4, 6) if linear else torch.randn(4, 6, 5, 5)
    network = nn.Sequential(layer, norm)
    randomise(network, Given((images,)), 0)
    expected = network.eval()(images)
    fold(layer, norm)
    assert torch.allclose(layer(images), expected, atol=1e-6)


class Odd(nn.Module):
    """Batch norms that must not be folded, and steps that must not be in place, but for the last of each."""

    def __init__(self, case: str) -> None:
        super().__init__()
        self.case = case
        self.conv, self.bn, self.again = nn.Conv2d(3, 3, 3, padding=1, bias=False), nn.BatchNorm2d(3), nn.BatchNorm2d(3)
        self.relu, self.drop = nn.ReLU(), nn.Dropout(0.5)
        self.fc, self.aux = nn.Linear(3, 5), nn.Linear(3, 5)
        if case == "no statistics":
            self.bn = nn.BatchNorm2d(3, track_running_stats=False)
        if case == "se between":
            attach(self, _Place("conv", "output"), SEBlock(3, 1))  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        kept = x
        x = self.relu(x)  # reads the caller's images
        y = self.conv(x)
        out = self.bn(y)
        if self.case == "read twice":
            out = out + y
        elif self.case == "read as a view":
            out = out + y.transpose(2, 3)
        elif self.case == "called twice":
            out = self.again(self.conv(out))
        elif self.case == "view of what is read later":
            rows = out.permute(0, 2, 3, 1).reshape(-1, 3)  # a view in channels_last, a copy else
            out = out + F.relu(rows).mean()
        out = F.dropout(self.drop(F.relu(out + kept)), training=self.training)
        result: Tensor = self.fc(out.mean((2, 3)))
        return result + self.aux(x.mean((2, 3))) if self.training else result


class _Place:
    def __init__(self, module: str, side: str) -> None:
        self.module, self.side = module, side


CASES = {"read twice": False, "read as a view": False, "called twice": False, "no statistics": False, "se between": False, "": True}


@pytest.mark.parametrize("case", [*CASES, "view of what is read later"])
def test_what_cannot_be_folded_stays(case: str) -> None:
    torch.manual_seed(0)
    network = Odd(case)
    form = deployed(network)
    assert same(network, form, torch.randn(2, *SIZE))
    assert isinstance(form.bn, nn.Identity) == CASES.get(case, True)
    assert isinstance(form.aux, nn.Identity) and isinstance(form.drop, nn.Identity)
    assert isinstance(form.relu, nn.ReLU) and not form.relu.inplace


@pytest.mark.parametrize("case", ["", "read as a view", "view of what is read later"])
def test_steps_in_place_change_nothing(case: str) -> None:
    space, network = SearchSpace("resnet8", SIZE), Odd(case)  # the space only names the network
    text = source(space, space.reference("plain"), network, {}).text
    randomise(network, Given((torch.randn(4, *SIZE),)), 0)
    written = load_network(text, inference_form(network.eval(), SIZE))
    assert same(network, written, torch.randn(2, *SIZE))
    assert "inplace=True" in text and "dropout" not in text.lower()


def test_an_exported_file_is_proven(tmp_path: Path) -> None:
    space = digits_space()
    architecture = space.reference("paper")
    network = space.build(architecture)
    randomise(network, Given((torch.randn(4, 1, 8, 8),)), 0)
    made = api.export(space, architecture, tmp_path / "fast", weights=network.state_dict(), deploy=True)
    assert made.proof and made.proof.inference and made.proof.tolerance == 1e-5 and len(made.proof.apart) == 3
    built = load_module(made.path).build(str(tmp_path / "fast/weights.safetensors"))
    assert not built.training and same(network.eval(), built, torch.randn(5, 1, 8, 8))
    record = json.loads((tmp_path / "fast/architecture.json").read_text())
    card = (tmp_path / "fast/README.md").read_text()
    assert record["inference_form"] and record["params"] == made.proof.params == sum(p.numel() for p in built.parameters())
    assert f"{made.proof.params:,} parameters: its batch norms are folded" in card and "evaluation mode alone" in card


@pytest.mark.slow
def test_a_wrong_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = digits_space()
    network = space.build(space.reference("paper"))
    randomise(network, Given((torch.randn(4, 1, 8, 8),)), 0)
    right = source(space, space.reference("paper"), space.build(space.reference("paper")), {}).text
    monkeypatch.setattr("se_nas.exporter.deploy.source", lambda *_: Written(right.replace("x.mean((2, 3))", "x.amax((2, 3))", 1)))
    with pytest.raises(InputError, match="not the searched network: eval"):
        api.export(space, space.reference("paper"), tmp_path / "net.py", weights=network.state_dict(), deploy=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_onnx_of_an_inference_form_computes_what_the_searched_network_does(tmp_path: Path) -> None:
    needs_onnx()
    import onnxruntime

    space = digits_space()
    network = space.build(space.reference("paper"))
    randomise(network, Given((torch.randn(4, 1, 8, 8),)), 0)
    export(space, space.reference("paper"), tmp_path / "net.py", network.state_dict(), deploy=True, onnx=True)
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"), providers=["CPUExecutionProvider"])
    for n in (1, 5):
        images = torch.randn(n, 1, 8, 8)
        (found,) = session.run(None, {"images": images.numpy()})
        with torch.no_grad():
            expected = network.eval()(images)
        assert (torch.from_numpy(found) - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_without_weights_it_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "space.yaml").write_text("backbone: resnet8\ninput_size: [1, 8, 8]\nbackbone_args: {in_channels: 1}\n")
    code = cli.main(["export", str(tmp_path / "space.yaml"), "--architecture", "paper", "--deploy", "-o", str(tmp_path / "out")])
    assert code == 2 and "--deploy: the inference form is made from weights" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


class Unwritable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 3), nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        result: Tensor = self.fc((x / float(x.abs().max())).mean((2, 3)))
        return result


def test_a_network_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    space = SearchSpace(Unwritable, SIZE, reduction=[2])
    weights = space.build(space.reference("plain")).state_dict()
    with pytest.raises(InputError, match="--deploy: this network cannot be written in its inference form"):
        export(space, space.reference("plain"), tmp_path / "net.py", weights, deploy=True)
    assert not list(tmp_path.iterdir())
