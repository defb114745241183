"""Exports without the proof in another interpreter, which takes seconds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from se_nas import exporter
from se_nas.exporter import ExportOptions, load_network
from se_nas.exporter.generator.network import source
from se_nas.exporter.proof.alone import Given
from se_nas.exporter.proof.randomise import randomise
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace


def export(
    space: SearchSpace,
    architecture: Architecture,
    target: str | Path,
    weights: Mapping[str, Tensor] | None = None,
    about: Mapping[str, object] | None = None,
    **options: bool,
) -> Path:
    return exporter.export(space, architecture, target, weights, about, ExportOptions(**{"prove": False, **options})).path


def written(space: SearchSpace, architecture: Architecture, images: int = 2) -> str:
    """The text of a network, after running it in this process: it computes what the searched network does, in both modes."""
    network = space.build(architecture)
    text = source(space, architecture, network, {}).text
    drawn = space.inputs.times(images).random(torch.Generator().manual_seed(1))
    given = Given(drawn.args, drawn.kwargs)
    randomise(network, given, 2)
    built = load_network(text, network)  # whose tensors have the same names: loading is strict
    count = [sum(parameter.numel() for parameter in net.parameters()) for net in (network, built)]
    assert count == [space.cost(architecture).params] * 2
    for training in (False, True):
        results = []
        for net in (network, built):
            torch.manual_seed(3)
            with torch.no_grad():
                results.append(_tensors(given.of(net.train(training))))
        expected, found = results
        assert len(expected) == len(found) > 0
        for a, b in zip(expected, found, strict=True):
            assert a.isfinite().all() and a.shape == b.shape
            assert (a - b).abs().max() <= 1e-6 * a.abs().max(), f"training={training}"
    states = [net.state_dict() for net in (network, built)]
    for key, tensor in states[0].items():
        torch.testing.assert_close(states[1][key], tensor, rtol=1e-6, atol=1e-6, msg=lambda text, key=key: f"{key}: {text}")
    return text


def _tensors(result: Any) -> list[Tensor]:
    if isinstance(result, Tensor):
        return [result]
    if isinstance(result, Mapping):
        return [tensor for key in sorted(result) for tensor in _tensors(result[key])]
    return [tensor for item in result if item is not None for tensor in _tensors(item)]
