"""Train the network of an architecture, and measure it."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
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
from se_nas.evaluate.cached import Activations, Cached
from se_nas.evaluate.data import Data, Files, Split
from se_nas.evaluate.device import choose_threads, find_device, reproducible
from se_nas.evaluate.memory import free_memory, how_many_fit, training_memory
from se_nas.evaluate.partial import Partial, Stateful
from se_nas.evaluate.parts import parameter_groups
from se_nas.evaluate.settings import SCHEDULES, TrainSettings
from se_nas.evaluate.start import load_start
from se_nas.evaluate.students import Alone, Key, Students
from se_nas.evaluate.together import Together, same_host
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
        cache: GB of memory in which each process keeps what a frozen backbone computes, see `se_nas.evaluate.cached`; 0 keeps
            nothing, None takes a quarter of what is free.

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
        cache: float | None = 0,
    ) -> None:
        self.space, self.data, self.settings, self.start = space, data, settings or TrainSettings(), start
        self.threads = threads or choose_threads(space.plain_cost.macs, self.settings.batch_size)
        self.activations = Activations(cache)
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
        (found,) = self._evaluate([architecture], seed, fidelity, device, [report], checkpoint)
        if isinstance(found, TrialFailed):
            raise found
        return found

    def together(
        self, architectures: Sequence[Architecture], seed: int, fidelity: Mapping[str, int], device: str, reports: Sequence[Report]
    ) -> list[Evaluation | TrialFailed]:
        """Train several architectures as one network: each as if it were alone, to float32 rounding.

        Where that is not possible, they train one after another: with other backbones, averaged weights or float16.

        Args:
            architectures: of the space.
            seed: of all.
            fidelity: ``{"epochs": n}``, of all.
            device: ``cpu``, ``cuda`` or ``cuda:0``.
            reports: of each.

        Raises:
            RuntimeError: of torch, if the network cannot compute in this way.
            OutOfMemory: if the device's memory is too small for all.
            InputError: for an impossible device or fidelity, or a file of the data that is no image.
        """
        half = self._dtype(find_device(device)) == torch.float16
        if len(architectures) == 1 or not same_host(architectures) or self.settings.average or half:
            pairs = zip(architectures, reports, strict=True)
            return [self._evaluate([architecture], seed, fidelity, device, [report])[0] for architecture, report in pairs]
        return self._evaluate(architectures, seed, fidelity, device, reports)

    def fits_together(self, device: str, number: int) -> int:
        """How many of the largest networks train together in the memory that is free: ``number``, or that halved until they fit."""
        if number == 1:
            return 1
        place, space = find_device(device), self.space
        largest = {space.dearest(metric, within_budgets=True) for metric in ("params", "macs")}
        size, half = space.input_size, self._dtype(place) != torch.float32
        each = max(training_memory(space.build(one), size, self.settings.batch_size, half) for one in largest)
        return how_many_fit(each, number, free_memory(place))

    def _evaluate(
        self,
        architectures: Sequence[Architecture],
        seed: int,
        fidelity: Mapping[str, int],
        device: str,
        reports: Sequence[Report],
        checkpoint: Path | None = None,
    ) -> list[Evaluation | TrialFailed]:
        place, epochs = find_device(device), _epochs(fidelity)
        try:
            with reproducible(seed, place, self.threads):
                return self._train(architectures, epochs, place, reports, checkpoint)
        except torch.cuda.OutOfMemoryError as error:
            reason = str(error).partition(". ")[0]
        # outside of the handler: an exception's context would keep the network in memory
        torch.cuda.empty_cache()
        if self.activations.kept.give_up("the device's memory is full"):
            return self._evaluate(architectures, seed, fidelity, device, reports, checkpoint)
        raise OutOfMemory(f"{reason} (batch size {self.settings.batch_size})")

    def cache_notes(self) -> list[str]:
        """What is to be said of activations that are kept, since it was last asked."""
        return self.activations.kept.notes()

    def cache_summary(self) -> list[str]:
        """What is to be said of them in the end."""
        return self.activations.kept.summary()

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
            (accuracy,), (loss,) = self._measure(Alone(network), self.data, self.data.val, place)
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
            (accuracy,), (loss,) = self._measure(Alone(network), self.data, self.data.test, place)
        return {"test_accuracy": accuracy, "test_loss": loss}

    def _train(
        self,
        architectures: Sequence[Architecture],
        epochs: int,
        device: torch.device,
        reports: Sequence[Report],
        checkpoint: Path | None,
    ) -> list[Evaluation | TrialFailed]:
        settings, started = self.settings, self.start is not None
        # drawn before the network is built: every architecture sees the same images in the same order
        seeds = torch.randint(2**31, (2,)).tolist()
        order = torch.Generator().manual_seed(seeds[0])
        augment = torch.Generator(device).manual_seed(seeds[1]) if settings.augment else None
        alone = len(architectures) == 1
        students: Students = Alone(self._build(architectures[0], device)) if alone else self._joined(architectures, device)
        if settings.frozen(started) == "backbone" and self.activations.kept.limit != 0:
            students = Cached(students, self.activations)
        network = students.module
        data = resident(self.data, device)
        optimizer = make_optimizer(network, settings, self.space.classes, started)
        instead = students.split()
        for group in optimizer.param_groups:
            group["params"] = [instead.get(parameter, parameter) for parameter in group["params"]]
        scaler = torch.amp.GradScaler(device.type, enabled=self._dtype(device) == torch.float16)
        schedule, steps = SCHEDULES[settings.schedule], steps_per_epoch(data.train, settings.batch_size)
        found: list[dict[str, float]] = [{} for _ in architectures]
        failed: dict[int, TrialFailed] = {}
        mean = AveragedModel(network, use_buffers=True) if settings.average else None
        parts: dict[str, Stateful] = {"network": network, "optimizer": optimizer, "scaler": scaler, **({"mean": mean} if mean else {})}
        partial = Partial(checkpoint, parts, [order, augment], device)
        for epoch in range(partial.load(), epochs):
            set_mode(network, settings.frozen(started))
            total = torch.zeros(len(architectures), device=device)
            for step, (images, labels) in enumerate(train_batches(data, settings.batch_size, device, order, augment)):
                for group in optimizer.param_groups:
                    group["lr"] = settings.lr * group["share"] * schedule((epoch + step / steps) / epochs)
                with self._autocast(device):
                    key = Key(tuple(seeds), ("training", epoch, step))
                    losses = _losses(students.scores(self._layout(images), key), labels, settings.label_smoothing)
                if losses.requires_grad:  # nothing of a frozen plain network trains, if its head does not
                    optimizer.zero_grad()
                    scaler.scale(losses.sum()).backward()  # type: ignore[no-untyped-call]
                    scaler.step(optimizer)
                    scaler.update()
                total += losses.detach()
                if mean and 2 * (epoch + (step + 1) / steps) > epochs:
                    mean.update_parameters(network)
            measured = Alone(mean.module) if mean and mean.n_averaged else students
            values = zip((total / steps).tolist(), *self._measure(measured, data, data.val, device), strict=True)
            for index, (train_loss, accuracy, loss) in enumerate(values):
                if error := _not_finite(train_loss, loss, epoch):
                    failed.setdefault(index, error)
                found[index] = {"accuracy": accuracy, "loss": loss, "train_loss": train_loss}
            if len(failed) == len(architectures):
                break
            if epoch + 1 < epochs:
                partial.save(epoch + 1)
            for index, report in enumerate(reports):
                if index not in failed:
                    report(epoch + 1, epochs, {"loss": found[index]["train_loss"], "accuracy": found[index]["accuracy"]})
        return [
            failed[index] if index in failed else Evaluation(found[index], _on_cpu(measured.weights(index)))
            for index in range(len(architectures))
        ]

    @torch.inference_mode()
    def _measure(self, students: Students, data: Data, images: Split | Files, device: torch.device) -> tuple[list[float], list[float]]:
        """Accuracy (0..1) and mean loss of each on a split."""
        students.module.eval()
        right, total = torch.zeros(len(students), device=device), torch.zeros(len(students), device=device)
        for step, (pixels, labels) in enumerate(eval_batches(data, images, 2 * self.settings.batch_size, device)):
            with self._autocast(device):
                outputs = students.scores(self._layout(pixels), Key((), ("validation", step)))
            right += (outputs.argmax(2) == labels).sum(1)
            total += torch.stack([F.cross_entropy(own.float(), labels, reduction="sum") for own in outputs])
        return (right / len(images)).tolist(), (total / len(images)).tolist()

    def _joined(self, architectures: Sequence[Architecture], device: torch.device) -> Together:
        frozen = self.settings.frozen(self.start is not None)
        return Together(self.space.variant(architectures[0].extra), architectures, self.start, frozen, device)

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


def _losses(scores: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    """The loss of each network, shape (K,), of scores (K, N, classes)."""
    if len(scores) == 1:
        return F.cross_entropy(scores[0], labels, label_smoothing=smoothing)[None]
    each = F.cross_entropy(scores.flatten(0, 1), labels.repeat(len(scores)), reduction="none", label_smoothing=smoothing)
    return each.reshape(len(scores), -1).mean(1)


def _not_finite(loss: float, val_loss: float, epoch: int) -> TrialFailed | None:
    for name, value in (("loss", loss), ("validation loss", val_loss)):
        if not math.isfinite(value):
            return TrialFailed(f"{name} is {value} in epoch {epoch + 1}")
    return None


def _on_cpu(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in state.items()}


def _epochs(fidelity: Mapping[str, int]) -> int:
    epochs = fidelity.get("epochs")
    if not isinstance(epochs, int) or epochs < 1:
        raise InputError(f"{shown(epochs)} is not a number of epochs", "write an integer from 1", "epochs")
    return epochs
