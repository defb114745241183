from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from se_nas.errors import InputError, OutOfMemory, TrialFailed
from se_nas.evaluate import Evaluation, Evaluator
from se_nas.evaluate.batches import train_batches
from se_nas.evaluate.data import Data, Files, Split, load_data
from se_nas.evaluate.device import find_device
from se_nas.evaluate.training import TrainingEvaluator, TrainSettings
from se_nas.space.space import SearchSpace

ONE = {"epochs": 1}


def quiet(epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
    pass


@pytest.fixture(scope="module")
def few(digits: Data) -> Data:
    """256 training images, so that an epoch costs little."""
    return replace(digits, train=digits.train.take(torch.arange(256)))


def run(space: SearchSpace, data: Data, seed: int = 0, epochs: int = 1, name: str = "paper", **settings: Any) -> Evaluation:
    evaluator: Evaluator = TrainingEvaluator(space, data, TrainSettings(**settings))
    return evaluator(space.reference(name), seed, {"epochs": epochs}, "cpu", quiet)


def test_learns_the_digits(resnet8: SearchSpace, digits: Data) -> None:
    told: list[tuple[int, int, Mapping[str, float]]] = []
    evaluator = TrainingEvaluator(resnet8, digits)
    found = evaluator(resnet8.reference("plain"), 0, {"epochs": 3}, "cpu", lambda *progress: told.append(progress))
    assert set(found.metrics) == {"accuracy", "loss", "train_loss"} and found.metrics["accuracy"] > 0.95
    assert [(epoch, epochs) for epoch, epochs, _ in told] == [(1, 3), (2, 3), (3, 3)]
    assert told[-1][2] == {"loss": found.metrics["train_loss"], "accuracy": found.metrics["accuracy"]}
    assert found.weights is not None
    scores = evaluator.score(resnet8.reference("plain"), found.weights, "cpu")
    assert set(scores) == {"test_accuracy", "test_loss"} and scores["test_accuracy"] > 0.94


def test_same_seed_same_bits(resnet8: SearchSpace, few: Data) -> None:
    one, two, other = run(resnet8, few), run(resnet8, few), run(resnet8, few, seed=1)
    assert one.metrics == two.metrics != other.metrics
    assert one.weights is not None and two.weights is not None
    assert all(value.equal(two.weights[name]) for name, value in one.weights.items())


def test_weights_are_those_of_the_architecture(resnet8: SearchSpace, few: Data) -> None:
    weights = run(resnet8, few).weights
    assert weights is not None
    resnet8.build(resnet8.reference("paper")).load_state_dict(weights, strict=True)
    assert all(value.device.type == "cpu" and value.is_contiguous() and not value.requires_grad for value in weights.values())


def test_random_numbers_and_settings_are_as_before(resnet8: SearchSpace, few: Data) -> None:
    cudnn = torch.backends.cudnn
    state, flags = torch.get_rng_state(), (cudnn.deterministic, cudnn.benchmark)
    run(resnet8, few)
    with pytest.raises(TrialFailed):
        run(resnet8, few, lr=1e6)
    assert state.equal(torch.get_rng_state()) and flags == (cudnn.deterministic, cudnn.benchmark)
    assert torch.is_grad_enabled() and not torch.is_autocast_enabled("cpu")


def test_every_architecture_sees_the_same_images(resnet8: SearchSpace, few: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[int]] = []

    def spy(*arguments: Any) -> Any:
        for images, labels in train_batches(*arguments):
            seen[-1] += labels.tolist()
            yield images, labels

    monkeypatch.setattr("se_nas.evaluate.training.train_batches", spy)
    for name in ("plain", "paper"):
        seen.append([])
        run(resnet8, few, name=name)
    assert seen[0] == seen[1]


def test_divergence_fails_the_trial(resnet8: SearchSpace, few: Data) -> None:
    with pytest.raises(TrialFailed, match=r"loss is (nan|inf) in epoch \d"):
        run(resnet8, few, epochs=3, lr=1e6)


def test_out_of_memory_fails_the_trial(resnet8: SearchSpace, few: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB. GPU 0 has a total capacity of ...")

    monkeypatch.setattr(TrainingEvaluator, "_train", full)
    with pytest.raises(TrialFailed, match=r"^CUDA out of memory \(batch size 32\)$"):
        run(resnet8, few, batch_size=32)


def test_what_report_raises_ends_the_trial(resnet8: SearchSpace, few: Data) -> None:
    def stop(epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        TrainingEvaluator(resnet8, few)(resnet8.reference("plain"), 0, ONE, "cpu", stop)


class Untouchable:
    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"the test split was asked for {name}")

    def __len__(self) -> int:
        raise AssertionError("the test split was asked for its length")


def test_a_trial_never_looks_at_the_test_split(resnet8: SearchSpace, few: Data) -> None:
    evaluator = TrainingEvaluator(resnet8, replace(few, test=Untouchable()))  # type: ignore[arg-type]
    found = evaluator(resnet8.reference("plain"), 0, ONE, "cpu", quiet)
    assert found.weights is not None
    with pytest.raises(AssertionError, match="the test split was asked"):
        evaluator.score(resnet8.reference("plain"), found.weights, "cpu")


def test_score_needs_a_test_split_and_the_right_weights(resnet8: SearchSpace, few: Data) -> None:
    weights = run(resnet8, few).weights
    assert weights is not None
    state = torch.get_rng_state()
    with pytest.raises(InputError, match="data: digits has no test split"):
        TrainingEvaluator(resnet8, replace(few, test=None)).score(resnet8.reference("paper"), weights, "cpu")
    with pytest.raises(InputError, match="weights: not the weights of"):
        TrainingEvaluator(resnet8, few).score(resnet8.reference("plain"), weights, "cpu")
    assert state.equal(torch.get_rng_state())


def test_data_must_fit_the_network(resnet8: SearchSpace, few: Data) -> None:
    with pytest.raises(InputError, match=r"data: digits has 3 classes and the network 10 outputs; set backbone_args: {num_classes: 3}"):
        TrainingEvaluator(resnet8, replace(few, classes=("a", "b", "c")))
    with pytest.raises(InputError, match=r"data: digits has size \(3, 8, 8\) and the network \(1, 8, 8\)"):
        TrainingEvaluator(resnet8, load_data("digits", (3, 8, 8)))


@pytest.mark.parametrize("name", ["gpu", "mps", "meta", "", "cuda:99", "cuda:x"])
def test_bad_devices(resnet8: SearchSpace, few: Data, name: str) -> None:
    with pytest.raises(InputError, match="device: "):
        TrainingEvaluator(resnet8, few)(resnet8.reference("plain"), 0, ONE, name, quiet)
    assert find_device("cpu").type == "cpu"


@pytest.mark.parametrize("fidelity", [{}, {"epochs": 0}, {"epochs": 1.5}])
def test_bad_fidelity(resnet8: SearchSpace, few: Data, fidelity: Any) -> None:
    with pytest.raises(InputError, match="epochs: "):
        TrainingEvaluator(resnet8, few)(resnet8.reference("plain"), 0, fidelity, "cpu", quiet)


def test_trains_on_streamed_files(pictures: Callable[[str, int], Path]) -> None:
    root = pictures("a", 12)
    pictures("b", 12)
    data = load_data(f"folder:{root}", (3, 8, 8), memory=0)
    assert isinstance(data.train, Files)
    space = SearchSpace("resnet8", (3, 8, 8), backbone_args={"num_classes": 2})
    one, two = run(space, data, batch_size=8), run(space, data, batch_size=8)
    assert one.metrics == two.metrics and one.weights is not None
    assert 0 <= TrainingEvaluator(space, data).score(space.reference("paper"), one.weights, "cpu")["test_accuracy"] <= 1


@pytest.mark.gpu
@pytest.mark.parametrize("amp", [True, False])
def test_cuda(resnet8: SearchSpace, few: Data, amp: bool) -> None:
    evaluator = TrainingEvaluator(resnet8, few, TrainSettings(amp=amp))
    state = torch.cuda.get_rng_state(0)
    one, two = (evaluator(resnet8.reference("paper"), 0, {"epochs": 3}, "cuda", quiet) for _ in range(2))
    assert one.metrics == two.metrics and state.equal(torch.cuda.get_rng_state(0))
    assert one.weights is not None and all(value.device.type == "cpu" and value.is_contiguous() for value in one.weights.values())
    on_gpu, on_cpu = (evaluator.score(resnet8.reference("paper"), one.weights, device) for device in ("cuda:0", "cpu"))
    assert on_gpu["test_accuracy"] == pytest.approx(on_cpu["test_accuracy"], abs=0.02)


@pytest.mark.gpu
def test_what_does_not_fit_fails_and_the_next_one_trains(resnet8: SearchSpace, few: Data) -> None:
    pixels, labels = torch.zeros(256, 1, 64, 64, dtype=torch.uint8), torch.arange(256) % 10
    large = replace(few, train=Split(pixels, labels), val=Split(pixels, labels))
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(64 * 2**20 / torch.cuda.get_device_properties(0).total_memory)  # one layer takes as much
    try:
        with pytest.raises(OutOfMemory, match=r"out of memory.*\(batch size 256\)"):
            TrainingEvaluator(resnet8, large, TrainSettings(batch_size=256, amp=False))(resnet8.reference("paper"), 0, ONE, "cuda", quiet)
        assert torch.cuda.memory_allocated() < 64 * 2**20
        TrainingEvaluator(resnet8, few, TrainSettings(batch_size=16, amp=False))(resnet8.reference("paper"), 0, ONE, "cuda", quiet)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)


class WithAuxiliary(torch.nn.Module):
    """Returns (scores, auxiliary scores) in training and scores in evaluation, as torchvision's GoogLeNet does."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Sequential(torch.nn.Conv2d(1, 16, 3, 1, 1), torch.nn.BatchNorm2d(16), torch.nn.ReLU())
        self.head, self.auxiliary = torch.nn.Linear(16, 10), torch.nn.Linear(16, 10)

    def forward(self, x: torch.Tensor) -> Any:
        pooled = self.conv(x).mean((2, 3))
        return (self.head(pooled), self.auxiliary(pooled)) if self.training else self.head(pooled)


def test_networks_with_auxiliary_classifiers_train(few: Data) -> None:
    space = SearchSpace(WithAuxiliary(), (1, 8, 8), reduction=[4])
    assert run(space, few, epochs=2).metrics["loss"] < 2.31  # better than guessing among ten


def test_threads_are_set_for_the_trial_alone(resnet8: SearchSpace, few: Data) -> None:
    before, seen = torch.get_num_threads(), []
    TrainingEvaluator(resnet8, few, threads=2)(resnet8.reference("plain"), 0, ONE, "cpu", lambda *_: seen.append(torch.get_num_threads()))
    assert (seen, torch.get_num_threads()) == ([2], before)
    assert TrainingEvaluator(resnet8, few).threads == 1
