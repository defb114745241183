from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from se_nas.errors import InputError
from se_nas.evaluate import stream
from se_nas.evaluate.batches import Batch, eval_batches, steps_per_epoch, train_batches
from se_nas.evaluate.data import Data, Split, load_data

Pictures = Callable[[str, int], Path]
CPU = torch.device("cpu")
SIZE = (3, 8, 8)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def epoch(data: Data, batch_size: int = 4, seed: int = 0, augment: bool = True) -> list[Batch]:
    return list(train_batches(data, batch_size, CPU, generator(seed), generator(seed + 1) if augment else None))


def small(digits: Data, count: int) -> Data:
    return replace(digits, train=digits.train.take(torch.arange(count)))


def test_batches_are_normalised(digits: Data) -> None:
    [(images, labels)] = eval_batches(digits, digits.train, 5000, CPU)
    assert images.dtype == torch.float32 and labels.equal(digits.train.labels)
    assert abs(float(images.mean())) < 1e-5 and abs(float(images.std(correction=0)) - 1) < 1e-5


def test_the_last_incomplete_batch_is_dropped_unless_it_is_the_only_one(digits: Data) -> None:
    for count, lengths in ((10, [4, 4]), (8, [4, 4]), (3, [3])):
        data = small(digits, count)
        assert [len(labels) for _, labels in epoch(data)] == lengths
        assert steps_per_epoch(data.train, 4) == len(lengths)
    assert [len(labels) for _, labels in eval_batches(data, small(digits, 10).train, 4, CPU)] == [4, 4, 2]


def test_an_epoch_has_every_image_once_in_the_order_of_the_generator(digits: Data) -> None:
    data = small(digits, 12)
    assert isinstance(data.train, Split)
    everything = torch.cat([images for images, _ in eval_batches(data, data.train, 12, CPU)])
    once, again, other = (epoch(data, seed=seed, augment=False) for seed in (0, 0, 1))
    joined = torch.cat([images for images, _ in once])
    assert sorted(joined.flatten(1).tolist()) == sorted(everything.flatten(1).tolist())
    assert all(a[0].equal(b[0]) and a[1].equal(b[1]) for a, b in zip(once, again, strict=True))
    assert not all(a[1].equal(b[1]) for a, b in zip(once, other, strict=True))


@pytest.fixture
def both(pictures: Pictures) -> tuple[Data, Data]:
    """The same folder in memory and in files."""
    root = pictures("a", 20)
    pictures("b", 20)
    return load_data(f"folder:{root}", SIZE), load_data(f"folder:{root}", SIZE, memory=0)


def test_streamed_batches_are_like_those_in_memory(both: tuple[Data, Data]) -> None:
    cached, streamed = both
    for augment in (True, False):
        for (images, labels), (other, other_labels) in zip(epoch(cached, augment=augment), epoch(streamed, augment=augment), strict=True):
            assert images.shape == other.shape and images.dtype == other.dtype and labels.equal(other_labels)
    assert cached.test is not None and streamed.test is not None
    for (images, labels), (other, other_labels) in zip(
        eval_batches(cached, cached.test, 3, CPU), eval_batches(streamed, streamed.test, 3, CPU), strict=True
    ):
        assert images.shape == other.shape and labels.equal(other_labels)


def test_streamed_batches_do_not_depend_on_the_workers(both: tuple[Data, Data], monkeypatch: pytest.MonkeyPatch) -> None:
    _, streamed = both
    alone, other = epoch(streamed), epoch(streamed, seed=1)
    state = torch.get_rng_state()
    monkeypatch.setattr(stream, "FEW", 0)
    helped = epoch(streamed)
    assert all(a[0].equal(b[0]) and a[1].equal(b[1]) for a, b in zip(alone, helped, strict=True))
    assert not all(a[0].equal(b[0]) for a, b in zip(alone, other, strict=True))
    assert state.equal(torch.get_rng_state())


def test_an_image_that_breaks_later_is_named(both: tuple[Data, Data], tmp_path: Path) -> None:
    _, streamed = both
    for file in (tmp_path / "a").iterdir():
        file.write_bytes(b"")
    with pytest.raises(InputError, match="cannot read the image"):
        epoch(streamed)
