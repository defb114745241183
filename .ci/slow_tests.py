#!/usr/bin/env python3
"""Choose the slow tests of what changed: prints their paths, and on standard error why each was chosen.

What changed is what differs from the last release tag or, without one, from the state ten commits ago.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMMITS = 10
EVERYTHING = "tests"

TESTS: dict[str, tuple[str, ...]] = {
    "se_nas": ("tests/test_search.py", "tests/test_cli.py"),
    "se_nas/backbones": ("tests/backbones",),
    "se_nas/cli": ("tests/test_cli.py", "tests/test_confirm.py", "tests/faults"),
    "se_nas/engines": ("tests/engines",),
    "se_nas/engines/nni_engine": ("tests/engines/test_nni_*.py",),
    "se_nas/engines/ray_tune": ("tests/engines/test_ray_*.py",),
    "se_nas/evaluate": ("tests/evaluate", "tests/test_search.py"),
    "se_nas/exporter": ("tests/exporter",),
    "se_nas/goals": ("tests/goals", "tests/strategies"),
    "se_nas/integrations": ("tests/integrations",),
    "se_nas/latency": ("tests/latency", "tests/profiling"),
    "se_nas/network": ("tests/network",),
    "se_nas/oneshot": ("tests/oneshot", "tests/engines/test_nni_one_shot.py"),
    "se_nas/profiling": ("tests/profiling",),
    "se_nas/report": ("tests/report",),
    "se_nas/run": ("tests/run", "tests/test_search.py"),
    "se_nas/se": ("tests/se", "tests/network"),
    "se_nas/space": ("tests/space",),
    "se_nas/strategies": ("tests/strategies", "tests/test_search.py"),
    "tests": (EVERYTHING,),
    "pyproject.toml": (EVERYTHING,),
    "constraints.txt": (EVERYTHING,),
}
"""A folder or file -> the tests of it. The longest entry that a changed file lies in counts; what lies in none has no slow tests."""


def chosen(changed: Iterable[str]) -> dict[str, list[str]]:
    """Test files and folders -> the changed files for which they run. Paths are relative to the repository."""
    reasons: dict[str, list[str]] = {}
    for file in sorted(changed):
        for path in tests_of(file):
            reasons.setdefault(path, []).append(file)
    return {path: files for path, files in sorted(reasons.items()) if not any(str(folder) in reasons for folder in Path(path).parents)}


def tests_of(file: str) -> list[str]:
    """The tests of one changed file. A test is its own; what tests of one folder share is all of theirs."""
    path = Path(file)
    if path.parts[0] == "tests" and len(path.parts) > 1:
        if path.match("test_*.py"):
            return [file] if (ROOT / file).exists() else []
        if len(path.parts) > 2:
            folder = "/".join(path.parts[:2])
            return [folder] if (ROOT / folder).exists() else []
    for entry in (path, *path.parents):
        if str(entry) in TESTS:
            return [str(found.relative_to(ROOT)) for pattern in TESTS[str(entry)] for found in sorted(ROOT.glob(pattern))]
    return []


def base(root: Path = ROOT) -> tuple[str, str]:
    """The state to compare with, as Git names it, and in words. A history of ten commits or fewer (a shallow clone) is all new."""
    tag = git(root, "describe", "--tags", "--abbrev=0", "--match", "v[0-9]*", "--match", "[0-9]*", missing="").strip()
    if tag:
        return tag, f"the last release, {tag}"
    history = git(root, "rev-list", "--first-parent", f"--max-count={COMMITS + 1}", "HEAD").split()
    if len(history) > COMMITS:
        return history[-1], f"{history[-1][:7]}, {COMMITS} commits ago (there is no release tag)"
    empty = git(root, "hash-object", "-t", "tree", "/dev/null").strip()
    return empty, f"nothing (the history here ends after {len(history)} commits, without a release tag)"


def changes(root: Path, state: str) -> list[str]:
    """Files that differ from a state, those deleted since and those not committed included."""
    return git(root, "diff", "--name-only", "--no-renames", "-z", state).split("\0")[:-1]


def git(root: Path, *arguments: str, missing: str | None = None) -> str:
    """What a git command prints. `missing` is the answer where it fails; without one it raises."""
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True)
    if done.returncode and missing is not None:
        return missing
    done.check_returncode()
    return done.stdout


def why(files: list[str]) -> str:
    """Changed files in one line: ``se_nas/goals (2 files), tests/goals/test_trade.py``."""
    folders: dict[str, list[str]] = {}
    for file in files:
        folders.setdefault(str(Path(file).parent), []).append(file)
    return ", ".join(f"{folder} ({len(inside)} files)" if len(inside) > 1 else inside[0] for folder, inside in folders.items())


def main() -> None:
    try:
        state, words = base()
        reasons = chosen(changes(ROOT, state))
    except (OSError, subprocess.CalledProcessError) as error:
        words, reasons = f"nothing (Git does not answer: {error})", {EVERYTHING: []}
    print(f"Slow tests of what differs from {words}:", file=sys.stderr)
    for path, files in reasons.items():
        print(f"  {path}: {why(files) or 'all'}", file=sys.stderr)
    if not reasons:
        print("  none", file=sys.stderr)
    print(*reasons, sep="\n")


if __name__ == "__main__":
    main()
