"""Imports point one way, and heavy libraries are loaded only by those who need them."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from conftest import ROOT, digits_space

import se_nas
from se_nas.evaluate import Evaluation, Report
from se_nas.space.architecture import Architecture

FLOORS = [
    ["text"],
    ["errors"],
    ["files"],
    ["reading"],
    ["setting"],
    ["backbones", "se"],
    ["network"],
    ["latency"],
    ["space"],
    ["evaluate", "goals"],
    ["run"],
    ["exporter", "report", "strategies"],
    ["oneshot", "profiling"],
    ["engines", "integrations"],
    ["api"],
    ["trust"],
    ["cli"],
    ["__main__"],
]
"""The rooms: each imports only from floors below its own, or from within itself."""

FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}
FILES = sorted((ROOT / "se_nas").rglob("*.py"))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


MODULES = {module_name(path): path for path in FILES}


def imports(path: Path) -> set[str]:
    """Modules of se_nas that a file imports anywhere, for types alone too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names} & MODULES.keys()
            found |= inner or {node.module}
    return found & MODULES.keys() - {"se_nas"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    room = path.relative_to(ROOT / "se_nas").parts[0].removesuffix(".py")
    if room == "__init__":
        return
    for other in {name.split(".")[1] for name in imports(path)} - {room}:
        assert FLOOR[other] < FLOOR[room], f"{room} imports {other}, which is not below it"


def test_no_two_files_need_each_other() -> None:
    order = TopologicalSorter({name: imports(path) - {name} for name, path in MODULES.items() if name != "se_nas"})
    order.prepare()  # a CycleError names the circle


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_grows_past_what_one_can_hold_in_mind(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 400


HEAVY = {"torch", "numpy", "optuna", "torchvision", "ray", "nni"}


def gains(architecture: Architecture, seed: int, fidelity: Mapping[str, int], device: str, report: Report) -> Evaluation:
    return Evaluation({"accuracy": 0.5 + 0.01 * sum(spec is not None for _, spec in architecture) + 0.001 * seed})


STEPS = """
import sys
from importlib import import_module

for step in sys.argv[1:]:
    kind, _, rest = step.partition(" ")
    try:
        import_module(rest) if kind == "import" else import_module("se_nas.cli").main(rest.split("|"))
    except SystemExit:
        pass
    print(*sys.modules, file=sys.stderr)
"""


def test_help_show_and_report_load_nothing_heavy(finished_run, tmp_path) -> None:
    """One process goes through all steps, from the lightest on, and says after each which modules are loaded.

    The end of a search leaves the effects of its choices in a file. Where that is missing, as after Ctrl-C, `show` computes them,
    which takes numpy but no torch.
    """
    small, run, stale = str(finished_run.path), str(tmp_path / "run"), str(tmp_path / "stale")
    se_nas.search(digits_space(), out=run, evaluator=gains, trials=12, strategy="random")
    shutil.copytree(run, stale)
    (tmp_path / "stale" / "effects.json").unlink()
    light = ["import se_nas", "run --help", "run search|--help"]
    others = [f"run {command}" for path in (small, run) for command in (f"show|{path}", f"show|{path}|--json", f"report|{path}")]
    steps = [*light, *others, "import se_nas.report.live", f"run show|{stale}"]
    done = subprocess.run([sys.executable, "-c", STEPS, *steps], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = dict(zip(steps, map(str.split, done.stderr.splitlines()), strict=True))
    assert "numpy" in loaded.pop(steps[-1]) and not set(done.stderr.split()) & (HEAVY - {"numpy"})
    for step, modules in loaded.items():
        assert not set(modules) & (HEAVY | {"rich", "yaml"} if step in light else HEAVY), step
    assert {"se_nas.cli", "se_nas.report.table", "se_nas.report.html", "se_nas.report.live"} <= set(loaded[steps[-2]])


REFUSE = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"optuna", "ray", "nni", "timm"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Refuse())
"""


@pytest.mark.slow
def test_a_machine_with_a_gpu_and_torch_is_enough(tmp_path) -> None:
    """A machine with a GPU often has little else: its tests and its benchmark must not need more."""
    (tmp_path / "sitecustomize.py").write_text(REFUSE)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    for command in (["-m", "pytest", "-m", "gpu", "--collect-only"], ["benchmarks/gpu.py", "--help"]):
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, cwd=ROOT, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr


def test_the_public_face_is_whole() -> None:
    assert set(se_nas.__all__) == set(se_nas._HOMES)
    for name in se_nas.__all__:
        assert getattr(se_nas, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        se_nas.nothing  # noqa: B018
