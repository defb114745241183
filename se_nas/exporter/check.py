"""Whether a generated file builds the network that was searched."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from se_nas.attached import public_modules


class Unsupported(Exception):
    """What keeps a generator from writing a network, in words: another generator may still do it."""


IMPLIED = {
    "relu": nn.ReLU,
    "downsample": nn.Identity,
    "maxpool": nn.Identity,
    "avgpool": nn.AdaptiveAvgPool2d,
}
"""Modules that a file may do without, by name: they are operations there, or nothing."""


def compare(text: str, network: nn.Module) -> None:
    """Build the network of a file without memory, and compare it with the searched one module by module.

    Raises:
        Unsupported: naming the first module or tensor that differs.
    """
    namespace: dict[str, Any] = {"__name__": "exported"}
    exec(compile(text, "<exported network>", "exec"), namespace)
    with torch.device("meta"):
        written: nn.Module = namespace["build"]()
    copies = dict(written.named_modules())
    for path, module in public_modules(network).items():
        if "forward" in vars(module) or module._forward_hooks or module._forward_pre_hooks:
            raise Unsupported(f"{path or 'the network'} has hooks or a forward of its own")
        if not next(module.children(), None) and not _same(module, copies.get(path), path):
            raise Unsupported(f"{path} is {module}, and the file cannot say so")
    expected, found = network.state_dict(), written.state_dict()
    for key in expected | found:
        if _form(expected.get(key)) != _form(found.get(key)):
            raise Unsupported(f"{key} is {_form(expected.get(key))}, and would be {_form(found.get(key))} in the file")
    if count_parameters(network) != count_parameters(written):
        raise Unsupported("some of its modules share parameters")


def count_parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _same(module: nn.Module, copy: nn.Module | None, path: str) -> bool:
    if copy is None:
        implied = IMPLIED.get(path.rpartition(".")[2])
        return type(module) is implied and getattr(module, "output_size", 1) in (1, (1, 1))
    public = {name: value for name, value in vars(copy).items() if not name.startswith("_") and name != "training"}
    ours = type(copy).__module__ == "exported" and type(copy).__name__ == type(module).__name__
    return (ours or type(copy) is type(module)) and all(getattr(module, name, None) == value for name, value in public.items())


def _form(tensor: torch.Tensor | None) -> str:
    return "absent" if tensor is None else f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
