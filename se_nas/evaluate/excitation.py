"""What a trained network's SE blocks do (Hu et al., arXiv 1709.01507, section 7.2): their gates by class and depth.

A block's gate is measured, not read: of each image and channel, the factor by which the block scales the channel. So any module
that scales the channels of a map will do: `SEBlock`, that of an exported file, torchvision's and timm's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from se_nas.errors import InputError
from se_nas.evaluate.explanation import NEAR, Change, Excitation, Explanation
from se_nas.evaluate.parts import scores_of
from se_nas.network.attached import actual_modules, public_paths
from se_nas.network.graph import trace
from se_nas.network.own import find_own
from se_nas.se.block import SEBlock
from se_nas.text import shown

Batches = Iterable[tuple[Tensor, Tensor]]

IMAGES = 2000
"""Images that are looked at, unless more are asked for."""

SHOWN = 10
"""Classes whose gates are kept, evenly spaced if there are more."""

Z = 1.96


def explain(network: nn.Module, data: Batches | tuple[Tensor, Tensor], *, classes: Iterable[str] = (), images: int = IMAGES) -> Explanation:
    """What the SE blocks of a trained network do.

    Args:
        network: returns class scores (N, classes). It is left as it was.
        data: ``(images, labels)``, or batches of such pairs (a DataLoader): images as the network takes them, labels from 0.
        classes: names of the classes; by default their numbers.
        images: at most so many are looked at.

    Returns:
        For each block its gates by class and channel, how important each channel is, and whether the block can go.

    Raises:
        InputError: if there are no images, or the network has no SE block whose gate can be measured.
    """
    modes = {module: module.training for module in network.modules()}
    network.eval()
    try:
        with torch.no_grad():  # in inference mode, what the network computes cannot be traced
            return _explain(network, _kept(data, images), tuple(classes))
    finally:
        for module, mode in modes.items():
            module.training = mode


def _explain(network: nn.Module, batches: list[tuple[Tensor, Tensor]], classes: tuple[str, ...]) -> Explanation:
    blocks = find_blocks(network, batches[0][0][:1])
    gates: dict[str, list[Tensor]] = {name: [] for name in blocks}
    energies: dict[str, list[Tensor]] = {name: [] for name in blocks}

    def note(name: str, before: Tensor, after: Tensor) -> None:
        before, after = before.flatten(2).double(), after.flatten(2).double()
        size = (before**2).sum(2)
        gates[name].append(torch.where(size > 0, (before * after).sum(2) / size, torch.nan).cpu())
        energies[name].append((after**2).mean(2).cpu())

    with _hooked({module: _noting(name, note) for name, module in blocks.items()}):
        right, losses = _measure(network, batches)
    labels = torch.cat([batch[1] for batch in batches]).cpu()
    present = sorted(set(labels.tolist()))
    kept = [present[round(i * (len(present) - 1) / max(1, SHOWN - 1))] for i in range(SHOWN)] if len(present) > SHOWN else present
    found = []
    for name, module in blocks.items():
        gate, passed = _filled(torch.cat(gates[name])), torch.cat(energies[name]).mean(0).sqrt()
        means = gate.mean(0)
        of_class = {classes[label] if label < len(classes) else str(label): gate[labels == label] for label in kept}

        def change(hook: Callable[..., Any], module: nn.Module = module) -> Change:
            with _hooked({module: hook}):
                other, others = _measure(network, batches)
            difference = other - right
            around = Z * float(difference.std()) / len(right) ** 0.5 if len(right) > 1 else float("inf")
            return Change(float(difference.mean()), around, float((others - losses).mean()))

        found.append(
            Excitation(
                name,
                tuple(means.tolist()),
                tuple(gate.std(0, correction=0).tolist()),
                {label: tuple(some.mean(0).tolist()) for label, some in of_class.items()},
                {label: tuple(some.std(0, correction=0).tolist()) for label, some in of_class.items()},
                float(((gate - 1).abs() < NEAR).double().mean()),
                tuple(passed.tolist()),
                change(lambda _, inputs, output: inputs[0]),
                change(_scaling(means)),
            )
        )
    return Explanation(len(labels), float(right.mean()), float(losses.mean()), tuple(found))


def find_blocks(network: nn.Module, image: Tensor) -> dict[str, nn.Module]:
    """Name -> module of each SE block that runs once and is a module of its own, in the order in which they run.

    Raises:
        InputError: if there is none.
    """
    graph, _ = trace(network, image)
    times: dict[str, int] = {}
    for call in graph.calls:
        times[call.module] = times.get(call.module, 0) + 1
    modules, names = actual_modules(network), public_paths(network)
    own = {each.path for each in find_own(graph, lambda path: times.get(path) == 1) if not each.inline}
    ours = {path for path, module in modules.items() if isinstance(module, SEBlock) and times.get(path) == 1}
    found = {names[call.module]: modules[call.module] for call in graph.calls if call.module in own | ours}
    if not found:
        fix = "give one with SE blocks that are modules of their own, each called once"
        raise InputError(f"no SE block found in {type(network).__name__}", fix, "network")
    return found


def _kept(data: Batches | tuple[Tensor, Tensor], images: int) -> list[tuple[Tensor, Tensor]]:
    """The first images, in batches."""
    if images < 1:
        raise InputError(f"{shown(images)} is not a number of images", "take 1 or more", "images")
    if isinstance(data, (tuple, list)) and len(data) == 2 and isinstance(data[0], Tensor) and isinstance(data[1], Tensor):
        data = list(zip(torch.split(data[0], 128), torch.split(data[1], 128), strict=True))
    kept: list[tuple[Tensor, Tensor]] = []
    left = images
    for pixels, labels in data:
        kept.append((pixels[:left], labels[:left]))
        left -= len(kept[-1][1])
        if left <= 0:
            break
    if not any(len(labels) for _, labels in kept):
        raise InputError("there are no images", "give (images, labels), or batches of such pairs", "data")
    return kept


def _measure(network: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Whether each image is classified right, as 0 or 1, and its cross-entropy; shape (images,)."""
    place = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    right, losses = [], []
    for pixels, labels in batches:
        scores, labels = scores_of(network(pixels.to(place))).double(), labels.to(place)
        right.append((scores.argmax(1) == labels).double().cpu())
        losses.append(F.cross_entropy(scores, labels, reduction="none").cpu())
    return torch.cat(right), torch.cat(losses)


def _filled(gates: Tensor) -> Tensor:
    """Gates, shape (images, channels): that of a channel without any value is its mean over the other images, or 1."""
    means = gates.nanmean(0).nan_to_num(1.0)
    return torch.where(gates.isnan(), means, gates)


def _noting(name: str, note: Callable[[str, Tensor, Tensor], None]) -> Callable[..., None]:
    return lambda _, inputs, output: note(name, inputs[0], output)


def _scaling(gates: Tensor) -> Callable[..., Tensor]:
    """A hook that scales channels by fixed gates in place of the block's."""
    return lambda _, inputs, output: inputs[0] * gates.to(inputs[0]).reshape(-1, *(1,) * (inputs[0].ndim - 2))


@contextlib.contextmanager
def _hooked(hooks: Mapping[nn.Module, Callable[..., Any]]) -> Iterator[None]:
    handles = [module.register_forward_hook(hook) for module, hook in hooks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
