"""Ray's partial trainings lie in a directory of our own, wherever the storage is; nothing beside it is touched."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import pytest
from conftest import digits_space

pytest.importorskip("pyarrow")

import se_nas
from se_nas.engines.ray_tune.storage import NAME, NOTE, own_directory
from se_nas.evaluate import Evaluation, Report
from se_nas.space.architecture import Architecture


def gains(architecture: Architecture, seed: int, fidelity: Mapping[str, int], device: str, report: Report) -> Evaluation:
    return Evaluation({"accuracy": 0.5 + 0.01 * sum(spec is not None for _, spec in architecture)})


@pytest.mark.parametrize("kind", ["none", "folder", "relative", "uri", "the run's own parent"])
def test_a_directory_of_our_own_is_made_and_removed(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run, shared = tmp_path / "shared/digits", tmp_path / "shared"
    run.mkdir(parents=True)
    (run / "trials.jsonl").write_text("mine")
    named = {"none": "", "folder": str(shared), "relative": "shared", "uri": shared.as_uri(), "the run's own parent": str(shared)}[kind]
    with own_directory(run, named) as storage, own_directory(tmp_path, named or str(shared)) as other:
        assert NAME.fullmatch(storage.rpartition("/")[2]) and storage != other
        assert len([path for path in tmp_path.rglob("*") if NAME.fullmatch(path.name)]) == 2
        assert ("://" in storage) == (kind == "uri")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["digits", "shared", "trials.jsonl"]


def test_what_a_killed_search_left_is_removed_by_the_next_and_nothing_else(tmp_path: Path) -> None:
    left, mine = tmp_path / "se-nas-0123456789abcdef", tmp_path / "mine"
    for folder in (left, mine):
        folder.mkdir()
        (folder / "x").write_text("x")
    for storage, stays in ((mine, {"mine", left.name}), (left, {"mine"})):
        (tmp_path / NOTE).write_text(json.dumps({"storage": str(storage)}))
        with own_directory(tmp_path, ""):
            pass
        assert set(os.listdir(tmp_path)) == stays


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "uri"])
def test_a_search_leaves_the_storage_as_it_was(tmp_path: Path, kind: str) -> None:
    shared = tmp_path / "shared"
    (shared / "digits").mkdir(parents=True)
    (shared / "digits/thesis.tex").write_text("mine")
    storage = str(shared) if kind == "folder" else shared.as_uri()
    run = se_nas.search(
        digits_space(), out=shared / "run/digits", evaluator=gains, trials=4, strategy="random", engine="ray", workers=2, storage=storage
    )
    assert len(run.trials) == 4 and sorted(os.listdir(shared)) == ["digits", "run"]
    assert (shared / "digits/thesis.tex").read_text() == "mine" and (run.path / "trials.jsonl").exists()
