"""The parts of a network that may train at different rates: inserted SE blocks, the head, and the backbone (all else). Its scores."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from se_nas.evaluate.settings import TrainSettings
from se_nas.network.attached import LAYERS
from se_nas.network.placement import attached_blocks


def find_head(network: nn.Module, classes: int) -> tuple[str, nn.Module] | None:
    """Path and layer of the head: the last layer with one output a class that is in no inserted SE block. None without one."""
    inserted = {inner for block in attached_blocks(network) for inner in block.modules()}
    layers = [(name, module) for name, module in network.named_modules() if isinstance(module, LAYERS) and module not in inserted]
    return next(((name, layer) for name, layer in reversed(layers) if layer.weight.shape[0] == classes), None)


def parts_of(network: nn.Module, classes: int) -> dict[str, list[nn.Parameter]]:
    """``se``, ``head`` and ``backbone`` -> their parameters, without those that the network itself has frozen."""
    se = {parameter for block in attached_blocks(network) for parameter in block.parameters()}
    found = find_head(network, classes)
    head = set(found[1].parameters()) if found else set()
    parts: dict[str, list[nn.Parameter]] = {"se": [], "head": [], "backbone": []}
    for parameter in network.parameters():
        if parameter.requires_grad:
            parts["se" if parameter in se else "head" if parameter in head else "backbone"].append(parameter)
    return parts


def parameter_groups(network: nn.Module, classes: int, settings: TrainSettings, rates: Mapping[str, float]) -> list[dict[str, object]]:
    """Groups for an optimizer: each part at its rate; weights decay, biases and norms do not. A part of rate 0 is frozen.

    A group's ``share`` is its learning rate as a multiple of ``settings.lr``.
    """
    groups: list[dict[str, object]] = []
    for part, parameters in parts_of(network, classes).items():
        for parameter in parameters:
            parameter.requires_grad_(rates[part] > 0)
        if not rates[part]:
            continue
        for decay, some in (
            (settings.weight_decay, [p for p in parameters if p.ndim > 1]),
            (0.0, [p for p in parameters if p.ndim <= 1]),
        ):
            groups.append({"params": some, "weight_decay": decay, "lr": settings.lr * rates[part], "share": rates[part]})
    return groups


def scores_of(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Class scores. If a network has auxiliary classifiers, its own scores come first; the others are not trained."""
    return output[0] if isinstance(output, tuple) else output
