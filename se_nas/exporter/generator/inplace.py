"""Which steps of a pass may overwrite a tensor that they read, because nothing reads it later."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.nn import functional

from se_nas.exporter.generator.recording import Event, Recording
from se_nas.exporter.generator.symbols import Frame, Own, Ref, Step, refs_of, substitute

MAY_HAND_ON = {"reshape", "reshape_as", "flatten", "ravel", "contiguous", "to", "type", "type_as", "float", "double", "half", "F.dropout"}
"""Functions that return a view or a copy, depending on how their tensor lies in memory."""

ACTIVATIONS = {"torch.relu": "F.relu", "relu": "F.relu"}
"""How activations are called that can be told to write over their input, where that is not their own name."""

FORMULAS = {"add": 2, "mul": 2, "sub": 1, "div": 1}
"""Operators that have a form which writes over its first operand, and how many operands may come first."""

DROPOUTS = {"F.dropout", "F.dropout1d", "F.dropout2d", "F.dropout3d", "F.alpha_dropout", "F.feature_alpha_dropout", "torch.dropout"}


class Memory:
    """Which tensors of a pass share memory, and when they are last read."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.same: dict[int, int] = {}
        for event in recording.events:
            if event.step.name.removeprefix("torch.") in MAY_HAND_ON or _reshapes(event):
                for made, given in zip(event.made, event.given, strict=False):
                    if self.place(made) != self.place(given):
                        self.same[self.place(made)] = self.place(given)
        self.last = {self.place(tensor): number for number, event in enumerate(recording.events) for tensor in event.given}
        self.kept = {self.place(tensor) for tensor in recording.kept}

    def place(self, tensor: Tensor) -> int:
        """The memory of a tensor."""
        found: int = tensor.untyped_storage()._cdata
        while found in self.same:
            found = self.same[found]
        return found

    def readers(self, tensor: Tensor) -> list[Event]:
        """The steps that read a tensor, or a view of it."""
        place = self.place(tensor)
        return [event for event in self.recording.events if any(self.place(given) == place for given in event.given)]

    def returned(self, tensor: Tensor) -> bool:
        return self.place(tensor) in self.kept

    def free(self, number: int, tensor: Tensor) -> bool:
        """Whether step ``number`` may overwrite a tensor that it reads."""
        event = self.recording.events[number]
        place = self.place(tensor)
        if len(event.made) != 1 or place in self.kept or self.last[place] != number:
            return False
        (made,) = event.made
        alike = (made.shape, made.dtype) == (tensor.shape, tensor.dtype)
        whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
        alone = sum(self.place(given) == place for given in event.given) == 1
        return alike and whole and alone


def _reshapes(event: Event) -> bool:
    """Whether a step may only have reshaped a tensor."""
    sizes = [(tensor.numel(), tensor.shape) for tensor in (*event.given, *event.made)]
    return len(sizes) == 2 and sizes[0][0] == sizes[1][0] and sizes[0][1] != sizes[1][1]


def free_modules(recording: Recording) -> set[str]:
    """Paths of the layers that may overwrite their input in each of their calls."""
    memory = Memory(recording)
    found: dict[str, bool] = {}
    for number, event in enumerate(recording.events):
        if event.step.kind == "module":
            free = len(event.given) == 1 and memory.free(number, event.given[0])
            found[event.step.name] = found.get(event.step.name, True) and free
    return {path for path, free in found.items() if free}


def summed(recording: Recording, gates: Collection[str]) -> set[str]:
    """Paths of the SE blocks whose product is added to a tensor that may be overwritten. One pass over memory then does both."""
    memory, found = Memory(recording), set()
    for number, event in enumerate(recording.events):
        product, once = event.step.out, recording.calls[event.path] == 1 == recording.calls[event.step.name]
        if event.step.kind != "module" or event.step.name not in gates or not once or not memory.free(number, event.given[0]):
            continue
        if event.path not in recording.frames:  # a Sequential, which passes the product to its next child
            continue
        inside = [(n, other) for n, other in enumerate(recording.events) if other.path == event.path]
        readers = [(n, other) for n, other in inside if product in refs_of((other.step.args, other.step.kwargs))]
        if len(readers) == 1 and product not in refs_of(recording.frames[event.path].result):
            (n, addition), *_ = readers
            if _is_sum(addition.step):
                first = addition.step.args[0] == product
                written = addition.step.name == "add_" and not first  # the network itself overwrites the other operand
                if written or memory.free(n, addition.given[int(first)]):
                    found.add(event.step.name)
    return found


def _is_sum(step: Step) -> bool:
    two = len(step.args) == 2 and not step.kwargs and all(isinstance(arg, Ref) for arg in step.args)
    return step.kind == "method" and step.name in ("add", "add_") and two and step.args[0] != step.args[1]


def frames_in_place(recording: Recording, sums: Collection[str] = ()) -> dict[str, Frame]:
    """The frames of a pass in evaluation mode, with steps in place where nothing reads a tensor later, and without dropout.

    Args:
        recording: the pass.
        sums: SE blocks that shall add their product to the other operand of the sum after them; it becomes their second argument.
    """
    memory = Memory(recording)
    changed: dict[int, Step] = {}
    for number, event in enumerate(recording.events):
        if recording.calls[event.path] == 1 and event.step.kind != "module":
            changed[id(event.step)] = _in_place(event, lambda tensor, number=number: memory.free(number, tensor))
    return {path: _rewritten(_with_sums(frame, sums), changed) for path, frame in recording.frames.items()}


def _with_sums(frame: Frame, sums: Collection[str]) -> Frame:
    products: dict[Ref, Step] = {}
    steps = []
    for step in frame.steps:
        if step.kind == "module" and step.name in sums:
            products[step.out] = step
            continue
        gate = next((products.pop(arg) for arg in step.args if isinstance(arg, Ref) and arg in products), None)
        if gate:
            (other,) = (arg for arg in step.args if arg != gate.out)
            step = replace(gate, args=(*gate.args, other), out=step.out)
        steps.append(step)
    return replace(frame, steps=steps)


def _rewritten(frame: Frame, changed: Mapping[int, Step]) -> Frame:
    same: dict[Ref, Any] = {}

    def resolve(value: Any) -> Any:
        return substitute(value, lambda ref: same.get(ref, ref))

    steps = []
    for old in frame.steps:
        step = changed.get(id(old), old)
        step = replace(step, args=resolve(step.args), kwargs=resolve(step.kwargs))
        if (step.name in DROPOUTS or step.name == "detach") and isinstance(step.out, Ref):
            same[step.out] = step.args[0]
        else:
            steps.append(step)
    return replace(frame, steps=steps, result=resolve(frame.result))


def _in_place(event: Event, free: Any) -> Step:
    """A step in its in-place form if it has one and may overwrite the tensor."""
    step = event.step
    name = ACTIVATIONS.get(step.name, step.name)
    function = getattr(functional, name.removeprefix("F."), None) if name.startswith("F.") and name not in DROPOUTS else None
    if function is not None and len(step.args) == 1 and len(event.given) == 1 and isinstance(step.args[0], Ref):
        takes = inspect.isfunction(function) and "inplace" in inspect.signature(function).parameters
        kwargs = {**step.kwargs, "inplace": True} if takes and free(event.given[0]) else None
        return replace(step, kind="function", name=name, kwargs=kwargs) if kwargs else step
    if step.kind == "method" and step.name in FORMULAS and len(step.args) == 2 and not step.kwargs:
        tensors = dict(zip([i for i, arg in enumerate(step.args) if isinstance(arg, (Own, Ref))], event.given, strict=False))
        if len(tensors) == len(event.given):
            for first in range(FORMULAS[step.name]):
                if first in tensors and free(tensors[first]):
                    return replace(step, name=f"{step.name}_", args=(step.args[first], step.args[1 - first]))
    return step
