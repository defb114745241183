"""The sites of a network that can take an SE block, and how a block is attached there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from se_nas.blocks import Anchor, find_anchors
from se_nas.errors import InputError


@dataclass(frozen=True)
class Attachment:
    """One placement of one site: the module to wrap, the side to gate, and the shape (C, H, W) gated there."""

    module: str
    side: str
    channels: int
    height: int
    width: int


@dataclass(frozen=True)
class Site:
    """A place in a backbone that can take an SE block.

    Attributes:
        name: path of the block, ``layer1.0``.
        stage: path of the container that it stands in, ``layer1``.
        attachments: by placement.
    """

    name: str
    stage: str
    attachments: Mapping[str, Attachment]


Shapes = dict[str, tuple[torch.Size, torch.Size]]
"""Module path -> shapes of its input and output, in one forward pass."""


def record_shapes(network: nn.Module, images: Tensor) -> tuple[Shapes, Tensor]:
    """Shapes that each module sees when the network runs on ``images`` (N, C, H, W), and the network's output."""
    shapes: Shapes = {}

    def recorder(name: str) -> Any:
        def record(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor):
                shapes.setdefault(name, (inputs[0].shape, output.shape))

        return record

    handles = [module.register_forward_hook(recorder(name)) for name, module in network.named_modules()]
    try:
        with torch.no_grad():
            output = network(images)
    finally:
        for handle in handles:
            handle.remove()
    return shapes, output


def find_sites(network: nn.Module, shapes: Shapes) -> tuple[Site, ...]:
    """The sites of a network, in the order of its modules.

    Raises:
        InputError: if no block of the network is known.
    """
    sites = []
    for name, module in network.named_modules():
        anchors = find_anchors(type(module))
        if anchors and name in shapes:
            attachments = {placement: _attachment(name, module, anchor, shapes) for placement, anchor in anchors.items()}
            sites.append(Site(name, name.rpartition(".")[0] or name, attachments))
    if not sites:
        raise InputError(
            f"no site for an SE block found in {type(network).__name__}: none of its blocks is known",
            "describe its block class with se_nas.register_block",
            "backbone",
        )
    return tuple(sites)


def _attachment(name: str, block: nn.Module, anchor: Anchor, shapes: Shapes) -> Attachment:
    path = f"{name}.{anchor.child}" if anchor.child else name
    absent = bool(anchor.child) and getattr(block, anchor.child) is None  # an absent shortcut hands on the block's input
    shape = shapes[name][0] if absent else shapes[path][0 if anchor.side == "input" else 1]
    _, channels, height, width = shape
    return Attachment(path, anchor.side, channels, height, width)


class Attached(nn.Sequential):
    """A module with an SE block on its output (``module``, ``se``) or on its input (``se``, ``module``).

    The plain module's ``state_dict`` still loads: its keys go to ``module``, and only the SE block's are missing.
    """

    def __init__(self, module: nn.Module, se: nn.Module, side: str) -> None:
        super().__init__()
        for name in ("se", "module") if side == "input" else ("module", "se"):
            self.add_module(name, {"se": se, "module": module}[name])

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        keys = [key for key in state_dict if key.startswith(prefix)]
        plain = not any(key.startswith(f"{prefix}module.") for key in keys)
        if plain and next(iter(self.get_submodule("module").state_dict()), None):
            for key in keys:
                state_dict[f"{prefix}module.{key[len(prefix) :]}"] = state_dict.pop(key)
        super()._load_from_state_dict(state_dict, prefix, *args)


def attach(network: nn.Module, attachment: Attachment, se: nn.Module) -> None:
    """Put an SE block, shapes (N, C, H, W) -> (N, C, H, W), at its place in the network."""
    parent, _, child = attachment.module.rpartition(".")
    owner = network.get_submodule(parent)
    module = getattr(owner, child)
    setattr(owner, child, Attached(nn.Identity() if module is None else module, se, attachment.side))


def detach(network: nn.Module) -> None:
    """Take every attached SE block out again, in place."""
    for owner in list(network.modules()):
        for name, child in list(owner.named_children()):
            if isinstance(child, Attached):
                setattr(owner, name, child.module)
