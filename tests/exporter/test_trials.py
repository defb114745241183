"""Trials of a real run, exported; and architectures of a space without a run."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import ROOT, digits_space

from se_nas.api import export_trial
from se_nas.cli import main
from se_nas.errors import InputError
from se_nas.run.run import Run
from se_nas.space.archfile import find_architecture
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace

DIGITS = ROOT / "search_spaces/digits_resnet8.yaml"


@pytest.fixture
def run(finished_run: Run, tmp_path: Path) -> Run:
    """A copy of a finished run, to be spoilt."""
    shutil.copytree(finished_run.path, tmp_path / "copy")
    return Run.open(tmp_path / "copy")


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """The one line that a refused export prints."""
    assert main(["export", *map(str, arguments), "--no-proof"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("se-nas: ") and ";" in line
    return line


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


# A run.


def test_the_whole_front(finished_run: Run, tmp_path: Path) -> None:
    made = export_trial(finished_run, "all-front", tmp_path / "front", prove=False)
    numbers = [entry.number for entry in finished_run.front.front]
    assert [one.path for one in made] == [tmp_path / "front" / f"trial-{number}" / "model.py" for number in numbers]
    assert all(file.is_file() for one in made for file in one.files)
    kinds = ["README.md", "architecture.json", "model.py", "weights.safetensors"]
    assert names(tmp_path) == sorted(f"front/trial-{number}/{kind}" for number in numbers for kind in kinds)
    for entry in finished_run.front.front:
        record = json.loads((tmp_path / "front" / f"trial-{entry.number}" / "architecture.json").read_text())
        assert record["id"] == entry.architecture.id and record["about"]["trial"] == entry.number
    with pytest.raises(InputError, match="exists"):
        export_trial(finished_run, "all-front", tmp_path / "front", prove=False)
    export_trial(finished_run, "all-front", tmp_path / "front", prove=False, force=True)


def test_card_tells_where_it_is_from(finished_run: Run, tmp_path: Path) -> None:
    best = finished_run.front.best()
    assert best is not None
    export_trial(finished_run, "best", tmp_path / "best", prove=False)
    readme = (tmp_path / "best" / "README.md").read_text()
    trial = best.trials[0]
    for row in (
        f"| trial | {trial.number} |",
        f"| seed | {trial.seed} |",
        "| data | digits |",
        "| epochs | 1 |",
        f"| validation accuracy | {trial.metrics['accuracy']:.4f} |",
        "(of pixels in 0..1)",
    ):
        assert row in readme, row
    plain = finished_run.front.references["plain"]
    export_trial(finished_run, str(plain.number), tmp_path / "plain", prove=False)
    readme = (tmp_path / "plain" / "README.md").read_text()
    assert len(plain.trials) == 2 and f"{plain.trials[1].metrics['accuracy']:.4f} ({plain.trials[1].seed})" in readme


def test_bad_trials(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert "'99' is no trial of" in refused(capsys, run.path, "--trial", "99", "-o", out)
    assert "'../../x' is no trial of" in refused(capsys, run.path, "--trial", "../../x", "-o", out)
    first, *others = run.trials
    run.ledger.write([replace(first, status="failed", error="the loss is nan", metrics={}), *others])
    assert "trial 0 failed: the loss is nan; take one that is complete" in refused(capsys, run.path, "--trial", "0", "-o", out)
    run.ledger.write([replace(first, number="../../evil"), *others])  # type: ignore[arg-type]
    assert "line 1: damaged line" in refused(capsys, run.path, "--trial", "1", "-o", out)
    assert not out.exists()


def test_weights_that_are_not_there(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = {int(path.stem) for path in (run.path / "weights").glob("*.safetensors")}
    gone = next((trial.number for trial in run.trials if trial.number not in kept), None)
    if gone is None:
        gone = max(kept)
        run.weights_path(gone).unlink()
    line = refused(capsys, run.path, "--trial", gone, "-o", tmp_path / "out")
    assert f"the weights of trial {gone} are not there" in line and "--keep-weights all" in line and "--untrained" in line
    assert main(["export", str(run.path), "--trial", str(gone), "-o", str(tmp_path / "out"), "--untrained", "--no-proof"]) == 0
    assert names(tmp_path / "out") == ["README.md", "architecture.json", "model.py"]
    assert "There are no weights here" in (tmp_path / "out" / "README.md").read_text()
    capsys.readouterr()
    best = run.front.best()
    assert best is not None
    run.weights_path(best.number).write_bytes(b"\x80\x04not safetensors")
    line = refused(capsys, run.path, "-o", tmp_path / "more")
    assert "is damaged" in line and f"{best.number:05d}.safetensors" in line
    front = run.front.front
    run.weights_path(front[-1].number).unlink()
    refused(capsys, run.path, "--trial", "all-front", "-o", tmp_path / "more")
    assert not (tmp_path / "more").exists() and not list(tmp_path.glob(".*"))


def test_bad_targets_of_a_run(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    (tmp_path / "empty").mkdir()
    for trial in ("best", "all-front"):
        assert "exists; choose another target, or overwrite it (--force)" in refused(
            capsys, run.path, "--trial", trial, "-o", tmp_path / "full"
        )
        assert "mine.txt is no folder" in refused(capsys, run.path, "--trial", trial, "-o", tmp_path / "full" / "mine.txt" / "net")
    assert "is one file, and the front has" in refused(capsys, run.path, "--trial", "all-front", "-o", tmp_path / "net.py")
    for flag in ("--hub", "--timm"):
        assert f"{flag}: " in refused(capsys, run.path, "-o", tmp_path / "net.py", flag)
    assert "is no YAML file of a space" in refused(capsys, run.path, "--architecture", "plain", "-o", tmp_path / "out")
    assert names(tmp_path / "full") == ["mine.txt"]
    assert main(["export", str(run.path), "-o", str(tmp_path / "empty"), "--no-proof"]) == 0
    assert (tmp_path / "empty" / "model.py").exists()
    assert main(["export", str(run.path), "-o", str(tmp_path / "made" / "on" / "the" / "way.py"), "--no-proof"]) == 0
    assert (tmp_path / "made" / "on" / "the" / "way.py").exists()


# A space.


def test_export_without_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "paper"
    assert main(["export", str(DIGITS), "--architecture", "paper", "-o", str(out), "--hub", "--timm", "--no-proof"]) == 0
    assert capsys.readouterr().out.splitlines()[0] == str(out / "model.py")
    assert names(out) == ["README.md", "architecture.json", "hubconf.py", "model.py", "timm_model.py"]
    again = tmp_path / "again.py"
    assert main(["export", str(DIGITS), "--architecture", str(out / "architecture.json"), "-o", str(again), "--no-proof"]) == 0
    code = "import model, sys; assert 'se_nas' not in sys.modules; print(sum(p.numel() for p in model.build().parameters()))"
    done = subprocess.run([sys.executable, "-c", code], cwd=out, capture_output=True, text=True, check=True)
    assert int(done.stdout) == json.loads((out / "architecture.json").read_text())["params"]


def test_a_space_needs_an_architecture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["--trial", "best"], ["--trial", "best", "--architecture", "plain"]):
        assert "is a space, and has no trials; name one of its architectures" in refused(capsys, DIGITS, *arguments, "-o", tmp_path / "out")
    assert "no such file" in refused(capsys, DIGITS, "--architecture", "nowhere.json", "-o", tmp_path / "out")
    assert "no such file" in refused(capsys, tmp_path / "no.yaml", "--architecture", "plain", "-o", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


R4 = {"reduction": 4, "squeeze": "avg", "gate": "sigmoid", "placement": "standard"}
GOOD: dict[str, Any] = {"layer1.0": R4, "layer2.0": None, "layer3.0": {"reduction": 8}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("\ud800", "not text in UTF-8"),
        ("[]", "'[]' is not an architecture"),
        ("{}", "layer1.0 is missing"),
        ({**GOOD, "layer9": None}, "unknown group 'layer9'; the space has layer1.0, layer2.0, layer3.0"),
        ({**GOOD, '"""\nimport os': None}, "unknown group"),
        ({k: v for k, v in GOOD.items() if k != "layer2.0"}, "layer2.0 is missing; give each group its setting, null for no SE"),
        ({**GOOD, "layer2.0": 4}, "layer2.0: '4' is not a setting"),
        ({**GOOD, "layer2.0": {}}, "layer2.0: '{}' is not a setting"),
        ({**GOOD, "layer2.0": {"reduction": 4, "ratio": 2}}, "layer2.0: unknown key 'ratio'"),
        ({**GOOD, "layer2.0": {"reduction": "4"}}, "layer2.0: '4' is not a valid reduction"),
        ({**GOOD, "layer2.0": {"reduction": True}}, "layer2.0: True is not a valid reduction"),
        ({**GOOD, "layer2.0": {"reduction": 0}}, "layer2.0, reduction: 0 is below 1"),
        ({**GOOD, "layer2.0": {"reduction": 3}}, "layer2.0, reduction: 3 is not a candidate of the space; it has 4, 8"),
        ({**GOOD, "layer2.0": {**R4, "squeeze": "std"}}, "layer2.0, squeeze: 'std' is not a candidate of the space; it has avg, max"),
        ({**GOOD, "layer2.0": {**R4, "gate": "__import__('os')"}}, "gate: \"__import__('os')\" is not a candidate"),
        ({**GOOD, "layer2.0": {**R4, "placement": "post"}}, "placement: 'post' is not a candidate"),
        ({**GOOD, "layer2.0": {**R4, "placement": "nowhere"}}, "nowhere"),
    ],
)
def test_bad_architecture_files(content: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "arch.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8", errors="surrogatepass")
    with pytest.raises(InputError) as error:
        find_architecture(digits_space(), str(path))
    assert any(part in str(error.value) for part in message.split("|")), error.value
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_good_architecture_files(tmp_path: Path) -> None:
    space = digits_space()
    path = tmp_path / "arch.json"
    for data in (GOOD, {"id": "whatever", "architecture": GOOD}):
        path.write_text(json.dumps(data))
        architecture = find_architecture(space, str(path))
        assert space.contains(architecture) and architecture["layer2.0"] is None and architecture["layer3.0"].reduction == 8
    for name in ("plain", "paper"):  # the paper's r = 16 is no candidate of this space
        path.write_text(json.dumps(space.reference(name).to_json()))
        assert find_architecture(space, str(path)) == find_architecture(space, name) == space.reference(name)
    no_none = digits_space(allow_none=False)
    path.write_text(json.dumps(GOOD))
    with pytest.raises(InputError, match=r"layer2.0: no SE \(null\) is not a candidate"):
        find_architecture(no_none, str(path))


def test_an_export_can_be_read_back(finished_run: Run, tmp_path: Path) -> None:
    space = finished_run.space
    for entry in finished_run.front.front:
        record = {"id": entry.architecture.id, "architecture": entry.architecture.to_json()}
        (tmp_path / "a.json").write_text(json.dumps(record))
        found = find_architecture(space, str(tmp_path / "a.json"))
        assert isinstance(found, Architecture) and found.id == entry.architecture.id
    assert isinstance(space, SearchSpace)
