"""`tests/run/before`: a run as se-nas wrote it before its rooms were parted; `before_shown.*`: what that se-nas showed of it."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from se_nas.cli import main
from se_nas.evaluate.data import load_data
from se_nas.run.run import Run

HERE = Path(__file__).parent
FIRST_SETTINGS = {"data", "data_root", "epochs", "trials", "seed", "strategy", "objectives", "repeats", "device", "keep_weights"}
"""Those of the first `run.yaml` files; all others came later."""
REPLAYED_OTHERWISE = "the strategy no longer proposes what the ledger holds"


@pytest.fixture(params=["before", "first settings"])
def old(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run, whole and as if written when there were fewer settings, below the current directory."""
    run = tmp_path / "runs/before"
    shutil.copytree(HERE / "before", run)
    if request.param == "first settings":
        config = yaml.safe_load((run / "run.yaml").read_text())
        config["search"] = {key: value for key, value in config["search"].items() if key in FIRST_SETTINGS}
        del config["space"]["extra"], config["normalisation"]
        (run / "run.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")
    return Path("runs/before")


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """What was printed, as one line."""
    return " ".join("".join(capsys.readouterr()).split())


def shown(capsys: pytest.CaptureFixture[str], *flags: str) -> str:
    capsys.readouterr()
    assert main(["show", "runs/before", *flags]) == 0
    return capsys.readouterr().out


def test_shows_as_it_did(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = json.loads((HERE / "before_shown.json").read_text())
    now = json.loads(shown(capsys, "--json"))
    assert {key: now[key] for key in before} == before
    lines = iter(shown(capsys).splitlines())
    assert all(line in lines for line in (HERE / "before_shown.txt").read_text().splitlines())  # in that order, and more since


def test_resumes(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ledger = (old / "trials.jsonl").read_bytes()
    assert main(["resume", str(old), "--trials", "9"]) == 0
    assert REPLAYED_OTHERWISE not in said(capsys)
    assert (old / "trials.jsonl").read_bytes().startswith(ledger)
    run = Run.open(old)
    *before, added = run.trials
    assert len(before) == 8 and added.number == 8 and added.complete
    assert added.architecture not in {trial.architecture for trial in before}


def test_resuming_under_another_seed_says_that_the_strategy_proposes_others(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Or the test above could not fail."""
    config = old / "run.yaml"
    config.write_text(config.read_text().replace("  seed: 0", "  seed: 1"))
    assert main(["resume", str(old), "--trials", "9"]) == 0
    assert REPLAYED_OTHERWISE in said(capsys)


def test_reports(old: Path) -> None:
    assert main(["report", str(old)]) == 0
    page = (old / "report.html").read_text()
    assert "90.8" in page and "5,262" in page


def test_exports_the_best_with_its_weights(old: Path, tmp_path: Path) -> None:
    """The written network scores on the test split what the run says."""
    assert main(["export", str(old), "--trial", "best", "--no-proof", "-o", str(tmp_path / "net.py")]) == 0
    spec = importlib.util.spec_from_file_location("net", tmp_path / "net.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    data = load_data("digits", (1, 8, 8))
    assert data.test is not None
    images, labels = data.test.images, data.test.labels
    network = module.build(str(tmp_path / "net.safetensors")).eval()
    with torch.inference_mode():
        scores = network((images / 255 - data.mean[0]) / data.std[0])
    accuracy = (scores.argmax(1) == labels).double().mean().item()
    assert accuracy == pytest.approx(Run.open(old).test_scores[6]["test_accuracy"], abs=1e-6)
