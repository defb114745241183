from __future__ import annotations

import io
import json
import math
from dataclasses import replace

import pytest
from conftest import digits_space
from rich.console import Console

import se_nas
from se_nas.errors import InputError
from se_nas.evaluate import Evaluation
from se_nas.goals.objective import Objective
from se_nas.report.columns import front_columns
from se_nas.report.facts import Facts
from se_nas.report.reliability import supernet_sentences
from se_nas.report.table import as_json, show
from se_nas.report.words import amount
from se_nas.run.run import Run

from .conftest import MakeRun, make_trials

ROW = {"trial", "id", "role", "architecture", "values", "test", "seeds", "weighted_value"} | {
    "gain_over_plain",
    "gain_over_paper",
    "tied_with_plain",
    "tied_with_paper",
    "params_over_plain",
    "macs_over_plain",
}


def shown(run: Run, width: int, encoding: str = "utf-8") -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    show(run, Console(file=file, width=width))
    file.flush()
    return file.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [50, 60, 80, 100, 140, 200])
def test_everything_is_there_at_every_width(make_run: MakeRun, width: int) -> None:
    run = make_run(make_trials(24), test=True)
    text = shown(run, width)
    lines = text.splitlines()
    best = run.front.best()
    assert best is not None
    assert "…" not in text
    assert max(len(line) for line in lines if "se-nas" not in line and str(run.path) not in line) <= width
    words = " ".join(text.split())
    for part in [f"{best.number} best", "0 plain", "1 paper", "269,722", "40.55 M", "0 %", "≈", "all 9 sites, r 16, avg;"]:
        assert part in words, part
    for part in [
        "24 of 24 trials",
        "points better than plain",
        "standard deviation",
        "ties: differences",
        "Trials 9, 19 failed: loss is nan in epoch 2",
    ]:
        assert part in words, part
    assert f"{100 * best.values['accuracy']:.1f} %" in words
    assert f"{100 * best.values['accuracy'] - 0.4:.1f} %" in words  # its test score
    assert f"{best.values['params']:,.0f}" in words
    assert f"se-nas export {run.path} --trial best -o net.py" in lines[-1]
    assert "resume" not in text


def test_it_says_how_to_go_on_with_an_unfinished_search(make_run: MakeRun) -> None:
    text = shown(make_run(make_trials(6), search={"trials": 30}), 80)
    assert "6 of 30 trials" in text
    assert "unfinished" in text
    assert "se-nas resume" in text


def test_references_over_budget_are_said_to_be(make_run: MakeRun) -> None:
    run = make_run(make_trials(8), limit=269_800)
    assert "The reference paper (trial 1) is over budget (params 270,874 > 269,800)." in shown(run, 100)
    paper = as_json(run)["references"]["paper"]
    assert paper["over_budget"] == ["params"]
    assert not paper["on_front"]


def test_without_a_repeated_seed_nothing_is_called_better(make_run: MakeRun) -> None:
    run = make_run(make_trials(2), validation_images=None)
    assert "Noise of accuracy is unknown" in shown(run, 100)
    row = as_json(run)["references"]["paper"]
    assert row["gain_over_plain"] is not None
    assert row["tied_with_plain"] is None


def test_other_metrics_are_shown_as_they_are(make_run: MakeRun) -> None:
    trials = [replace(t, metrics={"latency": 1 / t.metrics["accuracy"]}) if t.complete else t for t in make_trials(12)]
    run = make_run(trials, objectives=["min:latency", "params"])
    assert "better than plain" in shown(run, 80)
    assert "points" not in shown(run, 80)
    best = as_json(run)["front"][-1]
    assert best["gain_over_plain"] > 0  # less latency is better


def test_hostile_strings_stay_text(make_run: MakeRun) -> None:
    trials = [replace(t, error=t.error and "\x1b[31m[red]boom[/red]\r\n") for t in make_trials(12)]
    text = shown(make_run(trials, search={"data": "[bold]\x1b]0;title\x07"}), 80)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[red]boom[/red]" in text
    assert "[bold]" in text


def test_ascii_terminals_are_served(make_run: MakeRun) -> None:
    text = shown(make_run(make_trials(12)), 80, "ascii")
    assert "~ marks ties" in text


@pytest.mark.parametrize("number", [0, 1, 2, 3, 5, 10])
def test_unfinished_runs(make_run: MakeRun, number: int) -> None:
    run = make_run(make_trials(number), search={"trials": 30})
    assert f"{number} of 30 trials" in shown(run, 60)
    assert as_json(run)["status"] == "unfinished"


def test_a_run_with_nothing_but_a_failure(make_run: MakeRun) -> None:
    run = make_run([replace(make_trials(10)[9], number=0, role="plain")])
    assert "Trial 0 failed: loss is nan in epoch 2" in shown(run, 60)
    data = as_json(run)
    assert data["front"] == []
    assert data["best"] is None
    assert data["references"] == {"plain": None, "paper": None}


def test_json_has_stable_keys_and_only_json_types(make_run: MakeRun) -> None:
    run = make_run(make_trials(24), test=True)
    data = as_json(run)
    assert json.loads(json.dumps(data, allow_nan=False)) == data
    assert set(data) == {
        "run",
        "status",
        "objectives",
        "trade",
        "trials",
        "noise",
        "verdict",
        "references",
        "best",
        "hypervolume",
        "front",
        "effects",
        "failed",
        "out",
    }
    assert data["status"] == "complete"
    assert data["trials"] == {"finished": 24, "failed": 2, "stopped": 0, "planned": 24}
    assert data["noise"]["deviation"] > 0
    assert all(set(row) == ROW for row in data["front"])
    assert all(set(row) == ROW | {"on_front", "over_budget"} for row in data["references"].values())
    best = next(row for row in data["front"] if row["trial"] == data["best"])
    plain = data["references"]["plain"]
    assert best["gain_over_plain"] == pytest.approx(best["values"]["accuracy"] - plain["values"]["accuracy"])
    assert best["params_over_plain"] == pytest.approx(best["values"]["params"] / plain["values"]["params"] - 1)
    assert plain["gain_over_plain"] is None
    assert plain["seeds"] == 2
    assert [row["trial"] for row in data["failed"]] == [9, 19]


def test_accuracy_stands_beside_the_loss_that_is_ranked(finished_run: Run) -> None:
    facts = Facts.of(finished_run)
    columns = {column.heading: column.cells for column in front_columns(facts, facts.rows)}
    assert list(columns)[:2] == ["trial", "loss"]
    assert columns["accuracy"] == tuple(amount("accuracy", entry.values["accuracy"]) for entry in facts.rows)
    both = replace(facts.front, objectives=(*facts.front.objectives, Objective("accuracy", "max")))
    headings = [column.heading for column in front_columns(replace(facts, front=both), facts.rows)]
    assert headings.count("accuracy") == 1  # an objective already


def test_a_line_that_holds_nan_is_named(make_run: MakeRun) -> None:
    run = make_run(make_trials(3))
    with run.ledger.path.open("a") as file:  # as only another program could write it
        line = json.dumps(replace(make_trials(5)[4], metrics={"accuracy": 0.9, "loss": math.nan}).to_json())
        file.write(line + "\n")
    with pytest.raises(InputError, match="line 4: damaged line, not a trial: NaN is no number"):
        as_json(run)


@pytest.mark.parametrize(("reverse", "said"), [(False, "Kendall's tau 1.00"), (True, "Do not trust its ranking.")])
def test_a_supernets_ranking_is_held_against_networks_trained_alone(tmp_path, reverse: bool, said: str) -> None:
    def worth(architecture, seed, fidelity, device, report) -> Evaluation:
        return Evaluation({"accuracy": int(architecture.id, 16) % 997 / 1000})

    run = se_nas.search(digits_space(), out=tmp_path / "run", evaluator=worth, trials=12, strategy="random")
    assert not supernet_sentences(Facts.of(run))
    ranked = sorted((t for t in run.trials if t.role == "proposal"), key=lambda t: t.metrics["accuracy"], reverse=not reverse)
    (run.path / "one_shot.json").write_text(json.dumps({"asked": 12, "architectures": [t.architecture.to_json() for t in ranked]}))
    (text,) = supernet_sentences(Facts.of(run))
    assert said in text and "agrees with 10 of its best architectures" in text
    (run.path / "one_shot.json").write_text(json.dumps({"asked": 12, "architectures": [t.architecture.to_json() for t in ranked[:3]]}))
    assert "is not known" in supernet_sentences(Facts.of(run))[0]
