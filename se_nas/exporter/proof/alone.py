"""The script that tries an exported file in an interpreter of its own. It imports nothing of se-nas.

The proof (`se_nas.exporter.proof`) uses the same functions, so both networks are observed by the same code.
"""

from __future__ import annotations

import importlib.util
import json
import random
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

EVAL, TRAIN = "eval", "train"
"""The first pass, and the one in training mode; every other one is in evaluation mode."""

STATE = "state"
"""Label of the buffers after the passes."""


GRADIENTS = "gradients"
"""Label of the gradients that the pass in training mode leaves."""


class Refuse(MetaPathFinder):
    """Keeps packages from being imported, wherever they are installed."""

    def __init__(self, packages: Sequence[str]) -> None:
        self.packages = frozenset(packages)

    def find_spec(self, name: str, path: object, target: object = None) -> None:
        if name.partition(".")[0] in self.packages:
            raise ModuleNotFoundError(f"{name} is kept from being imported", name=name)


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The tensors and plain values in an output: a tensor, or tuples, lists and mappings of them."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from leaves(item, f"{path}.{key}")
    elif isinstance(value, (tuple, list)):
        for i, item in enumerate(value):
            yield from leaves(item, f"{path}.{i}")
    else:
        yield path, value


def tensors_of(value: Any) -> dict[str, Tensor]:
    """Path -> tensor, of an output."""
    return {path: item.detach() for path, item in leaves(value) if isinstance(item, Tensor)}


def labelled(tensors: Mapping[str, Tensor], label: str) -> dict[str, Tensor]:
    """Tensors of one pass, as they are kept in one file with those of others."""
    return {f"{label}:{key}": tensor.clone(memory_format=torch.contiguous_format) for key, tensor in tensors.items()}


def chosen(tensors: Mapping[str, Tensor], label: str) -> dict[str, Tensor]:
    """Inverse of `labelled`."""
    return {key.partition(":")[2]: tensor for key, tensor in tensors.items() if key.partition(":")[0] == label}


class Given(NamedTuple):
    """What a network is given in one call."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any] = MappingProxyType({})

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Number -> tensor, in the order of the arguments."""
        tensors = (leaf for leaf in tree_leaves((self.args, dict(self.kwargs))) if isinstance(leaf, Tensor))
        return {str(i): tensor for i, tensor in enumerate(tensors)}

    def of(self, network: Callable[..., Any]) -> Any:
        """What the network returns; it gets copies."""
        args, kwargs = tree_map(lambda leaf: leaf.clone() if isinstance(leaf, Tensor) else leaf, (self.args, dict(self.kwargs)))
        return network(*args, **kwargs)


def filled(form: Any, tensors: Mapping[str, Tensor]) -> Any:
    """The arguments of a call from their form as JSON, in which ``{"tensor": "0"}`` stands for a tensor."""
    if isinstance(form, dict):
        return tensors[form["tensor"]] if form.keys() == {"tensor"} else {key: filled(item, tensors) for key, item in form.items()}
    return [filled(item, tensors) for item in form] if isinstance(form, list) else form


def observe(network: nn.Module, name: str, given: Given, seed: int, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The outputs of one seeded pass, by their paths; the one in training mode leaves gradients behind.

    ``state`` becomes the network's, before gradients are computed: a network that recomputes its activations for them
    (checkpointing) updates the statistics of its batch norms once more.
    """
    torch.manual_seed(seed)
    random.seed(seed)
    network.train(name == TRAIN)
    if name != TRAIN:
        with torch.no_grad():
            output = given.of(network)
        state |= network.state_dict()
        return tensors_of(output)
    output = given.of(network)
    state |= {key: tensor.clone() for key, tensor in network.state_dict().items()}
    loss = sum(item.square().mean() for _, item in leaves(output) if isinstance(item, Tensor) and item.requires_grad)
    if isinstance(loss, Tensor):
        loss.backward()  # type: ignore[no-untyped-call]
    return tensors_of(output)


def distance(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    """The largest difference, relative to the largest value of its tensor; of a running mean, also to the deviation beside it."""
    if found.keys() != expected.keys():
        return float("inf")
    return max((_distance(found[key], expected[key], _scale(key, expected)) for key in expected), default=0.0)


def _scale(key: str, tensors: Mapping[str, Tensor]) -> float:
    deviation = tensors.get(key.removesuffix("running_mean") + "running_var") if key.endswith("running_mean") else None
    return max(_largest(tensors[key]), _largest(deviation) ** 0.5 if deviation is not None else 0.0)


def _distance(found: Tensor, expected: Tensor, scale: float) -> float:
    if found.shape != expected.shape or found.dtype != expected.dtype or not bool(found.isfinite().all()):
        return float("inf")
    return _largest(found.double() - expected.double()) / max(scale, 1e-30)


def _largest(tensor: Tensor) -> float:
    return float(tensor.abs().max()) if tensor.numel() else 0.0


def gradients_apart(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> float:
    """The largest difference, relative to the largest gradient of all: some are nothing but rounding, as of a bias before a batch norm."""
    scale = max(map(_largest, expected.values()), default=0.0)
    return max((_distance(found[key], expected[key], scale) for key in found.keys() & expected.keys()), default=0.0)


def macs(build: Callable[[], nn.Module], given: Given) -> int:
    """MACs of one image: of convolutions and linear layers, counted on the meta device where the network allows it."""
    try:
        with torch.device("meta"):
            network = build()
        args, kwargs = tree_map(lambda leaf: leaf.to("meta") if isinstance(leaf, Tensor) else leaf, (given.args, dict(given.kwargs)))
        return _macs(network, Given(args, kwargs))
    except Exception:  # it computes with the values of its tensors
        return _macs(build(), given)


def load_state(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """``load_state_dict`` that keeps the network's own version numbers of modules, which some modules check."""
    state = network.state_dict()
    missing = state.keys() - tensors.keys()
    if missing:
        raise KeyError(f"{sorted(missing)[0]} is missing")
    state.update(tensors)
    network.load_state_dict(state)


class Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts multiply-accumulates of convolutions, and of products of matrices unless both are computed from the images (attention's)."""

    def __init__(self, given: Given) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.macs: int = 0
        self.computed = {id(tensor): tensor for tensor in given.tensors.values()}  # an id names a tensor only as long as it lives

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        given = [item for item in tree_leaves((args, kwargs)) if isinstance(item, Tensor)]
        if name == "convolution":
            images, weight, transposed = args[0], args[1], args[6]
            self.macs += int((images if transposed else result).numel() * weight[0].numel())
        elif name in PRODUCTS and not all(id(factor) in self.computed for factor in given[-2:]):
            self.macs += int(result.numel() * given[-2].shape[-1])
        if any(id(tensor) in self.computed for tensor in given):
            self.computed |= {id(item): item for item in tree_leaves(result) if isinstance(item, Tensor)}
        return result


PRODUCTS = {"mm", "bmm", "linear", "addmm", "baddbmm", "addmv", "mv"}
"""Products of matrices; the factors are the last two tensors that they are given."""


def _macs(network: nn.Module, given: Given) -> int:
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    with Counter(given) as counter, torch.no_grad():
        network.eval()(*given.args, **given.kwargs)
    torch.backends.mha.set_fastpath_enabled(fused)
    macs: int = counter.macs
    return macs


def _exported(network: nn.Module, given: Given) -> Callable[..., Any]:
    return torch.export.export(network, given.args, dict(given.kwargs)).module()


def _compiled(network: nn.Module, given: Given) -> Callable[..., Any]:
    return torch.compile(network, backend="eager", fullgraph=True)


CAPTURES: dict[str, Callable[[nn.Module, Given], Callable[..., Any]]] = {"torch.export": _exported, "torch.compile": _compiled}
"""What a network is captured by, in evaluation mode."""


def capture(name: str, network: nn.Module, given: Given, tolerance: float) -> str:
    """Capture a network whole and compare what it then returns; empty if that went well, else why not."""
    try:
        with torch.no_grad():
            expected = tensors_of(given.of(network.eval()))
            found = tensors_of(given.of(CAPTURES[name](network, given)))
    except Exception as error:
        return " ".join(f"{type(error).__name__}: {error}".split())[:200]
    apart = distance(found, expected)
    return "" if apart <= tolerance else f"its outputs are {apart:.1g} apart"


def load_module(path: Path) -> Any:
    """A file as a module."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def main(folder: Path) -> None:
    """Try ``model.py`` of a folder as its ``request.json`` asks, and write ``result.json``."""
    from safetensors.torch import load_file

    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    torch.set_num_threads(request["threads"])
    sys.meta_path.insert(0, Refuse(request["refused"]))
    sys.path.extend(path for path in request["paths"] if path not in sys.path)
    tensors = load_file(folder / "inputs.safetensors")
    names = dict.fromkeys(key.partition(":")[0] for key in tensors)
    calls = {name: filled(request["call"], chosen(tensors, name)) for name in names}
    inputs = {name: Given(tuple(args), kwargs) for name, (args, kwargs) in calls.items()}
    build = load_module(folder / "model.py").build
    network = build(weights=str(folder / "weights.safetensors"))
    result: dict[str, Any] = {
        "params": sum(parameter.numel() for parameter in network.parameters()),
        "macs": macs(build, inputs[EVAL]),
        "captured": {name: capture(name, network, inputs[EVAL], request["tolerance"]) for name in CAPTURES},
        "apart": {},
    }
    passes = json.loads(sys.stdin.readline())  # by then the searched network has been run
    expected = load_file(folder / "expected.safetensors")
    state: dict[str, Tensor] = {}
    for name in passes:
        outputs = observe(network, name, inputs[name], request["seed"], state)
        result["apart"][name] = distance(outputs, chosen(expected, name))
    buffers = chosen(expected, STATE)
    result["apart"][STATE] = distance({key: state[key] for key in buffers if key in state}, buffers)
    parameters = dict(network.named_parameters(remove_duplicate=False))
    gradients = {name: parameter.grad for name, parameter in parameters.items() if parameter.grad is not None}
    result["gradients"] = list(gradients)
    result["frozen"] = [name for name, parameter in parameters.items() if not parameter.requires_grad]
    result["apart"][GRADIENTS] = gradients_apart(gradients, chosen(expected, GRADIENTS))
    roots = {name.partition(".")[0] for name in sys.modules}
    result["entered"] = sorted(roots.intersection(request["refused"]))
    (folder / "result.json").write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
