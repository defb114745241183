"""What the tests of the NNI engine share."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from conftest import digits_space

import se_nas
from se_nas.errors import TrialFailed
from se_nas.evaluate import Evaluation, Report
from se_nas.run.observer import Observer
from se_nas.run.run import Run
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace

OWN = ("random", "grid", "evolution", "tpe", "rl")


class Notes(Observer):
    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, text: str) -> None:
        self.told.append(text)


class Planted:
    """The share of groups in which an architecture is the best one; the best has 1.

    Args:
        best: the answer.
        fail: id of an architecture -> what its trial raises.
        stop: number of the call at which a person presses Ctrl-C.
    """

    def __init__(self, best: Architecture, fail: Mapping[str, Exception] | None = None, stop: int = -1) -> None:
        self.best, self.fail, self.stop = best, fail or {}, stop
        self.calls: list[Architecture] = []

    def __call__(self, architecture: Architecture, seed: int, fidelity: Mapping[str, int], device: str, report: Report) -> Evaluation:
        if len(self.calls) == self.stop:
            raise KeyboardInterrupt
        self.calls.append(architecture)
        if architecture.id in self.fail:
            raise self.fail[architecture.id]
        same = [architecture[group] == spec for group, spec in self.best]
        return Evaluation({"accuracy": sum(same) / len(same)})


def search(out: Path, space: SearchSpace | None = None, evaluator: object = None, **more: object) -> Run:
    """A search by the NNI engine for the planted architecture (the space's 7th sample), by accuracy alone."""
    space = space or digits_space()
    settings = {"engine": "nni", "objectives": ["accuracy"], "keep_weights": "none", "trials": 12, **more}
    return se_nas.search(space, out=out, evaluator=evaluator or Planted(space.sample(7)), **settings)  # type: ignore[arg-type]


def order(run: Run) -> list[tuple[object, ...]]:
    return [(t.number, t.role, t.architecture, t.status, dict(t.metrics), t.seed) for t in run.trials]


def fails(architecture: Architecture) -> dict[str, Exception]:
    return {architecture.id: TrialFailed("the loss is not finite")}
