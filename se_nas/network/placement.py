"""The sites of a network that can take an SE block, and how a block is attached there."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from se_nas.errors import InputError
from se_nas.network.attached import Attached, use_public_names
from se_nas.network.blocks import Anchor, find_anchors
from se_nas.network.discover import Place, Unit, discover
from se_nas.network.graph import Call, Graph, trace


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
        stage: path of the container that a known block stands in, ``layer1``; of others the resolution, ``56x56``.
        kind: ``residual``, ``concatenation``, ``separable``, ``convolution`` or ``se``.
        attachments: by placement; all sites have ``standard``.
        existing: path of the network's own SE block, which is taken out before another is put in; "" if there is none.
        spare: whether it lies outside of the network's blocks, and is searched only if it is named.
    """

    name: str
    stage: str
    kind: str
    attachments: Mapping[str, Attachment]
    existing: str = ""
    spare: bool = False


@dataclass(frozen=True)
class Sites:
    """What looking at a network found.

    Attributes:
        sites: in the order of the network, spare ones included.
        left_out: what could not be used: (name, reason).
        classes: how many class scores the network returns; 0 if it returns something else.
    """

    sites: tuple[Site, ...]
    left_out: tuple[tuple[str, str], ...]
    classes: int


def survey(network: nn.Module, input_size: tuple[int, int, int]) -> Sites:
    """The sites of a network for images of (C, H, W), which is run once: on the meta device (no arithmetic), or where it is.

    Raises:
        InputError: if the network refuses such images, or has no site.
    """
    try:
        plain = copy.deepcopy(network).to("meta").eval()
        graph, output = trace(plain, torch.empty(1, *input_size, device="meta"))
    except Exception:  # some networks compute with the values of their tensors
        plain = copy.deepcopy(network).eval()
        try:
            graph, output = trace(plain, torch.zeros(1, *input_size))
        except Exception as error:
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise InputError(
                f"the backbone refuses images of {list(input_size)} ({reason[:200]})", "correct input_size or backbone_args", "input_size"
            ) from error
    return find_sites(plain, graph, output.shape[1] if isinstance(output, Tensor) and output.ndim == 2 else 0)


def find_sites(network: nn.Module, graph: Graph, classes: int) -> Sites:
    """The sites of any network: known block classes by their table entry, all others by what the network computes.

    Args:
        network: the network.
        graph: of one forward pass of it in evaluation mode.
        classes: size of its output.

    Raises:
        InputError: if there is none.
    """
    calls = {call.module: call for call in graph.calls}
    known: list[tuple[int, Site]] = []
    left_out: list[tuple[str, str]] = []
    for name, module in network.named_modules():
        anchors = find_anchors(type(module))
        if anchors and name in calls and not any(name.startswith(f"{site.name}.") for _, site in known):
            places = {placement: _anchored(name, module, anchor, calls, graph) for placement, anchor in anchors.items()}
            attachments = {placement: place for placement, place in places.items() if isinstance(place, Attachment)}
            if "standard" in attachments:
                known.append((calls[name].output, Site(name, name.rpartition(".")[0] or name, "residual", attachments)))
            else:
                left_out.append((name, str(places.get("standard", "its table entry has no standard placement"))))
    found = discover(graph, tuple(site.name for _, site in known))
    units = [(unit.value, _site(unit, graph, spare=False)) for unit in found.units]
    units += [(unit.value, _site(unit, graph, spare=True)) for unit in found.spare]
    sites = tuple(site for _, site in sorted([*known, *units], key=lambda pair: pair[0]))
    if not any(not site.spare for site in sites):
        reasons = "; ".join(f"{name}: {reason}" for name, reason in (*left_out, *found.left_out)[:3])
        raise InputError(
            f"no site for an SE block found in {type(network).__name__}" + (f" ({reasons})" if reasons else ": it has no convolution"),
            "describe its block class with se_nas.register_block",
            "backbone",
        )
    return Sites(sites, (*left_out, *found.left_out), classes)


def _anchored(name: str, block: nn.Module, anchor: Anchor, calls: Mapping[str, Call], graph: Graph) -> Attachment | str:
    """Where a table entry's placement is in one block, or why it is not there."""
    path = f"{name}.{anchor.child}" if anchor.child else name
    parent, _, child = anchor.child.rpartition(".")
    try:
        absent = bool(anchor.child) and getattr(block.get_submodule(parent), child) is None
    except AttributeError:
        return f"it has no child {anchor.child!r}"
    call = calls[name] if absent else calls.get(path)  # an absent shortcut hands on the block's input
    if call is None or graph.times_called[call.module] != 1:
        return f"its child {anchor.child!r} is not called just once"
    value = call.input if absent or anchor.side == "input" else call.output
    return _attachment(Place(path, anchor.side, value), graph)


def _site(unit: Unit, graph: Graph, spare: bool) -> Site:
    attachments = {placement: _attachment(place, graph) for placement, place in unit.places.items()}
    standard = attachments["standard"]
    return Site(unit.name, f"{standard.height}x{standard.width}", unit.kind, attachments, unit.existing, spare)


def _attachment(place: Place, graph: Graph) -> Attachment:
    _, channels, height, width = graph.shapes[place.value]
    return Attachment(place.module, place.side, channels, height, width)


class Removed(nn.Module):
    """Stands where the network's own SE block was, and hands its input on; `detach` puts the block back."""

    def __init__(self, original: nn.Module) -> None:
        super().__init__()
        self.__dict__["original"] = original  # not registered: it is no part of the network any more

    def forward(self, x: Tensor) -> Tensor:
        return x


def remove_existing(network: nn.Module, site: Site) -> None:
    """Take the network's own SE block out of a site."""
    if site.existing:
        owner, child = _owner(network, site.existing)
        setattr(owner, child, Removed(getattr(owner, child)))


def attach(network: nn.Module, attachment: Attachment, se: nn.Module) -> None:
    """Put an SE block, shapes (N, C, H, W) -> (N, C, H, W), at its place in the network."""
    owner, child = _owner(network, attachment.module)
    module = getattr(owner, child)
    setattr(owner, child, Attached(nn.Identity() if module is None else module, se, attachment.side))
    use_public_names(network)


def detach(network: nn.Module) -> None:
    """Take every attached SE block out again, and put the network's own ones back, in place."""
    for owner in list(network.modules()):
        for name, child in list(owner.named_children()):
            inner = child.module if isinstance(child, Attached) else child
            setattr(owner, name, inner.original if isinstance(inner, Removed) else inner)


def _owner(network: nn.Module, path: str) -> tuple[nn.Module, str]:
    parent, _, child = path.rpartition(".")
    return network.get_submodule(parent), child
