"""The inputs of a network: images of one size, or example inputs that a person gives."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from se_nas.errors import InputError
from se_nas.text import shown

FIX = "give a tensor, a tuple of inputs, a mapping of keyword inputs, or (in YAML) the package.module:callable that returns one of these"


@dataclass(frozen=True)
class Inputs:
    """The inputs of one call of a network.

    Attributes:
        args: positional arguments. The first tensor is the main input: (N, C, L), (N, C, H, W) or (N, C, D, H, W).
        kwargs: keyword arguments.
    """

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_size(cls, size: Sequence[int], batch: int = 1) -> Inputs:
        """One tensor (batch, \\*size) on the meta device; `to` makes zeros of it."""
        return cls((torch.empty(batch, *size, device="meta"),))

    @classmethod
    def of(cls, given: Inputs | Sequence[int]) -> Inputs:
        """``given`` itself, or one tensor of this size (C, ...)."""
        return given if isinstance(given, Inputs) else cls.of_size(given)

    @property
    def tensors(self) -> list[Tensor]:
        return [leaf for leaf in tree_leaves((self.args, dict(self.kwargs))) if isinstance(leaf, Tensor)]

    @property
    def size(self) -> tuple[int, ...]:
        """(C, ...) of the first tensor."""
        return tuple(self.tensors[0].shape[1:])

    def to(self, device: str | torch.device) -> Inputs:
        """The inputs on a device. Tensors from the meta device become zeros."""

        def move(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor):
                return leaf
            return torch.zeros_like(leaf, device=device) if leaf.is_meta and torch.device(device).type != "meta" else leaf.to(device)

        return Inputs(tree_map(move, self.args), tree_map(move, dict(self.kwargs)))

    def times(self, n: int) -> Inputs:
        """The same inputs n times over, along the first dimension of each tensor that has length 1 there."""

        def repeat(leaf: Any) -> Any:
            batched = isinstance(leaf, Tensor) and leaf.ndim > 0 and len(leaf) == 1
            return leaf.repeat(n, *[1] * (leaf.ndim - 1)) if batched else leaf

        return Inputs(tree_map(repeat, self.args), tree_map(repeat, dict(self.kwargs)))

    def random(self, generator: torch.Generator) -> Inputs:
        """Inputs of the same shapes on the CPU: normal random numbers for floats, the given values for all else."""

        def draw(leaf: Any) -> Any:
            floats = isinstance(leaf, Tensor) and leaf.is_floating_point()
            return torch.randn(leaf.shape, generator=generator, dtype=leaf.dtype) if floats else leaf

        inputs = self.to("cpu")
        return Inputs(tree_map(draw, inputs.args), tree_map(draw, dict(inputs.kwargs)))

    def of_other_size(self, size: Sequence[int]) -> Inputs:
        """Inputs whose only tensor is (1, \\*size)."""

        def resize(leaf: Any) -> Any:
            return torch.empty(1, *size, dtype=leaf.dtype, device="meta") if isinstance(leaf, Tensor) else leaf

        assert len(self.tensors) == 1
        return Inputs(tree_map(resize, self.args), tree_map(resize, dict(self.kwargs)))

    def call(self, network: nn.Module) -> Any:
        return network(*self.args, **self.kwargs)


def read_inputs(value: Any) -> Inputs:
    """Inputs from what a person gives: a tensor, a tuple or list, a mapping, a function, or ``package.module:callable``.

    Raises:
        InputError: for anything else, an unknown name, or if the first tensor is not (1, C, L), (1, C, H, W) or (1, C, D, H, W).
    """
    source = value
    if isinstance(value, str):
        module, _, name = value.partition(":")
        try:
            value = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise InputError(f"{shown(source)} cannot be found ({error})", FIX, "example_inputs") from None
    if callable(value) and not isinstance(value, Tensor):
        value = _made(value, source)
    inputs = Inputs((value,)) if isinstance(value, Tensor) else None
    if isinstance(value, (tuple, list)):
        inputs = Inputs(tuple(value))
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        inputs = Inputs((), dict(value))
    if inputs is None or not inputs.tensors or inputs.tensors[0].ndim not in (3, 4, 5):
        raise InputError(f"{type(value).__name__} holds no (N, C, L), (N, C, H, W) or (N, C, D, H, W) first", FIX, "example_inputs")
    if len(inputs.tensors[0]) != 1:
        raise InputError(f"they are a batch of {len(inputs.tensors[0])}", "give a batch of one: costs are of it", "example_inputs")
    return inputs


def _made(function: Callable[[], Any], source: Any) -> Any:
    try:
        return function()
    except Exception as error:
        raise InputError(f"{shown(source)} fails ({type(error).__name__}: {error})", FIX, "example_inputs") from error
