"""An architecture as one Python file that needs torch alone, and its weights beside it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from se_nas.architecture import Architecture
from se_nas.errors import InputError
from se_nas.exporter import residual
from se_nas.exporter.check import Unsupported, compare, count_parameters
from se_nas.exporter.write import Destination, check_free, write_files
from se_nas.space import SearchSpace

Generator = Callable[[SearchSpace, Architecture, nn.Module, Mapping[str, str]], str]
"""(space, architecture, the network built from both, further facts) -> source of the file; raises `Unsupported`."""

GENERATORS: list[Generator] = [residual.source]
"""Asked in turn; the first that can write the network does."""


def export(
    space: SearchSpace,
    architecture: Architecture,
    target: str | Path,
    weights: Mapping[str, Tensor] | None = None,
    about: Mapping[str, str] | None = None,
    force: bool = False,
) -> Path:
    """Write a network as Python source that needs torch alone, and its weights as safetensors.

    Args:
        space: the search space.
        architecture: one of its architectures.
        target: ``X.py``, its weights then go to ``X.safetensors``; or a folder, which gets ``model.py``,
            ``weights.safetensors`` and ``architecture.json``.
        weights: ``state_dict`` of the network that ``space.build(architecture)`` makes.
        about: what the file's docstring tells besides, such as ``{"val accuracy": "97.8 %"}``.
        force: whether an earlier export may be overwritten.

    Returns:
        The path of the Python file.

    Raises:
        InputError: if the network cannot be written as source, the weights are not its own, or the target is taken.
    """
    target = Path(target)
    check_free(target, weights is not None, force)
    if {name for name, _ in architecture} != {group.name for group in space.groups}:
        raise InputError("the architecture is of another space: its groups differ", "export it with its own space", "architecture")
    network = space.build(architecture)
    text = source(space, architecture, network, about or {})
    place = Destination.of(target)
    files = {}
    if weights is not None:
        files[place.weights] = _safetensors(weights, network, architecture)
    if place.about:
        files[place.about] = (json.dumps(_record(space, architecture, network), indent=2) + "\n").encode()
    write_files(place.folder, files | {place.module: text.encode()})
    return place.folder / place.module


def source(space: SearchSpace, architecture: Architecture, network: nn.Module, about: Mapping[str, str]) -> str:
    """The file of a network, by the first generator that can write it.

    Raises:
        InputError: if none can.
    """
    reasons = []
    for generator in GENERATORS:
        try:
            text = generator(space, architecture, network, about)
            compare(text, network)
            return text
        except Unsupported as reason:
            reasons.append(str(reason))
    fix = "take a residual network of se-nas or torchvision, or use space.build(architecture) as it is"
    raise InputError(f"this network cannot be written as source: {'; '.join(reasons)}", fix, "backbone")


def _safetensors(weights: Mapping[str, Tensor], network: nn.Module, architecture: Architecture) -> bytes:
    from safetensors.torch import save

    fix = "give the state_dict of the network that space.build(architecture) makes"
    own = network.state_dict()
    for key, tensor in own.items():
        if key not in weights:
            raise InputError(f"{key} is missing", fix, "weights")
        if weights[key].shape != tensor.shape:
            raise InputError(f"{key} has shape {list(weights[key].shape)} instead of {list(tensor.shape)}", fix, "weights")
    for key in weights:
        if key not in own:
            raise InputError(f"{key} is no tensor of the network", fix, "weights")
    tensors = {key: weights[key].detach().cpu().clone(memory_format=torch.contiguous_format) for key in own}
    return save(tensors, {"format": "pt", "architecture": architecture.id})


def _record(space: SearchSpace, architecture: Architecture, network: nn.Module) -> dict[str, Any]:
    return {
        "architecture": architecture.to_json(),
        "id": architecture.id,
        "params": count_parameters(network),
        "macs": space.cost(architecture).macs,
        "input_size": list(space.input_size),
        "backbone": space.backbone if isinstance(space.backbone, str) else None,
    }
