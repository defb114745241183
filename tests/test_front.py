from __future__ import annotations

import pytest

from se_nas.architecture import Architecture, SESpec
from se_nas.errors import InputError
from se_nas.front import make_front
from se_nas.objective import Objective, dominates, pareto, parse_objectives
from se_nas.trial import Trial

OBJECTIVES = parse_objectives(["accuracy", "params"])


def trial(number: int, reduction: int, accuracy: float | None, params: int, role: str = "proposal", seed: int = 0, epochs: int = 1) -> Trial:
    architecture = Architecture.of({"layer1": SESpec(reduction) if reduction else None})
    metrics = {} if accuracy is None else {"accuracy": accuracy}
    status = "failed" if accuracy is None else "complete"
    return Trial(number, role, architecture, seed, {"epochs": epochs}, status, metrics, {"params": params, "macs": params}, number)


def front(*trials: Trial, limits: dict[str, int] | None = None, images: int | None = None):
    return make_front(trials, OBJECTIVES, limits or {}, {"epochs": 1}, images)


def test_pareto_by_hand() -> None:
    points = [{"accuracy": a, "params": p} for a, p in [(0.9, 10), (0.9, 12), (0.8, 5), (0.7, 6), (0.9, 10), (0.95, 20)]]
    assert pareto(points, OBJECTIVES) == [0, 2, 4, 5]
    assert dominates(points[0], points[1], OBJECTIVES) and not dominates(points[0], points[4], OBJECTIVES)


def test_front_leaves_out_failures_other_fidelities_and_what_is_over_budget() -> None:
    found = front(
        trial(0, 0, 0.80, 100, "plain"),
        trial(1, 16, 0.90, 110, "paper"),
        trial(2, 8, None, 105),
        trial(3, 4, 0.99, 104, epochs=2),
        trial(4, 2, 0.85, 105),
        trial(5, 32, 0.84, 106),
        limits={"params": 108},
    )
    assert [entry.number for entry in found.front] == [0, 4]
    assert found.best().number == 4
    assert {name: entry.number for name, entry in found.references.items()} == {"plain": 0, "paper": 1}


def test_seeds_of_one_architecture_are_averaged_and_measure_the_noise() -> None:
    found = front(
        trial(0, 0, 0.80, 100, "plain"), trial(1, 16, 0.90, 110, "paper"), trial(2, 0, 0.84, 100, "plain", 1), trial(3, 16, 0.92, 110, "paper", 1)
    )
    assert found.references["plain"].values["accuracy"] == pytest.approx(0.82)
    assert found.noise.deviation == pytest.approx(((0.02**2 * 2 + 0.01**2 * 2) / 2) ** 0.5)  # pooled over two architectures
    assert found.noise.source.startswith("4 trials of 2 architectures")
    assert not found.tied(found.references["plain"], found.references["paper"])


def test_without_repeated_seeds_the_noise_is_the_sampling_error() -> None:
    found = front(trial(0, 0, 0.80, 100, "plain"), trial(1, 16, 0.81, 110, "paper"), images=400)
    assert found.noise.deviation == pytest.approx(0.02)
    assert "lower bound" in found.noise.source
    assert found.tied(found.references["plain"], found.references["paper"])
    assert front(trial(0, 0, 0.80, 100, "plain")).noise is None


def test_an_empty_run_has_an_empty_front() -> None:
    found = front()
    assert found.front == () and found.best() is None and found.noise is None


def test_objectives_are_read_and_refused() -> None:
    assert parse_objectives(["accuracy", "min:energy"])[1] == Objective("energy", "min")
    for names, message in [(["speed"], "unknown objective 'speed'"), ([], "no objective"), (["loss", "loss"], "named twice"), (["up:x"], "direction 'up'")]:
        with pytest.raises(InputError, match=message):
            parse_objectives(names)
