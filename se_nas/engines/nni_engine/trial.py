"""One trial as a process of NNI's training service: ``python -m se_nas.engines.nni_engine.trial RUN.YAML [WEIGHTS]``.

It takes a job from NNI, evaluates it, and reports the trial as JSON. If WEIGHTS names a directory, the network's weights go
there as NUMBER.safetensors.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from se_nas.oneshot.nni_setup import import_quietly

WATCH = 1.0
"""Seconds between two checks that the manager is alive."""


def main(config: str, weights: str = "") -> None:
    """Run one trial.

    Args:
        config: the run's ``run.yaml``.
        weights: directory for the weights; empty to keep none.
    """
    if os.environ.get("NNI_PLATFORM") == "local":
        threading.Thread(target=_end_with_manager, args=(os.getpgrp(),), daemon=True).start()
    nni = import_quietly("nni")
    payload = nni.get_next_parameter()
    number = payload["job"]["number"]
    _tell(nni, {"begun": number})
    try:
        _try(nni, payload, config, weights)
    except BaseException:
        nni.report_final_result({"default": 0.0, "trial": json.dumps({"broken": number, "error": traceback.format_exc(limit=-5)})})
        raise


def _try(nni: Any, payload: Mapping[str, Any], config: str, weights: str) -> None:
    from se_nas.engines.outcome import evaluate_job
    from se_nas.engines.plan import Job
    from se_nas.evaluate.device import choose_device
    from se_nas.run.evaluator import make_evaluator
    from se_nas.run.run import Run
    from se_nas.run.settings import resolve_settings
    from se_nas.run.trial import CONFIRM

    job = Job.from_json(payload["job"])
    timeout, began = payload["timeout"], time.perf_counter()
    if timeout:
        timer = threading.Timer(timeout, _out_of_time, (nni, job, timeout))
        timer.daemon = True
        timer.start()
    run = Run.open(Path(config).parent)
    settings = resolve_settings(run.config["search"], config, {})
    evaluator = make_evaluator(run.space, settings.whole if job.role == CONFIRM else settings, run)
    device = choose_device(settings.device.partition(":")[0])  # NNI shows a trial its own GPUs only

    def report(epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        _tell(nni, {"number": job.number, "epoch": epoch, "epochs": epochs, "metrics": dict(metrics)})

    outcome = evaluate_job(evaluator, job, device, report, f"nni:{os.uname().nodename}:{device}")
    if timeout:
        timer.cancel()
    trial = outcome.trial(job)
    if weights and outcome.weights:
        from se_nas.run.weights import save_weights

        save_weights(Path(weights) / f"{job.number}.safetensors", outcome.weights)
    _report(nni, trial.to_json(), time.perf_counter() - began)


def _report(nni: Any, trial: dict[str, Any], process_seconds: float) -> None:
    """Report the end of a trial. NNI shows the number ``default``, and passes the rest on."""
    shown = next(iter(trial["metrics"].values()), 0.0)
    nni.report_final_result({"default": shown, "trial": json.dumps(trial), "process_seconds": process_seconds})


def _tell(nni: Any, news: Mapping[str, Any]) -> None:
    nni.report_intermediate_result({"default": news.get("metrics", {}).get("accuracy", 0.0), "news": json.dumps(news)})


def _out_of_time(nni: Any, job: Any, timeout: float) -> None:
    from se_nas.engines.outcome import Outcome, took_too_long

    outcome = Outcome("failed", error=took_too_long(timeout), worker=f"nni:{os.uname().nodename}", seconds=timeout)
    _report(nni, outcome.trial(job).to_json(), timeout)
    os._exit(1)


def _end_with_manager(group: int) -> None:
    """FAULT: a local trial outlives a manager that is killed. End this process with the leader of its group."""
    while True:
        time.sleep(WATCH)
        try:
            os.kill(group, 0)
        except ProcessLookupError:
            os._exit(1)


if __name__ == "__main__":
    sys.path.insert(0, os.getcwd())
    main(*sys.argv[1:])
