"""What a network computes: one forward pass written down as values, operations and calls of modules.

The pass runs eagerly (on the meta device: shapes without arithmetic), so that any Python in a ``forward`` is fine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from se_nas.network.attached import actual_modules
from se_nas.network.inputs import Inputs


@dataclass(frozen=True)
class Op:
    """One operation.

    Attributes:
        name: the aten operator, without overload and trailing underscore: ``add``, ``convolution``.
        inputs: the values that it read, if they depend on the input.
        outputs: the values that it made. Only the first matters, except for a split.
        module: path of the innermost module in which it ran.
        kernel: size of a convolution's kernel (height x width); 1 for a linear layer; 0 for all else.
        depthwise: whether it is a convolution with one group per channel.
    """

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    module: str
    kernel: int = 0
    depthwise: bool = False

    @property
    def output(self) -> int:
        return self.outputs[0]


@dataclass(frozen=True)
class Call:
    """One call of a module: its path, its first input and its output, as numbers of values (-1: none)."""

    module: str
    input: int
    output: int


@dataclass(frozen=True)
class Graph:
    """A forward pass. Values are numbered in the order in which they were made.

    Attributes:
        shapes: shape of each value.
        ops: in the order in which they ran.
        calls: in the order in which they ended: inner ones before outer ones.
        macs: multiply-accumulates of convolutions and matrix products. Products of two tensors that both depend on the input
            (as in attention) are left out, on every device.
    """

    shapes: Sequence[tuple[int, ...]]
    ops: Sequence[Op]
    calls: Sequence[Call]
    macs: int = 0

    @cached_property
    def makers(self) -> dict[int, Op]:
        """Value -> the operation that made it."""
        return {value: op for op in self.ops for value in op.outputs}

    @cached_property
    def readers(self) -> dict[int, list[Op]]:
        """Value -> the operations that read it."""
        readers: dict[int, list[Op]] = {value: [] for value in range(len(self.shapes))}
        for op in self.ops:
            for value in set(op.inputs):
                readers[value].append(op)
        return readers

    @cached_property
    def times_called(self) -> Counter[str]:
        return Counter(call.module for call in self.calls)

    @cached_property
    def _ancestors(self) -> list[int]:
        """Value -> itself and all values that it depends on, as a set of bits."""
        bits = [1 << value for value in range(len(self.shapes))]
        for op in self.ops:
            for output in op.outputs:
                for value in op.inputs:
                    bits[output] |= bits[value]
        return bits

    @cached_property
    def dimensions(self) -> int:
        """Dimensions of most of its maps: 3 for signals (N, C, L), 4 for images, 5 for volumes."""
        made = Counter(len(self.shapes[op.output]) for op in self.ops if op.name == "convolution")
        return made.most_common(1)[0][0] if made else 4

    def is_map(self, value: int) -> bool:
        return len(self.shapes[value]) == self.dimensions

    def between(self, start: int, value: int, end: int) -> bool:
        """Whether ``end`` depends on a value and ``start`` does not."""
        return self.depends(end, value) and not self.depends(start, value)

    @cached_property
    def _weighted(self) -> int:
        """The values made by convolutions and linear layers, as a set of bits."""
        return sum(1 << op.output for op in self.ops if op.kernel)

    @cached_property
    def _convolved(self) -> int:
        """The values made by convolutions, as a set of bits."""
        return sum(1 << op.output for op in self.ops if op.name == "convolution")

    def depends(self, value: int, on: int) -> bool:
        """Whether a value is, or was computed from, another."""
        return bool(self._ancestors[value] >> on & 1)

    def meet(self, a: int, b: int) -> int:
        """The last value that both depend on; -1 if there is none."""
        return (self._ancestors[a] & self._ancestors[b]).bit_length() - 1

    def layers_between(self, start: int, end: int) -> int:
        """Number of convolutions and linear layers that ``end`` needs and ``start`` does not."""
        return (self._ancestors[end] & ~self._ancestors[start] & self._weighted).bit_count()

    def convolves(self, start: int, end: int) -> bool:
        """Whether one of these layers is a convolution."""
        return bool(self._ancestors[end] & ~self._ancestors[start] & self._convolved)

    def only_reader(self, value: int) -> Op | None:
        """The one operation that reads a value, if there is just one."""
        readers = self.readers[value]
        return readers[0] if len(readers) == 1 else None


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.shapes: list[tuple[int, ...]] = []
        self.ops: list[Op] = []
        self.calls: list[Call] = []
        self.stack: list[str] = [""]
        self.values: dict[int, int] = {}
        self.alive: list[Tensor] = []  # an id names a tensor only as long as it lives
        self.macs = 0

    def value(self, tensor: Tensor) -> int:
        number = self.values[id(tensor)] = len(self.shapes)
        self.shapes.append(tuple(tensor.shape))
        self.alive.append(tensor)
        return number

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        inputs = tuple(self.values[id(tensor)] for tensor in _tensors(args) if id(tensor) in self.values)
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__.rstrip("_")
        layer = name == "convolution" or (name in PRODUCTS and not all(id(m) in self.values for m in _factors(name, args)))
        self.macs += _macs(name, args, result) if layer else 0
        if inputs:
            kernel, depthwise = _layer(name, args) if layer else (0, False)
            outputs = tuple(self.value(tensor) for tensor in _tensors(result))
            if name == "slice" and self.shapes[outputs[0]] == self.shapes[inputs[0]]:
                name = "alias"  # all of it, which newer versions of torch say themselves
            if outputs:
                self.ops.append(Op(name, inputs, outputs, self.stack[-1], kernel, depthwise))
        return result

    def hooks(self, name: str) -> tuple[Any, Any]:
        """Hooks to run before and after the module with this name."""
        # The input's value is looked up before the module runs: in-place operations give the same tensor a new one.
        given: list[int] = []

        def before(module: nn.Module, args: tuple[Any, ...], named: Mapping[str, Any]) -> None:
            first = next(iter((*args, *named.values())), None)
            given.append(self.values.get(id(first), -1) if isinstance(first, Tensor) else -1)
            self.stack.append(name)

        def after(module: nn.Module, args: tuple[Any, ...], result: Any) -> None:
            self.stack.pop()
            returned = self.values.get(id(result), -1) if isinstance(result, Tensor) else -1
            self.calls.append(Call(name, given.pop(), returned))

        return before, after


def trace(network: nn.Module, inputs: Inputs | Tensor, recorder: Recorder | None = None) -> tuple[Graph, Any]:
    """Run a network once, in its present mode, and write down what it computes.

    Args:
        network: any module.
        inputs: its inputs.
        recorder: a recorder that the caller reads during the run; by default a new one.

    Returns:
        The graph, whose first values are the input tensors, and the network's output.
    """
    inputs = Inputs((inputs,)) if isinstance(inputs, Tensor) else inputs
    recorder = recorder or Recorder()
    handles = []
    for name, module in actual_modules(network).items():
        before, after = recorder.hooks(name)
        handles += [module.register_forward_pre_hook(before, with_kwargs=True), module.register_forward_hook(after)]
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # a single operator that hides attention's linear layers, and only on a CPU or GPU
    try:
        with torch.no_grad(), recorder:
            for tensor in inputs.tensors:
                recorder.value(tensor)
            output = inputs.call(network)
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for handle in handles:
            handle.remove()
    return Graph(recorder.shapes, recorder.ops, recorder.calls, recorder.macs), output


def within(module: str, path: str) -> bool:
    """Whether a module is at a path or below it."""
    return not path or module == path or module.startswith(f"{path}.")


PRODUCTS = {"mm": 0, "bmm": 0, "linear": 0, "addmm": 1, "baddbmm": 1, "addmv": 1, "mv": 0}
"""Products of matrices, and which argument is the first factor."""


def _tensors(value: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]


def _factors(name: str, args: Sequence[Any]) -> Sequence[Tensor]:
    return args[PRODUCTS[name] : PRODUCTS[name] + 2]


def _macs(name: str, args: Sequence[Any], result: Any) -> int:
    """Multiply-accumulates of a convolution or a product of matrices."""
    if name == "convolution":
        images, weight, transposed = args[0], args[1], args[6]
        return int((images if transposed else result).numel() * weight[0].numel())
    return int(result.numel() * _factors(name, args)[0].shape[-1])


def _layer(name: str, args: Sequence[Any]) -> tuple[int, bool]:
    """Kernel size of a convolution or linear layer, and whether it is depthwise."""
    if name != "convolution":
        return 1, False
    images, weight, groups = args[0], args[1], args[8]
    return weight.shape[2:].numel(), groups == images.shape[1] > 1
