"""What an export may be asked for, what a generator hands over, and when it must refuse."""

from __future__ import annotations

import importlib.util
import inspect
import traceback
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import nn

from se_nas.errors import InputError
from se_nas.network.inputs import Inputs
from se_nas.text import shown

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True)
class ExportOptions:
    """Options of an export. All are off, but the proof.

    Attributes:
        force: overwrite an earlier export.
        prove: run the written file in another process and compare it with the searched network, before anything is written.
        onnx: also write ``model.onnx``, compared with onnxruntime (extra ``onnx``).
        program: also write ``model.pt2``, for ``torch.export.load``.
        hub: also write ``hubconf.py``, for ``torch.hub.load(folder, name, source="local")``.
        timm: also write ``timm_model.py``, which registers the network with timm.
        deploy: write the fast inference form, which cannot be trained, and its weights.
    """

    force: bool = False
    prove: bool = True
    onnx: bool = False
    program: bool = False
    hub: bool = False
    timm: bool = False
    deploy: bool = False

    @classmethod
    def of(cls, values: dict[str, Any]) -> ExportOptions:
        """Options from keyword arguments.

        Raises:
            InputError: for an unknown one, or one that is neither true nor false.
        """
        names = [field.name for field in fields(cls)]
        for name, value in values.items():
            if name not in names:
                raise InputError(f"unknown option {shown(name)}", f"take one of {', '.join(names)}", "export")
            if not isinstance(value, bool):
                raise InputError(f"{shown(value)} is not true or false", "correct the value", name)
        return cls(**values)

    def check(self, target: Path, weights: bool) -> None:
        """Raise unless these options can be met.

        Raises:
            InputError: for a package that is missing, files that need a folder of their own, or an inference form without
                ``weights`` to fold.
        """
        if self.deploy and not weights:
            problem = "the inference form is made from weights, and there are none"
            raise InputError(problem, "export a trial with its weights, or leave this out", "--deploy")
        missing = [name for name in ONNX_PACKAGES if self.onnx and not importlib.util.find_spec(name)]
        if missing:
            raise InputError(f"ONNX needs {' and '.join(missing)}", "pip install 'se-nas[onnx]'", "--onnx")
        if self.onnx and (too_old := onnx_too_old()):
            raise InputError(too_old, NEWER, "--onnx")
        for name, wanted in (("hub", self.hub), ("timm", self.timm)):
            if wanted and target.suffix == ".py":
                raise InputError(f"{target} is one file", "name a folder, which gets this file too", f"--{name}")


NEWER = "take torch 2.6 or later"


def onnx_too_old() -> str:
    """Why this version of torch cannot convert networks to ONNX; "" if it can."""
    known = inspect.signature(torch.onnx.export).parameters
    return "" if {"kwargs", "dynamic_shapes"} <= known.keys() else f"torch {torch.__version__} has an older ONNX exporter"


class Unsupported(Exception):
    """Why a generator cannot write a network, in words. Another generator may be able to."""


@dataclass(frozen=True)
class Written:
    """The source of a network.

    Attributes:
        text: the file.
        notes: what a user of the file should know.
        package: the package that the file imports besides torch, to build the backbone; or "".
        paths: folders that may be needed to import that package.
        one_size: whether the file is for images of the space's size only.
    """

    text: str
    notes: tuple[str, ...] = ()
    package: str = ""
    paths: tuple[str, ...] = ()
    one_size: bool = False


def is_ours(error: Exception) -> bool:
    """Whether an error was raised by the exporter itself, which then has a bug; not by the network that it runs."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return str(Path(__file__).parent) in last.filename and last.name != "__torch_function__"  # where the network calls torch


def other_inputs(inputs: Inputs) -> list[Inputs]:
    """Inputs of other sizes at which a network and its file are compared: a little larger, and two and three times as large.

    None of a network with several inputs: nobody but its author knows which sizes go together.
    """
    if len(inputs.tensors) > 1:
        return []
    channels, *sides = inputs.size
    little = [side + max(1, side // 8) for side in sides]
    return [inputs.of_other_size((channels, *other)) for other in (little, [side * (2 + i % 2) for i, side in enumerate(sides)])]


def compare(text: str, network: nn.Module) -> None:
    """Build the network of a file on the meta device, and compare its tensors with those of the searched one.

    Raises:
        Unsupported: names the first tensor that differs.
    """
    namespace: dict[str, Any] = {"__name__": "exported"}
    exec(compile(text, "<exported network>", "exec"), namespace)
    with torch.device("meta"):
        written: nn.Module = namespace["build"]()
    expected, found = network.state_dict(), written.state_dict()
    for key in expected | found:
        if _form(expected.get(key)) != _form(found.get(key)):
            raise Unsupported(f"{key} is {_form(expected.get(key))}, and would be {_form(found.get(key))} in the file")


def _form(tensor: torch.Tensor | None) -> str:
    return "absent" if tensor is None else f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def count_parameters(network: nn.Module) -> int:
    """All parameters, trainable or not."""
    return sum(parameter.numel() for parameter in network.parameters())
