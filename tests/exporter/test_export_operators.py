"""Operators that a person registered: written into the file, or refused with the reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from exporting import export
from torch import Tensor, nn

from se_nas.errors import InputError
from se_nas.se.block import register_gate, register_squeeze
from se_nas.space.space import SearchSpace

SMALL: dict[str, Any] = {"input_size": (1, 8, 8), "backbone_args": {"in_channels": 1}}
SCALE = 2.0
sigmoid = torch.sigmoid


def power_squeeze(x: Tensor, p: float = 3.0) -> Tensor:
    """Generalised mean."""
    import math

    return x.clamp(min=1e-6).pow(p).mean((2, 3)).pow(1 / p) * math.sqrt(1.0)


def swish_gate(x: Tensor) -> Tensor:
    return nn.functional.silu(x)  # not bounded


def scaled_gate(x: Tensor) -> Tensor:
    return SCALE * x


def library_gate(x: Tensor) -> Tensor:
    return sigmoid(x)


def numpy_gate(x: Tensor) -> Tensor:
    import numpy as np

    return torch.from_numpy(np.tanh(x.numpy()))


@torch.no_grad()
def decorated_gate(x: Tensor) -> Tensor:
    return x


def closure_gate() -> Callable[[Tensor], Tensor]:
    factor = 2.0

    def gate(x: Tensor) -> Tensor:
        return factor * x

    return gate


def build(weights: Tensor) -> Tensor:
    return weights


def scale(x: Tensor) -> Tensor:
    return x


def max(x: Tensor) -> Tensor:
    return x


class Gate:
    def __call__(self, x: Tensor) -> Tensor:
        return x


def with_gate(function: Any) -> SearchSpace:
    register_gate("mine", function)
    return SearchSpace("resnet8", **SMALL, gate=["mine"])


def test_own_operators_are_written(registries: None, tmp_path: Path, load: Callable[[Path], ModuleType]) -> None:
    register_squeeze("power", power_squeeze)
    register_squeeze("again", power_squeeze)
    register_gate("swish", swish_gate)
    space = SearchSpace("resnet8", **SMALL, squeeze=["power", "again"], gate=["swish"], allow_none=False)
    architecture = space.decode(np.array([0, 1, 0]))
    network = space.build(architecture).eval()
    path = export(space, architecture, tmp_path / "network.py", weights=network.state_dict())
    assert path.read_text().count("def power_squeeze") == 1 and "# not bounded" in path.read_text()
    x = torch.rand(2, 1, 8, 8)
    assert torch.allclose(load(path).build(str(path.with_suffix(".safetensors"))).eval()(x), network(x), rtol=1e-6)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (lambda x: x, "lambda"),
        (torch.sigmoid, "builtin_function_or_method"),
        (nn.Sigmoid(), "it is a Sigmoid"),
        (Gate(), "it is a Gate"),
        (closure_gate(), "closure"),
        (scaled_gate, "it uses SCALE"),
        (library_gate, "it uses sigmoid"),
        (numpy_gate, "it imports numpy"),
        (decorated_gate, "wrapper"),
    ],
)
def test_operators_that_cannot_stand_alone(function: Any, reason: str, registries: None, tmp_path: Path) -> None:
    space = with_gate(function)
    with pytest.raises(InputError, match=reason) as error:
        export(space, space.dearest(), tmp_path / "network.py")
    assert "'mine'" in str(error.value) and "def" in error.value.fix
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("function", [build, scale, max])
def test_operators_named_as_something_in_the_file(function: Any, registries: None, tmp_path: Path) -> None:
    space = with_gate(function)
    with pytest.raises(InputError, match=f"has another {function.__name__}; rename"):
        export(space, space.dearest(), tmp_path / "network.py")


def test_operators_of_one_name(registries: None, tmp_path: Path) -> None:
    namespace: dict[str, Any] = {"__name__": __name__}
    exec("def swish_gate(x):\n    return x", namespace)
    register_gate("a", swish_gate)
    register_gate("b", namespace["swish_gate"])
    space = SearchSpace("resnet8", **SMALL, gate=["a", "b"], allow_none=False)
    with pytest.raises(InputError, match=r"source cannot be read|another one is called|not one undecorated def"):
        export(space, space.decode(np.array([0, 1, 0])), tmp_path / "network.py")
