"""Exports without their proof, for tests of something else: it starts an interpreter, and takes seconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from se_nas import exporter
from se_nas.architecture import Architecture
from se_nas.exporter import ExportOptions
from se_nas.space import SearchSpace


def export(
    space: SearchSpace,
    architecture: Architecture,
    target: str | Path,
    weights: Mapping[str, Tensor] | None = None,
    about: Mapping[str, object] | None = None,
    **options: bool,
) -> Path:
    return exporter.export(space, architecture, target, weights, about, ExportOptions(**{"prove": False, **options})).path
