from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from se_nas.errors import InputError
from se_nas.evaluate.data import SOURCES, Data, load_data
from se_nas.evaluate.images import resize
from se_nas.evaluate.sources import load_digits
from se_nas.evaluate.split import Split, cut


def rows(split: object) -> set[bytes]:
    assert isinstance(split, Split)
    return {image.numpy().tobytes() for image in split.images}


def test_digits_are_those_of_scikit_learn() -> None:
    sklearn = pytest.importorskip("sklearn.datasets").load_digits()
    ours = load_digits().train
    assert isinstance(ours, Split)
    assert np.array_equal(np.rint(ours.images[:, 0].numpy() * (16 / 255)), sklearn.images)
    assert np.array_equal(ours.labels.numpy(), sklearn.target)
    assert ours.images.max() == 255 and ours.images.dtype == torch.uint8


def test_digits_load_fast_and_without_heavy_packages() -> None:
    code = "import sys, se_nas.evaluate.data as d; d.load_data('digits', (1, 8, 8)); print({'sklearn', 'torchvision'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "set()"
    start = time.process_time()
    load_data("digits", (1, 8, 8))
    assert time.process_time() - start < 0.2


def test_splits_are_disjoint_stratified_and_complete(digits: Data) -> None:
    assert digits.test is not None
    train, val, test = rows(digits.train), rows(digits.val), rows(digits.test)
    assert not train & val and not train & test and not val & test  # no two digits are alike
    assert len(digits.train) + len(digits.val) + len(digits.test) == 1797
    everyone = torch.bincount(load_digits().train.labels)
    for split in (digits.val, digits.test):
        assert (torch.bincount(split.labels) - 0.2 * everyone).abs().max() <= 1


def test_split_seed_moves_the_validation_split_only(digits: Data) -> None:
    other, same = load_data("digits", (1, 8, 8), split_seed=1), load_data("digits", (1, 8, 8))
    assert rows(other.val) != rows(digits.val) and rows(same.val) == rows(digits.val)
    assert rows(other.test) == rows(digits.test)


def test_val_fraction() -> None:
    data = load_data("digits", (1, 8, 8), val_fraction=0.5)
    assert abs(len(data.val) - len(data.train)) <= 10
    for bad in (0.0, 1.0, -1.0):
        with pytest.raises(InputError, match="val_fraction: "):
            load_data("digits", (1, 8, 8), val_fraction=bad)


def test_mean_and_std_are_those_of_the_training_images(digits: Data) -> None:
    assert isinstance(digits.train, Split)
    std, mean = torch.std_mean(digits.train.images.double() / 255, correction=0)
    assert digits.mean == pytest.approx((float(mean),)) and digits.std == pytest.approx((float(std),))


def test_images_are_brought_to_the_input_size() -> None:
    data = load_data("digits", (3, 16, 16))
    assert isinstance(data.train, Split)
    assert data.train.size == (3, 16, 16) and len(data.mean) == len(data.std) == 3
    assert data.train.images[:, 0].equal(data.train.images[:, 2])


def test_resize_and_grey_by_hand() -> None:
    image = torch.tensor([[[[0, 0, 200, 200], [0, 0, 200, 200]]]], dtype=torch.uint8)
    assert resize(image, (1, 2, 4)) is image
    small = resize(image, (1, 1, 2))  # antialiasing weighs all of the two halves, with a little of the neighbour
    assert small.shape == (1, 1, 1, 2) and small[0, 0, 0, 0] < 40 and small[0, 0, 0, 1] > 160
    colours = torch.tensor([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]], dtype=torch.uint8)[:, :, None, None]
    assert resize(colours, (1, 1, 1)).flatten().tolist() == [76, 150, 29, 255]
    with pytest.raises(InputError, match="2 channels and the network takes 3"):
        resize(torch.zeros(1, 2, 4, 4, dtype=torch.uint8), (3, 4, 4))


def test_cut_takes_at_least_one_of_each_class_and_leaves_one() -> None:
    split = Split(torch.arange(7, dtype=torch.uint8).reshape(7, 1, 1, 1), torch.tensor([0, 1, 0, 1, 1, 1, 1]))
    left, taken = cut(split, 0.01, ("a", "b"), 0)
    assert torch.bincount(taken.labels).tolist() == [1, 1] and torch.bincount(left.labels).tolist() == [1, 4]
    left, taken = cut(split, 0.99, ("a", "b"), 0)
    assert torch.bincount(taken.labels).tolist() == [1, 4] and torch.bincount(left.labels).tolist() == [1, 1]
    with pytest.raises(InputError, match="class 'b' has too few images"):
        cut(Split(split.images[:3], split.labels[:3]), 0.1, ("a", "b"), 0)


@pytest.mark.parametrize("name", ["mnits", "", ":f", "numpy:", None, ["digits"]])
def test_unknown_data(name: object) -> None:
    with pytest.raises(InputError, match="data: ") as caught:
        load_data(name, (1, 8, 8))  # type: ignore[arg-type]
    assert not isinstance(name, str) or all(known in str(caught.value) for known in SOURCES)


def test_loading_leaves_the_global_random_numbers() -> None:
    state = torch.get_rng_state()
    load_data("digits", (1, 8, 8))
    assert state.equal(torch.get_rng_state())
