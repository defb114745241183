"""What CI runs beside the default tests: which slow tests (`.ci/slow_tests.py`), and for how long (`budget.py`)."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from budget import MINUTES
from conftest import ROOT


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("slow_tests", ROOT / ".ci/slow_tests.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


slow_tests = load()
ROOMS = sorted(path.parent.relative_to(ROOT).as_posix() for path in (ROOT / "se_nas").glob("*/__init__.py"))


@pytest.mark.parametrize("package", ROOMS)
def test_every_room_has_tests(package: str) -> None:
    assert package in slow_tests.TESTS, f"say in .ci/slow_tests.py which slow tests {package} has"


@pytest.mark.parametrize("entry", slow_tests.TESTS)
def test_every_entry_exists(entry: str) -> None:
    assert (ROOT / entry).exists()
    for pattern in slow_tests.TESTS[entry]:
        assert list(ROOT.glob(pattern)), f"{pattern} fits nothing"


@pytest.mark.parametrize("file", MINUTES)
def test_every_measured_file_exists(file: str) -> None:
    assert (ROOT / file).exists()


@pytest.mark.parametrize(
    ("changed", "tests"),
    [
        (["se_nas/backbones/resnet.py"], ["tests/backbones"]),
        (["se_nas/backbones/resnet.py", "se_nas/network/a_deleted_file.py"], ["tests/backbones", "tests/network"]),
        (["se_nas/exporter/generator/loops.py", "tests/exporter/test_deploy.py"], ["tests/exporter"]),
        (["se_nas/api.py"], ["tests/test_cli.py", "tests/test_search.py"]),
        (["tests/space/test_extra.py"], ["tests/space/test_extra.py"]),
        (["tests/space/test_that_was_deleted.py", "tests/a_deleted_folder/conftest.py"], []),
        (["tests/engines/conftest.py"], ["tests/engines"]),
        (["tests/run/before/run.yaml"], ["tests/run"]),
        (["tests/conftest.py", "se_nas/space/space.py"], ["tests"]),
        (["pyproject.toml"], ["tests"]),
        (["README.md", "docs/nni.md", "benchmarks/run.py", "se_nas_of_another/file.py"], []),
        ([], []),
    ],
)
def test_chosen(changed: list[str], tests: list[str]) -> None:
    assert list(slow_tests.chosen(changed)) == tests


def test_an_engine_does_not_choose_the_others() -> None:
    of_ray = slow_tests.chosen(["se_nas/engines/ray_tune/desk.py"])
    assert of_ray and all(path.startswith("tests/engines/test_ray_") for path in of_ray)
    assert list(slow_tests.chosen(["se_nas/engines/plan.py", "se_nas/engines/ray_tune/desk.py"])) == ["tests/engines"]


def git(directory: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "protocol.file.allow=always")
    return subprocess.run(["git", *who, *arguments], cwd=directory, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """Thirteen commits, each of a file of its own, 0 to 12."""
    origin = tmp_path / "origin"
    origin.mkdir()
    git(origin, "init", "--quiet")
    for number in range(13):
        (origin / str(number)).write_text("")
        git(origin, "add", ".")
        git(origin, "commit", "--quiet", "--message", str(number))
    return origin


def changed(root: Path) -> set[str]:
    return set(slow_tests.changes(root, slow_tests.base(root)[0]))


def test_without_a_release_the_last_ten_commits_count(history: Path) -> None:
    assert changed(history) == {str(number) for number in range(3, 13)}
    git(history, "rm", "--quiet", "1")
    assert "1" in changed(history)  # not committed yet


def test_a_merge_is_one_commit_with_all_that_it_brings(history: Path) -> None:
    git(history, "checkout", "--quiet", "-b", "side", "HEAD~1")
    for number in range(20, 35):
        git(history, "mv", "0" if number == 20 else str(number - 1), str(number))
        git(history, "commit", "--quiet", "--message", str(number))
    git(history, "checkout", "--quiet", "-")
    git(history, "merge", "--quiet", "--no-edit", "side")
    assert changed(history) == {"0", "34", *(str(number) for number in range(4, 13))}


def test_a_release_counts_from_its_tag(history: Path) -> None:
    git(history, "tag", "v0.2.0", "HEAD~2")
    git(history, "tag", "measured", "HEAD")
    assert slow_tests.base(history)[0] == "v0.2.0" and changed(history) == {"11", "12"}


@pytest.mark.parametrize("depth", [1, 4])
def test_in_a_shallow_clone_all_is_new(history: Path, tmp_path: Path, depth: int) -> None:
    git(tmp_path, "clone", "--quiet", "--depth", str(depth), f"file://{history}", "clone")
    assert changed(tmp_path / "clone") == {str(number) for number in range(13)}


def test_without_git_all_slow_tests_are_chosen(tmp_path: Path) -> None:
    """In a copy that is no repository."""
    (tmp_path / ".ci").mkdir()
    script = tmp_path / ".ci/slow_tests.py"
    script.write_bytes((ROOT / ".ci/slow_tests.py").read_bytes())
    environment = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "tests\n" and "Git does not answer" in done.stderr


CONFTEST = """
from budget import MINUTES, Budget

MINUTES.update({"test_a_long.py": 9, "test_long.py": 8, "test_quick.py": 0})

def pytest_configure(config):
    config.pluginmanager.register(Budget(config, 5))
"""
QUICK = "def test_one(): pass\ndef test_two(): pass\n"
LONG = "def test_long(): raise SystemError\n"


@pytest.mark.parametrize("workers", ["0", "2"])
def test_tests_over_the_budget_do_not_begin_and_are_named(tmp_path: Path, workers: str) -> None:
    for name, text in {"conftest.py": CONFTEST, "test_a_long.py": LONG, "test_long.py": LONG, "test_quick.py": QUICK}.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-v", "-n", workers, "--rootdir", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    *lines, last = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout
    begun = [line for line in lines if "test_quick.py::" in line or "SKIPPED" in line]
    assert workers == "2" or ["test_quick" in line for line in begun] == [True, True, False, False]
    (title,) = [number for number, line in enumerate(lines) if "not run within 5 minutes: 2 tests" in line]
    assert lines[title + 1 : title + 3] == ["test_a_long.py::test_long", "test_long.py::test_long"]
    assert "2 passed, 2 skipped" in last
