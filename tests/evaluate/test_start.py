"""Weights that every architecture begins with: where they are from, whether they fit, and what trains further."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from se_nas.errors import InputError
from se_nas.evaluate.data import Data
from se_nas.evaluate.device import find_device
from se_nas.evaluate.head import features, fit_head
from se_nas.evaluate.normalisation import find_normalisation
from se_nas.evaluate.parts import find_head, parts_of
from se_nas.evaluate.start import digest, find_origin, load_start
from se_nas.evaluate.training import TrainingEvaluator, TrainSettings
from se_nas.network.placement import attached_blocks
from se_nas.se.spec import SESpec
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace

CPU = find_device("cpu")


def quiet(*_: Any) -> None:
    pass


@pytest.fixture(scope="module")
def few(digits: Data) -> Data:
    return replace(digits, train=digits.train.take(torch.arange(256)))


@pytest.fixture(scope="module")
def identity() -> SearchSpace:
    return SearchSpace("resnet8", (1, 8, 8), backbone_args={"in_channels": 1}, reduction=[4], init="identity")


@pytest.fixture(scope="module")
def trained(identity: SearchSpace, few: Data) -> dict[str, Tensor]:
    """The plain network after three epochs."""
    found = TrainingEvaluator(identity, few)(identity.reference("plain"), 0, {"epochs": 3}, "cpu", quiet)
    assert found.weights is not None
    return found.weights


def all_sites(space: SearchSpace) -> Architecture:
    return space.canonical({group.name: SESpec(4) for group in space.groups})


# What fits.


def test_a_file_of_the_plain_network_fits(identity: SearchSpace, trained: dict[str, Tensor], tmp_path: Path) -> None:
    save_file(trained, tmp_path / "w.safetensors")
    origin = find_origin(identity, str(tmp_path / "w.safetensors"))
    assert (origin.fresh, origin.left_out, origin.digest) == ((), 0, digest(trained))
    assert all(value.equal(trained[name]) for name, value in origin.weights.items())


def test_what_does_not_fit_is_named(identity: SearchSpace, trained: dict[str, Tensor], tmp_path: Path) -> None:
    wrong = dict(trained)
    del wrong["layer1.0.conv1.weight"]
    wrong["layer2.0.conv1.weight"] = torch.zeros(3, 3)
    wrong["something.else"] = torch.zeros(2)
    save_file(wrong, tmp_path / "w.safetensors")
    with pytest.raises(InputError) as error:
        find_origin(identity, str(tmp_path / "w.safetensors"))
    text = str(error.value)
    assert "do not fit resnet8" in text and "missing: layer1.0.conv1.weight [16, 16, 3, 3]" in text
    assert "not of the backbone: something.else [2]" in text
    assert "of another shape: layer2.0.conv1.weight [3, 3], the backbone's [32, 16, 3, 3]" in text
    with pytest.raises(InputError, match="there is no file"):
        find_origin(identity, str(tmp_path / "none.safetensors"))
    (tmp_path / "text.safetensors").write_text("no tensors")
    with pytest.raises(InputError, match="is no safetensors file"):
        find_origin(identity, str(tmp_path / "text.safetensors"))
    with pytest.raises(InputError, match="resnet8 brings no trained weights"):
        find_origin(identity, "trained")


def test_a_module_brings_its_own(identity: SearchSpace) -> None:
    network = identity.build_backbone()
    space = SearchSpace(network, (1, 8, 8), reduction=[4], init="identity")
    origin = find_origin(space, "trained")
    assert all(value.equal(network.state_dict()[name]) for name, value in origin.weights.items())


def test_torchvision_weights_fit_a_network_of_other_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real way from torchvision's cache: a file of its name, with a network's tensors."""
    import torchvision

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    network = torchvision.models.shufflenet_v2_x0_5()
    name = torchvision.models.ShuffleNet_V2_X0_5_Weights.DEFAULT.url.rpartition("/")[2]
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    torch.save(network.state_dict(), tmp_path / "hub/checkpoints" / name)
    space = SearchSpace("torchvision:shufflenet_v2_x0_5", (3, 32, 32), reduction=[4], backbone_args={"num_classes": 7}, init="identity")
    origin = find_origin(space, "trained")
    assert origin.fresh == ("fc",) and origin.weights["fc.weight"].shape == (7, 1024)
    assert origin.weights["conv1.0.weight"].equal(network.state_dict()["conv1.0.weight"])
    assert find_normalisation("auto", space, "trained") == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_timm_weights_and_own_se_blocks(tmp_path: Path) -> None:
    timm = pytest.importorskip("timm")
    network = timm.create_model("mobilenetv3_small_050")
    torch.save(network.state_dict(), tmp_path / "w.pth")
    arguments = {"num_classes": 10, "pretrained_cfg_overlay": {"file": str(tmp_path / "w.pth")}}
    space = SearchSpace("timm:mobilenetv3_small_050", (3, 32, 32), reduction=[4], backbone_args=arguments, init="identity")
    origin = find_origin(space, "trained")
    assert origin.fresh == ("classifier",) and origin.left_out > 0
    assert origin.weights["conv_stem.weight"].equal(network.state_dict()["conv_stem.weight"])
    assert find_normalisation("auto", space, "trained") == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    missing = SearchSpace(
        "timm:mobilenetv3_small_050",
        (3, 32, 32),
        reduction=[4],
        backbone_args={"pretrained_cfg_overlay": {"file": str(tmp_path / "none.pth")}},
    )
    with pytest.raises(InputError, match=r"the trained weights of timm:mobilenetv3_small_050 cannot be had"):
        find_origin(missing, "trained")


# At the start, and what trains.


def test_every_architecture_first_computes_what_the_plain_network_does(identity: SearchSpace, trained: dict[str, Tensor]) -> None:
    images = torch.rand(8, 1, 8, 8)
    plain, full = identity.build(identity.reference("plain")), identity.build(all_sites(identity))
    for network in (plain, full):
        load_start(network, trained)
        network.eval()
    assert len(attached_blocks(full)) == 3
    assert plain(images).equal(full(images))


def test_parts_are_told_apart(identity: SearchSpace) -> None:
    network = identity.build(all_sites(identity))
    parts = parts_of(network, 10)
    assert sum(map(len, parts.values())) == len(list(network.parameters()))
    assert len(parts["se"]) == 3 * 3 and {tuple(p.shape) for p in parts["head"]} == {(10, 64), (10,)}
    head = find_head(network, 10)
    assert head is not None and head[0] == "fc"


def changed(evaluator: TrainingEvaluator, architecture: Architecture) -> dict[str, bool]:
    """Part -> whether a training of one epoch changed any of it."""
    assert evaluator.start is not None
    found = evaluator(architecture, 0, {"epochs": 1}, "cpu", quiet).weights
    assert found is not None
    moved = {name: not value.equal(found[name]) for name, value in evaluator.start.items()}
    se = [name for name in found if name not in evaluator.start]
    return {
        "se": any(bool(found[name].any()) for name in se if name.endswith("strength")),
        "head": any(moved[name] for name in moved if name.startswith("fc.")),
        "backbone": any(moved[name] for name in moved if not name.startswith("fc.")),
    }


def test_statistics_of_batch_norms_stay_and_their_weights_train(identity: SearchSpace, trained: dict[str, Tensor], few: Data) -> None:
    found = {
        freeze: TrainingEvaluator(identity, few, TrainSettings(freeze=freeze), start=trained)(
            identity.reference("plain"), 0, {"epochs": 1}, "cpu", quiet
        ).weights
        for freeze in ("none", "statistics")
    }
    same = {freeze: {name for name, value in (weights or {}).items() if value.equal(trained[name])} for freeze, weights in found.items()}
    statistics = {name for name in trained if "running" in name or name.endswith("num_batches_tracked")}
    assert same == {"none": set(), "statistics": statistics}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"freeze": "none"}, {"se": True, "head": True, "backbone": True}),
        ({}, {"se": True, "head": True, "backbone": False}),
        ({"freeze": "statistics"}, {"se": True, "head": True, "backbone": True}),
        ({"lr_backbone": 0.01}, {"se": True, "head": True, "backbone": True}),
        ({"freeze": "backbone"}, {"se": True, "head": True, "backbone": False}),
        ({"freeze": "backbone", "lr_head": 0.0}, {"se": True, "head": False, "backbone": False}),
        ({"freeze": "backbone", "lr_se": 0.0}, {"se": False, "head": True, "backbone": False}),
    ],
)
def test_only_what_is_to_train_changes(
    identity: SearchSpace, trained: dict[str, Tensor], few: Data, settings: dict[str, Any], expected: dict[str, bool]
) -> None:
    evaluator = TrainingEvaluator(identity, few, TrainSettings(**settings), start=trained)
    assert changed(evaluator, all_sites(identity)) == expected
    # plain trains on just the same: what a candidate gains is of its SE blocks
    assert changed(evaluator, identity.reference("plain")) == {**expected, "se": False}


def test_a_frozen_network_keeps_its_batch_norms(identity: SearchSpace, trained: dict[str, Tensor], few: Data) -> None:
    frozen = TrainingEvaluator(identity, few, TrainSettings(freeze="backbone", lr_head=0.0), start=trained)
    found = frozen(identity.reference("plain"), 0, {"epochs": 2}, "cpu", quiet)
    assert found.weights is not None and all(value.equal(found.weights[name]) for name, value in trained.items())
    measured = frozen.measure(trained, "cpu")
    assert measured == {name: found.metrics[name] for name in ("accuracy", "loss")}


def test_rates(identity: SearchSpace, trained: dict[str, Tensor], few: Data) -> None:
    assert TrainSettings().rates(started=False) == {"se": 1.0, "head": 1.0, "backbone": 1.0}
    assert TrainSettings().rates(started=True)["backbone"] == 0 < TrainSettings().whole.rates(started=True)["backbone"] < 1
    assert TrainSettings().frozen(started=True) == "backbone" and TrainSettings().frozen(started=False) == "none"
    frozen = TrainSettings(freeze="backbone")
    assert frozen.rates(started=True) == TrainSettings().rates(started=True) != TrainSettings().whole.rates(started=True)
    assert TrainSettings(freeze="backbone", lr_backbone=0.5).rates(started=True)["backbone"] == 0
    assert TrainSettings(lr_backbone=0.5).frozen(started=True) == TrainSettings().whole.freeze == "statistics"
    assert TrainSettings(freeze="backbone").whole.freeze == "backbone"
    assert TrainSettings(lr_backbone=0.5).rates(started=True)["backbone"] == 0.5
    with pytest.raises(InputError, match=r"train.freeze: nothing is left to train"):
        TrainSettings(freeze="backbone", lr_se=0.0, lr_head=0.0)
    small, large = (
        TrainingEvaluator(identity, few, TrainSettings(lr_backbone=rate), start=trained)(
            identity.reference("plain"), 0, {"epochs": 1}, "cpu", quiet
        ).weights
        for rate in (1e-4, 1.0)
    )
    assert small is not None and large is not None
    key = "layer1.0.conv1.weight"
    assert 0 < (small[key] - trained[key]).norm() < 0.01 * (large[key] - trained[key]).norm()


def test_a_start_goes_on_after_a_break_with_the_same_result(
    identity: SearchSpace, trained: dict[str, Tensor], few: Data, tmp_path: Path
) -> None:
    evaluator = TrainingEvaluator(identity, few, TrainSettings(average=True), start=trained)
    whole = evaluator(all_sites(identity), 1, {"epochs": 3}, "cpu", quiet)

    def stop(epoch: int, *_: Any) -> None:
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluator(all_sites(identity), 1, {"epochs": 3}, "cpu", stop, tmp_path / "part.pt")
    rest = evaluator(all_sites(identity), 1, {"epochs": 3}, "cpu", quiet, tmp_path / "part.pt")
    assert rest.metrics == whole.metrics


def test_averaged_weights_are_the_mean_of_the_second_half(identity: SearchSpace, few: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    settings = TrainSettings(average=True, schedule="constant", batch_size=64)
    step = torch.optim.SGD.step

    def spy(self: torch.optim.SGD, *arguments: Any) -> Any:
        done = step(self, *arguments)
        seen.append(next(p for group in self.param_groups for p in group["params"] if p.shape == (16, 1, 3, 3)).detach().clone())
        return done

    monkeypatch.setattr(torch.optim.SGD, "step", spy)
    found = TrainingEvaluator(identity, few, settings)(identity.reference("plain"), 0, {"epochs": 2}, "cpu", quiet).weights
    assert found is not None and len(seen) == 8
    torch.testing.assert_close(found["conv1.weight"], torch.stack(seen[4:]).mean(0))


# A new head.


def test_a_fitted_head_is_the_best_one(identity: SearchSpace, trained: dict[str, Tensor], few: Data) -> None:
    """At the optimum of a convex loss its gradient is 0; and it classifies as well as the head that was trained with the rest."""
    network = identity.build(identity.reference("plain"))
    load_start(network, trained)
    settings = TrainSettings(weight_decay=0.0, label_smoothing=0.1)
    fitted = fit_head(network, "fc", few, settings, CPU)
    assert fitted == {key: value for key, value in fitted.items() if key in ("fc.weight", "fc.bias")}
    layer = network.get_submodule("fc")
    assert isinstance(layer, nn.Linear)
    inputs, labels = features(network, layer, few, 128, CPU)
    layer.load_state_dict({"weight": fitted["fc.weight"], "bias": fitted["fc.bias"]})
    loss = torch.nn.functional.cross_entropy(layer(inputs), labels, label_smoothing=0.1)
    loss.backward()  # type: ignore[no-untyped-call]
    assert layer.weight.grad is not None and float(layer.weight.grad.abs().max()) < 2e-3
    again = TrainingEvaluator(identity, few).measure({**trained, **fitted}, "cpu")
    assert again["accuracy"] > TrainingEvaluator(identity, few).measure(trained, "cpu")["accuracy"] - 0.05


def test_only_a_linear_head_can_be_fitted(few: Data) -> None:
    network = nn.Sequential(nn.Conv2d(1, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(InputError, match="the head 0 is a Conv2d"):
        fit_head(network, "0", few, TrainSettings(), CPU)


# Normalisation.


@pytest.fixture
def rgb() -> Iterator[SearchSpace]:
    yield SearchSpace("resnet8", (3, 8, 8), reduction=[4])


def test_normalisation(rgb: SearchSpace, tmp_path: Path) -> None:
    assert find_normalisation("auto", rgb, "scratch") is None and find_normalisation("data", rgb, "trained") is None
    assert find_normalisation("half", rgb, "scratch") == ((0.5,) * 3, (0.5,) * 3)
    assert find_normalisation("0.1,0.2,0.3/1,1,2", rgb, "trained") == ((0.1, 0.2, 0.3), (1, 1, 2))
    file = str(tmp_path / "w.safetensors")
    save_file({"a": torch.zeros(1)}, file)
    with pytest.raises(InputError, match=r"normalise: how images were normalised for .*w.safetensors is not known; say it by --normalise"):
        find_normalisation("auto", rgb, file)
    save_file({"a": torch.zeros(1)}, file, {"mean": "[0.1, 0.2, 0.3]", "std": "[1, 1, 1]"})
    assert find_normalisation("auto", rgb, file) == ((0.1, 0.2, 0.3), (1.0, 1.0, 1.0))
    for bad in ("nonsense", "1,2,3", "0,0,0/1,1,0", "0.5/0.5"):
        with pytest.raises(InputError, match="normalise: "):
            find_normalisation(bad, rgb, "scratch")


@pytest.mark.gpu
@pytest.mark.parametrize("freeze", ["none", "statistics", "backbone"])
def test_starts_on_cuda(identity: SearchSpace, trained: dict[str, Tensor], few: Data, freeze: str) -> None:
    evaluator = TrainingEvaluator(identity, few, TrainSettings(freeze=freeze, amp=False, average=True), start=trained)
    here, there = evaluator.measure(trained, "cpu"), evaluator.measure(trained, "cuda")
    assert there["loss"] == pytest.approx(here["loss"], rel=1e-3)
    one, two = (evaluator(all_sites(identity), 0, {"epochs": 2}, "cuda", quiet) for _ in range(2))
    assert one.metrics == two.metrics


@pytest.mark.gpu
def test_heads_are_fitted_on_cuda(identity: SearchSpace, trained: dict[str, Tensor], few: Data) -> None:
    network = identity.build(identity.reference("plain"))
    load_start(network, trained)
    device = find_device("cuda")
    fitted = fit_head(network.to(device), "fc", few, TrainSettings(), device)
    assert TrainingEvaluator(identity, few).measure({**trained, **fitted}, "cuda")["accuracy"] > 0.5
