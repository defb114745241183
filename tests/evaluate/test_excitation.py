"""Gates are measured as the blocks compute them, and what follows from them holds for the network."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import digits_space
from torch import Tensor, nn
from torchvision.ops import SqueezeExcitation

import se_nas
from se_nas.api import export_trial
from se_nas.cli import main
from se_nas.errors import InputError
from se_nas.evaluate.batches import eval_batches
from se_nas.evaluate.data import load_data
from se_nas.evaluate.excitation import find_blocks
from se_nas.evaluate.explanation import Explanation
from se_nas.evaluate.training import TrainingEvaluator
from se_nas.report.excitation import explanation_sentences
from se_nas.report.html import write_report
from se_nas.run.run import Run
from se_nas.se.block import SEBlock
from se_nas.se.spec import SESpec
from se_nas.space.space import SearchSpace

IMAGES, LABELS = torch.rand(60, 1, 8, 8), torch.arange(60) % 3


class Tiny(nn.Module):
    """A convolution, SE, and scores of three classes."""

    def __init__(self, se: nn.Module) -> None:
        super().__init__()
        self.conv, self.se, self.fc = nn.Conv2d(1, 8, 3, padding=1), se, nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(torch.relu(self.se(self.conv(x))).mean((2, 3)))


@pytest.mark.parametrize("squeeze", ["avg", "max", "std"])
@pytest.mark.parametrize("init", ["default", "identity"])
def test_gates_are_those_that_the_block_computes(squeeze: str, init: str) -> None:
    network = Tiny(SEBlock(8, 2, squeeze, "tanh", init=init)).train()
    if init == "identity":
        network.se.strength.data.fill_(0.7)
    with torch.no_grad():
        x = network.conv(IMAGES)
        gates = torch.tanh(network.se.fc2(torch.relu(network.se.fc1(network.se.squeeze(x)))))
        gates = 1 + 0.7 * (gates - 1) if init == "identity" else gates
    (block,) = se_nas.explain(network, (IMAGES, LABELS), classes=["a", "b", "c"]).blocks
    assert block.block == "se" and network.training and not network.se._forward_hooks
    assert block.gates == pytest.approx(gates.mean(0).tolist(), abs=1e-5)
    assert block.deviations == pytest.approx(gates.std(0, correction=0).tolist(), abs=1e-5)
    assert block.by_class["b"] == pytest.approx(gates[LABELS == 1].mean(0).tolist(), abs=1e-5)
    assert block.within["c"] == pytest.approx(gates[LABELS == 2].std(0, correction=0).tolist(), abs=1e-5)
    assert block.passed == pytest.approx(((x * gates[:, :, None, None]) ** 2).mean((0, 2, 3)).sqrt().tolist(), rel=1e-4)
    assert 0 <= block.near_one <= 1 and block.between >= 0


@pytest.mark.parametrize("se", [SqueezeExcitation(8, 2), SEBlock(8, 2, "none"), SEBlock(8, 2, gate="hard-sigmoid", bias=True)])
def test_blocks_of_other_spellings(se: nn.Module) -> None:
    found = se_nas.explain(Tiny(se), [(IMAGES[:40], LABELS[:40]), (IMAGES[40:], LABELS[40:])], images=50)
    assert found.images == 50 and [len(block.gates) for block in found.blocks] == [8]
    assert all(0 <= gate <= 1 for gate in found.blocks[0].gates)


def test_a_saturated_block_can_go_and_a_constant_one_be_fixed() -> None:
    network = Tiny(SEBlock(8, 2, bias=True))
    network.se.fc2.weight.data.zero_()
    for bias, near, without in ((20.0, 1.0, True), (-9.0, 0.0, False)):
        network.se.fc2.bias.data.fill_(bias)
        with torch.no_grad():  # labels are what the network says with its gates
            labels = network(IMAGES).argmax(1)
            network.fc.bias.data -= network(IMAGES).mean(0)  # so that it says more than one class
            labels = network(IMAGES).argmax(1)
        found = se_nas.explain(network, (IMAGES, labels))
        (block,) = found.blocks
        assert (block.near_one, found.accuracy) == (near, 1.0) and block.fixed.harmless and block.fixed.accuracy == 0
        assert block.without.harmless == without
        said = " ".join(explanation_sentences(found))
        assert ("Can go: se" in said, "Saturated near 1" in said, "Constant will do: se" in said) == (without, without, not without)
        again = Explanation.from_json(json.loads(json.dumps(found.to_json())))
        assert again.blocks[0].without.harmless == without and again.blocks[0].gates == pytest.approx(block.gates, abs=1e-5)


def test_what_cannot_be_explained_is_said() -> None:
    with pytest.raises(InputError, match="no SE block found in Tiny"):
        se_nas.explain(Tiny(nn.Identity()), (IMAGES, LABELS))
    with pytest.raises(InputError, match="there are no images"):
        se_nas.explain(Tiny(SEBlock(8, 2)), [])
    with pytest.raises(InputError, match="is not a number of images"):
        se_nas.explain(Tiny(SEBlock(8, 2)), (IMAGES, LABELS), images=0)


def test_an_explained_trial_is_in_report_and_export(finished_run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(finished_run.path, tmp_path / "run")
    run = Run.open(tmp_path / "run")
    assert main(["explain", str(run.path), "--trial", "1", "--images", "100"]) == 0
    told = capsys.readouterr().out
    assert "layer1.0.se" in told and "100 validation images" in told and max(map(len, told.splitlines()[:-1])) <= 80
    assert main(["explain", str(run.path), "--trial", "1", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["blocks"]) == ["layer1.0.se", "layer2.0.se", "layer3.0.se"]
    page = write_report(run).read_text()
    assert "What the SE blocks of trial 1 do" in page and page.count('class="mean"') == 3
    made = export_trial(run, "1", tmp_path / "net", prove=False)
    channels = json.loads((tmp_path / "net" / "channels.json").read_text())
    assert made[0].path.parent / "channels.json" in made[0].files
    assert [len(block["importance"]) for block in channels["blocks"].values()] == [16, 32, 64]
    assert "channels.json" in (tmp_path / "net" / "README.md").read_text()

    assert main(["explain", str(run.path), "--trial", "0"]) == 2
    assert "trial 0 has no SE block" in capsys.readouterr().err
    (run.path / "explained" / "00001.json").write_text('{"images": 3}')
    assert main(["report", str(run.path)]) == 2
    assert "00001.json: is no explanation of a network" in capsys.readouterr().err


def test_an_exported_network_is_explained_like_the_searched_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    space = digits_space()
    network = space.build(space.reference("paper")).eval()
    se_nas.export(space, space.reference("paper"), tmp_path / "alone.py", weights=network.state_dict(), prove=False)
    names: dict[str, object] = {}
    exec((tmp_path / "alone.py").read_text(), names)
    alone = names["build"]()  # type: ignore[operator]
    alone.load_state_dict(network.state_dict())
    images, labels = torch.rand(20, 1, 8, 8), torch.arange(20) % 10
    ours, theirs = (se_nas.explain(each, (images, labels)) for each in (network, alone))
    for one, other in zip(ours.blocks, theirs.blocks, strict=True):
        assert one.block == other.block and one.gates == pytest.approx(other.gates, abs=1e-5)


@pytest.mark.slow
def test_channels_that_matter_least_are_pruned_at_less_loss_than_random_ones() -> None:
    """On a trained network, a quarter of the channels of every block is set to 0."""
    space = SearchSpace.from_yaml("search_spaces/cued_resnet8.yaml")
    data = load_data("cued-digits", space.input_size)
    architecture = space.canonical({group.name: SESpec(2) for group in space.groups})
    trained = TrainingEvaluator(space, data, threads=1)(architecture, 0, {"epochs": 8}, "cpu", lambda *_: None)
    assert trained.weights is not None
    network = space.build(architecture)
    network.load_state_dict(trained.weights)
    batches = list(eval_batches(data, data.val, 200, torch.device("cpu")))
    found = se_nas.explain(network, batches[:2])
    modules = find_blocks(network.eval(), batches[0][0][:1])

    def accuracy_without(chosen: dict[str, np.ndarray]) -> float:
        """On images that importance was not measured on."""
        handles = []
        for name, channels in chosen.items():
            kept = torch.ones(len(channels))
            kept[torch.from_numpy(np.argsort(channels)[: len(channels) // 4].copy())] = 0
            handles.append(modules[name].register_forward_hook(lambda _, inputs, output, kept=kept: output * kept[:, None, None]))
        with torch.inference_mode():
            right = [(network(images).argmax(1) == labels).float().mean().item() for images, labels in batches[2:]]
        for handle in handles:
            handle.remove()
        return float(np.mean(right))

    least = accuracy_without({block.block: np.array(block.importance) for block in found.blocks})
    rng = np.random.default_rng(0)
    random = [accuracy_without({block.block: rng.random(len(block.gates)) for block in found.blocks}) for _ in range(20)]
    assert least > np.mean(random) + 0.05 and least >= np.quantile(random, 0.8)
