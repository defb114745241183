"""An SE block on a module of a network, and the names that it has in the network's ``state_dict``.

The backbone's modules keep their names, so that its pretrained weights load (only the SE blocks' are missing), and an
SE block is named after what it belongs to:

- ``layer1.0.se``: the block ``layer1.0`` has one SE block, wherever in it that is;
- ``features.conv1_se``: there are more than one, or they are the network's own children;
- ``features.2_se``: it stands in an ``nn.Sequential``, next to its child ``2``;
- ``blocks.0.new_se``: it stands where the network's own SE block, ``se``, was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from torch import nn

LAYERS = (nn.modules.conv._ConvNd, nn.Linear)


class Attached(nn.Module):
    """A module with an SE block on its output or on its first input.

    A ``state_dict`` of the plain module still loads: its keys go to ``module``. Only the SE block's keys are missing.
    """

    def __init__(self, module: nn.Module, se: nn.Module, side: str) -> None:
        super().__init__()
        self.module = module
        self.se = se
        self.side = side

    def forward(self, first: Any, *rest: Any, **named: Any) -> Any:
        if self.side == "input":
            return self.module(self.se(first), *rest, **named)
        return self.se(self.module(first, *rest, **named))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        keys = [key for key in state_dict if key.startswith(prefix)]
        plain = not any(key.startswith(f"{prefix}module.") for key in keys)
        if plain and self.module.state_dict():
            for key in keys:
                state_dict[f"{prefix}module.{key[len(prefix) :]}"] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args)


def is_block(module: nn.Module) -> bool:
    """Whether a module is a block: its own ``forward`` computes with layers. Layers and plain containers are not blocks."""
    container = type(module).forward in (nn.Sequential.forward, nn.Module.forward)
    inside = any(isinstance(inner, LAYERS) for inner in module.modules() if inner is not module)
    return inside and not container and not isinstance(module, Attached)


def public_paths(network: nn.Module) -> dict[str, str]:
    """Path -> public path of each module, also of those in `Attached`. A public path is the name in the ``state_dict``."""
    paths: dict[str, str] = {}
    homes: list[tuple[str, str, nn.Module, str]] = []  # of each SE block: path, public path and module of its home, place in it

    def visit(module: nn.Module, path: str, public: str, home: str, owner: nn.Module) -> None:
        """``home`` is the public path of the block around a module, ``owner`` that block, or the Sequential in it."""
        paths[path] = public
        if isinstance(module, Attached):
            visit(module.module, join(path, "module"), public, home, owner)
            home, owner = (public, module.module) if is_block(module.module) else (home, owner)
            homes.append((join(path, "se"), home, owner, public.removeprefix(home).strip(".").replace(".", "_")))
            return
        if is_block(module) or isinstance(module, nn.Sequential):
            home, owner = public, module
        for name, child in module._modules.items():  # also a child that is there under two names
            if child is not None:
                visit(child, join(path, name), join(public, name), home, owner)

    visit(network, "", "", "", network)
    tenants = Counter(home for _, home, _, _ in homes)
    taken = set(paths.values())
    for path, home, owner, place in homes:
        alone = tenants[home] == 1 and home != "" and not isinstance(owner, nn.Sequential)
        short = not place or (alone and join(home, "se") not in taken)
        public = join(home, "se" if short else "new_se" if place == "se" else f"{place}_se")
        while public in taken:
            public += "_"
        taken.add(public)
        paths |= {join(path, inner): join(public, inner) for inner, _ in network.get_submodule(path).named_modules()}
    return paths


def public_modules(network: nn.Module) -> dict[str, nn.Module]:
    """Public path -> module. In place of an `Attached` stands the module that it wraps."""
    return {public: network.get_submodule(path) for path, public in public_paths(network).items()}


def use_public_names(network: nn.Module) -> None:
    """Make a network's ``state_dict`` write public names. It reads public names and the modules' actual ones."""
    if _write_public not in network._state_dict_hooks.values():
        network._register_state_dict_hook(_write_public)  # type: ignore[no-untyped-call]
        network._register_load_state_dict_pre_hook(_read_public, with_module=True)  # type: ignore[no-untyped-call]


def _write_public(network: nn.Module, tensors: dict[str, Any], prefix: str, *_: Any) -> None:
    paths = public_paths(network)
    for key in [key for key in tensors if key.startswith(prefix)]:  # all anew, so that they keep their order
        tensors[prefix + _renamed(key[len(prefix) :], paths)] = tensors.pop(key)


def _read_public(network: nn.Module, tensors: dict[str, Any], prefix: str, *_: Any) -> None:
    # an Attached shares its name with the module that it wraps, which comes last
    paths = {public: path for path, public in public_paths(network).items()}
    for key in [key for key in tensors if key.startswith(prefix)]:
        tensors[prefix + _renamed(key[len(prefix) :], paths)] = tensors.pop(key)


def _renamed(key: str, paths: Mapping[str, str]) -> str:
    owner, _, tensor = key.rpartition(".")
    return join(paths.get(owner, owner), tensor)


def join(path: str, name: str) -> str:
    """``a.b`` of ``a`` and ``b``; either may be empty."""
    return f"{path}.{name}" if path and name else path or name
