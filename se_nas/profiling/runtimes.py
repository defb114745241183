"""The runtimes: each makes, of a network, a function that runs it once and returns the seconds that this took."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
import time
import types
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from se_nas.errors import InputError, known
from se_nas.evaluate.device import find_device
from se_nas.network.inputs import Inputs
from se_nas.se.block import respell

if TYPE_CHECKING:
    from se_nas.space.architecture import Architecture
    from se_nas.space.space import SearchSpace

Once = Callable[[], float]


class Renewed:
    """Runs a network once, like any `Once`, after ``renew`` was called; each ``renew`` sets it up in other memory.

    For runtimes in which where a network's memory lies decides more than SE does, and no two networks can share it.
    """

    def __init__(self, make: Callable[[], Once]) -> None:
        self.make, self.once = make, make()

    def renew(self) -> None:
        self.once = self.make()

    def __call__(self) -> float:
        return self.once()


LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class How:
    """How networks are run.

    Attributes:
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        runtime: a name in `RUNTIMES`.
        batch: images at a time.
        threads: CPU threads.
        layout: a name in `LAYOUTS`.
        precision: a name in `PRECISIONS`.
        spelling: squeeze -> how it is computed, see `se_nas.se.block.respell`.

    Raises:
        InputError: for anything that is not there, or does not fit together.
    """

    device: str = "cpu"
    runtime: str = "eager"
    batch: int = 1
    threads: int = 1
    layout: str = "contiguous"
    precision: str = "float32"
    spelling: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known(self.runtime, RUNTIMES, "runtime")
        known(self.layout, LAYOUTS, "layout")
        known(self.precision, PRECISIONS, "precision")
        for name, most in (("batch", 2**20), ("threads", os.cpu_count() or 1)):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= most:
                raise InputError(f"{value!r} is not from 1 to {most}", "take a whole number", name)
        device = find_device(self.device)
        if self.runtime == "graph" and device.type != "cuda":
            raise InputError("CUDA graphs need a CUDA device", "take --device cuda, or another runtime", "runtime")
        if self.runtime in ("deploy", "onnx") and device.type != "cpu":
            raise InputError(f"{self.runtime} is measured on the CPU", "take --device cpu, or eager, compile or graph", "runtime")
        if self.runtime in ("deploy", "onnx") and (self.layout, self.precision) != ("contiguous", "float32"):
            raise InputError(f"{self.runtime} chooses its own layout, and is in float32", "leave layout and precision out", "runtime")
        if self.runtime == "onnx" and (missing := [name for name in ("onnx", "onnxscript", "onnxruntime") if not _installed(name)]):
            raise InputError(f"runtime onnx needs {' and '.join(missing)}", "pip install 'se-nas[onnx]'", "runtime")
        if self.runtime == "onnx":
            from se_nas.exporter.contract import NEWER, onnx_too_old

            if too_old := onnx_too_old():
                raise InputError(too_old, NEWER, "runtime")
        compilers = (os.environ.get("CXX", ""), "g++", "clang++")
        if self.runtime == "compile" and device.type == "cpu" and not any(map(shutil.which, filter(None, compilers))):
            raise InputError("torch.compile needs a C++ compiler, and there is none", "install g++, or take another runtime", "runtime")


def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


Shared = dict[Any, Tensor]
"""Tensors that networks have in common, by what is in them."""


def make_once(space: SearchSpace, architecture: Architecture, how: How, shared: Shared | None = None) -> Once:
    """A function that runs the network of an architecture once, in evaluation mode, and returns the seconds that it took.

    Args:
        space: the search space.
        architecture: one of its architectures.
        how: how to run it.
        shared: tensors of the networks that are timed beside it. What is equal is one tensor then, of the backbone almost all:
            where the system puts a network's memory decides more than SE does, and for as long as the network lives.
    """
    torch.manual_seed(0)
    network, shared = respell(space.build(architecture).eval(), how.spelling), {} if shared is None else shared
    inputs = space.inputs.random(torch.Generator().manual_seed(0)).times(how.batch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return RUNTIMES[how.runtime](space, architecture, network, inputs, how, shared)


def _sharing(network: nn.Module, shared: Shared) -> nn.Module:
    """The network, its tensors replaced by equal ones of other networks. Within a network, equal tensors stay apart."""
    met: Counter[Any] = Counter()
    for tensor in (*network.parameters(), *network.buffers()):
        data = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        content = hashlib.sha1(data, usedforsecurity=False).digest()
        key = (tensor.shape, tensor.stride(), content)
        met[key] += 1
        tensor.data = shared.setdefault((*key, met[key]), tensor.data)
    return network


@contextlib.contextmanager
def made_calls(space: SearchSpace, networks: Sequence[tuple[Architecture, How]], tell: Callable[[str], None]) -> Iterator[list[Once]]:
    """A function for each network, see `make_once`; inside, the process is held still as the first of them says."""
    shared: Shared = {}
    with held_still(networks[0][1]):
        calls = []
        for number, (architecture, how) in enumerate(networks, 1):
            tell(f"network {number} of {len(networks)} is made")
            calls.append(make_once(space, architecture, how, shared))
        with torch.inference_mode():
            yield calls


@contextlib.contextmanager
def held_still(how: How) -> Iterator[None]:
    """Inside, this process has the threads of ``how``, on cores of its own where the system can do that.

    Raises:
        InputError: if another process uses the GPU.
    """
    if how.device.startswith("cuda"):
        _alone_on_gpu()
    threads, cores = torch.get_num_threads(), os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    torch.set_num_threads(how.threads)
    try:
        if cores and how.device == "cpu":
            os.sched_setaffinity(0, sorted(cores)[-how.threads :])
        yield
    finally:
        torch.set_num_threads(threads)
        if cores:
            os.sched_setaffinity(0, cores)


def _alone_on_gpu() -> None:
    if not shutil.which("nvidia-smi"):
        return
    query = ["nvidia-smi", "--query-compute-apps=pid", "--format=csv,noheader"]
    done = subprocess.run(query, capture_output=True, text=True, timeout=20)
    others = {line.strip() for line in done.stdout.splitlines() if line.strip().isdecimal()} - {str(os.getpid())}
    if others:
        raise InputError(f"process {sorted(others)[0]} uses the GPU too", "measure when nothing else runs there", "device")


# The runtimes.


def _eager(space: SearchSpace, architecture: Architecture, network: nn.Module, inputs: Inputs, how: How, shared: Shared) -> Once:
    network, inputs = _moved(network, inputs, how, shared)
    return _clock(lambda: inputs.call(network), how)


def _compiled(space: SearchSpace, architecture: Architecture, network: nn.Module, inputs: Inputs, how: How, shared: Shared) -> Once:
    network, inputs = _moved(network, inputs, how, shared)

    def run() -> Any:
        return inputs.call(network)

    # torch.compile keeps what it compiled with the code that it compiled, a few variants of each: so each network has code of its own
    own = types.FunctionType(run.__code__.replace(co_name=f"run_{architecture.id}"), globals(), "run", None, run.__closure__)
    compiled = torch.compile(own, dynamic=False)
    with torch.inference_mode():
        compiled()
    return _clock(compiled, how)


def _deployed(space: SearchSpace, architecture: Architecture, network: nn.Module, inputs: Inputs, how: How, shared: Shared) -> Once:
    """The file that ``se-nas export --deploy`` writes."""
    from se_nas.exporter import load_network, source
    from se_nas.exporter.deploy import inference_form

    written = source(space, architecture, network, {}, inference=True)
    loaded = _sharing(load_network(written.text, inference_form(network, space.inputs)).eval(), shared)
    return _clock(lambda: inputs.call(loaded), how)


def _onnx(space: SearchSpace, architecture: Architecture, network: nn.Module, inputs: Inputs, how: How, shared: Shared) -> Once:
    """The file that ``se-nas export --onnx`` writes, in onnxruntime without spinning threads."""
    import onnxruntime

    from se_nas.exporter.beside.programs import onnx_file

    content, _ = onnx_file(network, space.inputs)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = how.threads, 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.enable_cpu_mem_arena = False  # else each network has other memory for its activations

    def make() -> Once:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        names = [given.name for given in session.get_inputs()]
        arrays = {name: tensor.numpy() for name, tensor in zip(names, inputs.tensors, strict=True)}
        return _clock(lambda: session.run(None, arrays), how)

    return Renewed(make)


def _graph(space: SearchSpace, architecture: Architecture, network: nn.Module, inputs: Inputs, how: How, shared: Shared) -> Once:
    network, inputs = _moved(network, inputs, how, shared)
    stream = torch.cuda.Stream(how.device)  # type: ignore[no-untyped-call]
    with torch.inference_mode(), torch.cuda.stream(stream):
        for _ in range(3):
            inputs.call(network)
    torch.cuda.synchronize(how.device)
    graph = torch.cuda.CUDAGraph()
    with torch.inference_mode(), torch.cuda.graph(graph):
        inputs.call(network)
    return _clock(graph.replay, how)


RUNTIMES: dict[str, Callable[[SearchSpace, Architecture, nn.Module, Inputs, How, Shared], Once]] = {
    "eager": _eager,
    "compile": _compiled,
    "deploy": _deployed,
    "onnx": _onnx,
    "graph": _graph,
}
"""Name -> function that makes an `Once` of a network in evaluation mode and its inputs (on the CPU, in float32)."""


def _moved(network: nn.Module, inputs: Inputs, how: How, shared: Shared) -> tuple[nn.Module, Inputs]:
    """Network and inputs on the device, in its layout and precision."""
    layout, precision = LAYOUTS[how.layout], PRECISIONS[how.precision]

    def move(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        moved = leaf.to(how.device, precision if leaf.is_floating_point() else None)
        return moved.contiguous(memory_format=layout) if moved.ndim == 4 else moved

    network = network.to(how.device, precision)
    if how.layout == "channels_last":
        network = network.to(memory_format=torch.channels_last)
    return _sharing(network, shared), Inputs(tree_map(move, inputs.args), tree_map(move, dict(inputs.kwargs)))


def _clock(run: Callable[[], Any], how: How) -> Once:
    """On the CPU by the clock, on a GPU by its own events.

    With one thread the time is that of the processor: what the system lets others do meanwhile is none of the network's.
    """
    if not how.device.startswith("cuda"):
        fine = time.get_clock_info("process_time").resolution <= 1e-6  # not on Windows
        clock = time.process_time if how.threads == 1 and fine else time.perf_counter

        def once() -> float:
            start = clock()
            run()
            return clock() - start

        return once

    def on_gpu() -> float:
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        torch.cuda.synchronize(how.device)
        start.record()
        run()
        end.record()
        torch.cuda.synchronize(how.device)
        return float(start.elapsed_time(end)) / 1e3

    return on_gpu
