"""Several networks that train as one: each is what it would be alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from conftest import digits_space
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.efficientnet import EfficientNet, MBConvConfig

import se_nas
from se_nas.errors import InputError, OutOfMemory, TrialFailed
from se_nas.evaluate import Apart, Evaluation
from se_nas.evaluate.data import Data
from se_nas.evaluate.memory import CONTEXT, how_many_fit
from se_nas.evaluate.settings import TrainSettings
from se_nas.evaluate.together import Together, same_host
from se_nas.evaluate.training import TrainingEvaluator, set_mode
from se_nas.se.block import GATES
from se_nas.space.space import SearchSpace


def short_efficientnet() -> nn.Module:
    """EfficientNet of three blocks: dropout, and blocks that are left out at random."""
    stages = [MBConvConfig(1, 3, 1, 32, 16, 1, 1, 1), MBConvConfig(6, 3, 2, 16, 24, 2, 1, 1)]
    return EfficientNet(stages, dropout=0.2, stochastic_depth_prob=0.4, num_classes=10, last_channel=64)


EVERYTHING: dict[str, Any] = {"reduction": [2, 4, 8], "squeeze": ["avg", "max", "std", "none"], "gate": ["sigmoid", "tanh"]}
SPACES = {
    "all": lambda: digits_space(**EVERYTHING, placement=["standard", "pre", "post", "identity"]),
    "identity, biases": lambda: digits_space(**EVERYTHING, init="identity", bias=True),
    "own SE": lambda: SearchSpace("torchvision:mobilenet_v3_small", (3, 32, 32), reduction=[2, 4], squeeze=["avg", "max"]),
    "efficientnet": lambda: SearchSpace("torchvision:efficientnet_b0", (3, 32, 32), reduction=[4], backbone_args={"num_classes": 10}),
    "dropout": lambda: SearchSpace(short_efficientnet, (3, 32, 32), reduction=[4]),
}
BATCH = {"own SE": (3, 32, 32), "efficientnet": (3, 32, 32), "dropout": (3, 32, 32)}


@contextmanager
def doubles() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@pytest.mark.parametrize("frozen", ["none", "statistics", "backbone"])
@pytest.mark.parametrize(
    "name", ["all", "identity, biases", "dropout", *(pytest.param(name, marks=pytest.mark.slow) for name in ("own SE", "efficientnet"))]
)
def test_it_computes_and_learns_what_each_does_alone(name: str, frozen: str) -> None:
    space = SPACES[name]()
    with doubles():
        _compare(space, BATCH.get(name, (1, 8, 8)), frozen)


def _compare(space: SearchSpace, size: tuple[int, ...], frozen: str) -> None:
    architectures = [space.reference("plain"), space.dearest(), *(space.sample(seed) for seed in range(3))]
    batches = [(torch.randn(6, *size), torch.randint(10, (6,))) for _ in range(3)]
    start = space.build(space.reference("plain")).state_dict() if frozen != "none" else None
    torch.manual_seed(5)
    together = Together(space, architectures, start, frozen, torch.device("cpu"))
    _freeze(together.module, frozen)
    instead = together.split()
    trained = [instead.get(p, p) for p in together.module.parameters() if p.requires_grad]
    expected: list[tuple[list[Tensor], dict[str, Tensor]]] = []
    after = torch.get_rng_state()
    for architecture in architectures:
        torch.manual_seed(5)
        network = space.build(architecture)
        if start is not None:
            network.load_state_dict(start, strict=False)
        _freeze(network, frozen)
        assert torch.equal(torch.get_rng_state(), after)  # the masks of dropout that follow are the same
        scores = _train(lambda x, network=network: network(x)[None], network, list(network.parameters()), batches, frozen)
        expected.append((scores, network.state_dict()))
    torch.set_rng_state(after)
    found = _train(together.scores, together.module, trained, batches, frozen)
    for index, (scores, state) in enumerate(expected):
        for own, all_scores in zip(scores, found, strict=True):
            torch.testing.assert_close(all_scores[index], own[0], rtol=1e-8, atol=1e-10)
        learned = together.weights(index)
        assert learned.keys() == state.keys()
        for key, tensor in state.items():
            torch.testing.assert_close(learned[key], tensor, rtol=1e-8, atol=1e-10, msg=lambda text, key=key: f"{key}: {text}")


def _freeze(network: nn.Module, frozen: str) -> None:
    if frozen == "backbone":
        for name, parameter in network.named_parameters():
            parameter.requires_grad_("se." in name or "_se" in name)


def _train(scores: Any, module: nn.Module, parameters: list[nn.Parameter], batches: Any, frozen: str) -> list[Tensor]:
    """The scores in training, (K, N, classes) of each step, and in the end in evaluation."""
    optimizer = torch.optim.SGD([p for p in parameters if p.requires_grad] or [nn.Parameter(torch.zeros(1))], 0.05, momentum=0.9)
    seen = []
    for images, labels in batches:
        set_mode(module, frozen)
        found = scores(images)
        loss = sum(F.cross_entropy(own, labels) for own in found)
        optimizer.zero_grad()
        if loss.requires_grad:  # type: ignore[union-attr]
            loss.backward()  # type: ignore[union-attr]
            optimizer.step()
        seen.append(found.detach())
    module.eval()
    with torch.inference_mode():
        return [*seen, scores(batches[0][0])]


@pytest.mark.parametrize(("device", "near"), [("cpu", 1e-3), pytest.param("cuda", 0.02, marks=pytest.mark.gpu)])
def test_the_evaluator_gives_each_its_own_metrics_and_weights(device: str, near: float, digits: Data) -> None:
    space = digits_space(backbone_args={"in_channels": 1, "width": 0.25}, squeeze=["avg", "std"])
    evaluator = TrainingEvaluator(space, digits, TrainSettings(lr=0.02, batch_size=128, amp=False), threads=1)
    architectures, told = [space.reference("plain"), space.sample(1), space.sample(2)], []
    reports = [lambda done, of, metrics, index=index: told.append((index, done, of)) for index in range(3)]
    found = evaluator.together(architectures, 7, {"epochs": 2}, device, reports)  # type: ignore[arg-type]
    assert told == [(0, 1, 2), (1, 1, 2), (2, 1, 2), (0, 2, 2), (1, 2, 2), (2, 2, 2)]
    for architecture, each in zip(architectures, found, strict=True):
        alone = evaluator(architecture, 7, {"epochs": 2}, device, lambda *_: None)
        assert isinstance(each, Evaluation) and each.weights is not None and alone.weights is not None
        assert each.metrics == pytest.approx(alone.metrics, abs=near)
        together, apart = (evaluator.score(architecture, weights, device)["test_loss"] for weights in (each.weights, alone.weights))
        assert together == pytest.approx(apart, abs=near)


def nothing_gate(x: Tensor) -> Tensor:
    return x * float("nan")


def test_what_fails_fails_alone(digits: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GATES, "nothing", nothing_gate)
    space = digits_space(gate=["sigmoid", "nothing"], allow_none=True, share="network")
    broken, sound = (next(a for a in space.enumerate() if "nothing" in str(a)), space.reference("plain"))
    evaluator = TrainingEvaluator(space, digits, TrainSettings(batch_size=256), threads=1)
    first, second = evaluator.together([broken, sound], 0, {"epochs": 1}, "cpu", [lambda *_: None] * 2)
    assert isinstance(first, TrialFailed) and "loss is nan in epoch 1" in str(first)
    assert isinstance(second, Evaluation) and second.metrics["accuracy"] > 0.2


def test_a_search_takes_several_at_a_time(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, together = list[int](), TrainingEvaluator.together

    def seen(self: TrainingEvaluator, architectures: Any, *rest: Any) -> Any:
        found = together(self, architectures, *rest)
        sizes.append(len(found))
        return found

    monkeypatch.setattr(TrainingEvaluator, "together", seen)
    settings: dict[str, Any] = {"trials": 9, "epochs": 1, "strategy": "random", "train": {"batch_size": 256, "lr": 0.05}, "data": "digits"}
    space = digits_space(squeeze=["avg", "std"])
    runs = [se_nas.search(space, out=tmp_path / str(k), together=k, repeats=2, **settings) for k in (1, 4)]
    assert [(t.architecture, t.seed, t.role) for t in runs[0].trials] == [
        (t.architecture, t.seed, t.role) for t in sorted(runs[1].trials, key=lambda trial: trial.number)
    ]
    assert sizes == [2, 2, 4]  # two seeds of the references, then proposals of one seed; the last one is alone
    other = {trial.number: trial for trial in runs[1].trials}
    for trial in runs[0].trials:
        assert other[trial.number].metrics["loss"] == pytest.approx(trial.metrics["loss"], abs=0.02)


def test_less_memory_is_fewer_together_and_where_it_cannot_be_they_run_alone(tmp_path: Any) -> None:
    class Own:
        def __init__(self, most: int) -> None:
            self.most, self.asked = most, list[int]()

        def __call__(self, architecture: Any, seed: int, fidelity: Any, device: str, report: Any) -> Evaluation:
            self.asked.append(1)
            return Evaluation({"accuracy": 0.5})

        def together(self, architectures: Any, seed: int, fidelity: Any, device: str, reports: Any) -> list[Evaluation]:
            if not self.most:
                raise Apart("it cannot")
            if len(architectures) > self.most:
                raise OutOfMemory("the memory is full")
            self.asked.append(len(architectures))
            return [Evaluation({"accuracy": 0.5})] * len(architectures)

    for most, asked in ((8, [8, 2]), (2, [2] * 5), (0, [1] * 10)):
        evaluator = Own(most)
        run = se_nas.search(digits_space(), evaluator=evaluator, out=tmp_path / str(most), trials=10, together=8, strategy="random")
        assert evaluator.asked == asked and len(run.trials) == 10


class Deciding(nn.Module):
    """Its forward looks at values, which several networks at once cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.fc = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm(self.conv(x)))
        return self.fc(x.mean((2, 3)) if x.device.type == "meta" or float(x.detach().sum()) > -1 else x.amax((2, 3)))


def test_a_network_that_cannot_is_said(digits: Data, tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    space = SearchSpace(Deciding(), (1, 8, 8), reduction=[2, 4])
    evaluator = TrainingEvaluator(space, digits, TrainSettings(batch_size=512), threads=1)
    with pytest.raises(RuntimeError, match="vmap"):
        evaluator.together([space.sample(0), space.sample(1)], 0, {"epochs": 1}, "cpu", [lambda *_: None] * 2)
    run = se_nas.search(space, evaluator=evaluator, out=tmp_path / "run", trials=3, epochs=1, together=2)
    assert [trial.status for trial in run.trials] == ["complete"] * 3


def test_what_the_memory_holds() -> None:
    each = CONTEXT + 1000
    assert how_many_fit(each, 8, CONTEXT + 8000) == 8 and how_many_fit(each, 8, CONTEXT + 7999) == 4
    assert how_many_fit(each, 8, 10) == 1 and how_many_fit(each, 8, 0) == 8  # nobody says how much is free
    wide = digits_space(extra={"width": [1.0, 1.5]})
    first = next(a for a in map(wide.sample, range(99)) if dict(a.extra)["width"] == 1.0)
    second = next(a for a in map(wide.sample, range(99)) if dict(a.extra)["width"] == 1.5)
    assert same_host([first, first]) and not same_host([first, second])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"engine": "nni"}, "together: engine nni trains each trial alone; leave together out, or take engine local or ray"),
        ({"engine": "outside"}, "together: engine outside trains each trial alone"),
        (
            {"engine": "ray", "scheduler": "asha"},
            "together: scheduler asha ends single trials, and 2 that train as one network end at once; leave together out, or take",
        ),
    ],
)
def test_where_each_trains_alone_it_is_refused(tmp_path: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        se_nas.search(digits_space(), out=tmp_path / "run", together=2, **settings)
    assert not (tmp_path / "run").exists()
