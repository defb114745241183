"""The machine that a latency was measured on: what must be the same for a profile to hold."""

from __future__ import annotations

import platform
import re
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RUNTIME_PACKAGE = {"onnx": "onnxruntime"}
"""Runtime -> its package, if that is not torch."""


def fingerprint(device: str, runtime: str) -> dict[str, str]:
    """This machine, as far as it decides how long a network takes there.

    Args:
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        runtime: name of a runtime.
    """
    found = {"processor": processor(), "system": f"{platform.system()} {platform.machine()}", "torch": _version("torch")}
    if runtime in RUNTIME_PACKAGE:
        found[RUNTIME_PACKAGE[runtime]] = _version(RUNTIME_PACKAGE[runtime])
    if device.startswith("cuda"):
        import torch

        found["gpu"] = torch.cuda.get_device_name(device) if torch.cuda.is_available() else "none"
        found["driver"] = _driver()
    return found


def differences(theirs: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """What of two machines differs, in words: ``torch 2.4 (here 2.6)``."""
    return [f"{name} {theirs[name]} (here {here.get(name, 'none')})" for name in theirs if theirs[name] != here.get(name)]


def processor() -> str:
    """Name of the processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration, IndexError):
        return platform.processor() or platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _driver() -> str:
    try:
        found = re.search(r"Module\s+(?:for \S+\s+)?(\d[\d.]+)", Path("/proc/driver/nvidia/version").read_text())
    except OSError:
        return "unknown"
    return found[1] if found else "unknown"
