"""Hypervolume of a run, and gains for what is added."""

from __future__ import annotations

import pytest

from se_nas.report.facts import Facts
from se_nas.report.sentences import findings
from se_nas.run.run import Run


def test_hypervolume_says_its_reference_point(finished_run: Run) -> None:
    facts = Facts.of(finished_run)
    plain, paper = (facts.front.references[name].values for name in ("plain", "paper"))
    point = {"accuracy": min(plain["accuracy"], paper["accuracy"]), "params": max(plain["params"], paper["params"])}
    assert facts.worst == point
    strips, last = 0.0, point["accuracy"]
    for entry in sorted(facts.front.front, key=lambda entry: entry.values["params"]):
        if entry.values["accuracy"] > last and entry.values["params"] < point["params"]:
            strips += (entry.values["accuracy"] - last) * (point["params"] - entry.values["params"])
            last = entry.values["accuracy"]
    assert facts.volume == pytest.approx(strips)
    assert any(text.startswith("Hypervolume of the front") and "parameters" in text for text in findings(facts))


def test_gains_for_each_added_million(finished_run: Run) -> None:
    facts = Facts.of(finished_run)
    plain = facts.front.references["plain"]
    for entry in facts.front.entries:
        added = entry.values["params"] - plain.values["params"]
        rate = facts.per_million(entry, "plain", "params")
        assert rate is None if added <= 0 else rate == pytest.approx(facts.gain(entry, "plain") / added * 1e6)
