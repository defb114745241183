"""Runs to look at, made without torch."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from se_nas.run.run import Run
from se_nas.run.trial import Trial
from se_nas.se.spec import PAPER, SESpec
from se_nas.space.architecture import Architecture

PLAIN = {"params": 269_722, "macs": 40_551_040}
SITES = tuple(f"layer{stage}.{block}" for stage in (1, 2, 3) for block in (0, 1, 2))

MakeRun = Callable[..., Run]


def make_trials(number: int, groups: Sequence[str] = SITES, metric: str = "accuracy", seed: int = 0) -> list[Trial]:
    """Both references twice, then proposals whose accuracy grows with their size, with noise; every tenth fails."""
    rng = random.Random(seed)
    options = [
        None,
        *(SESpec(r, squeeze, "sigmoid", place) for r in (4, 8, 16) for squeeze in ("avg", "max") for place in ("standard", "pre")),
    ]
    references = {"plain": Architecture.of(dict.fromkeys(groups)), "paper": Architecture.of(dict.fromkeys(groups, PAPER))}
    trials = []
    for index in range(number):
        role = ("plain", "paper")[index % 2] if index < 4 else "proposal"
        architecture = references.get(role) or Architecture.of({group: rng.choice(options) for group in groups})
        extra = sum(2048 // spec.reduction for _, spec in architecture if spec)
        value = round(0.8 + 2e-5 * extra * 9 / len(groups) + rng.gauss(0, 0.004), 4)
        costs = {"params": PLAIN["params"] + extra, "macs": PLAIN["macs"] + extra}
        failed = index % 10 == 9
        metrics = {} if failed else {metric: value, "loss": 1 - value}
        error = "loss is nan in epoch 2" if failed else None
        trials.append(
            Trial(
                index,
                role,
                architecture,
                index // 2 if index < 4 else 0,
                {"epochs": 3},
                "failed" if failed else "complete",
                metrics,
                costs,
                index,
                error,
                "local:cpu",
                "",
                61.2,
            )
        )
    return trials


@pytest.fixture
def make_run(tmp_path: Path) -> MakeRun:
    """A run directory with these trials; keyword arguments change parts of its ``run.yaml``."""

    def make(
        trials: Sequence[Trial],
        objectives: Sequence[str] = ("accuracy", "params", "macs"),
        share: str = "site",
        test: bool = False,
        limit: int | None = None,
        search: Mapping[str, Any] | None = None,
        **config: Any,
    ) -> Run:
        groups = [name for name, _ in trials[0].architecture] if trials else []
        described = {name: {"stage": name.partition(".")[0], "channels": 16} for name in groups}
        base = {
            "command": "se-nas search space.yaml",
            "space": {"backbone": "resnet20", "share": share, "reduction": [4, 8, 16]},
            "search": {
                "data": "digits",
                "epochs": 3,
                "trials": len(trials),
                "strategy": "nsga2",
                "objectives": list(objectives),
                **(search or {}),
            },
            "budgets": [{"metric": "params", "text": "<= +1%", "limit": limit}] if limit else [],
            "validation_images": 5000,
            "backbone": {"name": "resnet20", **PLAIN, "groups": described},
            "environment": {"python": "3.11", "gpu": None},
        }
        run = Run.create(tmp_path / "run", {**base, **config})
        for trial in trials:
            run.ledger.append(trial)
        if test:
            front = run.front
            scores = {e.number: {"test_accuracy": e.values["accuracy"] - 0.004} for e in (*front.front, *front.references.values())}
            (run.path / "test.json").write_text(json.dumps(scores))
        return run

    return make
