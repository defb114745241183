from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from se_nas.evaluate.data import Data, load_data
from se_nas.space.space import SearchSpace

Pictures = Callable[[str, int], Path]


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Small networks train faster on one thread, above all where other work shares the cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def digits() -> Data:
    return load_data("digits", (1, 8, 8))


@pytest.fixture(scope="session")
def resnet8() -> SearchSpace:
    return SearchSpace("resnet8", (1, 8, 8), backbone_args={"in_channels": 1})


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    """Writes so many random 12x10 PNGs into a folder below tmp_path."""

    def write(folder: str, count: int) -> Path:
        rng = np.random.default_rng(len(folder))
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 256, (10, 12, 3), np.uint8)).save(tmp_path / folder / f"{i}.png")
        return tmp_path

    return write
