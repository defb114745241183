"""Trained weights in a file: safetensors, with a checksum of their bytes among its remarks."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from se_nas.errors import InputError
from se_nas.files import read_bytes, refused, write_whole

if TYPE_CHECKING:
    from torch import Tensor

KEY = "crc32"
LARGEST = 2**40


def save_weights(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write weights, whole or not at all.

    Raises:
        OSError: if they cannot be written.
    """
    from safetensors.torch import save

    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    write_whole(path, save(tensors, {KEY: _checksum(tensors)}))


def load_weights(path: Path) -> dict[str, Tensor] | None:
    """Read weights; None if there is no such file. Files without a checksum (of an earlier se-nas) are read too.

    Raises:
        InputError: for a file that is damaged or cannot be read.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    if not path.is_symlink() and not path.exists():
        return None
    with refused(path):
        data = read_bytes(path, LARGEST)
    fix = "restore the file; or remove it, and go on without these weights"
    try:
        tensors = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        known = header.get("__metadata__", {}).get(KEY)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"is damaged ({error})" if data else "is empty", fix, str(path)) from None
    if known is not None and known != _checksum(tensors):
        raise InputError("is damaged (its checksum differs)", fix, str(path))
    return tensors


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """Of all bytes, in the order of the names."""
    import torch

    total = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        total = zlib.crc32(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode(), total)
        total = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy(), total)  # type: ignore[arg-type]
    return f"{total:08x}"
