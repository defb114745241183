"""A searched network's modules and tensors under the plain backbone's names, each SE block named ``se`` of its residual block."""

from __future__ import annotations

from torch import nn

from se_nas.blocks import find_anchors
from se_nas.placement import Attached


def plain_paths(network: nn.Module) -> dict[str, str]:
    """Path of each module of a searched network -> its path once `Attached` is gone (an attached module takes its place)."""
    paths: dict[str, str] = {}

    def visit(module: nn.Module, old: str, new: str, block: str) -> None:
        paths[old] = new
        block = new if find_anchors(type(module)) else block
        for name, child in module.named_children():
            plain = _join(new, name)
            if isinstance(module, Attached):
                home = new if find_anchors(type(module.get_submodule("module"))) else block
                plain = new if name == "module" else _join(home, "se")
            visit(child, _join(old, name), plain, block)

    visit(network, "", "", "")
    return paths


def plain_names(network: nn.Module) -> dict[str, str]:
    """Key of a searched network's ``state_dict`` -> key in the exported file, in the same order.

    Example:
        ``layer1.0.bn2.module.weight`` -> ``layer1.0.bn2.weight``, ``layer1.0.bn2.se.fc1.weight`` -> ``layer1.0.se.fc1.weight``.
    """
    paths = plain_paths(network)
    split = {key: key.rpartition(".") for key in network.state_dict()}
    return {key: _join(paths[owner], tensor) for key, (owner, _, tensor) in split.items()}


def plain_modules(network: nn.Module) -> dict[str, nn.Module]:
    """The modules of a searched network by their plain paths."""
    return {new: network.get_submodule(old) for old, new in plain_paths(network).items()}


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
