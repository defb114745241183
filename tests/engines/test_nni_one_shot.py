"""A one-shot search as a run of its own: references, supernet, and what it ranks first trained alone."""

from __future__ import annotations

import json
import shutil

import pytest
from conftest import digits_space

pytest.importorskip("nni")

from nni_searching import Notes
from safetensors.torch import load_file

import se_nas
from se_nas.oneshot import ONE_SHOT

SEARCH = {"engine": "nni", "epochs": 1, "threads": 1, "train": {"batch_size": 256}}


@pytest.mark.parametrize("strategy", [ONE_SHOT[0], *(pytest.param(name, marks=pytest.mark.slow) for name in ONE_SHOT[1:])])
def test_a_run_trains_what_its_supernet_ranks_first_and_resumes_without_it(strategy: str, tmp_path) -> None:
    space = digits_space(share="stage", budgets={"params": "<= +1%"})
    notes = Notes()
    run = se_nas.search(space, out=tmp_path / "run", trials=5, strategy=strategy, observer=notes, **SEARCH)
    assert [t.role for t in run.trials] == ["plain", "paper", *["proposal"] * 3] and all(t.complete for t in run.trials)
    kept = json.loads((run.path / "one_shot.json").read_text())
    ranked = kept["architectures"]
    tried = [t.architecture.to_json() for t in run.trials]
    assert tried[2:] == [each for each in ranked if each not in tried[:2]][:3]
    assert all(space.is_feasible(t.architecture) for t in run.trials[2:])
    assert load_file(run.path / "one_shot.safetensors")
    assert [note for note in notes.told if f"supernet (nni:{strategy}): epoch 1 of 1" in note]

    part = shutil.copytree(run.path, tmp_path / "part")  # as if the search had been stopped after its third trial
    ledger = (part / "trials.jsonl").read_text().splitlines(keepends=True)
    (part / "trials.jsonl").write_text("".join(ledger[:3]))
    again = Notes()
    assert [t.architecture for t in se_nas.resume(part, observer=again).trials] == [t.architecture for t in run.trials]
    assert not [note for note in again.told if "supernet" in note]


def test_a_space_with_extra_dimensions_is_refused_at_once(tmp_path) -> None:
    space = se_nas.SearchSpace("resnet8", (1, 8, 8), reduction=[4], backbone_args={"in_channels": 1}, extra={"width": [1.0, 1.5]})
    with pytest.raises(se_nas.InputError, match="a supernet has one backbone, and width would change it"):
        se_nas.search(space, out=tmp_path / "run", strategy="darts", **SEARCH)
    assert not (tmp_path / "run").exists()
