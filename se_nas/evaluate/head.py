"""A new last layer for a trained network, fitted once on what the network computes of the training images."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from se_nas.errors import InputError
from se_nas.evaluate.batches import eval_batches
from se_nas.evaluate.data import Data
from se_nas.evaluate.settings import TrainSettings

MOST = 50_000
"""Training images that the features are taken of, spread over all of them."""

STEPS = 200
"""Iterations of L-BFGS at most."""


@torch.no_grad()
def features(network: nn.Module, layer: nn.Linear, data: Data, batch_size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """What reaches a layer of a network in evaluation mode, (N, F), and the labels, (N,): of training images, not augmented."""
    seen: list[Tensor] = []
    hook = layer.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].float()))
    images = data.train.take(torch.linspace(0, len(data.train) - 1, min(len(data.train), MOST)).long())
    labels: list[Tensor] = []
    try:
        network.eval()
        for pixels, classes in eval_batches(data, images, batch_size, device):
            network(pixels)
            labels.append(classes)
    finally:
        hook.remove()
    return torch.cat(seen), torch.cat(labels)


def fit_head(network: nn.Module, path: str, data: Data, settings: TrainSettings, device: torch.device) -> dict[str, Tensor]:
    """Weight and bias of a linear head: softmax regression on standardised features, by L-BFGS from zero. It is convex.

    Args:
        network: with its trained weights, on the device.
        path: of the head.
        data: at the network's input size.
        settings: batch size, weight decay and label smoothing are used.
        device: of the network.

    Raises:
        InputError: if the head is no linear layer on one vector an image.
    """
    layer = network.get_submodule(path)
    fix = "give weights of the data's own classes, or train the backbone first (--start train)"
    if not isinstance(layer, nn.Linear):
        raise InputError(f"the head {path} is a {type(layer).__name__}, and only a linear one can be fitted anew", fix, "start")
    found, labels = features(network, layer, data, 2 * settings.batch_size, device)
    if found.ndim != 2 or len(found) != len(labels):
        raise InputError(f"the head {path} reads {list(found.shape[1:])} of an image, and not one vector", fix, "start")
    mean = found.mean(0) if layer.bias is not None else torch.zeros_like(found[0])
    scale = found.std(0, correction=0).clamp_min(1e-6)
    inputs = (found - mean) / scale
    weight = torch.zeros_like(layer.weight, requires_grad=True)
    bias = torch.zeros(layer.out_features, device=device, requires_grad=layer.bias is not None)
    variables = [tensor for tensor in (weight, bias) if tensor.requires_grad]
    solver = torch.optim.LBFGS(variables, max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        error = F.cross_entropy(F.linear(inputs, weight, bias), labels, label_smoothing=settings.label_smoothing)
        total = error + 0.5 * settings.weight_decay * weight.square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    solver.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        fitted = {f"{path}.weight": weight / scale}
        if layer.bias is not None:
            fitted[f"{path}.bias"] = bias - fitted[f"{path}.weight"] @ mean
    return {name: tensor.detach().cpu() for name, tensor in fitted.items()}
