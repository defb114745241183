"""The sites of a network, and how an SE block is attached to one."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from math import prod

from torch import Tensor, nn

from se_nas.errors import InputError
from se_nas.network.attached import Attached, forget_names, name_blocks
from se_nas.network.blocks import Anchor, find_anchors
from se_nas.network.discover import Missed, Unit, discover
from se_nas.network.graph import Call, Graph
from se_nas.network.own import Own
from se_nas.network.places import Marks, Place
from se_nas.network.rewrite import Edit, edits_of, operand, rewrite


@dataclass(frozen=True)
class Attachment:
    """One placement of one site.

    Attributes:
        module: path of the module to wrap; for side ``inside``, of the module whose method computes the value.
        side: what the SE block scales: the module's ``output``, its ``input``, or an expression ``inside`` it.
        channels: C of that value.
        size: the rest of its shape: (L,), (H, W) or (D, H, W).
        method, node: for side ``inside``, the expression, see `se_nas.network.rewrite`.
        maps: how many such values there are for one image: more than one where the network folds heads or frames into N.
    """

    module: str
    side: str
    channels: int
    size: tuple[int, ...]
    method: str = ""
    node: int = -1
    maps: int = 1

    @property
    def height(self) -> int:
        """Height of the image that the SE block sees: L for a signal, D for a volume."""
        return self.size[0]

    @property
    def width(self) -> int:
        """Width of the image that the SE block sees: 1 for a signal, H * W for a volume."""
        return prod(self.size[1:])


@dataclass(frozen=True)
class Site:
    """A place in a backbone that can take an SE block.

    Attributes:
        name: path of the block, ``layer1.0``.
        stage: container of a known block, ``layer1``; for others the resolution, ``56x56``.
        kind: ``residual``, ``concatenation``, ``separable``, ``convolution``, ``se``, or ``block`` (of a known class, without a shortcut).
        attachments: placement -> attachment; every site has ``standard``.
        existing: path of the network's own SE block here, which is removed before another is attached; "" if there is none.
            If it is written in a block's ``forward``, the block's path.
        inline: for such an SE block, the edit that removes it, and the modules that only it needs.
        spare: whether the site is outside of the network's blocks; such a site is searched only if it is named.
    """

    name: str
    stage: str
    kind: str
    attachments: Mapping[str, Attachment]
    existing: str = ""
    spare: bool = False
    inline: tuple[Edit, tuple[str, ...]] | None = None


@dataclass(frozen=True)
class LeftOut:
    """Blocks of one kind that cannot take an SE block.

    Attributes:
        names: their paths.
        reason: why, in words.
        blocks: number of blocks of this kind in the network, with those that can.
        line: a line of Python that gives them sites if it runs before the space is made; "" if there is none.
    """

    names: tuple[str, ...]
    reason: str
    blocks: int
    line: str = ""

    def __str__(self) -> str:
        few = ", ".join(self.names[:3]) + (", ..." if len(self.names) > 3 else "")
        text = f"{len(self.names)} of {self.blocks} blocks cannot take SE: {self.reason} ({few})"
        return f"{text}; to give them sites: {self.line}" if self.line else text


@dataclass(frozen=True)
class Sites:
    """What a look at a network found.

    Attributes:
        sites: in the order of the network, spare ones included.
        left_out: blocks that cannot take SE, grouped by reason.
        classes: number of class scores that the network returns; 0 if it returns something else.
    """

    sites: tuple[Site, ...]
    left_out: tuple[LeftOut, ...]
    classes: int


def find_sites(network: nn.Module, graph: Graph, classes: int, marks: Callable[[], Marks] = dict) -> Sites:
    """The sites of a network. Known block classes have a table entry; all other sites are found from what the network computes.

    Args:
        network: the network.
        graph: one forward pass of it in evaluation mode.
        classes: number of its outputs.
        marks: called for the values of expressions, and only if no module computes some value.

    Raises:
        InputError: if there is no site.
    """
    calls = {call.module: call for call in graph.calls}
    kinds = {name: type(module) for name, module in network.named_modules()}
    known: list[tuple[int, Site]] = []
    missed: list[Missed] = []
    for name, module in network.named_modules():
        anchors = find_anchors(type(module))
        if anchors and name in calls and not any(name.startswith(f"{site.name}.") for _, site in known):
            places = {placement: _anchored(name, module, anchor, calls, graph) for placement, anchor in anchors.items()}
            attachments = {placement: place for placement, place in places.items() if isinstance(place, Attachment)}
            if "standard" in attachments:
                kind = "residual" if "pre" in anchors else "block"  # what gates the branch's input has a shortcut beside it
                known.append((calls[name].output, Site(name, name.rpartition(".")[0] or name, kind, attachments)))
            else:
                missed.append(Missed(name, str(places.get("standard", "its table entry has no standard placement"))))
    found = discover(graph, tuple(site.name for _, site in known), kinds, marks)
    units: list[tuple[int, Site]] = []
    for unit in (*found.units, *found.spare):
        if site := _site(unit, graph, network, marks, spare=unit in found.spare):
            units.append((unit.value, site))
        else:
            missed.append(Missed(unit.name, "its own SE block cannot be told from the rest of its forward"))
    sites = tuple(site for _, site in sorted([*known, *units], key=lambda pair: pair[0]))
    if all(site.spare for site in sites):  # no block can be used: the spare sites take their place
        sites = tuple(replace(site, spare=False) for site in sites)
    left_out = _grouped([*missed, *found.left_out], sites, kinds)
    if not sites:
        raise InputError(
            f"no site for an SE block found in {type(network).__name__}"
            + (f" ({'; '.join(map(str, left_out[:3]))})" if left_out else ": it has no convolution"),
            "describe its block class with se_nas.register_block",
            "backbone",
        )
    return Sites(sites, left_out, classes)


def _grouped(missed: Iterable[Missed], sites: Iterable[Site], kinds: Mapping[str, type]) -> tuple[LeftOut, ...]:
    """What was missed, grouped by reason and by the line that would help."""
    groups: dict[tuple[str, str, type | None], list[str]] = {}
    for one in missed:
        cls = kinds.get(one.name)
        groups.setdefault((one.reason, _line(one, cls), cls), []).append(one.name or "(network)")
    usual = [site.name for site in sites if not site.spare]
    return tuple(
        LeftOut(tuple(dict.fromkeys(names)), reason, len({*names, *(name for name in usual if kinds.get(name) is cls)}), line)
        for (reason, line, cls), names in groups.items()
    )


def _line(missed: Missed, cls: type | None) -> str:
    if cls is None or cls.__module__.startswith("torch.nn.") or not missed.nearest or missed.nearest == missed.name:
        return ""
    child = missed.nearest.removeprefix(missed.name).strip(".")
    return f'se_nas.register_block("{cls.__module__}.{cls.__qualname__}", {{"standard": ("{child}", "output")}})'


def _anchored(name: str, block: nn.Module, anchor: Anchor, calls: Mapping[str, Call], graph: Graph) -> Attachment | str:
    """The attachment that a table entry describes in one block, or why there is none."""
    path = f"{name}.{anchor.child}" if anchor.child else name
    parent, _, child = anchor.child.rpartition(".")
    try:
        absent = bool(anchor.child) and getattr(block.get_submodule(parent), child) is None
    except AttributeError:
        return f"it has no child {anchor.child!r}"
    call = calls[name] if absent else calls.get(path)  # an absent shortcut passes the block's input on
    if call is None or graph.times_called[call.module] != 1:
        return f"its child {anchor.child!r} is not called just once"
    value = call.input if absent or anchor.side == "input" else call.output
    return _attachment(Place(path, anchor.side, value), graph)


def _site(unit: Unit, graph: Graph, network: nn.Module, marks: Callable[[], Marks], spare: bool) -> Site | None:
    """None if the network's own SE block there cannot be taken out."""
    attachments = {placement: _attachment(place, graph) for placement, place in unit.places.items()}
    standard = attachments["standard"]
    existing = unit.own.path or "(network)" if unit.own else ""
    inline = None
    if unit.own and unit.own.inline and (inline := _inline(unit.own, standard, network, marks)) is None:
        return None
    return Site(unit.name, "x".join(map(str, standard.size)), unit.kind, attachments, existing, spare, inline)


def _inline(own: Own, place: Attachment, network: nn.Module, marks: Callable[[], Marks]) -> tuple[Edit, tuple[str, ...]] | None:
    """How to remove an SE block that is written in a ``forward``: the map replaces the product of map and gate."""
    if place.module != own.path:
        return None
    scaled = [mark.node for mark in marks()[own.path] if mark.method == place.method and mark.value == own.scaled]
    keep = operand(network.get_submodule(own.path), place.method, place.node, scaled)
    return (Edit(place.method, place.node, keep=keep), own.modules) if keep >= 0 else None


def _attachment(place: Place, graph: Graph) -> Attachment:
    maps, channels, *size = graph.shapes[place.value]
    return Attachment(place.module, place.side, channels, tuple(size), place.method, place.node, maps)


class Removed(nn.Module):
    """Takes the place of the network's own SE block and returns its input. `detach` puts the block back."""

    def __init__(self, original: nn.Module) -> None:
        super().__init__()
        self.__dict__["original"] = original  # not registered as a child: it is not part of the network now

    def forward(self, x: Tensor) -> Tensor:
        return x


def remove_existing(network: nn.Module, site: Site) -> None:
    """Remove the network's own SE block from a site, in place."""
    paths = [site.existing] if site.existing else []
    if site.inline:
        edit, paths = site.inline[0], list(site.inline[1])
        block = network.get_submodule(site.existing.removeprefix("(network)"))
        rewrite(block, (*edits_of(block), edit))
    for path in paths:
        owner, child = _owner(network, path)
        setattr(owner, child, Removed(getattr(owner, child)))


def attach(network: nn.Module, attachment: Attachment, se: nn.Module) -> None:
    """Attach an SE block to a network, in place."""
    attach_all(network, [(attachment, se)])


def attach_all(network: nn.Module, blocks: Iterable[tuple[Attachment, nn.Module]]) -> None:
    """Attach SE blocks to a network one after another, in place. Names are given once: each looks at the whole network."""
    for attachment, se in blocks:
        _attach(network, attachment, se)
    name_blocks(network)


def _attach(network: nn.Module, attachment: Attachment, se: nn.Module) -> None:
    if attachment.side == "inside":
        block = network.get_submodule(attachment.module)
        name = next(name for n in itertools.count(1) if not hasattr(block, name := f"se{n if n > 1 else ''}"))
        block.add_module(name, se)
        rewrite(block, (*edits_of(block), Edit(attachment.method, attachment.node, name)))
        return
    owner, child = _owner(network, attachment.module)
    module = getattr(owner, child)
    setattr(owner, child, Attached(nn.Identity() if module is None else module, se, attachment.side))


def attached_blocks(network: nn.Module) -> list[nn.Module]:
    """Every SE block that `attach` put into a network."""
    outside = [module.se for module in network.modules() if isinstance(module, Attached)]
    return outside + [getattr(module, edit.gate) for module in network.modules() for edit in edits_of(module) if edit.gate]


def detach(network: nn.Module) -> None:
    """Remove every attached SE block, and put the network's own ones back, in place."""
    forget_names(network)
    for owner in list(network.modules()):
        for edit in edits_of(owner):
            if edit.gate:
                delattr(owner, edit.gate)
        rewrite(owner, ())
        for name, child in list(owner.named_children()):
            inner = child.module if isinstance(child, Attached) else child
            setattr(owner, name, inner.original if isinstance(inner, Removed) else inner)


def _owner(network: nn.Module, path: str) -> tuple[nn.Module, str]:
    parent, _, child = path.rpartition(".")
    return network.get_submodule(parent), child
