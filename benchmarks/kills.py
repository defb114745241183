"""Kills searches at random moments with SIGKILL, goes on with them, and compares with one that nothing stopped.

    python benchmarks/kills.py --n 1000 --seed 0                 # the local engine, forked: some minutes
    python benchmarks/kills.py --n 20 --seed 0 --engine ray      # whole processes: about half a minute a kill
    python benchmarks/kills.py --n 20 --seed 0 --engine nni

Counted are trials that were in the ledger and are lost after a kill, trials that are in it twice, ledgers that end otherwise
than the uninterrupted one, and files that it does not have. The exit code is 0 if all are 0.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

import se_nas
from se_nas.evaluate import Evaluation, Report
from se_nas.files import OWN
from se_nas.run.run import Run
from se_nas.space.architecture import Architecture

ROOT = Path(__file__).parents[1]
SPACE = se_nas.SearchSpace(
    "resnet8", (1, 8, 8), reduction=[2, 4, 8], squeeze=["avg", "max"], backbone_args={"in_channels": 1, "width": 0.25}
)
TRIALS = {"local": 7, "ray": 8, "nni": 8}


def evaluate(architecture: Architecture, seed: int, fidelity: Mapping[str, int], device: str, report: Report) -> Evaluation:
    value = 0.5 + 0.01 * sum(spec is not None for _, spec in architecture) + 0.001 * seed
    return Evaluation({"accuracy": value}, {"weight": torch.full((64, 64), value)})


def begin(out: Path) -> None:
    """Begin a search, or go on with it, as a person does after a kill."""
    if (out / "run.yaml").exists():
        se_nas.resume(out, space=SPACE, evaluator=evaluate)
    else:
        se_nas.search(SPACE, out=out, evaluator=evaluate, trials=TRIALS["local"], strategy="nsga2", repeats=2, epochs=1)


def command(engine: str) -> Callable[[Path], list[str]]:
    def arguments(out: Path) -> list[str]:
        if (out / "run.yaml").exists():
            return [sys.executable, "-m", "se_nas", "resume", str(out), "--quiet"]
        space = str(ROOT / "search_spaces/digits_resnet8.yaml")
        flags = ["--trials", str(TRIALS[engine]), "--epochs", "1", "--repeats", "1", "--seed", "3", "--workers", "1"]
        name = "random" if engine == "ray" else "se-nas:random"
        return [
            sys.executable,
            "-m",
            "se_nas",
            "search",
            space,
            *flags,
            "--engine",
            engine,
            "--strategy",
            name,
            "--out",
            str(out),
            "--quiet",
        ]

    return arguments


def forked(out: Path) -> int:
    """Process number of a forked search."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            begin(out)
            code = 0
        finally:
            os._exit(code)
    return child


def kill_after(start: Callable[[Path], int], out: Path, seconds: float) -> bool:
    """Start, and kill after so many seconds; False if it ended before."""
    child, until = start(out), time.monotonic() + seconds
    while time.monotonic() < until:
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.0005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return True


def told(run: Run) -> list[tuple[Any, ...]]:
    return [(t.number, t.architecture.id, t.seed, t.status, tuple(t.metrics.items()), t.after) for t in run.trials]


def files(folder: Path) -> set[str]:
    """What a run keeps; a line that a kill cut short is set aside."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {"trials.jsonl.torn"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--engine", choices=TRIALS, default="local")
    args = parser.parse_args()
    rng, folder = random.Random(args.seed), Path(tempfile.mkdtemp(prefix="se-nas-kills-"))
    cli = command(args.engine)
    start = forked if args.engine == "local" else (lambda out: subprocess.Popen(cli(out), cwd=ROOT).pid)
    clock = time.monotonic()
    child = start(folder / "whole")
    assert os.waitpid(child, 0)[1] == 0
    length = time.monotonic() - clock
    whole = Run.open(folder / "whole")
    expected, kept = told(whole), files(whole.path) if args.engine == "local" else set()
    count = dict.fromkeys(("kills", "runs", "lost", "repeated", "otherwise", "other files", "failed"), 0)
    while count["kills"] < args.n:
        out, before = folder / "run", []
        count["runs"] += 1
        for _ in range(rng.randint(1, 20)):
            killed = kill_after(start, out, rng.uniform(0, 0.9 * length))
            count["kills"] += killed
            now = told(Run.open(out)) if (out / "run.yaml").exists() else []
            count["lost"] += now[: len(before)] != before
            count["repeated"] += len({line[0] for line in now}) != len(now)
            before = now
        if os.waitpid(start(out), 0)[1]:
            count["failed"] += 1
        else:
            count["otherwise"] += told(Run.open(out)) != expected
            count["other files"] += bool(kept and files(out) != kept) or any(OWN.fullmatch(path.name) for path in out.rglob("*"))
        shutil.rmtree(out, ignore_errors=True)
    shutil.rmtree(folder)
    print(", ".join(f"{number} {name}" for name, number in count.items()))
    return int(any(number for name, number in count.items() if name not in ("kills", "runs")))


if __name__ == "__main__":
    sys.exit(main())
