"""Whole searches: in this process, interrupted, killed, resumed."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest
from conftest import ROOT, digits_space

import se_nas
from se_nas.evaluate import Evaluation, Report
from se_nas.run.observer import Observer
from se_nas.run.run import Run
from se_nas.space.architecture import Architecture


class Table:
    """An evaluator that looks accuracy up from the architecture's digest, and counts what it is asked."""

    def __init__(self, bad: Mapping[int, object] | None = None) -> None:
        self.asked: list[Architecture] = []
        self.bad = dict(bad or {})

    def __call__(self, architecture: Architecture, seed: int, fidelity: Mapping[str, int], device: str, report: Report) -> Evaluation:
        outcome = self.bad.get(len(self.asked))
        self.asked.append(architecture)
        if isinstance(outcome, BaseException):
            raise outcome
        accuracy = outcome if isinstance(outcome, float) else (int(architecture.id, 16) + seed) % 1000 / 1000
        return Evaluation({"accuracy": accuracy})


def proposals(run: Run) -> list[tuple[object, ...]]:
    """What of a ledger must not depend on interruptions."""
    return [(t.number, t.role, t.architecture, t.seed, t.status, dict(t.metrics), t.after) for t in run.trials]


def test_references_come_first_and_nothing_is_trained_twice(tmp_path) -> None:
    table = Table()
    space = digits_space(budgets={"params": "<= +0.89%"})
    run = se_nas.search(space, trials=25, repeats=2, evaluator=table, out=tmp_path / "run")
    assert [t.role for t in run.trials[:5]] == ["plain", "paper", "plain", "paper", "proposal"]
    assert [t.seed for t in run.trials[:5]] == [0, 0, 1, 1, 0]
    assert [t.number for t in run.trials] == list(range(25)) and len(table.asked) == 25
    distinct = [t.architecture for t in run.trials if t.role == "proposal"]
    assert len(set(distinct)) == len(distinct) == 21
    limit = space.budgets[0].limit
    assert all(t.costs["params"] <= limit for t in run.trials if t.role == "proposal")
    assert all(t.costs == space.cost(t.architecture)._asdict() for t in run.trials)
    assert run.trials[1].costs["params"] > limit and 1 not in {entry.number for entry in run.front.front}


def test_a_small_space_ends_early(tmp_path) -> None:
    space = digits_space(share="network", squeeze=["avg"])
    reasons = []

    class Watch(Observer):
        def search_finished(self, reason: str) -> None:
            reasons.append(reason)

    run = se_nas.search(space, trials=50, evaluator=Table(), out=tmp_path / "run", observer=Watch())
    assert {t.architecture for t in run.trials} == {*space.enumerate(), space.reference("paper")}
    assert reasons == ["exhausted"]


def test_failures_are_recorded_and_the_search_goes_on(tmp_path) -> None:
    bad = {3: se_nas.TrialFailed("loss is nan in epoch 2"), 5: math.nan, 6: RuntimeError("shape mismatch")}
    run = se_nas.search(digits_space(), trials=10, evaluator=Table(bad), out=tmp_path / "run")
    failed = {t.number: t.error for t in run.trials if not t.complete}
    assert failed == {3: "loss is nan in epoch 2", 5: "accuracy is nan", 6: "RuntimeError: shape mismatch"}
    assert len(run.trials) == 10 and all(entry.number not in failed for entry in run.front.entries)


def test_a_bug_in_the_references_is_no_trial(tmp_path) -> None:
    with pytest.raises(RuntimeError, match="wrong set-up"):
        se_nas.search(digits_space(), trials=10, evaluator=Table({0: RuntimeError("wrong set-up")}), out=tmp_path / "run")


@pytest.mark.parametrize("strategy", ["random", "grid", "nsga2"])
@pytest.mark.parametrize("stop", [0, 1, 4, 11])
def test_an_interrupted_search_goes_on_as_if_it_had_not_been(tmp_path, strategy: str, stop: int) -> None:
    arguments = {"trials": 16, "strategy": strategy, "repeats": 2, "seed": 5}
    whole = se_nas.search(digits_space(), evaluator=Table(), out=tmp_path / "whole", **arguments)
    with pytest.raises(KeyboardInterrupt):
        se_nas.search(digits_space(), evaluator=Table({stop: KeyboardInterrupt()}), out=tmp_path / "run", **arguments)
    assert len(Run.open(tmp_path / "run").trials) == stop
    table = Table()
    run = se_nas.resume(tmp_path / "run", evaluator=table)
    assert proposals(run) == proposals(whole) and len(table.asked) == 16 - stop
    table = Table()
    se_nas.resume(tmp_path / "run", evaluator=table)
    assert table.asked == []
    assert len(se_nas.resume(tmp_path / "run", evaluator=table, trials=20).trials) == 20


def test_resume_asks_for_what_has_no_name(tmp_path) -> None:
    space = se_nas.SearchSpace(digits_space().build_backbone(), (1, 8, 8), reduction=[4])
    run = se_nas.search(space, trials=3, evaluator=Table(), out=tmp_path / "run")
    se_nas.export_trial(run, "best", tmp_path / "a.py", untrained=True, prove=False)  # a run that was just searched knows its space
    opened = Run.open(tmp_path / "run")
    for use in (
        lambda: se_nas.resume(run.path, evaluator=Table(), trials=5),
        lambda: se_nas.export_trial(opened, "best", tmp_path / "b.py"),
    ):
        with pytest.raises(se_nas.InputError, match=r"backbone was given as an object of Python.*pass the space.*\(space=\.\.\.\)"):
            use()
    se_nas.export_trial(opened, "best", tmp_path / "b.py", untrained=True, prove=False, space=space)
    assert (tmp_path / "a.py").read_text() == (tmp_path / "b.py").read_text()
    with pytest.raises(se_nas.InputError, match="an evaluator of its own"):
        se_nas.resume(tmp_path / "run", space=space, trials=5)
    assert len(se_nas.resume(tmp_path / "run", space=space, evaluator=Table(), trials=5).trials) == 5


def test_a_real_search_keeps_the_weights_of_its_front(finished_run: Run) -> None:
    front = finished_run.front
    kept = {entry.number for entry in (*front.front, *front.references.values())}
    on_disk = {int(path.stem) for path in (finished_run.path / "weights").iterdir()}
    assert kept <= on_disk <= {t.number for entry in (*front.front, *front.references.values()) for t in entry.trials}
    assert not finished_run.test_scores and not any("test" in name for t in finished_run.trials for name in t.metrics)
    space = digits_space()
    for trial in finished_run.trials:
        weights = finished_run.load_weights(trial.number)
        if weights is not None:
            space.build(trial.architecture).load_state_dict(weights, strict=True)


def search_command(out) -> list[str]:
    file = str(ROOT / "search_spaces/digits_resnet8.yaml")
    return [
        sys.executable,
        "-m",
        "se_nas",
        "search",
        file,
        "--trials",
        "10",
        "--epochs",
        "1",
        "--repeats",
        "1",
        "--seed",
        "3",
        "--out",
        str(out),
        "--quiet",
    ]


def wait_for_lines(ledger, lines: int, process: subprocess.Popen[str]) -> None:
    while process.poll() is None and (not ledger.exists() or ledger.read_bytes().count(b"\n") < lines):
        time.sleep(0.01)


class Waiting(Table):
    """Waits in its third trial, for a kill."""

    def __call__(self, architecture: Architecture, seed: int, fidelity: Mapping[str, int], device: str, report: Report) -> Evaluation:
        if len(self.asked) == 2:
            time.sleep(600)
        return super().__call__(architecture, seed, fidelity, device, report)


def killed(play: Callable[[], object], ledger: Path, lines: int) -> None:
    """Play in a forked process, and kill it when the ledger has so many lines."""
    child = os.fork()
    if child == 0:
        try:
            play()
        finally:
            os._exit(1)
    while not ledger.exists() or ledger.read_bytes().count(b"\n") < lines:
        assert not os.waitpid(child, os.WNOHANG)[0], "it ended by itself"
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_kill_9_loses_no_finished_trial(tmp_path) -> None:
    """Killed in its third, fifth and seventh trial; the same trials as without the kills."""
    arguments = {"trials": 8, "strategy": "nsga2", "repeats": 2}
    whole, run = tmp_path / "whole", tmp_path / "run"
    se_nas.search(digits_space(), evaluator=Table(), out=whole, **arguments)
    killed(lambda: se_nas.search(digits_space(), evaluator=Waiting(), out=run, **arguments), run / "trials.jsonl", 2)
    for lines in (4, 6):
        killed(lambda: se_nas.resume(run, evaluator=Waiting()), run / "trials.jsonl", lines)
        assert len(Run.open(run).trials) == lines
    assert proposals(se_nas.resume(run, evaluator=Table())) == proposals(Run.open(whole))


@pytest.mark.slow
def test_kill_9_of_real_training(tmp_path) -> None:
    """The real thing: real training, killed twice, resumed to the end; the same trials as without the kills."""
    whole, run = tmp_path / "whole", tmp_path / "run"
    subprocess.run(search_command(whole), check=True, cwd=ROOT)
    commands = [search_command(run), [sys.executable, "-m", "se_nas", "resume", str(run), "--quiet"]]
    for command, lines in zip(commands, (3, 7), strict=True):
        process = subprocess.Popen(command, cwd=ROOT, text=True)
        wait_for_lines(run / "trials.jsonl", lines, process)
        process.kill()
        process.wait()
        finished = Run.open(run).trials
        assert lines <= len(finished) < 10
    subprocess.run(commands[1], check=True, cwd=ROOT)
    assert proposals(Run.open(run)) == proposals(Run.open(whole))


@pytest.mark.parametrize("number", [signal.SIGINT, *(pytest.param(n, marks=pytest.mark.slow) for n in (signal.SIGTERM, signal.SIGHUP))])
def test_ctrl_c_stops_cleanly_and_says_how_to_go_on(tmp_path, number: signal.Signals) -> None:
    run = tmp_path / "run"
    command = [part for part in search_command(run) if part != "--quiet"]
    # a shell's background job ignores SIGINT, nohup SIGHUP, and both hand that on to what they start: a terminal does not
    heed = partial(signal.signal, number, signal.SIG_DFL)
    process = subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed)
    wait_for_lines(run / "trials.jsonl", 3, process)
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err and f"se-nas resume {run}" in err
    assert "plain" in out and "paper" in out  # the front so far
    assert 3 <= len(Run.open(run).trials) < 10
