"""What a person may ask of an export besides the source and its weights."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from se_nas.errors import InputError

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")


@dataclass(frozen=True)
class ExportOptions:
    """Options of an export, all of them off but the proof.

    Attributes:
        force: overwrite an earlier export.
        prove: run the written file apart and compare it with the searched network, before anything is written.
        onnx: also ``model.onnx``, compared with onnxruntime (extra ``onnx``).
        program: also ``model.pt2``, for ``torch.export.load``.
        hub: also ``hubconf.py``, for ``torch.hub.load(folder, name, source="local")``.
        timm: also ``timm_model.py``, which registers the network with timm.
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
                raise InputError(f"unknown option {name!r}", f"take one of {', '.join(names)}", "export")
            if not isinstance(value, bool):
                raise InputError(f"{value!r} is not true or false", "correct the value", name)
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
        for name, wanted in (("hub", self.hub), ("timm", self.timm)):
            if wanted and target.suffix == ".py":
                raise InputError(f"{target} is one file", "name a folder, which gets this file too", f"--{name}")
