"""The command on Ray workers, from outside: what it opens, says, survives and leaves behind."""

from __future__ import annotations

import ipaddress
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest
from conftest import ROOT

import se_nas
from se_nas.api import start as start_search
from se_nas.run.run import Run
from se_nas.run.settings import resolve_settings
from se_nas.space.spacefile import load_space

SPACE = str(ROOT / "search_spaces/digits_resnet8.yaml")


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "se_nas", *map(str, arguments)]


def search(out: Path, trials: int = 8, *more: object) -> list[str]:
    flags = ["--trials", trials, "--epochs", 1, "--repeats", 1, "--seed", 3, "--strategy", "random", "--out", out]
    return command("search", SPACE, *flags, "--engine", "ray", "--workers", 1, *more)


def start(arguments: list[str]) -> subprocess.Popen[str]:
    # a shell's background job ignores SIGINT, and hands that on to what it starts: a terminal does not
    heed = partial(signal.signal, signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(arguments, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed)


def wait_for(run: Path, lines: int, process: subprocess.Popen[str]) -> None:
    ledger = run / "trials.jsonl"
    while process.poll() is None and (not ledger.exists() or ledger.read_bytes().count(b"\n") < lines):
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()


def temporary(process: subprocess.Popen[str]) -> list[Path]:
    return list(Path("/tmp").glob(f"se-nas-ray-{process.pid}-*"))


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def gone(processes: list[psutil.Process], seconds: float = 30) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]


def listening(processes: list[psutil.Process]) -> Iterator[str]:
    for process in processes:
        try:
            for connection in process.net_connections("inet"):
                if connection.status == psutil.CONN_LISTEN or (not connection.raddr and connection.status == psutil.CONN_NONE):
                    yield connection.laddr.ip
        except psutil.NoSuchProcess:
            continue


def proposals(run: Path) -> list[tuple[object, ...]]:
    return [(t.number, t.architecture, t.status, dict(t.metrics), t.after) for t in Run.open(run).trials]


@pytest.mark.slow
def test_closed_quiet_and_killed_without_loss(tmp_path) -> None:
    """Every socket is on loopback; ``kill -9`` leaves no process and loses no finished trial; the local engine finishes the search."""
    whole, run = tmp_path / "whole", tmp_path / "run"
    process = start(search(run, 60))
    wait_for(run, 3, process)
    children = family(process)
    addresses = set(listening([psutil.Process(process.pid), *children]))
    assert addresses and all(ipaddress.ip_address(address.removeprefix("::ffff:")).is_loopback for address in addresses)
    (directory,) = temporary(process)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / "r/session_latest/logs").exists() and not (directory / "r/session_latest/usage_stats.json").exists()
    helpers = [child for child in children if child.name().endswith("Agent")]  # of Ray's, the only ones that outlive a kill
    process.kill()
    out, err = process.communicate()
    assert out == "" and not re.search(r"ray|tune|warn", re.sub(r"\S*/\S*", "", err), re.IGNORECASE), err
    assert gone([child for child in children if child not in helpers])
    finished = Run.open(run).trials
    assert 3 <= len(finished) < 60
    total = len(finished) + 3
    se_nas.resume(run, engine="local", trials=total)
    assert Run.open(run).trials[: len(finished)] == finished
    section = load_space(SPACE)[1]
    settings = resolve_settings(section, SPACE, {"trials": total, "epochs": 1, "repeats": 1, "seed": 3, "strategy": "random"})
    start_search(se_nas.SearchSpace.from_yaml(SPACE), settings, whole)
    assert proposals(run) == proposals(whole)


@pytest.mark.slow
def test_the_next_search_clears_away_what_a_killed_one_left(tmp_path) -> None:
    process = start(search(tmp_path / "killed", 60, "--quiet"))
    wait_for(tmp_path / "killed", 1, process)
    children = family(process)
    process.kill()
    process.communicate()
    assert temporary(process) and gone(children, 150)
    done = subprocess.run(search(tmp_path / "run", 3, "--quiet"), cwd=ROOT, capture_output=True, text=True, check=True)
    assert not temporary(process) and done.stdout == done.stderr == ""
    assert sorted(path.name for path in (tmp_path / "run").iterdir() if path.name not in ("lock", "lock.owner")) == [
        "run.yaml",
        "trials.jsonl",
        "weights",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_ctrl_c_leaves_nothing_running(tmp_path, number: signal.Signals) -> None:
    run = tmp_path / "run"
    process = start(search(run, 60))
    wait_for(run, 3, process)
    children = family(process)
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=90)
    assert process.returncode == 130 and "Traceback" not in err and f"se-nas resume {run}" in err
    assert "plain" in out and "paper" in out
    assert gone(children) and not temporary(process)
    finished = Run.open(run).trials
    subprocess.run(command("resume", run, "--trials", len(finished) + 2, "--quiet"), check=True, cwd=ROOT)
    assert Run.open(run).trials[: len(finished)] == finished


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of 2 MB."""
    path = tmp_path / "small"
    path.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(path)], capture_output=True).returncode:
        pytest.skip("only a superuser can mount a file system")
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["ray", "local"])
def test_a_full_disk_ends_the_search_and_loses_nothing(small_disk: Path, engine: str) -> None:
    run = small_disk / "run"
    arguments = [*search(run, 60, "--quiet", "--keep-weights", "all"), "--engine", engine]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 2 and re.search("No space left on device.*; make room.*, then go on: se-nas resume", done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    finished = Run.open(run).trials
    assert finished
    for path in (run / "weights").glob("*"):
        path.unlink()
    more = command("resume", run, "--trials", len(finished) + 1, "--engine", "local", "--quiet")
    subprocess.run(more, check=True, cwd=ROOT)
    assert Run.open(run).trials[: len(finished)] == finished


def test_storage_that_cannot_be_written_is_said_before_anything_is_trained(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    done = subprocess.run(search(tmp_path / "run", 3, "--storage", tmp_path / "file"), cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "cannot be written" in done.stderr and "--storage" in done.stderr and "Traceback" not in done.stderr
    assert Run.open(tmp_path / "run").trials == []


def test_without_the_extra_it_says_how_to_get_it(tmp_path) -> None:
    hide = "import sys, importlib.util as u\nfind = u.find_spec\nu.find_spec = lambda name, *a: None if name == 'ray' else find(name, *a)\n"
    code = f"{hide}from se_nas.cli import main\nsys.exit(main(sys.argv[1:]))"
    arguments = [sys.executable, "-c", code, *search(tmp_path / "run")[3:]]
    done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == 'se-nas: engine: the ray engine needs Ray Tune, which is not installed; pip install "se-nas[ray]"\n'
    assert not (tmp_path / "run").exists()


def test_flags_that_cannot_be_are_refused(tmp_path) -> None:
    space = se_nas.SearchSpace("resnet8", (1, 8, 8), reduction=[4], backbone_args={"in_channels": 1})
    for arguments, message in (
        ({"gpus_per_trial": 0.5, "device": "cpu"}, "GPU"),
        ({"gpus_per_trial": 1.5}, "1.5 GPUs cannot be given to a trial"),
        ({"device": "cuda"}, "trials on a GPU have none"),
        ({"workers": -1}, "-1 is below 0"),
        ({"scheduler": "asha", "epochs": 1}, "a trial of one epoch cannot end early"),
        ({"scheduler": "best"}, "unknown scheduler 'best'"),
        ({"threads": 4, "cpus_per_trial": 2}, "4 threads on 2 cores"),
        ({"engine": "slurm"}, "unknown engine 'slurm'"),
    ):
        with pytest.raises(se_nas.InputError, match=message):
            se_nas.search(space, out=tmp_path / "run", **{"engine": "ray", **arguments})
    assert not (tmp_path / "run").exists()
