"""An exported network as a program of torch.export, and as ONNX; both take any number of images where the network does."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from se_nas.errors import InputError
from se_nas.exporter.proof.alone import distance, tensors_of

ONNX_TOLERANCE = 1e-4
"""Largest difference of onnxruntime's outputs, relative to the largest output."""


def program_file(network: nn.Module, input_size: Sequence[int]) -> tuple[bytes, str]:
    """``model.pt2`` of a network in evaluation mode, and a line on it.

    Raises:
        InputError: if torch.export cannot capture it.
    """
    images = torch.zeros(2, *input_size)
    buffer = io.BytesIO()
    with _quiet():
        try:
            try:
                program, batch = _capture(network, images, dynamic=True), "any number of images"
            except Exception:  # it computes with the number of images
                program, batch = _capture(network, images[:1], dynamic=False), "one image at a time"
            torch.export.save(program, buffer)
        except Exception as error:
            raise _refused("torch.export", error, "--program") from error
    return buffer.getvalue(), f"takes {batch}"


def onnx_file(network: nn.Module, input_size: Sequence[int]) -> tuple[bytes, str]:
    """``model.onnx`` of a network in evaluation mode, and a line on what onnxruntime made of it.

    Raises:
        InputError: if it cannot be converted, or onnxruntime's outputs are not the network's.
    """
    images = torch.randn(2, *input_size, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory(prefix="se-nas-onnx-") as folder, _quiet():
        path = Path(folder) / "model.onnx"
        try:
            try:
                _convert(network, images, path, dynamic=True)
                batch = "any number of images"
            except Exception:
                images, batch = images[:1], "one image at a time"
                _convert(network, images, path, dynamic=False)
            apart = _run_onnx(path, network, [images, images[:1]])
        except Exception as error:
            raise _refused("torch.onnx.export", error, "--onnx") from error
        if not apart <= ONNX_TOLERANCE:
            problem = f"onnxruntime's outputs are {apart:.1g} of the largest apart (limit {ONNX_TOLERANCE:g})"
            raise InputError(problem, "leave it out; nothing was written", "--onnx")
        return path.read_bytes(), f"takes {batch}; onnxruntime's outputs are at most {apart:.1g} of the largest apart"


def _capture(network: nn.Module, images: Tensor, dynamic: bool) -> torch.export.ExportedProgram:
    return torch.export.export(network.eval(), (images,), dynamic_shapes=_shapes(dynamic))


def _convert(network: nn.Module, images: Tensor, path: Path, dynamic: bool) -> None:
    shapes: Any = _shapes(dynamic)
    names = ["images"]
    torch.onnx.export(
        network.eval(), (images,), str(path), dynamo=True, dynamic_shapes=shapes, input_names=names, external_data=False, verbose=False
    )


def _shapes(dynamic: bool) -> tuple[dict[int, Any]] | None:
    return ({0: torch.export.Dim("batch")},) if dynamic else None


def _run_onnx(path: Path, network: nn.Module, batches: Sequence[Tensor]) -> float:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (name,) = (given.name for given in session.get_inputs())
    apart = []
    for images in batches:
        with torch.no_grad():
            expected = dict(enumerate(tensors_of(network.eval()(images)).values()))
        found = {i: torch.from_numpy(array) for i, array in enumerate(session.run(None, {name: images.numpy()}))}
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
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)
