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
from collections.abc import Iterator, Mapping
from typing import Any

from torch import nn

LAYERS = (nn.modules.conv._ConvNd, nn.Linear)


class Attached(nn.Module):
    """A module with an SE block on its output or on its first input.

    It passes for the module that it wraps: it has its parameters, buffers and attributes, and ``named_modules``,
    ``named_parameters`` and ``named_buffers`` give both the one name that the module had before. The SE block has a name of
    its own (`name_blocks`). A ``state_dict`` of the plain module still loads; only the SE block's keys are missing.
    """

    up: int = 0
    """How many names of the wrapped module's path stand between it and the home of the SE block."""
    name: str = "se"
    """The SE block's name in its home."""

    def __init__(self, module: nn.Module, se: nn.Module, side: str) -> None:
        super().__init__()
        self.__dict__["_modules"].update(module=module, se=se)
        self.side = side

    # The wrapped module's own: whoever changes them here (functional_call does) changes them there.
    _parameters = property(lambda self: self.__dict__["_modules"]["module"]._parameters, lambda self, value: None)
    _buffers = property(lambda self: self.__dict__["_modules"]["module"]._buffers, lambda self, value: None)

    def __getattr__(self, name: str) -> Any:
        modules = self.__dict__.get("_modules", {})
        if not modules:
            raise AttributeError(name)
        return modules[name] if name in modules else getattr(modules["module"], name)

    def __setattr__(self, name: str, value: Any) -> None:
        modules = self.__dict__.get("_modules", {})
        theirs = name not in modules and isinstance(value, (nn.Parameter, nn.Module))
        if theirs or name in modules.get("module", self).__dict__.get("_buffers", ()):
            setattr(modules["module"], name, value)
        else:
            super().__setattr__(name, value)

    def forward(self, first: Any, *rest: Any, **named: Any) -> Any:
        if self.side == "input":
            return self.module(self.se(first), *rest, **named)
        return self.se(self.module(first, *rest, **named))

    def named_modules(
        self, memo: set[nn.Module] | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Module]]:
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        yield from self.module.named_modules(memo, prefix, remove_duplicate)
        path = prefix.split(".") if prefix else []
        yield from self.se.named_modules(memo, ".".join([*path[: max(0, len(path) - self.up)], self.name]), remove_duplicate)

    def _save_to_state_dict(self, *args: Any) -> None:
        """Nothing of its own: its children write."""

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        keys = [key for key in state_dict if key.startswith(prefix)]
        plain = not any(key.startswith(f"{prefix}module.") for key in keys)
        if plain and self.module.state_dict():
            for key in keys:
                state_dict[f"{prefix}module.{key[len(prefix) :]}"] = state_dict.pop(key)


def is_block(module: nn.Module) -> bool:
    """Whether a module is a block: its own ``forward`` computes with layers. Layers and plain containers are not blocks."""
    container = type(module).forward in (nn.Sequential.forward, nn.Module.forward)
    inside = any(isinstance(inner, LAYERS) for inner in module.modules() if inner is not module)
    return inside and not container and not isinstance(module, Attached)


def public_paths(network: nn.Module) -> dict[str, str]:
    """Path -> public path of each module, also of those in `Attached`. A public path is the name in the ``state_dict``.

    A path is one by which `torch.nn.Module.get_submodule` finds the module: the one in an `Attached` has ``module`` behind
    its name, its SE block ``se``.
    """
    return _find_paths(network)[0]


def _find_paths(network: nn.Module) -> tuple[dict[str, str], list[tuple[Attached, nn.Module, int, str]]]:
    """See `public_paths`. And of each `Attached`: itself, the home of its SE block, how far up that is, and the name there."""
    paths: dict[str, str] = {}
    homes: list[tuple[str, Attached, str, nn.Module, str]] = []  # path, and of the home: public path, module, place in it

    def visit(module: nn.Module, path: str, public: str, home: str, owner: nn.Module) -> None:
        """``home`` is the public path of the block around a module, ``owner`` that block, or the Sequential in it."""
        paths[path] = public
        if isinstance(module, Attached):
            visit(module.module, join(path, "module"), public, home, owner)
            home, owner = (public, module.module) if is_block(module.module) else (home, owner)
            homes.append((join(path, "se"), module, home, owner, public.removeprefix(home).strip(".")))
            return
        if is_block(module) or isinstance(module, nn.Sequential):
            home, owner = public, module
        for name, child in module._modules.items():  # also a child that is there under two names
            if child is not None:
                visit(child, join(path, name), join(public, name), home, owner)

    visit(network, "", "", "", network)
    tenants = Counter(home for _, _, home, _, _ in homes)
    taken = set(paths.values())
    blocks = {id(attached.se) for _, attached, _, _, _ in homes}
    placed: list[tuple[Attached, nn.Module, int, str]] = []
    for path, attached, home, owner, place in homes:

        def free(name: str, home: str = home, owner: nn.Module = owner) -> bool:
            return join(home, name) not in taken and (not hasattr(owner, name) or id(getattr(owner, name)) in blocks)

        alone = tenants[home] == 1 and home != "" and not isinstance(owner, nn.Sequential)
        name = "new_se" if place == "se" else f"{place.replace('.', '_')}_se" if place else "se"
        name = "se" if alone and free("se") else name
        while not free(name):
            name += "_"
        taken.add(join(home, name))
        placed.append((attached, owner, len(place.split(".")) if place else 0, name))
        paths |= {join(path, inner): join(home, join(name, inner)) for inner, _ in attached.se.named_modules()}
    return paths, placed


def forget_names(network: nn.Module) -> None:
    """Take back what `name_blocks` did to the homes of SE blocks."""
    modules = list(network.modules())
    blocks = {id(module.se) for module in modules if isinstance(module, Attached)}
    for module in modules:
        for name in [name for name, value in vars(module).items() if id(value) in blocks]:
            del module.__dict__[name]


def name_blocks(network: nn.Module) -> None:
    """Give the attached SE blocks of a network their names, after any was attached or taken off.

    They are attributes of their homes then; ``named_modules`` and its like use the names, and a ``state_dict`` writes and reads
    them. It reads the modules' actual paths, too.
    """
    forget_names(network)
    placed = _find_paths(network)[1]
    for attached, home, up, name in placed:
        attached.up, attached.name = up, name
        home.__dict__[name] = attached.se  # no child of it: it would be run by a Sequential, and moved twice
    if placed and _write_public not in network._state_dict_hooks.values():
        network._register_state_dict_hook(_write_public)  # type: ignore[no-untyped-call]
        network._register_load_state_dict_pre_hook(_read_public, with_module=True)  # type: ignore[no-untyped-call]


def actual_modules(network: nn.Module) -> dict[str, nn.Module]:
    """Actual path -> module, each module once: the parts of an `Attached` have names of their own here, see `public_paths`."""
    found: dict[nn.Module, str] = {}

    def visit(module: nn.Module, path: str) -> None:
        if module not in found:
            found[module] = path
            for name, child in module.named_children():
                visit(child, join(path, name))

    visit(network, "")
    return {path: module for module, path in found.items()}


def public_names(network: nn.Module) -> dict[nn.Module, str]:
    """Module -> public path."""
    return {network.get_submodule(path): public for path, public in public_paths(network).items()}


def unattached(module: nn.Module) -> nn.Module:
    """A module without what is attached to it."""
    return unattached(module.module) if isinstance(module, Attached) else module


def public_modules(network: nn.Module) -> dict[str, nn.Module]:
    """Public path -> module. In place of an `Attached` stands the module that it wraps."""
    return {public: network.get_submodule(path) for path, public in public_paths(network).items()}


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
