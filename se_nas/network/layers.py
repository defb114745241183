"""What operations do to a map, and the layers of a network. Parallel convolutions that are added up count as one layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from se_nas.network.graph import Graph, Op

NORMS = {"native_batch_norm", "_native_batch_norm_legit_no_training", "native_group_norm", "native_layer_norm"}
ACTIVATIONS = {
    "relu",
    "hardswish",
    "silu",
    "gelu",
    "hardtanh",
    "leaky_relu",
    "elu",
    "mish",
    "sigmoid",
    "hardsigmoid",
    "tanh",
    "prelu",
    "softplus",
}
RESHAPES = {"view", "_unsafe_view", "reshape", "permute", "transpose", "clone", "contiguous"}
SCALINGS = {"mul", "div"}
LINEAR = {"convolution", "add", "avg_pool1d", "avg_pool2d", "avg_pool3d", *NORMS, *SCALINGS, *RESHAPES}
"""What keeps a sum of branches one convolution."""


@dataclass(frozen=True)
class Layer:
    """A convolution or linear layer; or a sum of parallel ones without activation, which are one layer at inference.

    Attributes:
        op: the operation; for a sum, one of its convolutions.
        start: the value that it reads.
        inside: for a sum, the values of its branches.
    """

    op: Op
    start: int
    inside: frozenset[int] = frozenset()


def fused_layers(graph: Graph, layers: Sequence[Op], kinds: Mapping[str, type]) -> list[Layer]:
    """The layers of a network in order; re-parameterised branches (RepVGG, MobileOne) are one layer.

    The sum of an input and one branch is a residual block, not a layer, and so is every sum in modules of the same class.
    The sum of an input and parallel convolutions of several sizes is a layer.
    """
    sums = [op for op in graph.ops if op.name == "add" and len(set(op.inputs)) == 2 and graph.is_map(op.output)]
    starts = {op.output: graph.meet(*set(op.inputs)) for op in sums}
    between = {op.output: _between(graph, starts[op.output], op) for op in sums}
    residual = {
        kinds.get(op.module) for op in sums if starts[op.output] in op.inputs and not _parallel(between[op.output], starts[op.output])
    }
    found: dict[int, Layer] = {}
    for op in sums:
        start, others = starts[op.output], between[op.output]
        members = [other for other in others if other.kernel]
        simple = all(other.name in LINEAR and (other.name not in SCALINGS or len(other.inputs) == 1) for other in others)
        shallow = all(graph.layers_between(start, value) <= 1 or value in found for value in op.inputs)
        if start >= 0 and kinds.get(op.module) not in residual and members and simple and shallow:
            inside = frozenset({other.output for other in others} | {op.output})
            kernel = max(member.kernel for member in members)
            one = Op("convolution", (start,), (op.output,), op.module, kernel, all(member.depthwise for member in members))
            found = {value: layer for value, layer in found.items() if value not in inside} | {op.output: Layer(one, start, inside)}
    taken = {value for layer in found.values() for value in layer.inside}
    alone = [Layer(op, op.inputs[0] if op.inputs else -1) for op in layers if op.output not in taken]
    return sorted([*alone, *found.values()], key=lambda layer: layer.op.output)


def _between(graph: Graph, start: int, end: Op) -> list[Op]:
    """The operations on the way from a value to a sum."""
    return [op for op in graph.ops if op is not end and start >= 0 and graph.between(start, op.output, end.output)]


def _parallel(ops: Sequence[Op], start: int) -> bool:
    """Whether these are convolutions of several sizes that read one value, with no other layer after them."""
    layers = [op for op in ops if op.kernel]
    return len({op.kernel for op in layers}) > 1 and all(start in op.inputs for op in layers)


def is_product(graph: Graph, value: int) -> bool:
    """Whether a value is a product of two tensors that depend on the input, or the softmax of one, as in attention."""
    while maker := graph.makers.get(value):
        if maker.name in ("bmm", "baddbmm", "_softmax"):
            return maker.kernel == 0
        if maker.name not in RESHAPES | SCALINGS | {"expand"} or len(maker.inputs) != 1:
            return False
        value = maker.inputs[0]
    return False
