"""Trials that are run from outside: asked for and told by any number of processes, some of which die."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import ROOT, digits_space
from reading_docs import blocks
from safetensors.torch import save_file

import se_nas
from se_nas.cli import main
from se_nas.engines.plan import Plan
from se_nas.errors import InputError
from se_nas.goals.objective import parse_objectives
from se_nas.run.run import Run
from se_nas.run.settings import resolve_settings

SPACE = """
backbone: resnet8
backbone_args: {in_channels: 1}
input_size: [1, 8, 8]
reduction: [4, 8]
squeeze: [avg, max]
budgets: {params: "<= +1%"}
"""


def score(asked: dict[str, Any]) -> float:
    return int(asked["id"], 16) % 1000 / 1000 + asked["seed"] / 1e6


def begin(path: Path, **settings: Any) -> Path:
    return se_nas.new(digits_space(budgets={"params": "<= +1%"}), out=path, **{"trials": 6, "strategy": "random", **settings}).path


def plan_of(run: Run) -> Plan:
    settings = resolve_settings(run.config["search"], "run.yaml", {})
    return Plan(run.space, settings, parse_objectives(settings.objectives), run.trials)


@pytest.mark.parametrize("strategy", ["random", "known-cost", "nsga2"])
def test_one_who_asks_and_tells_gets_the_trials_of_any_other_engine(tmp_path: Path, strategy: str) -> None:
    path = begin(tmp_path / "run", strategy=strategy, trials=9, repeats=2, seed=3)
    while (asked := se_nas.ask(path))["state"] == "trial":
        se_nas.tell(path, asked["number"], {"accuracy": score(asked)})
    assert asked["state"] == "complete"

    def evaluator(architecture: se_nas.Architecture, seed: int, *_: object) -> se_nas.Evaluation:
        return se_nas.Evaluation({"accuracy": score({"id": architecture.id, "seed": seed})})

    own = se_nas.search(Run.open(path).space, evaluator=evaluator, out=tmp_path / "own", strategy=strategy, trials=9, repeats=2, seed=3)
    alike = ("number", "role", "architecture", "seed", "fidelity", "status", "metrics", "costs", "after")

    def lines(run: Run) -> list[Any]:
        return [[getattr(trial, name) for name in alike] for trial in run.trials]

    assert lines(Run.open(path)) == lines(own)


def test_the_command_line_from_begin_to_export(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("space.yaml").write_text(SPACE)

    def run(*words: str) -> tuple[int, Any]:
        try:
            code = main(list(words))
        except SystemExit as ended:
            code = int(ended.code or 0)
        text = capsys.readouterr().out
        return code, json.loads(text) if text.startswith("{") else text

    assert run("new", "space.yaml", "--out", "run", "--trials", "3", "--strategy", "random") == (0, "run\n")
    code, plain = run("ask", "run")
    assert (code, plain["state"], plain["number"], plain["role"], plain["seed"], plain["epochs"]) == (0, "trial", 0, "plain", 0, 3)
    assert plain["schema"] == 1 and plain["costs"]["params"] == 75_002 and set(plain["architecture"]) == {f"layer{i}.0" for i in (1, 2, 3)}
    _, paper = run("ask", "run")
    _, third = run("ask", "run")
    assert [paper["role"], third["role"]] == ["paper", "proposal"]
    code, waiting = run("ask", "run")
    assert (code, waiting["state"]) == (3, "wait")
    assert [out["trial"] for out in run("show", "run", "--json")[1]["out"]] == [0, 1, 2]

    space = Run.open("run").space
    network = space.build(space.from_dimensions(third["architecture"]))
    save_file(network.state_dict(), "weights.safetensors")
    assert run("tell", "run", "2", "accuracy=0.9", "loss=0.3", "--weights", "weights.safetensors")[1]["metrics"]["loss"] == 0.3
    assert run("tell", "run", "2", "accuracy=0.9", "loss=0.3")[0] == 0  # again: nothing changes
    for words in (["2", "accuracy=0.8"], ["two", "accuracy=0.8"], ["1"], ["1", "accuracy=0.5", "--failed", "x"], ["1", "accuracy"]):
        assert run("tell", "run", *words)[0] == 2
    assert run("tell", "run", "1", "--failed", "out of memory")[1]["status"] == "failed"
    assert run("tell", "run", "0", "accuracy=nan")[1]["error"] == "accuracy is nan"
    assert run("ask", "run")[0] == 4
    assert [trial.number for trial in Run.open("run").trials] == [2, 1, 0]
    shown = run("show", "run", "--json")[1]
    assert shown["out"] == [] and shown["best"] == 2 and [each["error"] for each in shown["failed"]] == ["out of memory", "accuracy is nan"]
    assert run("export", "run", "--trial", "2", "-o", "found", "--no-proof")[0] == 0
    Path("trial.json").write_text(json.dumps(third))
    assert run("export", "space.yaml", "--architecture", "trial.json", "-o", "model.py", "--no-proof")[0] == 0
    _, fourth = run("ask", "run", "--trials", "4")
    assert (fourth["state"], fourth["number"]) == ("trial", 3)


@pytest.mark.slow
def test_the_loop_of_the_page_in_bash(tmp_path: Path) -> None:
    (loop,) = [block.text for block in blocks("docs/asking.md") if block.language == "bash"]
    (tmp_path / "loop.sh").write_text(loop)
    (tmp_path / "train.sh").write_text('test "$2" -lt 5 && grep -q "class" "$1" && echo 0.5 && test "$1" != net2.py')
    (tmp_path / "space.yaml").write_text(SPACE)
    (tmp_path / "se-nas").write_text(f'#!/bin/sh\nexec {sys.executable} -m se_nas "$@"\n')
    (tmp_path / "se-nas").chmod(0o755)
    folder = f"{tmp_path}:{Path(sys.executable).parent}:{os.environ['PATH']}"
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT), "PATH": folder}
    new = ["se-nas", "new", "space.yaml", "--out", "run", "--trials", "4", "--strategy", "random"]
    for command in (new, ["bash", "loop.sh", "run", "space.yaml"]):
        done = subprocess.run(command, cwd=tmp_path, env=surroundings, capture_output=True, text=True, timeout=500)
        assert done.returncode == 0, done.stderr
    assert [(trial.number, trial.status) for trial in Run.open(tmp_path / "run").trials] == [
        (0, "complete"), (1, "complete"), (2, "failed"), (3, "complete")
    ]  # fmt: skip


def test_what_is_wrong_is_said(tmp_path: Path) -> None:
    path = begin(tmp_path / "run")
    for number, metrics, message in [
        (0, {"accuracy": 0.5}, "trial 0 was not asked for; tell a trial that se-nas ask gave"),
        (0, {"loss": 0.5}, "accuracy is missing"),
        (0, {"accuracy": "high"}, "accuracy is 'high', not a number"),
    ]:
        with pytest.raises(InputError, match=message):
            se_nas.tell(path, number, metrics)
    with pytest.raises(InputError, match="lease: 0 is not a number of seconds"):
        se_nas.ask(path, lease=0)
    with pytest.raises(InputError, match="holds no run"):
        se_nas.ask(tmp_path)
    se_nas.ask(path)
    assert se_nas.tell(path, 0, {"accuracy": torch.tensor(0.5)}).metrics == {"accuracy": 0.5}
    (path / "asked.json").write_text("{")
    with pytest.raises(InputError, match=r"asked.json: damaged: .* delete the file"):
        se_nas.ask(path)


def test_a_trial_that_nobody_tells_is_asked_again(tmp_path: Path) -> None:
    path = begin(tmp_path / "run")
    first = se_nas.ask(path, lease=5)
    second = se_nas.ask(path)
    assert (first["number"], second["number"]) == (0, 1)
    time.sleep(5)
    again = se_nas.ask(path)
    assert {**again, "until": 0, "times": 0} == {**first, "until": 0, "times": 0} and again["times"] == 2
    assert se_nas.tell(path, 0, {"accuracy": 0.5}).after == 0


ASKER = """
import json, os, sys, time
import se_nas

path, name = sys.argv[1:]
space = se_nas.Run.open(path).space
log = open(os.path.join(os.path.dirname(path), name), "a")

def note(*words):
    log.write(" ".join(map(str, words)) + "\\n")
    log.flush()
    os.fsync(log.fileno())

while True:
    asked = se_nas.ask(path, lease=60, space=space)
    if asked["state"] == "trial":
        note("asked", asked["number"], time.time())
        time.sleep(0.3)
        accuracy = int(asked["id"], 16) % 1000 / 1000
        se_nas.tell(path, asked["number"], {"accuracy": accuracy})
        note("told", asked["number"], accuracy)
    elif asked["state"] == "wait":
        time.sleep(2)
    else:
        break
"""


@pytest.mark.slow
def test_eight_processes_of_which_some_die(tmp_path: Path) -> None:
    """Nothing told is lost, nothing is run twice but what was never told, and the ledger equals a replay."""
    total = 30
    space = digits_space(reduction=[2, 4, 8, 16], budgets={"params": "<= +3%"})
    path = se_nas.new(space, out=tmp_path / "run", strategy="nsga2", trials=total).path
    surroundings = {**os.environ, "PYTHONPATH": str(ROOT)}
    askers: dict[str, subprocess.Popen[bytes]] = {}

    def start() -> None:
        name = f"asker{len(askers)}"
        askers[name] = subprocess.Popen([sys.executable, "-c", ASKER, str(path), name], env=surroundings)

    for _ in range(8):
        start()
    rng, killed = random.Random(0), 0
    while (finished := len(Run.open(path).trials)) < total:
        time.sleep(rng.uniform(0.2, 0.8))
        alive = [asker for asker in askers.values() if asker.poll() is None]
        assert alive, "all have ended before the run has"
        if killed < 4 and finished >= 4 * (killed + 1):
            victim = rng.choice(alive)
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            killed += 1
            start()
    for asker in askers.values():
        assert asker.wait(120) in (0, -signal.SIGKILL)
    assert killed == 4

    run = Run.open(path)
    trials = {trial.number: trial for trial in run.trials}
    assert len(run.trials) == total and set(trials) == set(range(total))
    asked: Counter[int] = Counter()
    told: Counter[int] = Counter()
    for name in askers:
        for line in (tmp_path / name).read_text().splitlines() if (tmp_path / name).exists() else []:
            what, number, value = line.split()
            (asked if what == "asked" else told)[int(number)] += 1
            if what == "told":
                assert trials[int(number)].metrics == {"accuracy": float(value)}  # nothing told is lost
    assert set(told.values()) <= {1} and len(told) >= total - killed  # one may have died between telling and noting it
    again = [number for number, times in asked.items() if times > 1]
    assert len(again) <= killed  # only what the dead had taken
    assert len({(trial.architecture, trial.seed) for trial in run.trials}) == total
    assert all(run.space.is_feasible(trial.architecture) for trial in run.trials if trial.role == "proposal")
    plan = plan_of(run)
    assert plan.replayed and plan.left == 0
    assert json.loads((path / "asked.json").read_text())["asked"] == []
