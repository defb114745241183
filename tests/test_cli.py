"""The command line as a person uses it: real processes for what must hold of a process, `main` for the rest."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from conftest import ROOT
from PIL import Image

from se_nas.cli import main
from se_nas.run.run import Run

DIGITS = ROOT / "search_spaces/digits_resnet8.yaml"


@pytest.fixture
def space_file(tmp_path):
    """Writes a space file whose lines a test changes."""

    def write(**changes: str):
        lines = {
            "backbone": "resnet8",
            "backbone_args": "{in_channels: 1}",
            "input_size": "[1, 8, 8]",
            "reduction": "[4, 8]",
            "search": "{epochs: 1, trials: 4}",
            **changes,
        }
        path = tmp_path / "space.yaml"
        path.write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
        return path

    return write


def refused(capsys, *arguments: object) -> str:
    """The one line that a refused command prints."""
    assert main([str(a) for a in arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("se-nas: ")
    return line


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"reductions": "[4]"}, "space.yaml: unknown key 'reductions'; did you mean 'reduction'?"),
        ({"reduction": "4"}, "space.yaml, reduction: 4 is not a list; correct the value"),
        ({"reduction": "[]"}, "space.yaml, reduction: no candidate; give at least one; each is a ratio"),
        ({"reduction": "[4, 128]"}, "space.yaml, reduction: 128 is larger than the 16 channels of site layer1.0"),
        ({"backbone": "resnet21"}, "space.yaml, backbone: unknown backbone 'resnet21'; take one of resnet8, resnet20"),
        ({"backbone": "torchvision:resnet21"}, "space.yaml, backbone: torchvision has no classification model 'resnet21'"),
        ({"backbone": "no_such_package:build"}, "space.yaml, backbone: cannot import 'no_such_package:build'"),
        ({"budgets": "{params: 10}"}, "space.yaml, budgets.params: no architecture meets params <= 10"),
        ({"allow_none": "maybe"}, "space.yaml, allow_none: 'maybe' is not true or false"),
        ({"search": "{epoch: 3}"}, "space.yaml, search: unknown key 'epoch'; did you mean 'epochs'?"),
        ({"search": "{epochs: 0}"}, "space.yaml, search, epochs: 0 is below 1; take 1 or more"),
        ({"search": "{train: {lr: fast}}"}, "lr"),
        ({"search": "{train: {speed: 3}}"}, "unknown key 'speed'"),
        ({"search": "{strategy: annealing}"}, "unknown strategy 'annealing'; take one of random, grid, nsga2"),
        ({"search": "{objectives: [speed]}"}, "unknown objective 'speed'"),
        ({"search": "{data: mnist2}"}, "mnist2"),
        ({"sites": "{match: [layer7.*]}"}, "space.yaml, sites.match: 'layer7.*' fits no site; there are layer1.0, layer2.0, layer3.0"),
        ({"backbone": "[unclosed"}, "space.yaml: not YAML"),
    ],
)
def test_bad_space_files(space_file, tmp_path, capsys, changes: dict[str, str], message: str) -> None:
    path = space_file(**changes)
    assert message in refused(capsys, "search", path, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data", "folder:/no/such/folder"], "/no/such/folder"),
        (["--budget", "params<=10"], "--budget: no architecture meets params <= 10"),
        (["--budget", "params=10"], "--budget: 'params=10' is not a budget"),
        (["--budget", "speed<=10"], "--budget: unknown budget 'speed'; take one of params, macs"),
        (["--objective", "speed"], "unknown objective 'speed'"),
        (["--trials", "0"], "--trials: 0 is below 1"),
        (["--strategy", "annealing"], "unknown strategy"),
        (["--device", "tpu"], "tpu"),
        (["--keep-weights", "some"], "--keep-weights: unknown keep_weights 'some'"),
    ],
)
def test_bad_flags(space_file, tmp_path, capsys, flags: list[str], message: str) -> None:
    assert message in refused(capsys, "search", space_file(), "--out", tmp_path / "run", *flags)
    assert not (tmp_path / "run").exists()


def test_a_folder_with_one_class(space_file, tmp_path, capsys) -> None:
    (tmp_path / "images" / "cats").mkdir(parents=True)
    Image.new("L", (8, 8)).save(tmp_path / "images" / "cats" / "1.png")
    line = refused(capsys, "search", space_file(), "--out", tmp_path / "run", "--data", f"folder:{tmp_path / 'images'}")
    assert "fewer than 2 class folders" in line
    assert not (tmp_path / "run").exists()


def test_a_missing_file_and_a_missing_run(tmp_path, capsys) -> None:
    assert "nowhere.yaml: no such file" in refused(capsys, "check", tmp_path / "nowhere.yaml")
    for command in ("show", "resume", "report"):
        assert "holds no run" in refused(capsys, command, tmp_path)
    assert "holds no run" in refused(capsys, "export", tmp_path, "-o", tmp_path / "net.py")


def test_a_run_directory_in_use(space_file, finished_run: Run, capsys) -> None:
    assert "holds a run already; go on with it" in refused(capsys, "search", space_file(), "--out", finished_run.path)
    with finished_run.lock():
        assert "in use by another search (process " in refused(capsys, "resume", finished_run.path, "--trials", "20")


def test_a_damaged_ledger(space_file, tmp_path, capsys) -> None:
    assert main(["search", str(space_file()), "--trials", "2", "--out", str(tmp_path / "run"), "--quiet"]) == 0
    ledger = tmp_path / "run/trials.jsonl"
    ledger.write_bytes(b"{broken\n" + ledger.read_bytes())
    before = {path: path.read_bytes() for path in sorted((tmp_path / "run").rglob("*")) if path.is_file()}
    for command in ("show", "resume", "report"):
        assert "trials.jsonl, line 1: damaged line" in refused(capsys, command, tmp_path / "run")
    assert "trials.jsonl, line 1: damaged line" in refused(capsys, "export", tmp_path / "run", "-o", tmp_path / "net.py")
    assert all(path.read_bytes() == content for path, content in before.items() if path.name != "lock.owner")
    assert not (tmp_path / "net.py").exists()


def test_bad_exports(finished_run: Run, tmp_path, capsys) -> None:
    assert "'99' is no trial of" in refused(capsys, "export", finished_run.path, "--trial", "99", "-o", tmp_path / "net.py")
    (tmp_path / "net.py").write_text("mine")
    line = refused(capsys, "export", finished_run.path, "-o", tmp_path / "net.py")
    assert "net.py exists" in line and "--force" in line
    assert (tmp_path / "net.py").read_text() == "mine"


def test_wrong_words_exit_with_2() -> None:
    for arguments in (["serch"], ["search"], ["search", str(DIGITS), "--trials", "many"], ["show", "x", "--jsn"]):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2


def test_a_wrong_flag_points_to_the_help_of_its_command(capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["show", "x", "--jsn"])
    assert stop.value.code == 2 and capsys.readouterr().err == "se-nas: unrecognized arguments: --jsn; see se-nas show --help\n"


def test_check_and_cost(capsys) -> None:
    assert main(["check", str(DIGITS)]) == 0
    out = capsys.readouterr().out
    assert "layer3.0" in out and "912,673" in out and "sound" in out
    assert main(["cost", str(ROOT / "search_spaces/imagenet_resnet50.yaml"), "--json"]) == 0
    costs = json.loads(capsys.readouterr().out)
    assert costs["backbone"] == {"params": 25_557_032, "macs": 3_857_973_248, "elementwise": 0, "reductions": 0, "bytes": 0}
    assert costs["paper default"]["reductions"] == 5_519_360  # channels x height x width of the 16 branches
    assert (
        costs["cheapest"]["params"] < costs["dearest allowed"]["params"] <= 1.1 * costs["backbone"]["params"] < costs["dearest"]["params"]
    )
    assert costs["paper default"]["params"] == 28_071_976


def test_show_report_and_export(finished_run: Run, tmp_path, capsys) -> None:
    assert main(["show", str(finished_run.path)]) == 0
    assert "plain" in capsys.readouterr().out
    assert main(["show", str(finished_run.path), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert {entry["trial"] for entry in shown["front"]} == {entry.number for entry in finished_run.front.front}
    assert set(shown["references"]) == {"plain", "paper"}
    assert main(["report", str(finished_run.path), "-o", str(tmp_path / "report.html")]) == 0
    assert "<svg" in (tmp_path / "report.html").read_text()
    assert main(["export", str(finished_run.path), "--trial", "best", "-o", str(tmp_path / "net.py")]) == 0
    assert (tmp_path / "net.py").exists() and (tmp_path / "net.safetensors").exists()
    out = capsys.readouterr().out.splitlines()
    assert out[-3:-1] == [str(tmp_path / "net.py"), str(tmp_path / "net.safetensors")] and out[-1].startswith("proven in ")


def test_exported_code_scores_what_the_search_said(finished_run: Run, tmp_path) -> None:
    """The whole way: the file alone, in an interpreter that has no se-nas, gives the accuracy in the ledger."""
    from se_nas.evaluate.data import load_data

    best = finished_run.front.best()
    assert best is not None
    assert main(["export", str(finished_run.path), "--trial", str(best.number), "-o", str(tmp_path / "net.py"), "--no-proof"]) == 0
    data = load_data("digits", (1, 8, 8))
    import torch

    torch.save({"x": data.val.images, "y": data.val.labels, "mean": data.mean, "std": data.std}, tmp_path / "data.pt")
    code = """
import sys, torch
sys.path.insert(0, ".")
import net
d = torch.load("data.pt")
x = (d["x"].float() / 255 - torch.tensor(d["mean"]).view(1, -1, 1, 1)) / torch.tensor(d["std"]).view(1, -1, 1, 1)
model = net.build("net.safetensors").eval()
with torch.no_grad():
    print((model(x).argmax(1) == d["y"]).double().mean().item())
try:
    import se_nas
except ImportError:
    print("alone")
"""
    blocked = "import sys; sys.modules['se_nas'] = None\n" + code
    done = subprocess.run([sys.executable, "-I", "-c", blocked], cwd=tmp_path, capture_output=True, text=True, check=True)
    accuracy, alone = done.stdout.split()
    assert float(accuracy) == pytest.approx(best.trials[0].metrics["accuracy"], abs=1e-6) and alone == "alone"


HELP = """
import sys
before = set(sys.modules)
from se_nas.cli import main
try:
    main(["--help"])
except SystemExit:
    print(*(set(sys.modules) - before), file=sys.stderr)
"""


def test_help_is_quick_as_it_loads_nothing_but_pythons_own_library() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], check=True, capture_output=True, text=True, cwd=ROOT)
    loaded = {name.partition(".")[0] for name in done.stderr.split()}
    assert "se_nas" in loaded and loaded - {"se_nas"} <= set(sys.stdlib_module_names)
