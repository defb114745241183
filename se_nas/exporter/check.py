"""Whether a generated file builds the network that was searched."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class Unsupported(Exception):
    """What keeps a generator from writing a network, in words: another generator may still do it."""


def compare(text: str, network: nn.Module) -> None:
    """Build the network of a file without memory, and compare its tensors with those of the searched one.

    Raises:
        Unsupported: naming the first tensor that differs.
    """
    namespace: dict[str, Any] = {"__name__": "exported"}
    exec(compile(text, "<exported network>", "exec"), namespace)
    with torch.device("meta"):
        written: nn.Module = namespace["build"]()
    expected, found = network.state_dict(), written.state_dict()
    for key in expected | found:
        if _form(expected.get(key)) != _form(found.get(key)):
            raise Unsupported(f"{key} is {_form(expected.get(key))}, and would be {_form(found.get(key))} in the file")


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _form(tensor: torch.Tensor | None) -> str:
    return "absent" if tensor is None else f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
