"""Hypervolume of a run, and gains for what is added."""

from __future__ import annotations

from dataclasses import replace

import pytest

from se_nas.report.facts import Facts
from se_nas.report.sentences import findings, volume
from se_nas.report.table import as_json
from se_nas.run.run import Run
from tests.report.conftest import PLAIN, MakeRun, make_trials


def test_hypervolume_says_its_reference_point(finished_run: Run) -> None:
    facts = Facts.of(finished_run)
    plain, paper = (facts.front.references[name].values for name in ("plain", "paper"))
    point = {name: max(plain[name], paper[name]) for name in ("loss", "params")}
    assert facts.worst == point
    strips, last = 0.0, point["loss"]
    for entry in sorted(facts.front.front, key=lambda entry: entry.values["params"]):
        if entry.values["loss"] < last and entry.values["params"] < point["params"]:
            strips += (last - entry.values["loss"]) * (point["params"] - entry.values["params"])
            last = entry.values["loss"]
    assert facts.volume == pytest.approx(strips)
    assert volume(facts).startswith("Hypervolume of the front") and "parameters" in volume(facts)
    assert not any("ypervolume" in text for text in findings(facts))
    assert as_json(finished_run)["hypervolume"] == {"value": facts.volume, "reference_point": point}


@pytest.mark.parametrize(
    ("gained", "added", "told"),
    [(0.05, 2_000_000, True), (0.05, 20_000, False), (0.002, 2_000_000, False), (-0.05, 2_000_000, False), (0.05, -5, False)],
)
def test_rates_only_of_gains_beyond_noise(make_run: MakeRun, gained: float, added: int, told: bool) -> None:
    trials = make_trials(5)
    plain = trials[0].metrics["accuracy"]
    other = replace(
        trials[4],
        metrics={"accuracy": plain + gained, "loss": 0.1},
        costs={"params": PLAIN["params"] + added, "macs": PLAIN["macs"]},
    )
    same = [replace(trial, metrics={"accuracy": plain + 0.001 * (index // 2), "loss": 0.1}) for index, trial in enumerate(trials[:4])]
    facts = Facts.of(make_run([*same, other]))
    entry = next(entry for entry in facts.front.entries if entry.number == 4)
    rate = facts.per_million(entry, "plain", "params")
    assert rate == pytest.approx(facts.gain(entry, "plain") / added * 1e6) if told else rate is None
    assert any("for each added million" in text for text in findings(facts)) == told
    assert facts.per_million(entry, "plain", "macs") is None


def test_rates_need_to_know_the_noise(make_run: MakeRun) -> None:
    trials = make_trials(5)
    alone = [replace(trials[0]), replace(trials[4], metrics={"accuracy": 0.99, "loss": 0.1}, costs={"params": 10**7, "macs": 10**8})]
    facts = Facts.of(make_run(alone, validation_images=None))
    assert facts.front.noise is None
    assert facts.per_million(facts.front.entries[1], "plain", "params") is None
