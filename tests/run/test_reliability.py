"""How far single trials can be trusted: against planted variances and textbook values."""

from __future__ import annotations

import math
import random
from statistics import fmean

import pytest
import scipy.stats
from conftest import digits_space

from se_nas.cli import main
from se_nas.errors import InputError
from se_nas.evaluate import Evaluation
from se_nas.run.reliability import Reliability, components, kendall, measure, paired_difference, rows_of
from se_nas.run.run import Run
from se_nas.run.settings import SearchSettings
from se_nas.trust import reliability

SHROUT_FLEISS = [(9, 2, 5, 8), (6, 1, 3, 2), (8, 4, 6, 8), (7, 1, 2, 6), (10, 5, 6, 9), (6, 2, 4, 7)]
"""Table 2 of Shrout and Fleiss (1979): 6 targets, 4 judges."""


def table(
    seed: int, architectures: int, seeds: int, between: float, effect: float, noise: float
) -> tuple[dict[str, dict[int, float]], list[float]]:
    """Values with planted deviations, and the true ones."""
    rng = random.Random(seed)
    true = [rng.gauss(0, between) for _ in range(architectures)]
    shift = [rng.gauss(0, effect) for _ in range(seeds)]
    return {f"a{i}": {s: true[i] + shift[s] + rng.gauss(0, noise) for s in range(seeds)} for i in range(architectures)}, true


def known(found: Reliability | None) -> Reliability:
    assert found is not None
    return found


def test_the_textbooks_table() -> None:
    rows = {str(i): dict(enumerate(map(float, row))) for i, row in enumerate(SHROUT_FLEISS)}
    found = known(measure(rows))
    assert found.icc.value == pytest.approx(0.71, abs=0.005)  # ICC(3,1)
    assert found.paired**2 == pytest.approx(1.02, abs=0.005) and found.unpaired**2 == pytest.approx(6.26, abs=0.005)
    assert found.freedom == 15


@pytest.mark.slow
def test_planted_variances_come_back() -> None:
    many = [known(measure(table(seed, 12, 3, 1.0, 2.0, 0.5)[0])) for seed in range(20)]
    assert fmean(found.spread**2 for found in many) == pytest.approx(1.0, rel=0.25)
    assert fmean(found.paired**2 for found in many) == pytest.approx(0.25, rel=0.15)
    assert fmean(found.unpaired**2 for found in many) == pytest.approx(4.25, rel=0.5)
    assert fmean(found.icc.value for found in many) == pytest.approx(0.8, abs=0.08)
    assert all(found.icc.low <= found.icc.value <= found.icc.high for found in many)


def test_gaps_change_no_estimate_on_average() -> None:
    """A search repeats only a few architectures: the others still say how far architectures differ."""
    many = []
    for seed in range(30):
        rows, _ = table(seed, 20, 4, 1.0, 2.0, 0.5)
        some = {name: row if i < 5 else {0: row[0]} for i, (name, row) in enumerate(rows.items())}
        many.append(components(list(some.values())))
    assert fmean(found.residual for found in many if found) == pytest.approx(0.25, rel=0.2)
    assert fmean(found.between for found in many if found) == pytest.approx(1.0, rel=0.25)


@pytest.mark.slow
def test_noise_alone_is_called_noise() -> None:
    found = [known(measure(table(seed, 10, 2, 0.0, 1.0, 1.0)[0])) for seed in range(20)]
    assert fmean(each.icc.value for each in found) < 0.3
    assert sum(each.icc.low > 0.05 for each in found) <= 3
    assert all(each.seeds_needed > 20 or each.spread > 0 for each in found)


def test_tau_is_scipys() -> None:
    rng = random.Random(0)
    for _ in range(20):
        a, b = ([rng.randint(0, 6) for _ in range(9)] for _ in range(2))
        assert kendall(a, b) == pytest.approx(scipy.stats.kendalltau(a, b).statistic)
    assert kendall([1, 1, 1], [1, 2, 3]) is None
    assert kendall([1, 2, 2], [1, 3, 2], [0, 1, 1]) == 1.0


def test_against_the_truth() -> None:
    rows, true = table(0, 12, 2, 1.0, 1.0, 0.1)
    right = {name: {0: value} for name, value in zip(rows, true, strict=True)}
    wrong = {name: {0: -value} for name, value in zip(rows, true, strict=True)}
    good, bad = known(measure(rows, right)).truth, known(measure(rows, wrong)).truth
    assert good and good.positive and good.value > 0.8 and bad and not bad.positive and bad.value < -0.8
    other = known(measure(rows, {name: {0: random.Random(name).random()} for name in rows})).truth
    assert other and other.low < 0 < other.high


def test_means_of_seeds_agree_more_and_only_seeds_that_all_have_count() -> None:
    rows, true = table(0, 12, 8, 1.0, 5.0, 2.0)
    right = {name: {0: value} for name, value in zip(rows, true, strict=True)}
    found = known(measure(rows, right))
    assert found.truth and found.means and found.means.value > found.truth.value + 0.2
    gaps = {name: dict(list(row.items())[: 8 if i % 2 else 2]) for i, (name, row) in enumerate(rows.items())}
    first = {name: dict(list(row.items())[:2]) for name, row in rows.items()}
    assert known(measure(gaps, right)).means == known(measure(first, right)).means
    single = {name: dict(list(row.items())[: 1 + i % 2]) for i, (name, row) in enumerate(rows.items())}
    assert known(measure(single, right)).means is None


def test_what_one_trial_tells_holds_in_trials() -> None:
    """Two equal architectures: their difference in one seed is no tie in 5 % of cases, whatever the seed's own effect."""
    rows, _ = table(1, 40, 3, 1.0, 5.0, 0.5)
    tells, rng = known(measure(rows)).tells(), random.Random(2)
    wrong = sum(abs(rng.gauss(0, 0.5) - rng.gauss(0, 0.5)) > tells for _ in range(4000)) / 4000
    assert 0.02 < wrong < 0.09


def test_paired_differences_leave_the_seeds_out() -> None:
    rows, true = table(3, 10, 4, 1.0, 10.0, 0.1)
    noise = components(list(rows.values()))
    assert noise is not None
    value, half, seeds = paired_difference(rows["a1"], rows["a0"], noise) or pytest.fail("nothing in common")
    assert seeds == 4 and abs(value - (true[1] - true[0])) <= 2 * half < 0.6
    assert paired_difference({7: 1.0}, rows["a0"], noise) is None


def test_too_little_is_too_little() -> None:
    assert measure({"a": {0: 1.0}, "b": {0: 2.0}, "c": {0: 1.0}, "d": {0: 1.0}}) is None
    assert measure({"a": {0: 1.0, 1: 2.0}, "b": {0: 2.0, 1: 2.0}}) is None
    same = known(measure({name: {0: 1.0, 1: 1.0} for name in "abcde"}))
    assert same.icc.value == 0 and math.isinf(same.seeds_needed) and same.tau is None


# The command.


def noisy(architecture, seed, fidelity, device, report) -> Evaluation:
    worth = sum(spec is not None for _, spec in architecture)
    rng = random.Random(f"{architecture.id} {seed} {fidelity['epochs']}")
    return Evaluation({"accuracy": 0.5 + 0.01 * worth + 0.02 * seed + rng.gauss(0, 0.02 / fidelity["epochs"])})


def test_random_search_can_try_each_architecture_with_several_seeds(tmp_path) -> None:
    import se_nas

    arguments = {"strategy": "random", "repeats": 3, "front_seeds": 3, "evaluator": noisy}
    run = se_nas.search(digits_space(), out=tmp_path / "run", trials=15, **arguments)
    rows = rows_of(run.trials, "accuracy", {"epochs": 3})
    assert len(rows) == 5 and all(sorted(row) == [0, 1, 2] for row in rows.values())
    part = se_nas.search(digits_space(), out=tmp_path / "part", trials=8, **arguments)
    again = se_nas.resume(part.path, evaluator=noisy, trials=15)
    assert [(t.architecture, t.seed) for t in again.trials] == [(t.architecture, t.seed) for t in run.trials]


def test_the_command_says_what_trials_are_worth(tmp_path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "space.yaml").write_text(
        "backbone: resnet8\nbackbone_args: {in_channels: 1}\ninput_size: [1, 8, 8]\nreduction: [4, 8]\n"
        "search: {epochs: 1, trials: 40, train: {batch_size: 512}}\n"
    )
    command = [
        "reliability",
        str(tmp_path / "space.yaml"),
        "--architectures",
        "4",
        "--truth",
        "2",
        "--out",
        str(tmp_path / "out"),
        "--quiet",
    ]
    assert main(command) == 0
    shown = capsys.readouterr().out
    said = " ".join(shown.split())
    assert 70 < max(map(len, shown.splitlines())) <= 80
    for metric in ("accuracy", "loss"):
        assert f"Reliability of one trial's {metric} (4 of 4 architectures with several seeds): ICC" in said
    assert "as the truth does by Kendall's tau" in said and "The truth's own ICC" in said
    assert said.count("By the mean of each architecture's seeds that tau is") == 2
    assert "apart takes" in said or "No affordable search" in said
    quick, truth = Run.open(tmp_path / "out"), Run.open(tmp_path / "out/truth")
    assert len(quick.trials) == len(truth.trials) == 8
    assert [(t.architecture, t.seed) for t in quick.trials] == [(t.architecture, t.seed) for t in truth.trials]
    assert main(command) == 0 and " ".join(capsys.readouterr().out.split()) == said  # nothing is trained again


@pytest.mark.slow
def test_a_truth_from_a_start_begins_where_its_trials_do(tmp_path) -> None:
    settings = SearchSettings(start="train", start_epochs=1, epochs=1)
    quick, truth = reliability(digits_space(), settings, tmp_path / "out", architectures=4, truth=2)
    assert truth is not None and truth.config["start"]["digest"] == quick.config["start"]["digest"]
    assert (quick.config["search"]["train"]["freeze"], truth.config["search"]["train"]["freeze"]) == (None, "statistics")
    with pytest.raises(InputError, match="architectures: 3 is below 4"):
        reliability(digits_space(), settings, tmp_path / "few", architectures=3)
