"""Evaluators for workers: in a module of their own, so that every process finds them."""

from __future__ import annotations

import math
import os
import signal
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from se_nas.errors import OutOfMemory, TrialFailed
from se_nas.evaluate import Apart, Evaluation, Report
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
        at_once: calls that wait for each other at the beginning: so many must run at a time.
    """

    calls: Path
    bad: Mapping[str, str] = field(default_factory=dict)
    at_once: int = 1

    def __call__(self, architecture: Architecture, seed: int, fidelity: Mapping[str, int], device: str, report: Report) -> Evaluation:
        with self.calls.open("a") as file:
            file.write(f"{architecture.id} {seed}\n")
        deadline = time.monotonic() + 60
        while self.count.total() < self.at_once:
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


@dataclass
class Joint(Lookup):
    """Looks several up at a time, too. What is bad is bad for its own architecture, unless it ends the process.

    Attributes:
        most: that the memory takes at a time; 0 where only one after another is possible.
        fits: that are said to fit before anything is tried.
    """

    most: int = 99
    fits: int = 99

    def together(
        self, architectures: Sequence[Architecture], seed: int, fidelity: Mapping[str, int], device: str, reports: Sequence[Report]
    ) -> list[Evaluation | Exception]:
        with self.calls.with_suffix(".sizes").open("a") as file:
            file.write(f"{len(architectures)}\n")
        if not self.most:
            raise Apart("it decides by values")
        if len(architectures) > self.most:
            raise OutOfMemory("CUDA out of memory (batch size 8)")
        for epoch in range(1, fidelity["epochs"] + 1):
            for report in reports:
                report(epoch, fidelity["epochs"], {"loss": 1.0, "accuracy": 0.5})
        found: list[Evaluation | Exception] = []
        for architecture, report in zip(architectures, reports, strict=True):
            try:
                found.append(self(architecture, seed, fidelity, device, report))
            except Exception as error:
                found.append(error)
        return found

    def fits_together(self, device: str, number: int) -> int:
        while number > self.fits:
            number //= 2
        return number

    @property
    def sizes(self) -> list[int]:
        """How many were looked up at a time, each time that it was more than one."""
        file = self.calls.with_suffix(".sizes")
        return [int(line) for line in file.read_text().split()] if file.exists() else []


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
