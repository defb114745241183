"""What the exporter's tests share."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from se_nas.se.block import GATES, SQUEEZES

EVERYTHING: dict[str, Any] = {
    "reduction": [2, 4, 8],
    "squeeze": ["avg", "max", "avg+max", "std", "none"],
    "gate": ["sigmoid", "hard-sigmoid", "tanh", "relu", "twice-sigmoid"],
    "placement": ["standard", "pre", "post", "identity", "inner"],
}


@pytest.fixture(scope="session")
def everything() -> dict[str, Any]:
    """Candidates of a space with every operator and every placement."""
    return dict(EVERYTHING)


@pytest.fixture(scope="session")
def perturb() -> Callable[[nn.Module, int], nn.Module]:
    """Makes every parameter and statistic of a network matter; SE weights are positive, lest a ReLU gate shuts it."""

    def change(network: nn.Module, seed: int) -> nn.Module:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for key, tensor in network.state_dict().items():
                noise = torch.rand(tensor.shape, generator=generator)
                if "running_var" in key or (tensor.dim() == 1 and key.endswith("weight")):
                    tensor.copy_(0.5 + noise)
                elif ".se." in key:
                    tensor.copy_(noise / (tensor.shape[-1] if tensor.dim() == 2 else 4))
                elif tensor.is_floating_point() and tensor.dim() <= 1:
                    tensor.copy_(noise - 0.5)
        return network

    return change


@pytest.fixture(scope="session")
def load() -> Callable[[Path], ModuleType]:
    """Imports a generated file, in this process."""

    def load_file(path: Path) -> ModuleType:
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load_file


@pytest.fixture
def registries() -> Iterator[None]:
    """Undoes what a test registers."""
    squeezes, gates = dict(SQUEEZES), dict(GATES)
    yield
    for registry, before in ((SQUEEZES, squeezes), (GATES, gates)):
        registry.clear()
        registry.update(before)  # type: ignore[arg-type]
