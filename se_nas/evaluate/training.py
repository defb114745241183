"""Train the network of an architecture, and measure it."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel

from se_nas.errors import InputError, OutOfMemory, TrialFailed
from se_nas.evaluate import Evaluation, Report
from se_nas.evaluate.batches import eval_batches, resident, steps_per_epoch, train_batches
from se_nas.evaluate.data import Data, Files, Split
from se_nas.evaluate.device import choose_threads, find_device, reproducible
from se_nas.evaluate.partial import Partial, Stateful
from se_nas.evaluate.parts import parameter_groups
from se_nas.evaluate.settings import SCHEDULES, TrainSettings
from se_nas.evaluate.start import load_start
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace
from se_nas.text import shown

__all__ = ["TrainSettings", "TrainingEvaluator"]


class TrainingEvaluator:
    """An `se_nas.evaluate.Evaluator` that trains on ``data.train`` and measures on ``data.val``; fidelity is ``{"epochs": n}``.

    Its metrics: ``accuracy`` and ``loss`` on the validation split after the last epoch, and ``train_loss`` over that
    epoch. ``data.test`` is left alone until `score`.

    Args:
        space: the architectures' space.
        data: at the space's input size.
        settings: settings of the training.
        threads: number of CPU threads; 0 chooses by the work of a step.
        start: the plain network's weights that every architecture begins with, see `se_nas.evaluate.start`; None to begin with
            fresh ones.

    Raises:
        InputError: if the data does not fit the network.
    """

    def __init__(
        self,
        space: SearchSpace,
        data: Data,
        settings: TrainSettings | None = None,
        threads: int = 0,
        start: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.space, self.data, self.settings, self.start = space, data, settings or TrainSettings(), start
        self.threads = threads or choose_threads(space.plain_cost.macs, self.settings.batch_size)
        if data.train.size != space.input_size:
            raise InputError(f"{data.name} has size {data.train.size} and the network {space.input_size}", "load it at input_size", "data")
        if not space.classes:
            raise InputError("the network does not return class scores (N, classes)", "train it with an evaluator of your own", "backbone")
        if len(data.classes) != space.classes:
            raise InputError(
                f"{data.name} has {len(data.classes)} classes and the network {space.classes} outputs",
                f"set backbone_args: {{num_classes: {len(data.classes)}}}",
                "data",
            )

    def __call__(
        self,
        architecture: Architecture,
        seed: int,
        fidelity: Mapping[str, int],
        device: str,
        report: Report,
        checkpoint: Path | None = None,
    ) -> Evaluation:
        """Train from the start, or go on from ``checkpoint`` with the same result; see `se_nas.evaluate.Evaluator`.

        A seed is a block: in it every architecture has the same backbone, images, order, augmentation and random numbers, and
        each site's SE block has weights of its own that do not depend on the others'.

        Raises:
            TrialFailed: if the loss is not finite.
            OutOfMemory: if the device's memory is too small.
            InputError: for an impossible device or fidelity, or a file of the data that is no image.
        """
        place, epochs = find_device(device), _epochs(fidelity)
        try:
            with reproducible(seed, place, self.threads):
                return self._train(architecture, epochs, place, report, checkpoint)
        except torch.cuda.OutOfMemoryError as error:
            reason = str(error).partition(". ")[0]
        # raised outside of the handler: an exception's context would keep the network in memory
        torch.cuda.empty_cache()
        raise OutOfMemory(f"{reason} (batch size {self.settings.batch_size})")

    def with_learning_rate(self, factor: float) -> TrainingEvaluator:
        """The same with another learning rate."""
        changed = copy.copy(self)
        changed.settings = replace(self.settings, lr=self.settings.lr * factor)
        return changed

    def from_scratch(self) -> TrainingEvaluator:
        """The same without a start, every part trained at one rate: what trains the plain backbone that is to be a start."""
        changed = copy.copy(self)
        changed.start, changed.settings = None, replace(self.settings, freeze=None, lr_se=None, lr_head=None, lr_backbone=None)
        return changed

    def measure(self, weights: Mapping[str, Tensor], device: str) -> dict[str, float]:
        """``accuracy`` (0..1) and ``loss`` of the plain network with these weights on the validation split."""
        place = find_device(device)
        with reproducible(0, place, self.threads):
            network = self._build(self.space.reference("plain"), place)
            load_start(network, weights)
            accuracy, loss = self._measure(network, self.data, self.data.val, place)
        return {"accuracy": accuracy, "loss": loss}

    def score(self, architecture: Architecture, weights: Mapping[str, Tensor], device: str) -> dict[str, float]:
        """``test_accuracy`` (0..1) and ``test_loss`` of a trained network on the test split.

        Raises:
            InputError: if there is no test split, or the weights are another network's.
        """
        place = find_device(device)
        if self.data.test is None:
            raise InputError(f"{self.data.name} has no test split", "add one to the data, or go by the validation accuracy", "data")
        with reproducible(0, place, self.threads):
            network = self._build(architecture, place)
            try:
                network.load_state_dict(weights)
            except RuntimeError as error:
                raise InputError(f"not the weights of {architecture.id}: {error}", "give this architecture's own", "weights") from None
            accuracy, loss = self._measure(network, self.data, self.data.test, place)
        return {"test_accuracy": accuracy, "test_loss": loss}

    def _train(self, architecture: Architecture, epochs: int, device: torch.device, report: Report, checkpoint: Path | None) -> Evaluation:
        settings = self.settings
        # drawn before the network is built: every architecture sees the same images in the same order
        seeds = torch.randint(2**31, (2,)).tolist()
        order = torch.Generator().manual_seed(seeds[0])
        augment = torch.Generator(device).manual_seed(seeds[1]) if settings.augment else None
        network = self._build(architecture, device)
        data = resident(self.data, device)
        optimizer = make_optimizer(network, settings, self.space.classes, self.start is not None)
        scaler = torch.amp.GradScaler(device.type, enabled=self._dtype(device) == torch.float16)
        schedule, steps = SCHEDULES[settings.schedule], steps_per_epoch(data.train, settings.batch_size)
        metrics: dict[str, float] = {}
        mean = AveragedModel(network, use_buffers=True) if settings.average else None
        parts: dict[str, Stateful] = {"network": network, "optimizer": optimizer, "scaler": scaler, **({"mean": mean} if mean else {})}
        partial = Partial(checkpoint, parts, [order, augment], device)
        for epoch in range(partial.load(), epochs):
            set_mode(network, settings.frozen(self.start is not None))
            total = torch.zeros((), device=device)
            for step, (images, labels) in enumerate(train_batches(data, settings.batch_size, device, order, augment)):
                for group in optimizer.param_groups:
                    group["lr"] = settings.lr * group["share"] * schedule((epoch + step / steps) / epochs)
                with self._autocast(device):
                    loss = F.cross_entropy(scores_of(network(self._layout(images))), labels, label_smoothing=settings.label_smoothing)
                if loss.requires_grad:  # nothing of a frozen plain network trains, if its head does not
                    optimizer.zero_grad()
                    scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
                    scaler.step(optimizer)
                    scaler.update()
                total += loss.detach()
                if mean and 2 * (epoch + (step + 1) / steps) > epochs:
                    mean.update_parameters(network)
            train_loss = _finite(float(total) / steps, "loss", epoch)
            found = mean.module if mean and mean.n_averaged else network
            accuracy, val_loss = self._measure(found, data, data.val, device)
            metrics = {"accuracy": accuracy, "loss": _finite(val_loss, "validation loss", epoch), "train_loss": train_loss}
            if epoch + 1 < epochs:
                partial.save(epoch + 1)
            report(epoch + 1, epochs, {"loss": train_loss, "accuracy": accuracy})
        weights = {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in found.state_dict().items()}
        return Evaluation(metrics, weights)

    @torch.inference_mode()
    def _measure(self, network: nn.Module, data: Data, images: Split | Files, device: torch.device) -> tuple[float, float]:
        """Accuracy (0..1) and mean loss on a split."""
        network.eval()
        right, total = torch.zeros((), device=device), torch.zeros((), device=device)
        for pixels, labels in eval_batches(data, images, 2 * self.settings.batch_size, device):
            with self._autocast(device):
                outputs = network(self._layout(pixels))
            right += (outputs.argmax(1) == labels).sum()
            total += F.cross_entropy(outputs.float(), labels, reduction="sum")
        return float(right) / len(images), float(total) / len(images)

    def _build(self, architecture: Architecture, device: torch.device) -> nn.Module:
        network = self.space.build(architecture)
        if self.start is not None:
            load_start(network, self.start)
        network = network.to(device)
        return network.to(memory_format=torch.channels_last) if self._is_channels_last(device) else network

    def _layout(self, images: Tensor) -> Tensor:
        return images.contiguous(memory_format=torch.channels_last) if self._is_channels_last(images.device) else images

    def _is_channels_last(self, device: torch.device) -> bool:
        return self.settings.channels_last and device.type == "cuda"

    def _dtype(self, device: torch.device) -> torch.dtype:
        if not self.settings.amp or device.type != "cuda":
            return torch.float32
        return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16

    def _autocast(self, device: torch.device) -> AbstractContextManager[None]:
        dtype = self._dtype(device)
        return torch.autocast(device.type, dtype if dtype != torch.float32 else torch.bfloat16, enabled=dtype != torch.float32)


def make_optimizer(
    network: nn.Module, settings: TrainSettings, classes: int, started: bool = False, fused: bool = True
) -> torch.optim.Optimizer:
    """Stochastic gradient descent; each part of the network at its rate (see `TrainSettings.rates`)."""
    groups = parameter_groups(network, classes, settings, settings.rates(started)) or [{"params": [], "share": 0.0}]
    return torch.optim.SGD(groups, settings.lr, settings.momentum, nesterov=settings.momentum > 0, fused=fused)


def set_mode(network: nn.Module, freeze: str) -> None:
    """Training mode for what is not frozen: evaluation mode for all of a frozen backbone, or for its batch norms alone."""
    network.train(freeze != "backbone")
    if freeze == "statistics":
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()


def scores_of(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """Class scores. If a network has auxiliary classifiers, its own scores come first; the others are not trained."""
    return output[0] if isinstance(output, tuple) else output


def _finite(loss: float, name: str, epoch: int) -> float:
    if not math.isfinite(loss):
        raise TrialFailed(f"{name} is {loss} in epoch {epoch + 1}")
    return loss


def _epochs(fidelity: Mapping[str, int]) -> int:
    epochs = fidelity.get("epochs")
    if not isinstance(epochs, int) or epochs < 1:
        raise InputError(f"{shown(epochs)} is not a number of epochs", "write an integer from 1", "epochs")
    return epochs
