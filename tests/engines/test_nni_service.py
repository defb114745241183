"""Trials as processes of NNI's training service: what they open, find, survive and leave behind."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
from conftest import ROOT, digits_space
from safetensors.torch import load_file

import se_nas
from se_nas.engines.nni_engine.service_setup import Concurrency, choose_concurrency
from se_nas.run.run import Run
from se_nas.run.settings import SearchSettings

SPACE = str(ROOT / "search_spaces/digits_resnet8.yaml")


def start(out: Path, trials: int, *more: str) -> subprocess.Popen[str]:
    flags = ["--trials", str(trials), "--epochs", "1", "--repeats", "1", "--seed", "3", "--threads", "1", "--out", str(out)]
    service = ["--engine", "nni", "--nni-service", "local", "--workers", "2"]
    command = [sys.executable, "-m", "se_nas", "search", SPACE, *flags, *service, *more]
    heed = partial(signal.signal, signal.SIGINT, signal.default_int_handler)  # as in a terminal
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, cwd=out.parent, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=heed
    )


def family(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def trials_of(processes: list[psutil.Process]) -> list[psutil.Process]:
    found = []
    for process in processes:
        try:
            found += [process] if "se_nas.engines.nni_engine.trial" in process.cmdline() else []
        except psutil.NoSuchProcess:
            continue
    return found


def listening(processes: list[psutil.Process]) -> set[str]:
    found = set()
    for process in processes:
        try:
            found |= {c.laddr.ip for c in process.net_connections("inet") if c.status == psutil.CONN_LISTEN}
        except psutil.NoSuchProcess:
            continue
    return found


def until_trials_run(process: subprocess.Popen[str], out: Path, at_once: int, finished: int = 0) -> list[psutil.Process]:
    """Every process of a search, once so many trials run together and so many are finished."""
    ledger = out / "trials.jsonl"
    while process.poll() is None:
        processes = family(process)
        done = ledger.read_bytes().count(b"\n") if ledger.exists() else 0
        if len(trials_of(processes)) >= at_once and done >= finished:
            return processes
        time.sleep(0.05)
    raise AssertionError(process.communicate()[0])


def _asked(trial: psutil.Process) -> bool:
    """Whether a trial's process speaks with the manager."""
    try:
        log = Path(trial.environ()["NNI_OUTPUT_DIR"]) / "trial.log"
    except psutil.NoSuchProcess:
        return False
    return log.exists() and "Connect to" in log.read_text()


def gone(processes: list[psutil.Process], seconds: float = 15) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]


def left_of(out: Path) -> list[psutil.Process]:
    """What runs anywhere on this machine for the run in ``out``: its manager and its trials. Tests beside this one have their own."""
    found = []
    for process in psutil.process_iter():
        try:
            line, told = " ".join(process.cmdline()), " ".join(process.environ().values())
        except psutil.Error:
            continue
        if str(out) in told and ("nni_node" in line or "se_nas.engines.nni_engine.trial" in line):
            found.append(process)
    return found


@pytest.mark.slow
def test_two_trials_at_a_time_on_loopback_and_nothing_left(tmp_path) -> None:
    home = Path.home() / "nni-experiments"
    listed = home.stat().st_mtime_ns if home.exists() else None
    process = start(tmp_path / "run", 6, "--strategy", "evolution", "--keep-weights", "all")
    processes = until_trials_run(process, tmp_path / "run", at_once=2)
    assert any("nni_node" in " ".join(p.cmdline()) for p in left_of(tmp_path / "run")) and trials_of(left_of(tmp_path / "run"))
    addresses = listening([psutil.Process(process.pid), *processes])
    assert addresses and all(ipaddress.ip_address(address).is_loopback for address in addresses)
    shown, _ = process.communicate()
    assert process.returncode == 0, shown
    assert "2 trials at a time by NNI's local service, http://127.0.0.1:" in shown
    assert gone(processes) and gone(left_of(tmp_path / "run"))
    assert (home.stat().st_mtime_ns if home.exists() else None) == listed
    run = Run.open(tmp_path / "run")
    space = se_nas.SearchSpace.from_yaml(SPACE)
    assert sorted(trial.number for trial in run.trials) == list(range(6))
    for trial in run.trials:
        assert trial.complete and trial.worker.startswith("nni:")
        space.build(trial.architecture).load_state_dict(run.load_weights(trial.number), strict=True)
    assert not list((tmp_path / "run" / "nni" / "weights").iterdir())
    assert run.config["ended"] == "complete"


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL, signal.SIGTERM])
def test_stopped_it_leaves_no_process_and_loses_no_trial(sign, tmp_path) -> None:
    process = start(tmp_path / "run", 8, "--strategy", "se-nas:random")
    processes = until_trials_run(process, tmp_path / "run", at_once=1, finished=3)
    os.kill(process.pid, sign)
    shown, _ = process.communicate(timeout=60)
    assert process.returncode == (-9 if sign == signal.SIGKILL else 130)
    if sign != signal.SIGKILL:
        assert "se-nas resume" in shown
    assert gone(processes)
    finished = Run.open(tmp_path / "run").trials
    assert len(finished) >= 3
    run = se_nas.resume(tmp_path / "run", engine="local")
    assert run.trials[: len(finished)] == finished and len(run.trials) == 8
    assert len({trial.number for trial in run.trials}) == 8


@pytest.mark.slow
def test_a_trial_that_is_killed_has_failed_and_the_search_goes_on(tmp_path) -> None:
    process = start(tmp_path / "run", 4, "--strategy", "random", "--epochs", "8")
    known = until_trials_run(process, tmp_path / "run", at_once=0, finished=2)  # the references; proposals come after them
    running: list[psutil.Process] = []
    while process.poll() is None and not running:  # a proposal that has just asked for its job
        fresh = [trial for trial in trials_of(family(process)) if trial not in known]
        running = [trial for trial in fresh if _asked(trial)]
        time.sleep(0.02)
    time.sleep(2)
    running[0].kill()
    shown, _ = process.communicate(timeout=300)
    assert process.returncode == 0, shown
    trials = Run.open(tmp_path / "run").trials
    assert [("ended without a result" in str(t.error)) for t in trials if t.status == "failed"] == [True] and len(trials) == 4
    assert gone(left_of(tmp_path / "run"))


@pytest.mark.slow
def test_from_a_start_its_trials_leave_the_backbone_and_its_confirmation_trains_it(tmp_path) -> None:
    path, service = tmp_path / "run", {"engine": "nni", "nni_service": "local", "workers": 2}
    se_nas.search(digits_space(), out=path, start="train", start_epochs=1, epochs=1, trials=3, keep_weights="all", **service)
    run = se_nas.confirm(path, top=1, seeds=2, **service)
    begun = load_file(path / "start.safetensors")["conv1.weight"]
    both = [*run.trials, *run.confirmed]
    assert len(run.confirmed) >= 4 and all(trial.worker.startswith("nni:") for trial in both)
    for trial in both:
        assert run.load_weights(trial.number)["conv1.weight"].equal(begun) == (trial in run.trials)


AFTERWARDS = """
import sys, time
import se_nas

if __name__ == "__main__":
    space = se_nas.SearchSpace.from_yaml(sys.argv[1])
    se_nas.search(space, data="digits", epochs=1, trials=2, out=sys.argv[2], engine="nni", nni_service="local")
    time.sleep(5)  # NNI tries to hear more after 0, 1 and 3 seconds
"""


@pytest.mark.slow
def test_nothing_is_heard_of_a_service_after_its_search(tmp_path) -> None:
    script = tmp_path / "script.py"
    script.write_text(AFTERWARDS)
    command = [sys.executable, str(script), SPACE, str(tmp_path / "run")]
    done = subprocess.run(command, text=True, capture_output=True, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert "Failed to receive" not in done.stdout + done.stderr


@pytest.mark.slow
def test_a_busy_port_is_left_to_its_owner(tmp_path, monkeypatch) -> None:
    from se_nas.engines.nni_engine import manager

    with socket.create_server(("127.0.0.1", 0)) as owner:
        real, busy = manager.free_port, [owner.getsockname()[1]]
        monkeypatch.setattr(manager, "free_port", lambda: busy.pop() if busy else real())
        run = se_nas.search(
            digits_space(), out=tmp_path / "run", engine="nni", nni_service="local", workers=1, trials=2, epochs=1, strategy="known-cost"
        )
    assert len(run.trials) == 2 and not busy


def test_how_many_trials_and_gpus(monkeypatch) -> None:
    from se_nas.engines.nni_engine import service_setup

    monkeypatch.setattr(service_setup, "_gpus_here", lambda: 4)
    assert choose_concurrency(SearchSettings(), 1, 0) == Concurrency(4, 1, 1)
    assert choose_concurrency(SearchSettings(gpus_per_trial=0.25), 1, 0) == Concurrency(16, 1, 4)
    assert choose_concurrency(SearchSettings(gpus_per_trial=2), 1, 0) == Concurrency(2, 2, 1)
    assert choose_concurrency(SearchSettings(device="cpu", workers=3), 1, 0) == Concurrency(3, 0, 1)
    assert choose_concurrency(SearchSettings(), 1, 3) == Concurrency(3, None, 1)
    with pytest.raises(se_nas.InputError, match="8 GPUs a trial, and this machine has 4"):
        choose_concurrency(SearchSettings(gpus_per_trial=8), 1, 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("machines: []", "it lists no machines"),
        ("machines: [{host: a}]", "machine 1: {'host': 'a'} is not a machine; give host and user"),
        ("machines: [{host: a, user: b, password: c}]", "is not a machine"),
        ("machines: [{host: a, user: b, ssh_key_file: /no/key}]", "there is no key /no/key"),
    ],
)
def test_a_machine_list_that_cannot_be(text, message, tmp_path) -> None:
    file = tmp_path / "machines.yaml"
    file.write_text(text)
    settings = {"engine": "nni", "nni_service": "remote", "nni_machines": str(file)}
    with pytest.raises(se_nas.InputError) as caught:
        se_nas.search(digits_space(), out=tmp_path / "run", **settings)
    assert message in str(caught.value) and str(file) in str(caught.value)
    assert not (tmp_path / "run").exists()
