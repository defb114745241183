"""One trial as a process of NNI's training service: ``python -m se_nas.engines.nni_engine.trial RUN.YAML [WEIGHTS]``.

It takes a job from NNI, tries it as every engine does, and reports the trial as JSON. The network's weights go into the
directory WEIGHTS, if there is one, as NUMBER.safetensors.
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

from se_nas.engines.nni_engine import faults

WATCH = 1.0
"""Seconds between two looks at whether the manager is there."""


def main(config: str, weights: str = "") -> None:
    """Run one trial.

    Args:
        config: the run's ``run.yaml``.
        weights: directory for the weights.
    """
    if os.environ.get("NNI_PLATFORM") == "local":
        threading.Thread(target=_end_with, args=(os.getpgrp(),), daemon=True).start()
    nni = faults.load("nni")
    payload = nni.get_next_parameter()
    number = payload["job"]["number"]
    _tell(nni, {"begun": number})
    try:
        _try(nni, payload, config, weights)
    except BaseException:
        nni.report_final_result({"default": 0.0, "trial": json.dumps({"broken": number, "error": traceback.format_exc(limit=-5)})})
        raise


def _try(nni: Any, payload: Mapping[str, Any], config: str, weights: str) -> None:
    from se_nas.engines.attempt import attempt
    from se_nas.engines.nni_engine.jobs import job_of
    from se_nas.evaluate.device import choose_device
    from se_nas.run.evaluator import make_evaluator
    from se_nas.run.run import Run
    from se_nas.run.settings import resolve_settings

    job = job_of(payload["job"])
    timeout, began = payload["timeout"], time.perf_counter()
    if timeout:
        timer = threading.Timer(timeout, _out_of_time, (nni, job, timeout))
        timer.daemon = True
        timer.start()
    run = Run.open(Path(config).parent)
    settings = resolve_settings(run.config["search"], config, {})
    evaluator = make_evaluator(run.space, settings)
    device = choose_device(settings.device.partition(":")[0])  # NNI shows a trial its own GPUs only

    def tell_epoch(number: int, epoch: int, epochs: int, metrics: Mapping[str, float]) -> None:
        _tell(nni, {"number": number, "epoch": epoch, "epochs": epochs, "metrics": dict(metrics)})

    trial, evaluation = attempt(evaluator, job, device, tell_epoch, f"nni:{os.uname().nodename}:{device}")
    if timeout:
        timer.cancel()
    if weights and evaluation and evaluation.weights:
        from safetensors.torch import save_file

        part = Path(weights) / f"{job.number}.part"
        save_file({name: tensor.contiguous() for name, tensor in evaluation.weights.items()}, part)
        part.replace(part.with_suffix(".safetensors"))
    _report(nni, trial.to_json(), time.perf_counter() - began)


def _report(nni: Any, trial: dict[str, Any], process_seconds: float) -> None:
    """The end of a trial. NNI shows the number called default, and passes the rest on."""
    shown = next(iter(trial["metrics"].values()), 0.0)
    nni.report_final_result({"default": shown, "trial": json.dumps(trial), "process_seconds": process_seconds})


def _tell(nni: Any, news: Mapping[str, Any]) -> None:
    nni.report_intermediate_result({"default": news.get("metrics", {}).get("accuracy", 0.0), "news": json.dumps(news)})


def _out_of_time(nni: Any, job: Any, timeout: float) -> None:
    from se_nas.run.trial import Trial

    reason = f"took more than {timeout:g} seconds (--trial-timeout)"
    trial = Trial(**vars(job), status="failed", metrics={}, error=reason, worker=f"nni:{os.uname().nodename}", seconds=timeout)
    _report(nni, trial.to_json(), timeout)
    os._exit(1)


def _end_with(group: int) -> None:
    """FAULT: a trial of the local service outlives a manager that is killed; end this one with the leader of its group."""
    while True:
        time.sleep(WATCH)
        try:
            os.kill(group, 0)
        except ProcessLookupError:
            os._exit(1)


if __name__ == "__main__":
    sys.path.insert(0, os.getcwd())
    main(*sys.argv[1:])
