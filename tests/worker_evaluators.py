"""Evaluators for workers: in a module of their own, so that every process finds them."""

from __future__ import annotations

import math
import os
import signal
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from se_nas.errors import TrialFailed
from se_nas.evaluate import Evaluation, Report
from se_nas.space.architecture import Architecture


def accuracy(architecture: Architecture, seed: int = 0) -> float:
    """In 0..1, decided by the architecture's digest."""
    return (int(architecture.id, 16) + seed) % 1000 / 1000


@dataclass
class Lookup:
    """Looks accuracy up; some architectures misbehave. What was called is written to a file, a line a call.

    Attributes:
        calls: that file.
        bad: id of an architecture -> what happens to it: a function of this module.
        together: calls that wait for each other at the beginning: so many must run at a time.
    """

    calls: Path
    bad: Mapping[str, str] = field(default_factory=dict)
    together: int = 1

    def __call__(self, architecture: Architecture, seed: int, fidelity: Mapping[str, int], device: str, report: Report) -> Evaluation:
        with self.calls.open("a") as file:
            file.write(f"{architecture.id} {seed}\n")
        deadline = time.monotonic() + 60
        while self.count.total() < self.together:
            time.sleep(0.01)
            assert time.monotonic() < deadline, "alone"
        if architecture.id in self.bad:
            BEHAVIOURS[self.bad[architecture.id]](self, architecture)
        return Evaluation({"accuracy": math.nan if self.bad.get(architecture.id) == "nan" else accuracy(architecture, seed)})

    @property
    def count(self) -> Counter[str]:
        """Id of an architecture -> how often it was called."""
        lines = self.calls.read_text().split("\n")[:-1] if self.calls.exists() else []
        return Counter(line.split()[0] for line in lines)


def _raise(lookup: Lookup, architecture: Architecture) -> None:
    raise ValueError("shapes differ")


def _diverge(lookup: Lookup, architecture: Architecture) -> None:
    raise TrialFailed("loss is nan in epoch 2")


def _run_out(lookup: Lookup, architecture: Architecture) -> None:
    raise MemoryError("no more")


def _die_once(lookup: Lookup, architecture: Architecture) -> None:
    if lookup.count[architecture.id] == 1:
        os.kill(os.getpid(), signal.SIGKILL)


BEHAVIOURS = {
    "raise": _raise,
    "diverge": _diverge,
    "memory": _run_out,
    "die once": _die_once,
    "die": lambda lookup, architecture: os.kill(os.getpid(), signal.SIGKILL),
    "hang": lambda lookup, architecture: time.sleep(10_000),
    "nan": lambda lookup, architecture: None,
}


@dataclass
class Epochs:
    """Reports a rising accuracy each epoch and keeps how far it is, like a training; writes down each epoch that it works.

    Attributes:
        log: a line an epoch: id of the architecture, seed, epoch, factor on the learning rate, process.
        seconds: that an epoch takes.
        dies: id of the architecture whose process is killed in its fourth epoch, the first time.
    """

    log: Path
    seconds: float = 0.0
    dies: str = ""
    lr: float = 1.0

    def __call__(
        self,
        architecture: Architecture,
        seed: int,
        fidelity: Mapping[str, int],
        device: str,
        report: Report,
        checkpoint: Path | None = None,
    ) -> Evaluation:
        done = int(checkpoint.read_text()) if checkpoint and checkpoint.exists() else 0
        epochs, score = fidelity["epochs"], 0.0
        for epoch in range(done + 1, epochs + 1):
            time.sleep(self.seconds)
            worked = self.epochs.count((architecture.id, epoch))
            with self.log.open("a") as file:
                file.write(f"{architecture.id} {seed} {epoch} {self.lr} {os.getpid()}\n")
            if architecture.id == self.dies and epoch == 4 and not worked:
                os.kill(os.getpid(), signal.SIGKILL)
            score = accuracy(architecture, seed) * epoch / epochs
            if checkpoint and epoch < epochs:
                checkpoint.write_text(str(epoch))
            report(epoch, epochs, {"loss": 1 - score, "accuracy": score})
        return Evaluation({"accuracy": score})

    def with_learning_rate(self, factor: float) -> Epochs:
        return Epochs(self.log, self.seconds, self.dies, self.lr * factor)

    @property
    def epochs(self) -> list[tuple[str, int]]:
        """(id of the architecture, epoch) of each epoch worked, in order."""
        lines = self.log.read_text().split("\n")[:-1] if self.log.exists() else []
        return [(line.split()[0], int(line.split()[2])) for line in lines]
