"""What a frozen backbone computes is kept for later trials, and changes nothing of what they give."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, digits_space
from torch import Tensor, nn
from torch.nn import functional as F

import se_nas
from se_nas.errors import InputError
from se_nas.evaluate import Evaluation
from se_nas.evaluate.augment import Augment
from se_nas.evaluate.cached import Activations
from se_nas.evaluate.data import Data, Split
from se_nas.evaluate.kept import Kept, check_cache
from se_nas.evaluate.settings import TrainSettings
from se_nas.evaluate.students import Key
from se_nas.evaluate.training import TrainingEvaluator
from se_nas.run.evaluator import make_evaluator
from se_nas.run.observer import Observer
from se_nas.run.settings import SearchSettings
from se_nas.se.spec import SESpec
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace

BATCH = 8


class UNet(nn.Module):
    """A small one: what the first layers compute is read again by the last but one."""

    def __init__(self) -> None:
        super().__init__()
        self.down1 = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.down2 = nn.Sequential(nn.Conv2d(8, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(inplace=True))
        self.middle = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(inplace=True))
        self.up = nn.Sequential(nn.Conv2d(24, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.head = nn.Sequential(nn.Dropout(0.5), nn.Linear(8, 10))

    def forward(self, x: Tensor) -> Tensor:
        skip = self.down1(x)
        low = self.middle(self.down2(F.dropout(skip, 0.5, self.training)))
        wide = F.interpolate(low, size=skip.shape[-2:])
        scores: Tensor = self.head(self.up(torch.cat([wide, skip.to(wide.device)], 1)).mean((2, 3)))
        return scores


class Drawing(UNet):
    """Draws random numbers in evaluation, too."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.dropout(self.stem(x), 0.2, True))


class Counting(UNet):
    """Its forward pass changes a buffer that it computes with."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x * (1 + 0.01 * self.calls))


class Looking(Drawing):
    """Decides by values."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return UNet.forward(self, -x if x.device.type != "meta" and float(x.detach().sum()) > 0 else x)


PLACEMENTS = ["standard", "pre", "post", "identity"]
SPACES: dict[str, Callable[[], SearchSpace]] = {
    "resnet8": lambda: SearchSpace("resnet8", (3, 8, 8), reduction=[4], placement=PLACEMENTS),
    "resnet18": lambda: SearchSpace(
        "torchvision:resnet18", (3, 32, 32), reduction=[4], placement=PLACEMENTS, backbone_args={"num_classes": 10}
    ),
    "timm": lambda: SearchSpace("timm:resnet10t", (3, 32, 32), reduction=[4], backbone_args={"num_classes": 10}),
    "own SE": lambda: SearchSpace("torchvision:mobilenet_v3_small", (3, 32, 32), reduction=[4], backbone_args={"num_classes": 10}),
    "unet": lambda: SearchSpace(UNet, (3, 16, 16), reduction=[4]),
    "drawing": lambda: SearchSpace(Drawing, (3, 16, 16), reduction=[4], sites={"drop": ["stem*"]}),
    "looking": lambda: SearchSpace(Looking, (3, 16, 16), reduction=[4], sites={"drop": ["stem*"]}),
}


SLOW = ("own SE", "timm")


def images(size: tuple[int, ...], batches: int = 2) -> Data:
    """Random ones: with a validation split whose last batch is smaller."""
    generator = torch.Generator().manual_seed(0)

    def split(number: int) -> Split:
        pixels = torch.randint(256, (number, *size), generator=generator, dtype=torch.uint8)
        return Split(pixels, torch.randint(10, (number,), generator=generator))

    colours = (0.5,) * size[0]
    return Data("random", split(batches * BATCH), split(3 * BATCH), None, tuple("0123456789"), colours, colours, Augment(True, 1))


def only(space: SearchSpace, names: Sequence[str], placement: str = "standard") -> Architecture:
    """SE at these groups alone."""
    return space.canonical({group.name: SESpec(4, placement=placement) if group.name in names else None for group in space.groups})


def by_first_site(space: SearchSpace) -> list[Architecture]:
    """Plain, then early, late, middle, all of them, and some again: what is kept is later and earlier than what is asked."""
    names = [group.name for group in space.groups]
    alone = [only(space, [name]) for name in (names[0], names[-1], names[len(names) // 2])]
    everywhere = [only(space, names), *(only(space, [names[-1]], other) for other in space.placement if other != "standard")]
    return [space.reference("plain"), *alone, *everywhere, only(space, names[len(names) // 2 :]), space.reference("plain"), alone[1]]


def evaluator(space: SearchSpace, data: Data | None = None, cache: float | None = None, **settings: Any) -> TrainingEvaluator:
    torch.manual_seed(1)
    start = space.build(space.reference("plain")).state_dict()
    chosen = TrainSettings(**{"batch_size": BATCH, "freeze": "backbone", "lr": 0.05, **settings})
    return TrainingEvaluator(space, data or images(space.input_size), chosen, 1, start, cache)


def train(one: TrainingEvaluator, architecture: Architecture, seed: int = 0, epochs: int = 2, device: str = "cpu") -> tuple[Any, ...]:
    """All that a trial gives: what it reports, its metrics and weights."""
    told: list[Any] = []
    found = one(architecture, seed, {"epochs": epochs}, device, lambda *all: told.append(all))
    assert found.weights is not None
    return told, found.metrics, {name: tensor.numpy().tobytes() for name, tensor in found.weights.items()}


@pytest.mark.parametrize("name", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in SPACES])
def test_every_trial_is_what_it_is_without(name: str) -> None:
    space = SPACES[name]()
    with_it, without = evaluator(space), evaluator(space, cache=0)
    for architecture in by_first_site(space):
        assert train(with_it, architecture) == train(without, architecture), architecture
    kept = with_it.activations.kept
    assert kept.in_memory > 0 and kept.found > 20 and without.activations.kept.in_memory == 0
    assert not kept.notes() and f"{kept.found} batches began with them" in with_it.cache_summary()[0]


@pytest.mark.gpu
@pytest.mark.parametrize("amp", [False, True])
def test_on_cuda_too(amp: bool) -> None:
    space = SPACES["resnet8"]()
    with_it, without = (evaluator(space, cache=cache, amp=amp) for cache in (None, 0))
    for architecture in by_first_site(space):
        assert train(with_it, architecture, device="cuda") == train(without, architecture, device="cuda"), architecture
    assert with_it.activations.kept.in_memory > 0 and with_it.activations.kept.found > 20 and not with_it.cache_notes()


def test_seeds_starts_and_fresh_weights_are_told_apart(digits: Data) -> None:
    data = replace(digits, train=digits.train.take(torch.arange(128)), val=digits.val.take(torch.arange(96)))
    resnet8 = digits_space(reduction=[4])
    pair = [evaluator(resnet8, data, cache, batch_size=32) for cache in (None, 0)]
    late = only(resnet8, [resnet8.groups[-1].name])
    for changed in range(3):
        for seed in (0, 1, 0):
            assert train(pair[0], late, seed) == train(pair[1], late, seed)
        found = pair[0].activations.kept.found
        for one in pair:
            torch.manual_seed(changed + 5)
            one.start = resnet8.build(resnet8.reference("plain")).state_dict() if not changed else None
    assert found > 20 and not pair[0].cache_notes()


def test_a_later_trial_begins_where_an_earlier_one_came(digits: Data) -> None:
    data = replace(digits, train=digits.train.take(torch.arange(128)), val=digits.val.take(torch.arange(96)))
    resnet8 = digits_space(reduction=[4])
    one = evaluator(resnet8, data, batch_size=32)
    kept, names = one.activations.kept, [group.name for group in resnet8.groups]
    train(one, only(resnet8, names[:1]))
    early, first = kept.in_memory, kept.found
    assert first == 1 + 2  # the check of the first batch, and validation in the second epoch
    train(one, only(resnet8, names[2:]))
    assert kept.in_memory - early < early / 2  # later activations are smaller
    assert kept.found - first == 2 + 3 + 4 + 4  # all its batches, and the first one twice more
    before, second = kept.in_memory, kept.found
    train(one, only(resnet8, names[2:]))
    assert kept.in_memory == before and kept.found - second == 3 + 2 + 4 + 2  # that cut has been checked


def test_a_network_that_changes_itself_is_left_alone() -> None:
    space = SearchSpace(Counting, (3, 16, 16), reduction=[4])
    with_it, without = evaluator(space), evaluator(space, cache=0)
    for architecture in by_first_site(space)[:3]:
        assert train(with_it, architecture) == train(without, architecture)
    assert with_it.cache_notes() == ["activations are not kept for all trials: its forward pass changes it"] and not with_it.cache_summary()


class Hiding(UNet):
    """Reads at its end what it has computed out of sight."""

    def forward(self, x: Tensor) -> Tensor:
        first = self.down1[0](x)
        with torch._C.DisableTorchFunction():
            unseen = first.mean((2, 3)).sum(1, keepdim=True)
        return super().forward(x) + unseen


def test_a_network_that_cannot_be_replayed_is_said() -> None:
    space = SearchSpace(Hiding, (3, 16, 16), reduction=[4])
    with_it, without = evaluator(space), evaluator(space, cache=0)
    late = only(space, [space.groups[-1].name])
    for architecture in (space.reference("plain"), late, late):
        assert train(with_it, architecture) == train(without, architecture)
    (note,) = with_it.cache_notes()
    assert note.startswith("activations are not kept for all trials: ") and with_it.activations.kept.in_memory == 0


def test_trials_together_begin_with_the_same(digits: Data) -> None:
    space = digits_space(squeeze=["avg", "std"])
    data = replace(digits, train=digits.train.take(torch.arange(256)), val=digits.val.take(torch.arange(96)))
    names = [group.name for group in space.groups]
    sets = [[only(space, names[2:]), only(space, names[1:2])], [only(space, names[2:]), space.reference("plain")]]
    with_it, without = evaluator(space, data, batch_size=64), evaluator(space, data, 0, batch_size=64)
    train(with_it, sets[0][1])
    for architectures in sets:
        pair = [one.together(architectures, 0, {"epochs": 2}, "cpu", [lambda *_: None] * 2) for one in (with_it, without)]
        for mine, theirs in zip(*pair, strict=True):
            assert isinstance(mine, Evaluation) and isinstance(theirs, Evaluation) and mine.metrics == theirs.metrics
            assert mine.weights is not None and theirs.weights is not None
            assert all(mine.weights[name].equal(tensor) for name, tensor in theirs.weights.items())
    assert with_it.activations.kept.found >= 20 and not with_it.cache_notes()


def test_what_does_not_fit_into_memory_is_on_disk_and_the_same() -> None:
    space = SPACES["resnet8"]()
    without = evaluator(space, cache=0)
    for limit in (1e-9, 0.0005):  # nothing fits, or some of it
        with_it = evaluator(space)
        with_it.activations = Activations(limit, patience=1e9)
        for architecture in by_first_site(space):
            assert train(with_it, architecture) == train(without, architecture)
        kept = with_it.activations.kept
        assert kept.on_disk > 0 and kept.in_memory <= limit * 1e9 and kept.found > 20
        (note,) = with_it.cache_notes()
        assert "the memory for activations is full" in note


def test_what_is_quicker_to_compute_is_not_on_disk() -> None:
    space = SPACES["unet"]()
    with_it, without = evaluator(space), evaluator(space, cache=0)
    with_it.activations = Activations(1e-9, patience=0)
    for architecture in by_first_site(space):
        assert train(with_it, architecture) == train(without, architecture)
    assert with_it.activations.kept.on_disk == with_it.activations.kept.in_memory == 0 and not with_it.cache_summary()


def key(seed: int, step: int) -> Key:
    return Key((seed,), ("training", step))


def test_what_saves_more_a_byte_takes_the_place_of_what_saves_less() -> None:
    kept, tensors = Kept(4000e-9, patience=0), {(0, 0): torch.zeros(250)}  # of 1000 bytes each
    assert all(kept.put("early", key(0, step), tensors, 1.0) for step in range(4))
    assert not kept.put("early", key(0, 4), tensors, 1.0) and not kept.takes("early", key(0, 5))
    assert kept.put("late", key(0, 0), tensors, 2.0) and ("early", key(0, 3)) not in kept and ("early", key(0, 2)) in kept
    assert not kept.put("middle", key(0, 0), tensors, 0.5)
    assert kept.put("middle", key(1, 0), tensors, 0.5)  # another seed's trials are over
    assert kept.in_memory == 4000 and ("late", key(0, 0)) in kept and ("early", key(0, 2)) not in kept


def test_the_file_gives_back_any_tensor() -> None:
    base = torch.randn(2, 3, 4, 5)
    given = {
        (0, 0): base.to(memory_format=torch.channels_last),
        (0, 1): base.to(torch.bfloat16).transpose(1, 3),
        (1, 0): base[:, :1].expand(2, 3, 4, 5),
        (2, 0): base[0, 1],
        (3, 0): torch.arange(7) > 3,
        (4, 0): torch.tensor(5),
        (5, 0): torch.zeros(0, 3),
    }
    kept = Kept(1e-12, patience=1e9)
    assert kept.put("a", key(0, 0), given, 1.0) and kept.put("a", key(0, 1), given, 1.0)
    for found in (kept.get("a", key(0, 0)), kept.get("a", key(0, 1))):
        for output, tensor in given.items():
            assert found[output].equal(tensor) and found[output].dtype == tensor.dtype
            assert found[output].stride() == tensor.clone().stride()


ENDS = """
import os, signal, sys, torch
from se_nas.evaluate.kept import Kept
from se_nas.evaluate.students import Key
kept = Kept(1e-9, patience=1e9)
assert kept.put("a", Key((), (0,)), {(0, 0): torch.zeros(1000000)}, 1.0) and kept.on_disk == 4000000
os.kill(os.getpid(), int(sys.argv[1]))
"""


@pytest.mark.parametrize("name", ["SIGINT", "SIGKILL"])
def test_nothing_stays_on_disk_however_the_process_ends(name: str, tmp_path: Path) -> None:
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(ROOT)}
    heed = partial(signal.signal, signal.SIGINT, signal.default_int_handler)  # as in a terminal
    ended = subprocess.run(
        [sys.executable, "-c", ENDS, str(int(getattr(signal, name)))],
        env=environment,
        capture_output=True,
        text=True,
        preexec_fn=heed,
    )
    assert ended.returncode != 0 and "AssertionError" not in ended.stderr and not list(tmp_path.iterdir())


def test_it_does_not_travel() -> None:
    one = evaluator(SPACES["resnet8"](), cache=2)
    empty = len(pickle.dumps(one))
    train(one, one.space.reference("plain"))
    there = pickle.loads(pickle.dumps(one))
    assert len(pickle.dumps(one)) < empty + 1000 and one.activations.kept.in_memory > 0
    assert there.activations.kept.in_memory == 0 and there.activations.kept.limit == 2
    assert train(there, one.space.reference("plain")) == train(one, one.space.reference("plain"))


def test_a_search_says_what_it_kept(tmp_path: Path) -> None:
    class Listening(Observer):
        def __init__(self) -> None:
            self.heard: list[str] = []

        def note(self, text: str) -> None:
            self.heard.append(text)

    settings: dict[str, Any] = {"trials": 6, "epochs": 1, "strategy": "random", "start": "train", "start_epochs": 1}
    found = []
    for cache in (None, 0):
        observer = Listening()
        train = {"batch_size": 128, "freeze": "backbone"}
        run = se_nas.search(digits_space(), out=tmp_path / str(cache), observer=observer, cache=cache, train=train, **settings)
        found.append([(trial.architecture, trial.metrics) for trial in run.trials])
        assert any(text.startswith("activations kept: ") for text in observer.heard) is (cache is None)
    assert found[0] == found[1]


def test_refuses(tmp_path: Path) -> None:
    frozen = {"start": "train", "train": {"freeze": "backbone"}, "out": tmp_path / "run"}
    with pytest.raises(InputError, match="cache: 'off' is not a number or nothing; write a number or nothing"):
        se_nas.search(digits_space(), cache="off", **frozen)
    with pytest.raises(InputError, match=r"cache: -1 is below 0; take 0 or more"):
        se_nas.search(digits_space(), cache=-1, **frozen)
    with pytest.raises(InputError, match=r"cache: 1e\+08 GB are more than the .* GB of memory that are free on cpu; take less"):
        se_nas.search(digits_space(), cache=1e8, device="cpu", **frozen)
    with pytest.raises(InputError, match="cache: only of a frozen backbone can something be kept; leave cache out"):
        se_nas.search(digits_space(), cache=1, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    check_cache(None, torch.device("cpu"))


@pytest.mark.parametrize(
    ("engine", "given", "cache"),
    [
        ({"engine": "local"}, None, None),
        ({"engine": "local"}, 0.5, 0.5),
        ({"engine": "ray"}, None, 0),
        ({"engine": "ray"}, 0.5, 0.5),
        ({"engine": "nni", "nni_service": "local"}, 0.5, 0),
    ],
)
def test_workers_keep_what_they_are_told_to(engine: dict[str, str], given: float | None, cache: float | None) -> None:
    settings = SearchSettings(start="train", train=TrainSettings(freeze="backbone"), cache=given, **engine)  # type: ignore[arg-type]
    one = make_evaluator(digits_space(), settings)
    assert isinstance(one, TrainingEvaluator) and one.activations.kept.limit == cache
