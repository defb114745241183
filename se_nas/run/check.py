"""What of a run is whole, what is damaged, and what to do. It changes nothing, and needs no torch unless there are weights."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from se_nas.errors import InputError
from se_nas.files import OWN, read_bytes, refused
from se_nas.run.config import load_config
from se_nas.run.ledger import Ledger
from se_nas.run.run import EARLIER, Run

AGAIN = "remove that line, then `se-nas resume` runs its trial again; or restore the file"


@dataclass(frozen=True)
class Found:
    """What there is to say of one file.

    Attributes:
        file: its name in the run's directory, with the line where it matters.
        whole: whether it can be used.
        said: in words.
        fix: what to do; "" if nothing.
    """

    file: str
    whole: bool
    said: str
    fix: str = ""


def check_run(path: Path) -> list[Found]:
    """Look at every file of a run.

    Raises:
        InputError: if there is no directory, or none of a run.
    """
    with refused(path):
        names = set(os.listdir(path))
    if not names & {"run.yaml", "trials.jsonl"}:
        raise InputError("holds no run (there is no run.yaml, and no trials.jsonl)", "name the directory of a search", str(path))
    return [found for part in (_config, _ledgers, _scores, _weights, _left) for found in part(path)]


def _config(path: Path) -> Iterator[Found]:
    try:
        load_config(path / "run.yaml")
    except InputError as error:
        problem = "is missing" if error.problem == "no such file" else error.problem
        yield Found("run.yaml", False, problem, "restore it. The ledger does not need it: its trials are counted below")
    else:
        yield Found("run.yaml", True, "whole")


def _ledgers(path: Path) -> Iterator[Found]:
    for name in ("trials.jsonl", EARLIER):
        file = path / name
        if not os.path.lexists(file):
            if name != EARLIER:
                yield Found(name, True, "no trial has finished yet")
            continue
        try:
            lines = list(Ledger(file).lines())
            torn = not read_bytes(file).endswith(b"\n") and file.stat().st_size > 0
        except (InputError, OSError) as error:
            yield Found(name, False, error.problem if isinstance(error, InputError) else str(error), "make it readable")
            continue
        bad = [line for line in lines if line.trial is None]
        yield Found(name, not bad, f"{len(lines) - len(bad)} whole trials" + (f", {len(bad)} damaged lines" if bad else ""))
        yield from (Found(f"{name}, line {line.number}", False, line.damage, AGAIN) for line in bad)
        if torn:
            yield Found(name, True, "its last line is cut short: that trial had not ended", "`se-nas resume` moves it to trials.jsonl.torn")


def _scores(path: Path) -> Iterator[Found]:
    if os.path.lexists(path / "test.json"):
        try:
            scores = Run(path, {}).test_scores
        except InputError as error:
            yield Found("test.json", False, error.problem, error.fix)
        else:
            yield Found("test.json", True, f"test scores of {len(scores)} trials")


def _weights(path: Path) -> Iterator[Found]:
    files = sorted((path / "weights").glob("*.safetensors"))
    whole = 0
    for file in files:
        from se_nas.run.weights import load_weights

        try:
            load_weights(file)
        except InputError as error:
            yield Found(f"weights/{file.name}", False, error.problem, error.fix)
        else:
            whole += 1
    if files:
        yield Found("weights/", whole == len(files), f"{whole} of {len(files)} files whole")


def _left(path: Path) -> Iterator[Found]:
    for folder in (path, path / "weights"):
        if folder.is_dir():
            for name in sorted(filter(OWN.fullmatch, os.listdir(folder))):
                yield Found(str((folder / name).relative_to(path)), True, "a temporary file, of a search that runs or was killed", "")
