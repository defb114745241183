"""Kinds of modules: a layer of torch.nn, a container, or a module with its own computation."""

from __future__ import annotations

from torch import nn

CONTAINERS: dict[type[nn.Module], str] = {nn.Sequential: "nn.Sequential", nn.ModuleList: "nn.ModuleList", nn.ModuleDict: "nn.ModuleDict"}


def base_layer(module: nn.Module) -> type[nn.Module] | None:
    """The class of torch.nn that a module is or extends (`nn.Module` and containers do not count)."""
    for cls in type(module).__mro__:
        if cls.__module__.startswith("torch.nn."):
            return None if cls is nn.Module or cls.__module__ == "torch.nn.modules.container" else cls
    return None


def is_layer(module: nn.Module) -> bool:
    """Whether a module computes just what its class of torch.nn computes."""
    base = base_layer(module)
    return base is not None and type(module).forward is base.forward


def is_sequential(module: nn.Module) -> bool:
    """Whether a module calls its children one after another, as ``nn.Sequential`` does."""
    return type(module).forward is nn.Sequential.forward


def kind_of(module: nn.Module) -> str:
    """``layer``, ``container`` or ``own``."""
    if type(module) in CONTAINERS:
        return "container"
    return "layer" if is_layer(module) else "own"
