"""Prove that a written file is the searched network: run it in a fresh interpreter without se-nas, and compare."""

from __future__ import annotations

import ast
import contextlib
import copy
import json
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from subprocess import PIPE
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from se_nas.errors import InputError
from se_nas.exporter.contract import count_parameters, other_inputs
from se_nas.exporter.proof import alone
from se_nas.exporter.proof.randomise import randomise
from se_nas.network.inputs import Inputs
from se_nas.se.cost import Cost

TOLERANCE = 1e-6
"""Largest difference of outputs in float32, relative to the largest output."""

INFERENCE_TOLERANCE = 1e-5
"""The same for an inference form, whose folded weights are rounded once more."""

SEED = 0
LIMIT = 1800
"""Seconds after which the interpreter is killed."""

GRADIENT_TOLERANCE = 1e-4
"""Largest difference of gradients, relative to the largest gradient."""

OTHER_SIZES = ("eval at another size", "eval at a much larger size")


class ProofFailed(InputError):
    """The written file is not the searched network."""


@dataclass(frozen=True)
class Proof:
    """What was checked, and found.

    Attributes:
        imports: packages that the file imports, without safetensors.
        weights: ``given`` or ``random``: the weights of the comparison.
        apart: pass (its name and the shape of its images) -> largest difference, relative to the largest output.
        left_out: pass -> why nothing was compared.
        params: parameters of the file's network, equal to the claim.
        macs: MACs of one image, equal to the claim.
        gradients: number of parameters that a training step gives a gradient, the same ones in both; None if neither was trained.
        gradients_apart: their largest difference, relative to the largest gradient.
        frozen: number of parameters that are not trainable, the same ones in both.
        captured: tool -> why it captures neither network; empty if it captures the file's.
        seconds: duration of the proof.
        tolerance: largest difference allowed.
        inference: whether the file is an inference form, which was not tried in training mode.
        one_size: whether the file is for images of one size, and was tried at no other.
    """

    imports: tuple[str, ...]
    weights: str
    apart: Mapping[str, float]
    left_out: Mapping[str, str]
    params: int
    macs: int
    gradients: int | None
    captured: Mapping[str, str]
    seconds: float
    tolerance: float = TOLERANCE
    inference: bool = False
    gradients_apart: float = 0.0
    frozen: int = 0
    one_size: bool = False

    @property
    def lines(self) -> list[str]:
        """The proof in words, one check a line."""
        largest = max(self.apart.values())
        kind = "the weights given here" if self.weights == "given" else "random weights and batch norm statistics"
        return [
            f"run in a fresh interpreter without se-nas (Python {platform.python_version()}, torch {torch.__version__}); "
            f"the file imports {' and '.join(self.imports)} alone (and safetensors to read weights)",
            f"outputs equal the searched network's with {kind}: {'; '.join(self.apart)}; "
            f"at most {largest:.1g} of the largest output apart (limit {self.tolerance:g})",
            *(f"not compared: {name}: {reason}" for name, reason in self.left_out.items()),
            f"{self.params:,} parameters and {self.macs:,} MACs an image, counted on the file's network, equal the claim",
            *(["not compared: other sizes of images: the file is for this one only"] if self.one_size else []),
            *(["not compared: training mode: an inference form is not for training"] if self.inference else []),
            *([self._gradients] if self.gradients is not None else []),
            *(
                f"{name}: " + (f"captures neither this network nor the searched one ({reason})" if reason else "captures it whole")
                for name, reason in self.captured.items()
            ),
            f"took {self.seconds:.1f} s",
        ]

    @property
    def _gradients(self) -> str:
        frozen = f"; the same {self.frozen} are frozen" if self.frozen else ""
        return (
            f"a training step gives a gradient to the same {self.gradients} parameter tensors and to no others{frozen}; "
            f"at most {self.gradients_apart:.1g} of the largest gradient apart (limit {GRADIENT_TOLERANCE:g})"
        )


def prove(
    text: str,
    network: nn.Module,
    claim: Cost,
    inputs: Inputs | Sequence[int],
    weights: Mapping[str, Tensor] | None = None,
    paths: Sequence[str] = (),
    form: nn.Module | None = None,
    one_size: bool = False,
) -> Proof:
    """Run a written file in an interpreter of its own, and compare its network with the searched one.

    Args:
        text: the file.
        network: the searched network; it is not changed.
        claim: its parameters and MACs.
        inputs: of one call, a batch of one; or (C, ...) of the only one.
        weights: state to compare with; by default random weights and statistics.
        paths: folders of the packages that the file imports besides torch.
        form: the inference form that the file writes, made from these weights. The file is then compared with the searched
            network in evaluation mode only.
        one_size: whether the file is for inputs of this size only.

    Raises:
        ProofFailed: naming the first thing that differs.
        InputError: if the searched network itself cannot be run.
    """
    before = random.getstate()
    try:
        with torch.random.fork_rng(devices=[]):
            return _prove(text, copy.deepcopy(network).cpu(), claim, Inputs.of(inputs), weights, paths, form, one_size)
    finally:
        random.setstate(before)


def _prove(
    text: str,
    network: nn.Module,
    claim: Cost,
    inputs: Inputs,
    weights: Mapping[str, Tensor] | None,
    paths: Sequence[str],
    form: nn.Module | None,
    one_size: bool,
) -> Proof:
    started = time.perf_counter()
    imports = imported(text)
    tolerance = INFERENCE_TOLERANCE if form else TOLERANCE
    passes = _passes(inputs)
    if form:
        del passes[alone.TRAIN]
    if one_size:
        passes = {name: given for name, given in passes.items() if name not in OTHER_SIZES}
    if weights is None:
        randomise(network, passes[alone.TRAIN], SEED)
    else:
        alone.load_state(network, weights)
    written = form or network
    start = {key: tensor.clone(memory_format=torch.contiguous_format) for key, tensor in written.state_dict().items()}
    request = {
        "seed": SEED,
        "threads": torch.get_num_threads(),
        "call": _form(passes[alone.EVAL]),
        "tolerance": tolerance,
        "refused": ["se_nas", *(["torchvision", "timm"] if imports == ("torch",) else [])],
        "paths": [str(Path(torch.__file__).parents[1]), *paths],
    }
    with _interpreter(text, request, start, passes) as ask:  # which gets ready while the searched network is run here
        state: dict[str, Tensor] = {}
        expected, left_out = _observe(network, passes, state)
        kept = {name: given for name, given in passes.items() if name not in left_out}
        parameters = dict(network.named_parameters(remove_duplicate=False))
        state = {key: tensor for key, tensor in state.items() if key not in parameters and not form}
        gradients = {name: parameter.grad for name, parameter in parameters.items() if parameter.grad is not None}
        found = {**expected, **alone.labelled(state, alone.STATE), **alone.labelled(gradients, alone.GRADIENTS)}
        result = ask(list(kept), found)
    apart = {_label(name, kept[name]): result["apart"][name] for name in kept}
    if state:
        apart["buffers"] = result["apart"][alone.STATE]
    _compare(result, apart, network, claim, tolerance, count_parameters(written))
    return Proof(
        imports=imports,
        weights="random" if weights is None else "given",
        apart=apart,
        left_out={_label(name, passes[name]): reason for name, reason in left_out.items()},
        params=result["params"],
        macs=result["macs"],
        gradients=len(result["gradients"]) if alone.TRAIN in kept else None,
        captured=_captured(result["captured"], network, kept),
        seconds=time.perf_counter() - started,
        tolerance=tolerance,
        inference=form is not None,
        gradients_apart=result["apart"][alone.GRADIENTS],
        frozen=len(result["frozen"]),
        one_size=one_size,
    )


def imported(text: str) -> tuple[str, ...]:
    """The packages that a file imports anywhere, without the standard library."""
    found: dict[str, None] = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0]: None for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found[(node.module or ".").partition(".")[0]] = None
    return tuple(name for name in found if name not in {*sys.stdlib_module_names, "safetensors"})


def _passes(inputs: Inputs) -> dict[str, alone.Given]:
    """What is given in each pass: one example in evaluation mode, at other sizes too, and a few in training mode."""
    generator = torch.Generator().manual_seed(SEED)
    passes = {alone.EVAL: inputs, **dict(zip(OTHER_SIZES, other_inputs(inputs), strict=False))}
    passes[alone.TRAIN] = inputs.times(2 if prod(inputs.size[1:]) > 128**2 else 4)
    drawn = {name: given.random(generator) for name, given in passes.items()}
    return {name: alone.Given(given.args, given.kwargs) for name, given in drawn.items()}


def _form(given: alone.Given) -> Any:
    """The arguments of a call as JSON, see `alone.filled`.

    Raises:
        ProofFailed: if one cannot be said.
    """
    numbers = {id(tensor): number for number, tensor in given.tensors.items()}

    def of(value: Any) -> Any:
        if isinstance(value, Tensor):
            return {"tensor": numbers[id(value)]}
        if isinstance(value, (tuple, list)):
            return [of(item) for item in value]
        if isinstance(value, Mapping):
            return {str(key): of(item) for key, item in value.items()}
        if value is None or isinstance(value, (bool, int, float, str)):
            return value
        raise _failed(f"an input is a {type(value).__name__}, which cannot be handed to another interpreter")

    return of((given.args, dict(given.kwargs)))


def _observe(network: nn.Module, passes: Mapping[str, alone.Given], state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Outputs of the searched network, labelled by pass; and the passes that it refuses, each with the reason."""
    expected: dict[str, Tensor] = {}
    left_out: dict[str, str] = {}
    for name, given in passes.items():
        try:
            outputs = alone.observe(network, name, given, SEED, state)
        except Exception as error:
            left_out[name] = f"the searched network refuses it ({' '.join(f'{type(error).__name__}: {error}'.split())[:120]})"
            if name == alone.EVAL:
                raise InputError(left_out[name], "correct the network or input_size", "export") from error
            continue
        if not outputs or not all(bool(tensor.isfinite().all()) for tensor in outputs.values()):
            raise InputError(
                "the searched network's outputs are not finite tensors: nothing can be compared", "give other weights", "export"
            )
        expected |= alone.labelled(outputs, name)
    return expected, left_out


@contextlib.contextmanager
def _interpreter(
    text: str, request: Mapping[str, Any], start: dict[str, Tensor], passes: Mapping[str, alone.Given]
) -> Iterator[Callable[[list[str], dict[str, Tensor]], dict[str, Any]]]:
    """Start the interpreter of `se_nas.exporter.proof.alone`; yields a function that asks for its findings."""
    with tempfile.TemporaryDirectory(prefix="se-nas-proof-") as name:
        folder = Path(name)
        (folder / "model.py").write_text(text, encoding="utf-8")
        (folder / "request.json").write_text(json.dumps(request), encoding="utf-8")
        save_file(start, folder / "weights.safetensors")
        inputs = {key: tensor for name, given in passes.items() for key, tensor in alone.labelled(given.tensors, name).items()}
        save_file(inputs, folder / "inputs.safetensors")
        script = Path(alone.__file__).resolve()
        command = [sys.executable, "-I", str(script.with_name("watched.py")), str(os.getpid()), name, str(script)]
        with subprocess.Popen(command, cwd=folder, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True, errors="replace") as process:

            def ask(passes: list[str], expected: dict[str, Tensor]) -> dict[str, Any]:
                save_file(expected, folder / "expected.safetensors")
                try:
                    _, errors = process.communicate(json.dumps(passes) + "\n", timeout=LIMIT)
                except subprocess.TimeoutExpired:
                    raise _failed(f"run apart, it does not end within {LIMIT} s") from None
                if process.returncode != 0:
                    last = (errors.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
                    raise _failed(f"run apart, it ends with: {last[:300]}")
                return dict(json.loads((folder / "result.json").read_text(encoding="utf-8")))

            try:
                yield ask
            finally:
                process.kill()


def _compare(
    result: Mapping[str, Any], apart: Mapping[str, float], network: nn.Module, claim: Cost, tolerance: float, parameters: int
) -> None:
    """Raise for the first thing that differs."""
    if result["entered"]:
        raise _failed(f"run apart, it imported {', '.join(result['entered'])}")
    for name, difference in apart.items():
        if not difference <= tolerance:
            raise _failed(f"{name}: {difference:.1g} of the largest value apart (limit {tolerance:g})")
    for what, found, wanted in (
        ("parameters", result["params"], parameters),
        ("MACs", result["macs"], claim.macs),
        ("parameters of the cost table", count_parameters(network), claim.params),
    ):
        if found != wanted:
            raise _failed(f"{what}: {found:,}, and {wanted:,} were claimed")
    if tolerance == INFERENCE_TOLERANCE:  # which is not for training
        return
    tensors = dict(network.named_parameters(remove_duplicate=False))
    for what, here, there in (
        ("is frozen", set(result["frozen"]), {name for name, parameter in tensors.items() if not parameter.requires_grad}),
        ("gets a gradient", set(result["gradients"]), {name for name, parameter in tensors.items() if parameter.grad is not None}),
    ):
        if here != there:
            name = min(here ^ there)
            pair = ("the file's network", "the searched one") if name in here else ("the searched network", "the file's")
            raise _failed(f"{name} {what} in {pair[0]}, and not in {pair[1]}")
    if not result["apart"][alone.GRADIENTS] <= GRADIENT_TOLERANCE:
        raise _failed(f"gradients: {result['apart'][alone.GRADIENTS]:.1g} of the largest apart (limit {GRADIENT_TOLERANCE:g})")


def _captured(found: Mapping[str, str], network: nn.Module, passes: Mapping[str, alone.Given]) -> dict[str, str]:
    """Check that what cannot capture the file's network cannot capture the searched one either."""
    for name, reason in found.items():
        if reason:
            torch.compiler.reset()
            if not alone.capture(name, network, passes[alone.EVAL], TOLERANCE):
                raise _failed(f"{name} captures the searched network, and not the file's: {reason}")
    return dict(found)


def _label(name: str, given: alone.Given) -> str:
    return f"{name}, {' and '.join('x'.join(map(str, tensor.shape)) or 'a number' for tensor in given.tensors.values())}"


def _failed(problem: str) -> ProofFailed:
    fix = "nothing was written; report it with the space and the architecture, and take space.build(architecture) meanwhile"
    return ProofFailed(f"the written file is not the searched network: {problem}", fix, "export")
