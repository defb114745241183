from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from conftest import ROOT

from se_nas.errors import InputError
from se_nas.run.run import Run
from se_nas.run.trial import Trial
from se_nas.se.spec import SESpec
from se_nas.space.architecture import Architecture

CONFIG = {"search": {"objectives": ["accuracy", "params"], "epochs": 1, "trials": 3}, "budgets": []}


def trial(number: int) -> Trial:
    architecture = Architecture.of({"layer1": SESpec(number + 1)})
    return Trial(number, "proposal", architecture, 0, {"epochs": 1}, "complete", {"accuracy": 0.5}, {"params": 10, "macs": 20}, number)


@pytest.fixture
def run(tmp_path) -> Run:
    run = Run.create(tmp_path / "run", CONFIG)
    for number in range(3):
        run.ledger.append(trial(number))
    return run


def test_what_is_appended_is_read_again(run: Run) -> None:
    assert Run.open(run.path).trials == [trial(n) for n in range(3)]
    assert json.loads(run.ledger.path.read_text().splitlines()[0])["id"] == trial(0).architecture.id


def test_a_line_cut_at_any_byte_is_set_aside(run: Run) -> None:
    whole = run.ledger.path.read_bytes()
    end_of_second = whole[:-1].rfind(b"\n") + 1
    for cut in range(end_of_second + 1, len(whole)):
        run.ledger.path.write_bytes(whole[:cut])
        assert run.trials == [trial(0), trial(1)]
    with run.lock():
        assert run.ledger.path.read_bytes() == whole[:end_of_second]
    assert run.ledger.path.with_suffix(".jsonl.torn").read_bytes().rstrip(b"\n") == whole[end_of_second:-1].rstrip(b"\n")
    run.ledger.append(trial(2))
    assert run.ledger.path.read_bytes() == whole


@pytest.mark.parametrize("damage", [b"not json\n", b"{}\n", b'{"schema": 1, "number": 3}\n', b'{"schema": 99}\n', b"[1]\n"])
def test_a_damaged_line_is_named(run: Run, damage: bytes) -> None:
    lines = run.ledger.path.read_bytes().splitlines(keepends=True)
    run.ledger.path.write_bytes(lines[0] + damage + lines[2])
    before = run.ledger.path.read_bytes()
    with pytest.raises(InputError, match=r"trials.jsonl, line 2: damaged line"):
        Run.open(run.path).trials  # noqa: B018
    assert run.ledger.path.read_bytes() == before


def test_numbers_that_are_no_json_are_refused(run: Run) -> None:
    bad = Trial(**{**vars(trial(3)), "metrics": {"accuracy": float("nan")}})
    with pytest.raises(ValueError, match="Out of range float"):
        run.ledger.append(bad)
    assert len(run.trials) == 3


def test_a_directory_holds_one_run(run: Run, tmp_path) -> None:
    with pytest.raises(InputError, match="holds a run already; go on with it"):
        Run.create(run.path, CONFIG)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="is in the way"):
        Run.create(tmp_path / "full", CONFIG)
    with pytest.raises(InputError, match="holds no run"):
        Run.open(tmp_path / "full")
    with pytest.raises(InputError, match="is in the way"):
        Run.create(tmp_path / "full" / "thesis.tex", CONFIG)


def test_one_search_at_a_time_even_after_a_kill(run: Run) -> None:
    code = f"import time; from se_nas import Run\nwith Run.open({str(run.path)!r}).lock(): print('held', flush=True); time.sleep(60)"
    holder = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(InputError, match=f"in use by another search \\(process {holder.pid}\\)"), run.lock():
            pass
    finally:
        holder.kill()
        holder.wait()
    with run.lock():
        pass


def test_weights_come_back_and_others_go(run: Run) -> None:
    weights = {"fc.weight": torch.randn(3, 4), "bn.count": torch.tensor(7)}
    for number in range(3):
        run.save_weights(number, weights)
    run.keep_weights({1})
    assert run.load_weights(0) is None
    loaded = run.load_weights(1)
    assert loaded is not None and all(torch.equal(loaded[name], weights[name]) for name in weights)


def test_a_newer_schema_is_refused(run: Run) -> None:
    path = run.path / "run.yaml"
    path.write_text(path.read_text().replace("schema: 1", "schema: 2"))
    with pytest.raises(InputError, match="schema 2 is not 1"):
        Run.open(run.path)
