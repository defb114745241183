"""Imports point one way, and heavy libraries are loaded only by those who need them."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from conftest import ROOT

FLOORS = [
    ["errors"],
    ["setting"],
    ["backbones", "se"],
    ["network"],
    ["space"],
    ["evaluate", "goals"],
    ["run"],
    ["exporter", "report", "strategies"],
    ["oneshot"],
    ["engines", "integrations"],
    ["api"],
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


def test_help_show_and_report_load_nothing_heavy(finished_run) -> None:
    """One process goes through all steps, from the lightest on, and says after each which modules are loaded."""
    run = str(finished_run.path)
    light = ["import se_nas", "run --help", "run search|--help"]
    others = [f"run show|{run}", f"run show|{run}|--json", f"run report|{run}", "import se_nas.report.live"]
    done = subprocess.run([sys.executable, "-c", STEPS, *light, *others], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = dict(zip([*light, *others], map(str.split, done.stderr.splitlines()), strict=True))
    for step, modules in loaded.items():
        assert not set(modules) & (HEAVY | {"rich", "yaml"} if step in light else HEAVY), step
    assert {"se_nas.cli", "se_nas.report.table", "se_nas.report.html", "se_nas.report.live"} <= set(loaded[others[-1]])


def test_the_public_face_is_whole() -> None:
    import se_nas

    assert set(se_nas.__all__) == set(se_nas._HOMES)
    for name in se_nas.__all__:
        assert getattr(se_nas, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        se_nas.nothing  # noqa: B018
