"""The classes of a network, in the order in which a file needs them. Modules that compute alike share one."""

from __future__ import annotations

import copy
import keyword
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from typing import Any

import torch
from torch import nn

from se_nas.exporter.contract import Unsupported, is_ours, other_inputs
from se_nas.exporter.generator.bodies import Body, merge, steps_of
from se_nas.exporter.generator.definitions import Definition, define
from se_nas.exporter.generator.expressions import MISSING, NOTHING, SE, Container, Expression, New, initial, layer
from se_nas.exporter.generator.families import Template, find_families, only_needed, unpadded
from se_nas.exporter.generator.inplace import frames_in_place
from se_nas.exporter.generator.kinds import CONTAINERS, base_layer, is_layer, kind_of
from se_nas.exporter.generator.loops import is_chain, listed, relative_to, roll, with_attributes
from se_nas.exporter.generator.pad import Pad, Padded, owner_of, pad
from se_nas.exporter.generator.recording import Recording, form, record
from se_nas.exporter.generator.symbols import Frame
from se_nas.network.attached import Attached, join, public_paths
from se_nas.network.inputs import Inputs
from se_nas.network.placement import Removed, Site
from se_nas.network.rewrite import base_of
from se_nas.se.block import SEBlock

Key = tuple[type, int]


@dataclass
class Classes:
    """Finds the classes of a network.

    Attributes:
        network: the searched network, in which SE blocks are attached.
        inputs: inputs of one call.
        sites: where SE blocks can be in it.
        reserved: names that no class may have.
        inference: write the evaluation mode only, with steps in place where nothing reads a tensor again.
    """

    network: nn.Module
    inputs: Inputs
    sites: tuple[Site, ...]
    reserved: frozenset[str]
    inference: bool = False
    definitions: dict[str, Definition] = field(default_factory=dict)
    one_size: bool = False  # whether the network computes something else at other sizes
    expressions: dict[str, Expression] = field(default_factory=dict)

    def find(self) -> Expression:
        """Fill ``definitions``; returns the expression that makes the network.

        Raises:
            Unsupported: if something in it cannot be written.
        """
        self._walk()
        self._record()
        for key in self._order():
            self._define([path for path in self.kinds if self.kinds[path] == key])
        return self.expression("")

    # The tree of modules by their public paths.

    def _walk(self) -> None:
        self.modules: dict[str, nn.Module] = {}
        beside: dict[str, tuple[str, str]] = {}  # SE block -> what it is attached to, and on which side
        paths = public_paths(self.network)
        for path, public in paths.items():
            module = self.network.get_submodule(path)
            if isinstance(module, Attached):
                beside[paths[join(path, "se")]] = (public, module.side)
            else:
                self.modules[public] = module
        self.children: dict[str, list[str]] = {path: [] for path in self.modules}
        for public in [path for path in self.modules if path and path not in beside]:
            self.children[public.rpartition(".")[0]].append(public)
        for public, (neighbour, side) in beside.items():
            self._insert(public, neighbour, side)
        self._refuse_shared()

    def _insert(self, public: str, neighbour: str, side: str) -> None:
        """Enter an SE block, or its pad, among the children of its home."""
        siblings = self.children[public.rpartition(".")[0]]
        at = siblings.index(neighbour) + (side == "output") if neighbour in siblings else len(siblings)
        siblings.insert(at, public)

    def _refuse_shared(self) -> None:
        """Raise if the network has a tensor twice: in the file each has its own name."""
        tensors = [
            t for module in self.modules.values() for t in (*module._parameters.values(), *module._buffers.values()) if t is not None
        ]
        if len({id(tensor) for tensor in tensors}) < len(tensors):
            raise Unsupported("some of its modules share parameters")

    def _record(self) -> None:
        """What each module computes, in both modes."""
        frames: dict[bool, dict[str, Frame]] = {False: {}, True: {}}
        recordings: dict[bool, Recording] = {}
        for training in (False,) if self.inference else (False, True):
            try:
                recordings[training] = recording = self._pass(training, self.inputs)
                frames[training] = self._frames(recording)
            except Unsupported:
                raise
            except Exception as error:
                if is_ours(error):
                    raise
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                raise Unsupported(
                    f"it could not be run without arithmetic in {'training' if training else 'evaluation'} ({reason[:160]})"
                ) from error
        others = other_inputs(self.inputs)
        self.one_size = any(self._differs(recording, mode, other) for mode, recording in recordings.items() for other in others)
        self._find_silent(frames)
        passes = self._padded(recordings)
        frames |= {mode: self._frames(recording) for mode, recording in passes.items()}
        dull = self._dull()
        self.bodies = {path: merge(frames[False].get(path), frames[True].get(path), dull) for path in {*frames[False], *frames[True]}}

    def _padded(self, recordings: Mapping[bool, Recording]) -> dict[bool, Recording]:
        """The same passes with the modules of each class padded; children that are None only where that changes nothing."""
        plain = {mode: unpadded(found.frames, ()) for mode, found in recordings.items()}
        absent = set(self.kinds.values())
        while True:
            padded = pad(copy.deepcopy(self._plain), self.sites, self.kinds, absent)
            if not padded.pads:
                return dict(recordings)
            try:
                passes = {mode: self._pass(mode, self.inputs, padded) for mode in recordings}
            except Exception as error:
                if not absent or is_ours(error):
                    raise
                absent = set()
                continue
            bare = {mode: unpadded(found.frames, padded.pads) for mode, found in passes.items()}
            wrong = [path for mode in plain for path, body in plain[mode].items() if bare[mode].get(path) != body]
            blamed = {key for path, key in self.kinds.items() if any(_within(at, path) for at in wrong)} & absent
            if not wrong or not absent:
                break
            absent = absent - blamed if blamed else set()
        for public, (neighbour, side) in padded.beside.items():
            self._insert(public, neighbour, side)
            self.modules[public] = Pad()
        return passes

    def _frames(self, recording: Recording) -> dict[str, Frame]:
        return frames_in_place(recording, self._sums) if self.inference else recording.frames

    def _find_silent(self, frames: dict[bool, dict[str, Frame]]) -> None:
        """``silent``: modules that return their input."""
        called = {*frames[False], *frames[True]}
        self.silent = {path for path, module in self.modules.items() if type(module) is nn.Identity or isinstance(module, Removed)}
        for path in called:
            both = [frame[path] for frame in (frames[False], frames[True]) if path in frame]
            idle = all(not frame.steps and frame.params == (frame.result,) for frame in both)
            if idle and not _holds(self.modules[path]):
                self.silent.add(path)
        self.silent |= {path for path, module in self.modules.items() if kind_of(module) == "own" and not _holds(module)} - called

    def _dull(self) -> set[str]:
        """Silent modules without a counterpart that computes something in another module of the class around it."""
        heard = {self._place(path) for path in self.modules if path not in self.silent}
        return {path for path in self.silent if self._place(path) not in heard}

    def _place(self, path: str) -> tuple[Key | None, str]:
        """The class around a module, and the module's path in it."""
        owner = owner_of(path, self.kinds)
        return self.kinds.get(owner), path[len(owner) :].strip(".")

    @property
    def _sums(self) -> set[str]:
        """SE blocks of an inference form that add their product to another tensor."""
        return {path for path, module in self.modules.items() if isinstance(module, SEBlock) and getattr(module.spec, "sums", False)}

    @cached_property
    def _plain(self) -> nn.Module:
        """The network on the meta device."""
        return copy.deepcopy(self.network).to("meta")

    def _differs(self, recording: Recording, training: bool, inputs: Inputs) -> bool:
        """Whether the network does something else at another size, or bases a decision on the size."""
        try:
            other = self._pass(training, inputs)
        except Unsupported:
            return False
        except Exception as error:  # it does not take other sizes
            if is_ours(error):
                raise
            return False
        same = other.frames.keys() == recording.frames.keys() and other.noted == recording.noted
        return not same or any(form(other.frames[path]) != form(frame) for path, frame in recording.frames.items())

    def _pass(self, training: bool, inputs: Inputs, padded: Padded | None = None) -> Recording:
        """What each module computes in a pass of three times the inputs."""
        given = inputs.to("meta").times(3)
        network, names = (padded.network, padded.names) if padded else (self._plain, None)
        with torch.device("meta"):  # where the network makes tensors of its own
            return record(network.train(training), given, lambda module: is_layer(module) or isinstance(module, SEBlock), names)

    # Classes.

    @cached_property
    def kinds(self) -> dict[str, Key]:
        """Path -> key of each module that gets a class. Modules of one class have one key."""
        own = [
            path
            for path, module in self.modules.items()
            if kind_of(module) == "own" and not isinstance(module, SEBlock) and path not in self.silent
        ]
        bases = {path: base_of(self.modules[path]) for path in own}
        nested = {bases[a] for a in own for b in own if a != b and _within(a, b) and bases[a] is bases[b]}
        heights = {
            path: max((inner.count(".") for inner in self.modules if _within(inner, path)), default=0) - path.count(".") for path in own
        }
        return {path: (bases[path], heights[path] if bases[path] in nested else 0) for path in own}

    def _order(self) -> list[Key]:
        sorter: TopologicalSorter[Key] = TopologicalSorter()
        for path, key in self.kinds.items():
            sorter.add(key)
            for inner, other in self.kinds.items():
                if inner != path and _within(inner, path) and other != key:
                    sorter.add(key, other)
        try:
            return list(sorter.static_order())
        except CycleError:
            raise Unsupported("its classes contain each other") from None

    def _define(self, paths: list[str]) -> None:
        templates = [self._template(path) for path in paths]
        plain = self._as_containers(templates)
        self.expressions |= plain
        left = [template for template in templates if template.path not in plain]
        for family in find_families(left) if left else ():
            if family.templates[0].container == "nn.Sequential" and family.body is None and len(family.templates) == 1:
                (template,) = family.templates
                self.expressions[template.path] = self._filled("nn.Sequential", template.path)
                continue
            definition, news = define(family, self._class_name(type(self.modules[family.templates[0].path]).__name__))
            self.definitions[definition.name] = definition
            for template, new in zip(family.templates, news, strict=True):
                if template.container and template.body is not None:
                    new = New(new.name, (("modules", self._filled(template.container, template.path)), *new.args))
                self.expressions[template.path] = new

    def _template(self, path: str) -> Template:
        module = self.modules[path]
        container = next((name for cls, name in CONTAINERS.items() if isinstance(module, cls)), "")
        body = self.bodies.get(path)
        if container == "nn.ModuleList" and not all(child.rpartition(".")[2].isdigit() for child in self.children[path]):
            container = "nn.ModuleDict"  # an SE block is in the list, under its name
        called = {step.name for step in steps_of(body.items)} if body else set()
        children = {}
        for child in self.children[path]:
            name = child.removeprefix(f"{path}.") if path else child
            used = body is None or _holds(self.modules[child]) or any(_within(step, child) for step in called)
            if used and (child not in self.silent or (body is None and name.isdigit())):
                children[name] = self.expression(child)
        base = layer(module) if base_layer(module) else None
        relative = relative_to(body, path) if body else None
        if relative and base:
            relative = with_attributes(relative, dict(base.args))
        rolled = self._rolled(relative, path) if relative else None
        attributes = {name: _frozen(value) for name, value in vars(module).items() if not name.startswith("_") and name != "training"}
        simple = {name: value for name, value in attributes.items() if isinstance(value, (int, float, str, tuple))}
        return Template(path, base, container, children, initial(module), listed(rolled) if rolled else None, simple)

    def expression(self, path: str) -> Expression:
        """The expression that constructs a module."""
        if path not in self.expressions:
            self.expressions[path] = self._expression(path)
        return self.expressions[path]

    def _expression(self, path: str) -> Expression:
        module = self.modules[path]
        if path in self.silent:
            return NOTHING
        if isinstance(module, Pad):
            return SE(MISSING, None)
        if isinstance(module, SEBlock):
            return SE(len(module.fc2.state_dict()["weight"]), module.spec)
        if kind_of(module) == "layer":
            return layer(module)
        return self._filled(CONTAINERS[type(module)], path)

    def _filled(self, container: str, path: str) -> Container:
        items: dict[str, Any] = {child.rpartition(".")[2]: self.expression(child) for child in self.children[path]}
        if container == "nn.ModuleList" and all(name.isdigit() for name in items):
            last = max(map(int, items), default=-1)
            items = {str(i): items.get(str(i)) for i in range(last + 1)}  # a list may hold None
        elif container != "nn.ModuleList":
            items = {name: item for name, item in items.items() if item != NOTHING}
        return Container(container, tuple(items.items()))

    def _as_containers(self, templates: list[Template]) -> dict[str, Expression]:
        """Modules that only call their children one after another, and read better as ``nn.Sequential``."""
        bodies = [only_needed([template])[0].body for template in templates]
        if not all(body and is_chain(body, list(t.children)) for body, t in zip(bodies, templates, strict=True)):
            return {}
        names = {tuple(template.children) for template in templates}
        numbered = any(any(c.isdigit() for c in name) for group in names for name in group)
        found: dict[str, Expression] = {}
        for template in templates:
            single = len(templates) == 1 and template.path != "" and len(template.children) <= 12
            if not (template.base or template.tensors or template.container) and (single or (len(names) > 1 and numbered)):
                found[template.path] = Container("nn.Sequential", tuple(template.children.items()))
        return found

    def _class_name(self, name: str) -> str:
        clean = re.sub(r"\W", "_", name).strip("_") or "Block"
        if not clean.isidentifier() or keyword.iskeyword(clean) or not clean.isascii():
            clean = "Block"
        number, wanted = 2, clean
        while wanted in self.definitions or wanted in self.reserved:
            wanted = f"{clean}{number}"
            number += 1
        return wanted

    # Loops.

    def _rolled(self, body: Body, path: str) -> Body:
        """A body with a loop in place of calls of all children of a list, one after another."""
        owners = {path: ""} if isinstance(self.modules[path], tuple(CONTAINERS)) else {}
        owners |= {child: child.removeprefix(f"{path}.") if path else child for child in self.children[path]}
        for owner, name in owners.items():
            if not isinstance(self.modules[owner], tuple(CONTAINERS)) or None in self.modules[owner]._modules.values():
                continue
            own = {child.removeprefix(f"{path}.") if path else child: self.modules[child] for child in self.children[owner]}
            skipped = tuple(child for child, module in own.items() if owner == path and isinstance(module, SEBlock))  # which stand apart
            names = [child for child in own if child not in skipped]
            if len(names) > 1 and not any(part in self.silent for part in self.children[owner]):
                body = roll(body, name, names, skipped)
        return body


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _holds(module: nn.Module) -> bool:
    """Whether a module has parameters or buffers."""
    return any(True for _ in module.parameters()) or any(True for _ in module.buffers())


def _within(path: str, outer: str) -> bool:
    return not outer or path == outer or path.startswith(f"{outer}.")
