"""Values of buffers that are not among the weights, as text."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from se_nas.exporter.contract import Unsupported

LONGEST = 100_000
"""Characters of a text that a file may hold."""

WHOLE = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Bytes of a number -> the whole numbers of that size."""

CODE = '''
class Packed(NamedTuple):
    """The values of a buffer as text: compressed bytes, of the steps from each value to the next along each axis."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    text: str

    def tensor(self) -> Tensor:
        whole = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[self.dtype.itemsize]
        values = torch.frombuffer(bytearray(zlib.decompress(base64.b85decode(self.text))), dtype=whole).view(self.shape)
        for axis in range(values.dim()):
            values = values.cumsum(axis, dtype=whole)
        return torch.as_tensor(values.view(self.dtype))
'''


@dataclass(frozen=True)
class Packed:
    """The values of a buffer: its name, its form, and the text."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    text: str


def packed(name: str, tensor: Tensor) -> Packed:
    """The values of a buffer. Tables of positions have few different steps, so these take less text than the values.

    Raises:
        Unsupported: if the text would be too long.
    """
    steps = tensor.detach().cpu().contiguous().view(WHOLE[tensor.dtype.itemsize])
    for axis in range(steps.dim()):
        steps = torch.diff(steps, dim=axis, prepend=torch.zeros_like(steps.narrow(axis, 0, 1)))
    text = base64.b85encode(zlib.compress(steps.numpy().tobytes(), 9)).decode()
    if len(text) > LONGEST:
        raise Unsupported(f"the buffer {name} is not among the weights, and its {tensor.numel():,} values are too long for a text")
    return Packed(name, tensor.dtype, tuple(tensor.shape), text)


def statements(names: Mapping[Packed, str]) -> list[str]:
    """The statements that give each of these its name, and the class that they need."""
    statements = []
    for one, name in names.items():
        text = "\n".join(f'    "{one.text[i : i + 100]}"' for i in range(0, len(one.text), 100))
        count = torch.Size(one.shape).numel()
        statements.append(f"{name} = Packed(  # {count:,} values\n    {one.dtype},\n    {one.shape},\n{text},\n)")
    return [CODE.strip(), *statements] if statements else []
