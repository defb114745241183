"""An exported network as a program of torch.export, and as ONNX; both take any number of images where the network does."""

from __future__ import annotations

import contextlib
import inspect
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from se_nas.errors import InputError
from se_nas.exporter.proof.alone import distance, tensors_of
from se_nas.network.inputs import Inputs

ONNX_TOLERANCE = 1e-4
"""Largest difference of onnxruntime's outputs, relative to the largest output."""


def program_file(network: nn.Module, inputs: Inputs | Sequence[int]) -> tuple[bytes, str]:
    """``model.pt2`` of a network in evaluation mode, and a line on it.

    Raises:
        InputError: if torch.export cannot capture it.
    """
    one = Inputs.of(inputs).to("cpu")
    buffer = io.BytesIO()
    with _quiet():
        try:
            try:
                program, batch = _capture(network, one.times(2), dynamic=True), "any number of images"
            except Exception:  # it computes with the number of images
                program, batch = _capture(network, one, dynamic=False), "one image at a time"
            torch.export.save(program, buffer)
        except Exception as error:
            raise _refused("torch.export", error, "--program") from error
    return buffer.getvalue(), f"takes {batch}"


def onnx_file(network: nn.Module, inputs: Inputs | Sequence[int]) -> tuple[bytes, str]:
    """``model.onnx`` of a network in evaluation mode, and a line on what onnxruntime made of it.

    Raises:
        InputError: if it cannot be converted, or onnxruntime's outputs are not the network's.
    """
    one = Inputs.of(inputs).random(torch.Generator().manual_seed(0))
    batches = [one.times(2), one]
    with tempfile.TemporaryDirectory(prefix="se-nas-onnx-") as folder, _quiet():
        path = Path(folder) / "model.onnx"
        try:
            try:
                _convert(network, batches[0], path, dynamic=True)
                batch = "any number of images"
            except Exception:
                batches, batch = [one], "one image at a time"
                _convert(network, one, path, dynamic=False)
            apart = _run_onnx(path, network, batches)
        except Exception as error:
            raise _refused("torch.onnx.export", error, "--onnx") from error
        if not apart <= ONNX_TOLERANCE:
            problem = f"onnxruntime's outputs are {apart:.1g} of the largest apart (limit {ONNX_TOLERANCE:g})"
            raise InputError(problem, "leave it out; nothing was written", "--onnx")
        return path.read_bytes(), f"takes {batch}; onnxruntime's outputs are at most {apart:.1g} of the largest apart"


def _capture(network: nn.Module, inputs: Inputs, dynamic: bool) -> torch.export.ExportedProgram:
    return torch.export.export(network.eval(), inputs.args, dict(inputs.kwargs), dynamic_shapes=_shapes(network, inputs, dynamic))


def _convert(network: nn.Module, inputs: Inputs, path: Path, dynamic: bool) -> None:
    torch.onnx.export(
        network.eval(),
        inputs.args,
        str(path),
        kwargs=dict(inputs.kwargs),
        dynamo=True,
        dynamic_shapes=_shapes(network, inputs, dynamic),
        input_names=["images"] if len(inputs.tensors) == 1 else None,
        external_data=False,
        verbose=False,
    )


def _shapes(network: nn.Module, inputs: Inputs, dynamic: bool) -> dict[str, Any] | None:
    """Argument -> which of its dimensions may vary: the first of every tensor."""
    if not dynamic:
        return None
    batch = torch.export.Dim("batch")
    given = inspect.signature(network.forward).bind(*inputs.args, **inputs.kwargs).arguments
    shapes: dict[str, Any] = tree_map(lambda leaf: {0: batch} if isinstance(leaf, Tensor) else None, dict(given))
    return shapes


def _run_onnx(path: Path, network: nn.Module, batches: Sequence[Inputs]) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [given.name for given in session.get_inputs()]
    apart = []
    for inputs in batches:
        with torch.no_grad():
            expected = dict(enumerate(tensors_of(inputs.call(network.eval())).values()))
        arrays = {name: tensor.numpy() for name, tensor in zip(names, inputs.tensors, strict=True)}
        found = {i: torch.from_numpy(array) for i, array in enumerate(session.run(None, arrays))}
        apart.append(distance({str(i): t for i, t in found.items()}, {str(i): t for i, t in expected.items()}))
    return max(apart)


def _refused(tool: str, error: Exception, flag: str) -> InputError:
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return InputError(f"{tool} refuses this network ({reason})", "leave it out; nothing was written", flag)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the converters' chatter."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(max(before, logging.WARNING))
        try:
            yield
        finally:
            logging.disable(before)
