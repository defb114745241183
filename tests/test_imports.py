"""Imports point one way, and heavy libraries are loaded only by those who need them."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest
from conftest import ROOT

FLOORS = [
    ["errors", "graph"],
    ["candidates"],
    ["extra"],
    ["architecture", "blocks", "discover", "objective", "spacefile", "budget", "feasible", "codes"],
    ["se", "dimensions", "attached", "categorical", "hypervolume"],
    ["placement", "backbones", "trial", "trade"],
    ["cost", "sites", "front", "ledger"],
    ["secost", "run"],
    ["group"],
    ["costtable", "coding"],
    ["variants"],
    ["space"],
    ["observer", "strategies", "evaluate", "exporter"],
    ["settings"],
    ["report", "environment", "warmstart", "oneshot"],
    ["engines", "integrations"],
    ["api"],
    ["cli", "nni_trial"],
    ["__main__"],
]
"""Each module or folder imports only from floors below its own, or from within its own folder."""

FLOOR = {name: floor for floor, names in enumerate(FLOORS) for name in names}


def imports(path) -> set[str]:
    """Names of se_nas modules that a file imports anywhere, but for types alone."""
    found = set()
    tree = ast.parse(path.read_text())
    typing_only = {
        id(n) for node in ast.walk(tree) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test) for n in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and id(node) not in typing_only:
            if node.module == "se_nas":
                found |= {alias.name for alias in node.names}
            elif node.module.startswith("se_nas."):
                found.add(node.module.split(".")[1])
    return found - {"__version__"}


@pytest.mark.parametrize("path", sorted((ROOT / "se_nas").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path) -> None:
    room = path.relative_to(ROOT / "se_nas").parts[0].removesuffix(".py")
    if room == "__init__":
        return
    for other in imports(path) - {room}:
        assert FLOOR[other] < FLOOR[room], f"{room} imports {other}, which is not below it"


@pytest.mark.parametrize("path", sorted((ROOT / "se_nas").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_grows_past_what_one_can_hold_in_mind(path) -> None:
    assert len(path.read_text().splitlines()) <= 400


def loaded_after(*arguments: str) -> set[str]:
    code = f"import sys; from se_nas.cli import main\ntry: main({list(arguments)!r})\nexcept SystemExit: pass\n"
    code += "print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(done.stderr.split())


HEAVY = {"torch", "numpy", "optuna", "torchvision", "ray", "nni"}


def test_help_and_import_load_nothing_heavy() -> None:
    assert not loaded_after("--help") & (HEAVY | {"rich", "yaml"})
    assert not loaded_after("search", "--help") & (HEAVY | {"rich", "yaml"})
    code = "import sys, se_nas; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not set(done.stdout.split()) & HEAVY


def test_show_loads_no_torch(finished_run) -> None:
    for arguments in (["show", str(finished_run.path)], ["show", str(finished_run.path), "--json"], ["report", str(finished_run.path)]):
        assert not loaded_after(*arguments) & HEAVY


def test_the_public_face_is_whole() -> None:
    import se_nas

    assert set(se_nas.__all__) == set(se_nas._HOMES)
    for name in se_nas.__all__:
        assert getattr(se_nas, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        se_nas.nothing  # noqa: B018
