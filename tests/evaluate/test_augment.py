from __future__ import annotations

import pytest
import torch

from se_nas.errors import InputError
from se_nas.evaluate.augment import Augment


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_crops_are_windows_of_the_padded_image() -> None:
    image = torch.arange(1, 10, dtype=torch.uint8).reshape(1, 1, 3, 3)
    crops = Augment(pad=1)(image.expand(200, -1, -1, -1), generator())
    padded = torch.tensor([[0, 0, 0, 0, 0], [0, 1, 2, 3, 0], [0, 4, 5, 6, 0], [0, 7, 8, 9, 0], [0, 0, 0, 0, 0]])
    windows = {tuple(padded[i : i + 3, j : j + 3].flatten().tolist()) for i in range(3) for j in range(3)}
    assert {tuple(crop.flatten().tolist()) for crop in crops} == windows


def test_flips_each_image_with_its_own_chance() -> None:
    images = torch.tensor([[[[1, 2, 3]]]], dtype=torch.uint8).expand(400, 2, 2, 3)
    flipped = Augment(flip=True)(images, generator())
    assert {tuple(row) for row in flipped.reshape(-1, 3).tolist()} == {(1, 2, 3), (3, 2, 1)}
    first = flipped[:, 0, 0, 0]
    assert (flipped[:, 1, 1, 0] == first).all()  # an image flips as a whole
    assert 150 < int((first == 3).sum()) < 250


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_keeps_shape_and_dtype_and_is_drawn_by_the_generator_alone(dtype: torch.dtype) -> None:
    images = torch.randint(256, (16, 3, 8, 6)).to(dtype)
    state = torch.get_rng_state()
    once, again, other = (Augment(True, 2)(images, generator(seed)) for seed in (0, 0, 1))
    assert once.shape == images.shape and once.dtype == dtype
    assert once.equal(again) and not once.equal(other)
    assert state.equal(torch.get_rng_state())


def test_without_anything_to_do_it_does_nothing() -> None:
    images = torch.rand(2, 3, 4, 4)
    assert Augment()(images, generator()).equal(images)


@pytest.mark.parametrize("arguments", [{"pad": -1}, {"pad": 1.5}, {"flip": "yes"}])
def test_refuses(arguments: dict[str, object]) -> None:
    with pytest.raises(InputError, match="augment: "):
        Augment(**arguments)  # type: ignore[arg-type]
