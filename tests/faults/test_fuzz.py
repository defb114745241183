"""The fuzzing of `benchmarks/fuzz.py`, in small; and that it would see what it looks for."""

from __future__ import annotations

import subprocess
import sys

import pytest
from conftest import ROOT
from fuzz import verdict


@pytest.mark.slow
@pytest.mark.parametrize("seed", [5, 6])
def test_nothing_but_one_line_and_code_2(seed: int) -> None:
    command = [sys.executable, "benchmarks/fuzz.py", "--n", "100", "--seed", str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "100 inputs, 0 failed" in done.stdout, done.stdout[-3000:] + done.stderr[-2000:]


def test_what_does_not_hold_is_seen() -> None:
    assert verdict(0, "") == verdict(2, "se-nas: no\n") == ""
    assert verdict(1, "") == "exit code 1" and verdict(1, "Traceback (most recent call last)") == "traceback"
    assert verdict(2, "a\nb\n") == "2 lines" and verdict(2, "a\x1b\n") == verdict(2, "x" * 9999) == "a long or unprintable line"
