"""A kill, and a full disk, at every single file operation of a run's life: nothing on record is lost, and it goes on.

The quick tests take every seventh operation of a resume.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
from conftest import digits_space
from fault_injection import fail, in_child, kill

import se_nas
from se_nas.evaluate import Evaluation, Report
from se_nas.exporter.write import undo_killed, write_files
from se_nas.files import OWN
from se_nas.run.run import Run
from se_nas.space.architecture import Architecture

SPACE = digits_space()
TRIALS = 3


def gains(architecture: Architecture, seed: int, fidelity: Mapping[str, int], device: str, report: Report) -> Evaluation:
    value = 0.5 + 0.01 * sum(spec is not None for _, spec in architecture)
    return Evaluation({"accuracy": value}, {"weight": torch.full((3,), value)})


def search(out: Path, trials: int = TRIALS, **settings: object) -> Run:
    return se_nas.search(SPACE, out=out, evaluator=gains, trials=trials, strategy="random", **settings)  # type: ignore[arg-type]


def go_on(out: Path, **settings: object) -> Run:
    """What a person does after a kill: the same command, or resume if it says that a run is there."""
    if (out / "run.yaml").exists():
        return se_nas.resume(out, space=SPACE, evaluator=gains)
    return search(out, **settings)


def files(folder: Path) -> set[str]:
    """Names of all files; a line that a kill cut short is set aside in a file of its own."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {"trials.jsonl.torn"}


def told(run: Run) -> list[tuple[int, Architecture, int, str, dict[str, float]]]:
    return [(t.number, t.architecture, t.seed, t.status, dict(t.metrics)) for t in run.trials]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return search(tmp_path_factory.mktemp("whole") / "run")


@pytest.fixture(scope="module")
def warm(whole: Run, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return search(tmp_path_factory.mktemp("warm") / "run", warm_start=str(whole.path), seed=3)


def every_operation(folder: Path, play: Callable[[Path], object], fault: Callable[[], None], check: Callable[[Path, int], None]) -> int:
    """Play with a fault at each operation in turn, until one play has ended without; how many operations there were."""
    at = 0
    while True:
        at += 1
        here = folder / f"at-{at}"
        here.mkdir()
        code, counted = in_child(lambda here=here: play(here), str(here), at, fault)  # type: ignore[misc]
        if code == 0 and counted < at:
            return at - 1
        assert code in ((99,) if fault is kill else (0, 2)), f"operation {at}: exit code {code}"
        check(here, at)


@pytest.mark.slow
@pytest.mark.parametrize("fault", [kill, fail()], ids=["kill", "full disk"])
def test_a_search_that_begins_warm(fault: Callable[[], None], whole: Run, warm: Run, tmp_path: Path) -> None:
    settings = {"warm_start": str(whole.path), "seed": 3}

    def check(folder: Path, at: int) -> None:
        out = folder / "run"
        before = told(Run.open(out)) if (out / "run.yaml").exists() else []
        if fault is not kill and not (out / "run.yaml").exists():
            assert not out.exists() or not os.listdir(out), f"operation {at} left {os.listdir(out)}"
        run = go_on(out, **settings)
        assert told(run)[: len(before)] == before and told(run) == told(warm), f"operation {at}"
        assert run.earlier.read() == warm.earlier.read(), f"operation {at}"
        assert files(out) == files(warm.path) and not [name for name in files(out) if OWN.search(name)], f"operation {at}"

    assert every_operation(tmp_path, lambda folder: search(folder / "run", **settings), fault, check) > 40


@pytest.mark.parametrize("every", [7, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("fault", [kill, fail()], ids=["kill", "full disk"])
def test_a_resume(fault: Callable[[], None], every: int, tmp_path: Path) -> None:
    def play(folder: Path) -> None:
        se_nas.resume(folder / "run", space=SPACE, evaluator=gains, trials=TRIALS)

    def begun(folder: Path) -> None:
        search(folder / "run", trials=1)

    expected = told(search(tmp_path / "whole"))
    at = 1 - every
    while True:
        at += every
        folder = tmp_path / f"at-{at}"
        folder.mkdir()
        begun(folder)
        code, counted = in_child(lambda folder=folder: play(folder), str(folder), at, fault)  # type: ignore[misc]
        if code == 0 and counted < at:
            break
        assert code in ((99,) if fault is kill else (0, 2)), f"operation {at}: exit code {code}"
        run = se_nas.resume(folder / "run", space=SPACE, evaluator=gains, trials=TRIALS)
        assert told(run) == expected and files(run.path) == files(tmp_path / "whole"), f"operation {at}"
    assert at > 20


OLD = {"a.txt": b"old a", "b.txt": b"old b"}
NEW = {"a.txt": b"new a", "b.txt": b"new b", "c.txt": b"new c"}


def interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("fault", [kill, fail(), interrupt], ids=["kill", "full disk", "ctrl-c"])
@pytest.mark.parametrize("there", [True, False], ids=["over an old one", "new"])
def test_files_of_an_export(fault: Callable[[], None], there: bool, tmp_path: Path) -> None:
    before = OLD | {"mine.txt": b"mine"} if there else {}
    at = 0
    while True:
        at += 1
        folder = tmp_path / f"at-{at}" / "net"
        folder.parent.mkdir()
        for name, content in before.items():
            folder.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
        code, counted = in_child(lambda folder=folder: write_files(folder, NEW), str(folder.parent), at, fault)  # type: ignore[misc]
        if code == 0 and counted < at:
            break
        undo_killed(folder)
        undo_killed(folder.parent)
        found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*")} if folder.exists() else {}
        assert found in (before, before | NEW), f"operation {at}: {found}"
        assert sorted(os.listdir(folder.parent)) in ([], ["net"])
    assert at > (10 if sys.version_info >= (3, 11) else 5)  # pathlib of 3.10 keeps functions of os that are not those replaced here
