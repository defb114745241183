from __future__ import annotations

import random

import pytest

from se_nas.errors import InputError
from se_nas.goals.objective import Objective, pareto, parse_objectives
from se_nas.run.front import t_quantile
from se_nas.run.growing import GrowingFront
from se_nas.run.trial import Trial
from se_nas.se.spec import SESpec
from se_nas.space.architecture import Architecture

OBJECTIVES = parse_objectives(["accuracy", "params"])


def trial(
    number: int, reduction: int, accuracy: float | None, params: int, role: str = "proposal", seed: int = 0, epochs: int = 1
) -> Trial:
    architecture = Architecture.of({"layer1": SESpec(reduction) if reduction else None})
    metrics = {} if accuracy is None else {"accuracy": accuracy}
    status = "failed" if accuracy is None else "complete"
    return Trial(number, role, architecture, seed, {"epochs": epochs}, status, metrics, {"params": params, "macs": params}, number)


def front(*trials: Trial, limits: dict[str, int] | None = None, images: int | None = None):
    growing = GrowingFront(OBJECTIVES, limits or {}, {"epochs": 1}, images)
    for trial in trials:
        growing.add(trial)
    return growing.front


def test_pareto_by_hand() -> None:
    points = [{"accuracy": a, "params": p} for a, p in [(0.9, 10), (0.9, 12), (0.8, 5), (0.7, 6), (0.9, 10), (0.95, 20)]]
    assert pareto(points, OBJECTIVES) == [0, 2, 4, 5]


def test_pareto_against_its_definition() -> None:
    rng = random.Random(0)
    objectives = parse_objectives(["accuracy", "params", "macs"])
    points = [{"accuracy": rng.randrange(6), "params": rng.randrange(6), "macs": rng.randrange(6)} for _ in range(80)]

    def dominated(b: dict[str, int]) -> bool:
        pairs = [[(o.loss(a[o.name]), o.loss(b[o.name])) for o in objectives] for a in points]
        return any(all(x <= y for x, y in pair) and any(x < y for x, y in pair) for pair in pairs)

    assert pareto(points, objectives) == [i for i, point in enumerate(points) if not dominated(point)]


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
        trial(0, 0, 0.80, 100, "plain"),
        trial(1, 16, 0.90, 110, "paper"),
        trial(2, 0, 0.84, 100, "plain", 1),
        trial(3, 16, 0.92, 110, "paper", 1),
    )
    assert found.references["plain"].values["accuracy"] == pytest.approx(0.82)
    assert found.noise.deviation == pytest.approx(((0.02**2 * 2 + 0.01**2 * 2) / 2) ** 0.5)  # pooled over two architectures
    assert found.noise.source.startswith("4 trials of 2 architectures")
    assert found.noise.band(2, 2) == pytest.approx(4.303 * found.noise.deviation)
    assert found.tied(found.references["plain"], found.references["paper"])  # 9 points, but two seeds each say little


def test_without_repeated_seeds_the_noise_is_the_sampling_error() -> None:
    found = front(trial(0, 0, 0.80, 100, "plain"), trial(1, 16, 0.81, 110, "paper"), images=400)
    assert found.noise.deviation == pytest.approx(0.02)
    assert "a rough guide" in found.noise.source
    assert found.tied(found.references["plain"], found.references["paper"])
    assert front(trial(0, 0, 0.80, 100, "plain")).noise is None


@pytest.mark.parametrize(("freedom", "quantile"), [(1, 12.706), (4, 2.776), (5, 2.571), (10, 2.228), (30, 2.042), (500, 1.965)])
def test_t_quantiles_are_those_of_the_tables(freedom: int, quantile: float) -> None:
    assert t_quantile(freedom) == pytest.approx(quantile, abs=0.01)


def test_an_empty_run_has_an_empty_front() -> None:
    found = front()
    assert found.front == () and found.best() is None and found.noise is None


def test_objectives_are_read_and_refused() -> None:
    assert parse_objectives(["accuracy", "min:energy"])[1] == Objective("energy", "min")
    for names, message in [
        (["speed"], "unknown objective 'speed'"),
        ([], "no objective"),
        (["loss", "loss"], "named twice"),
        (["up:x"], "direction 'up'"),
    ]:
        with pytest.raises(InputError, match=message):
            parse_objectives(names)
