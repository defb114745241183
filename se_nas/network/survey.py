"""Look at a network: run it once, and find its sites in the record of that run."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.lazy import LazyModuleMixin

from se_nas.errors import InputError
from se_nas.network.graph import Graph, Recorder, trace
from se_nas.network.inputs import Inputs
from se_nas.network.placement import Sites, find_sites
from se_nas.network.places import Marks
from se_nas.network.rewrite import Mark, mark


def survey(network: nn.Module, inputs: Inputs | Sequence[int]) -> Sites:
    """The sites of a network. It runs once: on the meta device (no arithmetic), or on the CPU if it reads values.

    Args:
        network: the network.
        inputs: its inputs, or the size (C, ...) of its only one.

    Raises:
        InputError: if the network cannot be run, or has no site.
    """
    inputs = Inputs.of(inputs)
    _check(network)
    initialise(network, inputs)
    try:
        plain, inputs = copy.deepcopy(network).to("meta").eval(), inputs.to("meta")
        graph, output = trace(plain, inputs)
    except Exception:
        plain, inputs = _on_cpu(network), inputs.to("cpu")
        try:
            graph, output = trace(plain, inputs)
        except Exception as error:
            raise _refusal(network, inputs, error) from error
    seen: dict[str, list[Mark]] = {}

    def marks() -> Marks:
        if not seen:
            seen.update(look(plain, inputs, graph))
        return seen

    return find_sites(plain, graph, output.shape[1] if isinstance(output, Tensor) and output.ndim == 2 else 0, marks)


def initialise(network: nn.Module, inputs: Inputs) -> nn.Module:
    """Initialise a network's lazy modules, if it has any, by one call. Returns the network."""
    if any(isinstance(module, LazyModuleMixin) and module.has_uninitialized_params() for module in network.modules()):
        training = network.training
        try:
            with torch.no_grad():
                inputs.to("cpu").call(network.eval())
        except Exception as error:
            raise _refusal(network, inputs, error) from error
        network.train(training)
    return network


def look(network: nn.Module, inputs: Inputs, graph: Graph) -> dict[str, list[Mark]]:
    """Path -> the values of the expressions in the module's methods.

    Args:
        network: the network; it runs a second time.
        inputs: its inputs.
        graph: graph of the first run.
    """
    network, recorder = copy.deepcopy(network), Recorder()
    seen: dict[str, list[Mark]] = {}
    for path, module in network.named_modules():
        marks = seen.setdefault(path, [])

        def note(method: str, node: int, name: bool, value: object, marks: list[Mark] = marks) -> None:
            number = recorder.values.get(id(value), -1) if isinstance(value, Tensor) else -1
            if number >= 0:
                marks.append(Mark(method, node, number, name))

        mark(module, note)
    try:
        again, _ = trace(network, inputs, recorder)
    except Exception:  # a method that is ambiguous: nothing is rewritten
        return {"": []}
    return seen if again.ops == graph.ops else {"": []}


def _on_cpu(network: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(network).cpu().eval()
    except Exception as error:
        raise _refusal(network, None, error) from error


def _check(network: nn.Module) -> None:
    """Raise `InputError` for networks that cannot be traced, naming the cause."""
    scripted = next((name or "the network" for name, module in network.named_modules() if isinstance(module, torch.jit.ScriptModule)), "")
    if scripted:
        raise InputError(f"{scripted} is a ScriptModule, whose Python is gone", "give the network as it is before torch.jit", "backbone")
    odd = [
        (name, tensor.dtype) for name, tensor in network.named_parameters() if tensor.is_floating_point() and tensor.dtype != torch.float32
    ]
    if odd:
        name, dtype = odd[0]
        fix = "call .float() on it; train with amp: true for half precision"
        raise InputError(f"{len(odd)} of its parameters are {dtype} ({name}, ...), and SE blocks are float32", fix, "backbone")


def _refusal(network: nn.Module, inputs: Inputs | None, error: Exception) -> InputError:
    """The `InputError` for an exception of the network itself."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    text = str(error)
    if "missing" in text and "argument" in text:
        fix = "give them by example_inputs: a tuple, a mapping, or the package.module:callable that returns one"
        return InputError(f"the backbone needs more inputs than one ({reason})", fix, "example_inputs")
    if "cuda" in text.lower() or "NVIDIA" in text:
        fix = "let it work on the device of its input: x.device instead of .cuda()"
        return InputError(f"the backbone moves tensors to a GPU by itself ({reason})", fix, "backbone")
    if "deepcopy" in text:
        return InputError(f"the backbone cannot be copied ({reason})", "take torch.nn.utils.parametrizations for weight_norm", "backbone")
    given = [list(tensor.shape[1:]) for tensor in inputs.tensors] if inputs else []
    said = " and ".join(map(str, given))
    return InputError(
        f"the backbone refuses inputs of {said} ({reason})", "correct input_size, example_inputs or backbone_args", "input_size"
    )
