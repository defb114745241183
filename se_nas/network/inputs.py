"""What a network is given: images of one size, or the example inputs that a person gives."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from se_nas.errors import InputError

FIX = "give a tensor, a tuple of inputs, a mapping of keyword inputs, or (in YAML) the package.module:callable that returns one of these"


@dataclass(frozen=True)
class Inputs:
    """The inputs of one call of a network.

    Attributes:
        args: by position; the first tensor is what the network looks at: (N, C, L), (N, C, H, W) or (N, C, D, H, W).
        kwargs: by keyword.
    """

    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_size(cls, size: Sequence[int], batch: int = 1) -> Inputs:
        """Zeros of (batch, \\*size), without memory until they are moved to a device."""
        return cls((torch.empty(batch, *size, device="meta"),))

    @property
    def tensors(self) -> list[Tensor]:
        return [leaf for leaf in tree_leaves((self.args, dict(self.kwargs))) if isinstance(leaf, Tensor)]

    @property
    def size(self) -> tuple[int, ...]:
        """(C, ...) of the first tensor."""
        return tuple(self.tensors[0].shape[1:])

    def to(self, device: str | torch.device) -> Inputs:
        """The same inputs elsewhere; those that have no memory become zeros."""

        def move(leaf: Any) -> Any:
            if not isinstance(leaf, Tensor):
                return leaf
            return torch.zeros_like(leaf, device=device) if leaf.is_meta and torch.device(device).type != "meta" else leaf.to(device)

        return Inputs(tree_map(move, self.args), tree_map(move, dict(self.kwargs)))

    def call(self, network: nn.Module) -> Any:
        return network(*self.args, **self.kwargs)


def read_inputs(value: Any) -> Inputs:
    """The inputs that a person gave: a tensor, a tuple or list, a mapping, ``package.module:callable``, or a function.

    Raises:
        InputError: for another form, a name that is not there, or inputs without a tensor of one, two or three dimensions
            beside batch and channels.
    """
    source = value
    if isinstance(value, str):
        module, _, name = value.partition(":")
        try:
            value = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError, ValueError) as error:
            raise InputError(f"{source!r} cannot be found ({error})", FIX, "example_inputs") from None
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
        raise InputError(f"{source!r} fails ({type(error).__name__}: {error})", FIX, "example_inputs") from error
