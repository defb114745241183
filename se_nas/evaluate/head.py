"""A new last layer for a trained network, fitted once on the network's features of the training images."""

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

DECAYS = (1e-4, 1e-3, 1e-2, 1e-1)
HELD = 5
"""One image in so many decides which decay is taken."""

STEPS = 200
"""Iterations of L-BFGS at most."""


@torch.no_grad()
def features(network: nn.Module, layer: nn.Linear, data: Data, batch_size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The inputs (N, F) of a layer in evaluation mode, and the labels (N,), for the training images without augmentation."""
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
    """Weight and bias of a linear head: softmax regression on standardised features. Its decay is the one of `DECAYS` with the
    least loss on a fifth of the training images, which the others are fitted without.

    Args:
        network: with its trained weights, on the device.
        path: of the head.
        data: at the network's input size.
        settings: batch size and label smoothing are used.
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
    has_bias, smoothing = layer.bias is not None, settings.label_smoothing
    held = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0)).to(device) % HELD == 0

    def error(decay: float) -> float:
        weight, bias = regression(found[~held], labels[~held], layer.out_features, decay, has_bias, smoothing)
        return float(F.cross_entropy(F.linear(found[held], weight, bias), labels[held]))

    weight, bias = regression(found, labels, layer.out_features, min(DECAYS, key=error), has_bias, smoothing)
    return {f"{path}.weight": weight.cpu(), **({f"{path}.bias": bias.cpu()} if has_bias else {})}


def regression(found: Tensor, labels: Tensor, classes: int, decay: float, has_bias: bool, smoothing: float) -> tuple[Tensor, Tensor]:
    """Weight (classes, F) and bias (classes,) of a softmax regression on features (N, F), by L-BFGS from zero; it is convex.

    The decay is half the weight of the squares of the standardised features' weights beside the mean cross entropy.
    """
    mean = found.mean(0) if has_bias else torch.zeros_like(found[0])
    scale = found.std(0, correction=0).clamp_min(1e-6)
    inputs = (found - mean) / scale
    weight = torch.zeros(classes, found.shape[1], device=found.device, requires_grad=True)
    bias = torch.zeros(classes, device=found.device, requires_grad=has_bias)
    variables = [tensor for tensor in (weight, bias) if tensor.requires_grad]
    solver = torch.optim.LBFGS(variables, max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        total = F.cross_entropy(F.linear(inputs, weight, bias), labels, label_smoothing=smoothing) + decay / 2 * weight.square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    solver.step(loss)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        return weight / scale, bias - (weight / scale) @ mean
