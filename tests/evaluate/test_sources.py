from __future__ import annotations

import sys
import types
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from conftest import ROOT

from se_nas.errors import InputError
from se_nas.evaluate.augment import Augment
from se_nas.evaluate.data import Files, Split, load_data
from se_nas.evaluate.settings import TrainSettings
from se_nas.evaluate.training import TrainingEvaluator
from se_nas.se.spec import SESpec
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace

SIZE = (3, 4, 4)


def call(monkeypatch: pytest.MonkeyPatch, given: Any, size: tuple[int, int, int] = SIZE) -> Any:
    """Loads what a person's function returns (or raises, if it is an exception)."""

    def function() -> Any:
        if isinstance(given, Exception):
            raise given
        return given

    module = types.ModuleType("theirs")
    module.data = function  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "theirs", module)
    return load_data("theirs:data", size)


def pair(count: int = 12, dtype: torch.dtype = torch.uint8, classes: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.ones(count, *SIZE, dtype=dtype), torch.arange(count) % classes


def test_callable(monkeypatch: pytest.MonkeyPatch) -> None:
    data = call(monkeypatch, {"train": pair(), "val": pair(3), "test": pair(6)})
    assert (len(data.train), len(data.val), len(data.test)) == (12, 3, 6)
    assert data.classes == ("0", "1", "2") and data.augment == Augment() and data.mean == pytest.approx((1 / 255,) * 3)


def test_callable_with_numpy_floats_and_augmentation(monkeypatch: pytest.MonkeyPatch) -> None:
    images = np.linspace(0, 1, 12 * 48, dtype=np.float32).reshape(12, *SIZE)
    train = (images, np.arange(12, dtype=np.uint8) % 2)
    data = call(monkeypatch, {"train": train, "test": train, "augment": {"flip": True, "pad": 1}})
    assert data.test.images.flatten().tolist() == np.rint(images * 255).flatten().tolist() and data.test.labels.dtype == torch.int64
    assert data.augment == Augment(flip=True, pad=1) and len(data.val) == 2


def test_callable_with_train_alone_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    data = call(monkeypatch, {"train": pair(60)})
    assert (len(data.train), len(data.val), len(data.test)) == (48, 6, 6)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (RuntimeError("no disk"), "raised RuntimeError: no disk"),
        (pair(), "returned a tuple"),
        ({"test": pair()}, r"returned the keys \['test'\]"),
        ({"train": pair(), "dev": pair()}, "returned the keys"),
        ({"train": 3}, "train: not a pair of arrays"),
        ({"train": (pair()[0],)}, "train: not a pair of arrays"),
        ({"train": (pair()[0][0], pair()[1])}, r"images have shape \[3, 4, 4\]"),
        ({"train": (pair()[0][:0], pair()[1][:0])}, r"images have shape \[0, 3, 4, 4\]"),
        ({"train": (pair()[0], pair()[1][:5])}, r"labels have shape \[5\]"),
        ({"train": (pair()[0], pair()[1].float())}, "labels are not integers from 0"),
        ({"train": (pair()[0], pair()[1] - 1)}, "labels are not integers from 0"),
        ({"train": pair(dtype=torch.int64)}, "images are torch.int64"),
        ({"train": (pair()[0].float() * 2, pair()[1])}, "outside 0..1"),
        ({"train": (pair()[0].float() * float("nan"), pair()[1])}, "outside 0..1"),
        ({"train": pair(), "val": pair(classes=4)}, "val: label 3 is not among those of train"),
        ({"train": pair(), "augment": {"turn": 90}}, "augment: {'turn': 90} is no augmentation"),
        ({"train": pair(), "augment": {"pad": -1}}, r"Augment\(flip=False, pad=-1\) cannot be"),
        ({"train": (torch.ones(12, 2, 4, 4, dtype=torch.uint8), pair()[1])}, "2 channels and the network takes 3"),
    ],
)
def test_bad_callables(monkeypatch: pytest.MonkeyPatch, given: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        call(monkeypatch, given)
    assert str(caught.value.source).startswith("data")


def test_callable_that_is_not_there() -> None:
    with pytest.raises(InputError, match="data: cannot import"):
        load_data("no_such_module_at_all:data", SIZE)


class FakeSet:
    """As torchvision's datasets: pixels in ``data``, answers in ``targets`` or ``labels``."""

    def __init__(self, pixels: Any, answers: str, **options: Any) -> None:
        self.data = pixels
        setattr(self, answers, [0, 1] * 10)
        self.options = options


@pytest.mark.parametrize(
    ("name", "kind", "pixels", "answers", "size"),
    [
        ("cifar10", "CIFAR10", np.zeros((20, 32, 32, 3), np.uint8), "targets", (3, 32, 32)),
        ("cifar100", "CIFAR100", np.zeros((20, 32, 32, 3), np.uint8), "targets", (3, 32, 32)),
        ("mnist", "MNIST", torch.zeros(20, 28, 28, dtype=torch.uint8), "targets", (1, 28, 28)),
        ("fashion-mnist", "FashionMNIST", torch.zeros(20, 28, 28, dtype=torch.uint8), "targets", (1, 28, 28)),
        ("svhn", "SVHN", np.zeros((20, 3, 32, 32), np.uint8), "labels", (3, 32, 32)),
    ],
)
def test_torchvision(monkeypatch: pytest.MonkeyPatch, name: str, kind: str, pixels: Any, answers: str, size: tuple[int, int, int]) -> None:
    calls: list[dict[str, Any]] = []

    def make(root: str, **options: Any) -> FakeSet:
        calls.append({"root": root, **options})
        return FakeSet(pixels, answers)

    monkeypatch.setattr(f"torchvision.datasets.{kind}", make)
    data = load_data(name, size, root="there")
    assert isinstance(data.train, Split) and data.train.size == size and data.train.images.is_contiguous()
    assert data.test is not None and (len(data.train), len(data.val), len(data.test)) == (18, 2, 20)
    key, values = ("split", ("train", "test")) if name == "svhn" else ("train", (True, False))
    assert calls == [{"root": "there", "download": True, key: value} for value in values]


@pytest.mark.parametrize("error", [URLError("no network"), RuntimeError("File not found or corrupted."), FileNotFoundError("devkit")])
@pytest.mark.parametrize(("name", "kind"), [("cifar10", "CIFAR10"), ("imagenet", "ImageNet")])
def test_torchvision_without_its_files(monkeypatch: pytest.MonkeyPatch, error: Exception, name: str, kind: str) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(f"torchvision.datasets.{kind}", fail)
    with pytest.raises(InputError, match=f"data: .* is not under there.*put its files there as torchvision.datasets.{kind}"):
        load_data(name, (3, 32, 32), root="there")


def test_imagenet(monkeypatch: pytest.MonkeyPatch) -> None:
    class FakeImageNet:
        classes = (("tench", "Tinca tinca"), ("goldfish",))

        def __init__(self, root: str, split: str) -> None:
            self.samples = [(f"{root}/{split}/{i}.JPEG", i % 2) for i in range(50)]

    monkeypatch.setattr("torchvision.datasets.ImageNet", FakeImageNet)
    data = load_data("imagenet", (3, 224, 224), root="there", memory=0)
    assert isinstance(data.train, Files) and isinstance(data.test, Files) and data.test.paths[0] == "there/val/0.JPEG"
    assert data.classes == ("tench", "goldfish") and data.mean == (0.485, 0.456, 0.406)
    assert (len(data.train), len(data.val), len(data.test)) == (48, 2, 50)


def test_cued_digits() -> None:
    """The cue names the digit of the label, lies anywhere, and no digit is in two splits."""
    digits, cued = load_data("digits", (1, 8, 8)), load_data("cued-digits", (4, 8, 8))
    label_of = {
        image.numpy().tobytes(): int(label)
        for split in (digits.train, digits.val, digits.test)
        for image, label in zip(split.images[:, 0], split.labels, strict=True)
    }
    seen = []
    for split in (cued.train, cued.val, cued.test):
        second = (split.images[:, 3] > 0).flatten(1).any(1)
        assert torch.equal((split.images[:, 2] > 0).flatten(1).any(1), ~second) and 0.45 < second.double().mean() < 0.55
        assert set((split.images[:, 2:].flatten(1) > 0).sum(1).tolist()) == {4}  # two pixels high and wide
        answers = split.images[torch.arange(len(split)), second.long()]
        assert [label_of[image.numpy().tobytes()] for image in answers] == split.labels.tolist()
        seen.append({image.numpy().tobytes() for image in split.images[:, :2].flatten(0, 1)})
    assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])
    assert [len(split) for split in (cued.train, cued.val, cued.test)] == [2000, 1000, 1000]
    assert torch.equal(load_data("cued-digits", (4, 8, 8)).train.images, cued.train.images)


@pytest.mark.slow
def test_cued_digits_need_a_squeeze() -> None:
    """What `make search` rests on: over five seeds, SE gains more than twice its standard error."""
    space = SearchSpace.from_yaml(ROOT / "search_spaces/cued_resnet8.yaml")
    evaluator = TrainingEvaluator(space, load_data("cued-digits", (4, 8, 8)), TrainSettings(batch_size=32), 1)
    squeezed = space.canonical({group.name: SESpec(2, "avg") for group in space.groups})

    def accuracy(architecture: Architecture, seed: int) -> float:
        return evaluator(architecture, seed, {"epochs": 6}, "cpu", lambda *_: None).metrics["accuracy"]

    gains = np.array([accuracy(squeezed, seed) - accuracy(space.reference("plain"), seed) for seed in range(5)])
    assert gains.mean() > 2 * gains.std(ddof=1) / len(gains) ** 0.5
