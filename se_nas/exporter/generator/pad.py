"""Make modules of one class alike before they are recorded: an identity stands wherever another of them has something.

Of two residual blocks one has an SE block behind ``bn2``, the other has none; one has a ``downsample``, in the other it is None.
With an identity in each such place both compute in the same steps. So one body of code serves both, and says which of its steps
are optional. Where each SE block stands is known from how it was attached.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from se_nas.network.attached import Attached, is_block, join, public_names
from se_nas.network.placement import Site
from se_nas.network.rewrite import Edit, edits_of, rewrite

LABEL = "@"
"""Between the name of an SE block and its placement, in steps of modules whose SE blocks stand at different places."""


class Pad(nn.Identity):
    """An identity where another module of the class has an SE block or a child."""


@dataclass(frozen=True)
class Place:
    """Where in a module an SE block stands.

    Attributes:
        child: path of what it is attached to, within the module; "" for the module itself.
        side: ``output`` or ``input`` of it; ``inside`` for an expression of the module's own.
        method, node: that expression.
    """

    child: str
    side: str
    method: str = ""
    node: int = -1


@dataclass(frozen=True)
class Found:
    """An SE block, or a pad in its place: its name within its module, its placement, and where it stands."""

    name: str
    label: str
    place: Place
    module: nn.Module


@dataclass(frozen=True)
class Padded:
    """A padded network.

    Attributes:
        network: the network.
        names: module -> what steps call it: its public path. Where modules of a class have an SE block at different places, its
            placement is behind its name and that of its pads: ``layer1.0.se@pre``.
        beside: public path of each pad in a container -> public path of the child that it belongs to, and the side.
    """

    network: nn.Module
    names: dict[nn.Module, str]
    beside: dict[str, tuple[str, str]]

    @property
    def pads(self) -> set[str]:
        """What steps call the pads."""
        return {name for module, name in self.names.items() if isinstance(module, Pad)}


def pad(network: nn.Module, sites: Iterable[Site], kinds: Mapping[str, Any], absent: Collection[Any]) -> Padded:
    """Pad the modules of a network, in place.

    Args:
        network: any network, with the SE blocks attached to it.
        sites: where SE blocks can be in it.
        kinds: public path -> key of each module that gets a class. Those with one key are made alike.
        absent: keys of the modules in which children that are None get a pad, too.
    """
    names, beside = public_names(network), dict[str, tuple[str, str]]()
    modules = {public: module for module, public in names.items() if not isinstance(module, Attached)}
    blocks, places = _blocks(names, kinds), _places(sites, modules, kinds)
    groups: dict[Any, list[str]] = {}
    for path, key in kinds.items():
        groups.setdefault(key, []).append(path)
    for key, paths in groups.items():
        if key in absent:
            _fill_absent(paths, modules, names)
        labels: dict[str, dict[str, set[Place]]] = {}
        for one in (one for path in paths for one in blocks[path]):
            labels.setdefault(one.name, {}).setdefault(one.label, set()).add(one.place)
        moving = [name for name in labels if len(labels[name]) > 1]
        unclear = {name for name in moving if "." in name or name != moving[0]}  # a class says of one SE block where it is
        clear = {name: found for name, found in labels.items() if name not in unclear}
        for path in paths:
            for name, label, place in list(_missing(blocks[path], clear, places[path])):
                if made := _attach(path, place, f"pad_{label}", modules, names):
                    blocks[path].append(Found(name, label, place, made))
            for one in blocks[path]:
                names[one.module] = join(path, one.name) + (LABEL + one.label if one.name in moving and one.name in clear else "")
                if isinstance(one.module, Pad) and "." in one.name:
                    beside[join(path, one.name)] = join(path, one.place.child), one.place.side
    return Padded(network, names, beside)


def _blocks(names: Mapping[nn.Module, str], kinds: Mapping[str, Any]) -> dict[str, list[Found]]:
    """The SE blocks of each module that gets a class, without those of such modules within it."""
    found: dict[str, list[Found]] = {path: [] for path in ("", *kinds)}
    for module, path in names.items():
        gates = [(getattr(module, edit.gate), Place("", "inside", edit.method, edit.node)) for edit in edits_of(module) if edit.gate]
        if isinstance(module, Attached):
            gates = [(module.se, Place(path, module.side))]
        for block, place in gates:
            owner = owner_of(names[block], kinds)
            place = replace(place, child=place.child[len(owner) :].strip("."))
            found[owner].append(Found(names[block][len(owner) :].strip("."), block.spec.placement, place, block))
    return found


def _places(sites: Iterable[Site], modules: Mapping[str, nn.Module], kinds: Mapping[str, Any]) -> dict[str, list[tuple[str, Place]]]:
    """Placement and place of each SE block that each module that gets a class could have."""
    found: dict[str, list[tuple[str, Place]]] = {path: [] for path in ("", *kinds)}
    for label, at in [pair for site in sites for pair in site.attachments.items()]:
        own = at.module in kinds and (at.side == "inside" or is_block(modules[at.module]))
        owner = at.module if own else owner_of(at.module, kinds)
        child = "" if at.side == "inside" else at.module[len(owner) :].strip(".")
        found[owner].append((label, Place(child, at.side, at.method, at.node)))
    return found


def owner_of(path: str, kinds: Mapping[str, Any]) -> str:
    """The innermost module with a class around a path; "", the network itself, if there is none."""
    while path:
        path = path.rpartition(".")[0]
        if path in kinds:
            break
    return path


def _fill_absent(paths: Iterable[str], modules: Mapping[str, nn.Module], names: dict[nn.Module, str]) -> None:
    """A pad for each child that is None and that another module has."""
    children = dict.fromkeys(name for path in paths for name, child in modules[path]._modules.items() if child is not None)
    for path in paths:
        for name in children:
            if getattr(modules[path], name, ...) is None:
                setattr(modules[path], name, Pad())
                names[getattr(modules[path], name)] = join(path, name)


def _missing(
    blocks: Iterable[Found], labels: Mapping[str, Mapping[str, set[Place]]], places: Iterable[tuple[str, Place]]
) -> Iterator[tuple[str, str, Place]]:
    """The SE blocks that a module has not and others of its class have: name, placement, and place in this module."""
    there = {(one.name, one.label) for one in blocks}
    taken = {place for found in labels.values() for others in found.values() for place in others}
    for name in labels:
        for label in [label for label in labels[name] if (name, label) not in there]:
            own = {place for known, place in places if known == label}
            others = labels[name][label]
            fitting = own & others or (set() if name.endswith("_se") else own - taken) or others  # conv1_se is named after its place
            if len(fitting) == 1:
                yield name, label, next(iter(fitting))


def _attach(path: str, place: Place, gate: str, modules: Mapping[str, nn.Module], names: dict[nn.Module, str]) -> Pad | None:
    """Attach a pad to a module in place; None if it is not clear how."""
    block, made = modules[path], Pad()
    if place.side == "inside":
        block.add_module(gate, made)
        rewrite(block, (*edits_of(block), Edit(place.method, place.node, gate)))
        return made
    full = join(path, place.child)
    parent, _, child = full.rpartition(".")
    inner = getattr(modules.get(parent), child, None) if full else None
    if inner is None or (isinstance(inner, Attached) and inner.side == place.side):
        return None
    attached = Attached(inner, made, place.side)
    setattr(modules[parent], child, attached)
    names[attached] = full
    return made
