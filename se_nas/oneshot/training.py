"""Trains a supernet in Lightning, as NNI wants, with the data, augmentation, optimizer and schedule of single networks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from se_nas.evaluate import Report
from se_nas.evaluate.batches import Batch, steps_per_epoch, train_batches
from se_nas.evaluate.data import Data
from se_nas.evaluate.parts import scores_of
from se_nas.evaluate.settings import SCHEDULES, TrainSettings
from se_nas.evaluate.training import make_optimizer, set_mode
from se_nas.oneshot.expected_cost import ExpectedCost
from se_nas.oneshot.nni_imports import Callback, LightningModule
from se_nas.oneshot.supernet import SEModelSpace


class Batches:
    """Batches of a split for Lightning, shuffled again in each epoch.

    Args:
        data: on the device or in memory.
        split: ``train`` (augmented if the settings say so) or ``val`` (never augmented).
        settings: batch size and augmentation.
        device: where the batches go.
    """

    def __init__(self, data: Data, split: str, settings: TrainSettings, device: torch.device) -> None:
        self._data = data if split == "train" else replace(data, train=data.val)
        self._settings, self._device = settings, device
        seeds = torch.randint(2**31, (2,)).tolist()
        self._order = torch.Generator().manual_seed(seeds[0])
        augmented = settings.augment and split == "train"
        self._augment = torch.Generator(device).manual_seed(seeds[1]) if augmented else None

    def __len__(self) -> int:
        return steps_per_epoch(self._data.train, self._settings.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        return train_batches(self._data, self._settings.batch_size, self._device, self._order, self._augment)


class SupernetTraining(LightningModule):
    """The loss is cross entropy plus ``weight`` times the excess of the expected cost over the target.

    Strategies that learn probabilities get the gradient of this loss. ENAS gets a reward instead: the accuracy of a batch
    minus ``weight`` times the excess of the architecture that it drew.

    Args:
        settings: how to train.
        cost: computes the cost and its excess.
        weight: loss for each unit of excess, see `ExpectedCost.excess`.
        started: whether the supernet begins with trained weights: its parts then train as those of single networks do.
    """

    def __init__(self, settings: TrainSettings, cost: ExpectedCost, weight: float, started: bool = False) -> None:
        super().__init__()
        self.settings, self.cost, self.weight, self.started = settings, cost, weight, started

    def forward(self, images: Tensor) -> Tensor:
        return scores_of(self.model(images))

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        images, labels = batch
        if (frozen := self.settings.frozen(self.started)) != "none":
            set_mode(self.model.network, frozen)
        loss = F.cross_entropy(self(images), labels, label_smoothing=self.settings.label_smoothing)
        if self.weight:
            loss = loss + self.weight * self.cost.excess(self.cost.mean(self.model.probabilities()))
        self.log("loss", loss.detach(), on_step=False, on_epoch=True, batch_size=len(labels))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        images, labels = batch
        accuracy = float((self(images).argmax(1) == labels).float().mean())
        supernet: SEModelSpace = self.model
        spent = getattr(supernet.space.cost(supernet.drawn()), self.cost.metric)
        self.log("reward", accuracy - self.weight * float(self.cost.excess(float(spent))), on_step=True, on_epoch=False)

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = make_optimizer(
            self.model, self.settings, self.model.space.classes, self.started, fused=False
        )  # fused optimizers cannot skip parameters without gradients
        steps, schedule = int(self.trainer.estimated_stepping_batches), SCHEDULES[self.settings.schedule]
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule(min(1.0, step / steps)))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


class EpochCallback(Callback):
    """Reports each epoch with its training loss."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        loss = trainer.callback_metrics.get("loss")
        self._report(trainer.current_epoch + 1, trainer.max_epochs or 0, {} if loss is None else {"loss": float(loss)})
