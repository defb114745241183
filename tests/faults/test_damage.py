"""Bytes of every file of a run, damaged: what is wrong is named and never used, and `se-nas check` says what is whole."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import yaml

from se_nas.cli import main
from se_nas.errors import InputError
from se_nas.run.ledger import Ledger, checksum, format_line, parse_line
from se_nas.run.run import Run
from se_nas.run.trial import Trial
from se_nas.run.weights import load_weights, save_weights
from se_nas.se.spec import SESpec
from se_nas.space.architecture import Architecture

BEFORE = Path(__file__).parents[1] / "run" / "before"


def trial(number: int = 3) -> Trial:
    architecture = Architecture.of({"layer1": SESpec(4), "layer2": None})
    return Trial(number, "proposal", architecture, 7, {"epochs": 2}, "complete", {"accuracy": 0.75}, {"params": 10, "macs": 20}, number)


@pytest.fixture
def run(finished_run: Run, tmp_path: Path) -> Run:
    shutil.copytree(finished_run.path, tmp_path / "run")
    return Run.open(tmp_path / "run")


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Exit code, standard output, and standard error, which has at most one line."""
    capsys.readouterr()
    code = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    assert len(err.splitlines()) <= 1, err
    return code, out, err


# The ledger.


def test_every_flipped_bit_of_a_line_is_noticed() -> None:
    line = format_line(trial())[:-1]
    assert parse_line(line) == trial()
    for position in range(len(line)):
        for bit in range(8):
            damaged = bytearray(line)
            damaged[position] ^= 1 << bit
            with pytest.raises((ValueError, TypeError, KeyError)):
                parse_line(bytes(damaged))


def test_every_line_that_is_cut_short_or_lacks_a_byte_is_noticed() -> None:
    line = format_line(trial())[:-1]
    for position in range(len(line)):
        for damaged in (line[:position], line[:position] + line[position + 1 :]):
            with pytest.raises((ValueError, TypeError, KeyError)):
                parse_line(damaged)


def test_lines_of_the_first_schema_are_read_and_their_architecture_is_checked() -> None:
    old = BEFORE / "trials.jsonl"
    assert len(Ledger(old).read()) == 8
    line = old.read_bytes().splitlines()[1]
    assert b'"reduction":4' in line
    with pytest.raises(ValueError, match="its architecture is not '4ef87dc6c7ad'"):
        parse_line(line.replace(b'"reduction":4', b'"reduction":2', 1))


def with_sum(**changes: object) -> bytes:
    """A line whose checksum fits: somebody wrote it so."""
    data = {**trial().to_json(), **changes}
    text = json.dumps(data, separators=(",", ":")).encode()[:-1]
    return text + b',"sum":"' + checksum(text) + b'"}'


NO_TRIALS = {
    "a list": b"[1]",
    "no number": with_sum(number=None),
    "a long number": with_sum(number=1).replace(b'"seed":7', b'"seed":' + b"9" * 5000),
    "an unknown status": with_sum(status="done"),
    "an unknown role": with_sum(role="<b>"),
    "a reduction of 0": with_sum(architecture={"layer1": {"reduction": 0}}),
    "no metrics": with_sum(metrics=None),
    "an infinite metric": with_sum(metrics={"accuracy": float("inf")}),
    "a metric of text": with_sum(metrics={"accuracy": "0.5"}),
    "a cost that is a list": with_sum(costs={"params": [1]}),
    "a number below 0": with_sum(number=-1),
    "a seed that is true": with_sum(seed=True),
    "a key that is unknown": with_sum(more=1),
    "a newer schema": with_sum(schema=99),
    "schema 0": with_sum(schema=0),
    "many levels": b'{"number":' * 100_000,
    "many bytes": b'{"number":"' + b"x" * 5_000_000 + b'"}',
    "no text": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("kind", NO_TRIALS)
def test_a_line_that_is_no_trial_is_named_in_one_line(run: Run, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    lines = run.ledger.path.read_bytes().splitlines(keepends=True)
    run.ledger.path.write_bytes(lines[0] + NO_TRIALS[kind] + b"\n" + b"".join(lines[1:]))
    for command in (("show",), ("show", "--json"), ("report",), ("resume", "--trials", "9")):
        code, _, err = said(capsys, command[0], run.path, *command[1:])
        assert code == 2 and "trials.jsonl, line 2: damaged line, not a trial: " in err and len(err) < 1500


def test_a_line_twice_is_named(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    lines = run.ledger.path.read_bytes().splitlines(keepends=True)
    run.ledger.path.write_bytes(b"".join(lines) + lines[2])
    assert "line 7: damaged line, not a trial: trial 2 stands in line 3 already" in said(capsys, "show", run.path)[2]


def test_a_refused_line_is_never_half_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    ledger = Ledger(tmp_path / "trials.jsonl")
    ledger.append(trial(0))
    before, fsync = ledger.path.read_bytes(), os.fsync

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError):
        ledger.append(trial(1))
    monkeypatch.setattr(os, "fsync", fsync)
    assert ledger.path.read_bytes() == before
    ledger.append(trial(1))
    assert ledger.read() == [trial(0), trial(1)]


# The other files.


def damages(data: bytes, seed: int, cuts: int, flips: int) -> Iterator[bytes]:
    rng = random.Random(seed)
    yield b""
    for _ in range(cuts):
        yield data[: rng.randrange(1, len(data))]
    for _ in range(flips):
        damaged = bytearray(data)
        damaged[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        yield bytes(damaged)


@pytest.mark.parametrize(("cuts", "flips"), [(1, 3), pytest.param(12, 30, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["run.yaml", "trials.jsonl"])
def test_damaged_bytes_end_in_one_line_and_are_overwritten_by_nothing_that_reads(
    run: Run, name: str, cuts: int, flips: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path, refused = run.path / name, 0
    whole = path.read_bytes()
    for damaged in damages(whole, len(name), cuts, flips):
        path.write_bytes(damaged)
        for command in ("show", "report", "check"):
            code, _, err = said(capsys, command, run.path)
            assert code in (0, 2) and (code == 0) == (not err)
            refused += code == 2
            assert path.read_bytes() == damaged
    assert refused >= (cuts + flips) * 2 // 3


def test_a_run_yaml_cut_short_anywhere_is_noticed(run: Run) -> None:
    path = run.path / "run.yaml"
    whole = path.read_bytes()
    for end in range(0, len(whole) - 1, 31):
        path.write_bytes(whole[:end])
        with pytest.raises(InputError):
            Run.open(run.path)


def test_a_hand_that_writes_run_yaml_anew_is_no_damage(run: Run) -> None:
    path = run.path / "run.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text())))
    assert Run.open(run.path).config == run.config


def test_every_cut_and_every_flipped_byte_of_weights_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    weights = {"w": torch.randn(3, 2), "n": torch.tensor(5), "h": torch.ones(2, dtype=torch.bfloat16), "e": torch.empty(0)}
    save_weights(path, weights)
    data, loaded = path.read_bytes(), load_weights(path)
    assert loaded is not None and loaded.keys() == weights.keys() and all(torch.equal(loaded[name], weights[name]) for name in weights)
    start = 8 + int.from_bytes(data[:8], "little")
    for end in range(0, len(data), 3):
        path.write_bytes(data[:end])
        with pytest.raises(InputError, match=r"is damaged|is empty"):
            load_weights(path)
    for position in range(start, len(data)):
        path.write_bytes(data[:position] + bytes([data[position] ^ 4]) + data[position + 1 :])
        with pytest.raises(InputError, match="its checksum differs"):
            load_weights(path)
    path.unlink()
    assert load_weights(path) is None


# `se-nas check RUN`.


def test_check_says_what_is_whole_and_changes_nothing(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, "check", run.path)
    assert code == 0 and not err and "trials.jsonl: 6 whole trials" in out and "run.yaml: whole" in out and "DAMAGED" not in out
    first = sorted((run.path / "weights").iterdir())[0]
    first.write_bytes(first.read_bytes()[:-5])
    (run.path / "test.json").write_text("")
    (run.path / "run.yaml").write_text("")
    lines = run.ledger.path.read_bytes().splitlines(keepends=True)
    run.ledger.path.write_bytes(lines[0] + lines[1].replace(b"accuracy", b"accurate") + lines[2] + lines[3][:50])
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    code, out, err = said(capsys, "check", run.path)
    told = out.splitlines()
    assert code == 2 and "damaged: run.yaml, trials.jsonl, " in err
    assert "run.yaml: DAMAGED: is empty; restore it. The ledger does not need it: its trials are counted below" in told
    assert "trials.jsonl: DAMAGED: 2 whole trials, 1 damaged lines" in told
    assert any(line.startswith("trials.jsonl, line 2: DAMAGED: its checksum differs") for line in told)
    assert any(line.startswith("trials.jsonl: its last line is cut short") for line in told)
    assert any(line.startswith("test.json: DAMAGED: is empty") for line in told)
    assert any(line.startswith(f"weights/{first.name}: DAMAGED: is damaged") for line in told)
    assert before == {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}


def test_check_opens_a_whole_ledger_that_stands_alone(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    (run.path / "run.yaml").unlink()
    code, out, _ = said(capsys, "check", run.path)
    assert code == 2 and "run.yaml: DAMAGED: is missing" in out and "trials.jsonl: 6 whole trials" in out
    assert said(capsys, "check", run.path.parent)[0] == 2


@pytest.mark.parametrize("damage", ["[" * 100_000, "[]", "{}", "x", '{"schema": 1}', "changed"])
def test_effects_that_are_none_are_computed_again(run: Run, damage: str) -> None:
    found = run.effects()
    assert found is not None
    path = run.path / "effects.json"
    whole = {**found.to_json(), "lines": "6", "metric": 5}
    path.write_text(json.dumps(whole) if damage == "changed" else damage)
    assert run.effects() == found
