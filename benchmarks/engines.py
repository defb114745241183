"""What engines cost outside of training, and how they scale.

    python benchmarks/engines.py [--trials 200] [--sleep 10] [--workers 1 2 4 8 16] [--rounds 3] [--only overhead|scaling|nni]

Overhead: seconds a trial of an evaluator that does nothing, with one worker: from the first trial's end to the last one's,
so that starting is apart. ``local`` is the engine in this process, ``ray`` ours, ``tune`` a function in a Tuner with Tune's
defaults (one process a trial) on the same Ray session settings; ``nni`` NNI's sequential engine with ours (random) and its own
strategies, ``service`` a process a trial by its local training service, one and two at a time (``--evaluator paper``, which
only looks up; a process there begins by importing torch). Scaling: an evaluator that only sleeps, workers started
beforehand; the share of the ideal is (rounds x seconds of sleep) / (seconds from all workers being there to the last trial's end).
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import se_nas
from se_nas.engines.environment_variables import environment
from se_nas.engines.ray_tune.cluster import QUIET, own_cluster
from se_nas.evaluate import Evaluation, Report
from se_nas.run.front import Front
from se_nas.run.observer import Observer
from se_nas.run.trial import Trial
from se_nas.space.architecture import Architecture


class Sleeper:
    """Sleeps, and gives an accuracy that the architecture decides.

    With a folder, the first call in each process waits until so many processes are there, instead of sleeping.
    """

    def __init__(self, seconds: float = 0.0, folder: str = "", workers: int = 0) -> None:
        self.seconds, self.folder, self.workers = seconds, folder, workers

    def __call__(self, architecture: Architecture, seed: int, fidelity: Mapping[str, int], device: str, report: Report) -> Evaluation:
        mark = Path(self.folder) / f"ready-{os.getpid()}"
        if self.folder and not mark.exists():
            mark.touch()
            while len(list(mark.parent.glob("ready-*"))) < self.workers:
                time.sleep(0.01)
            return Evaluation({"accuracy": 0.5, "ended": time.time()})
        began = time.time()
        time.sleep(self.seconds)
        return Evaluation({"accuracy": int(architecture.id, 16) % 1000 / 1000, "began": began, "ended": time.time()})


class Clock(Observer):
    def __init__(self) -> None:
        self.ends: list[float] = []

    def trial_finished(self, trial: Trial, front: Front) -> None:
        self.ends.append(time.perf_counter())

    @property
    def each(self) -> float:
        """Seconds a trial after the first."""
        return (self.ends[-1] - self.ends[0]) / (len(self.ends) - 1)


def space() -> se_nas.SearchSpace:
    candidates = {"reduction": [2, 4, 8, 16], "squeeze": ["avg", "max", "std"], "gate": ["sigmoid", "tanh"]}
    return se_nas.SearchSpace("resnet8", (1, 8, 8), **candidates, backbone_args={"in_channels": 1})


def search(folder: str, clock: Observer, sleeper: Sleeper, **arguments: object) -> se_nas.Run:
    settings = {"strategy": "random", "keep_weights": "none", **arguments}
    return se_nas.search(space(), evaluator=sleeper, observer=clock, out=Path(folder) / "run", **settings)


def overhead(trials: int, tune_trials: int) -> dict[str, float]:
    seconds = {}
    for engine in ("local", "ray"):
        clock = Clock()
        with tempfile.TemporaryDirectory() as folder:
            search(folder, clock, Sleeper(), trials=trials, engine=engine, workers=1)
        seconds[engine] = clock.each
        print(f"{engine:6} {clock.each:8.4f} s a trial, {trials} trials", flush=True)
    seconds["tune"] = tune_defaults(tune_trials)
    print(f"{'tune':6} {seconds['tune']:8.4f} s a trial, {tune_trials} trials", flush=True)
    print(f"ours is {seconds['tune'] / seconds['ray']:.1f} times less than Tune's defaults")
    return seconds


def nni_overhead(trials: int, service_trials: int) -> None:
    for name in ("se-nas:random", "random", "evolution", "tpe", "rl"):
        clock = Clock()
        with tempfile.TemporaryDirectory() as folder:
            search(folder, clock, Sleeper(), trials=trials, engine="nni", strategy=name, objectives=["accuracy"])
        print(f"nni, {name:13} {clock.each:8.4f} s a trial, {len(clock.ends)} trials", flush=True)
    for workers in (1, 2):
        clock = Clock()
        table = se_nas.SearchSpace("resnet50", (3, 224, 224), reduction=[4, 8, 16, 32], share="stage")
        settings = {"engine": "nni", "nni_service": "local", "workers": workers, "strategy": "random", "device": "cpu"}
        with tempfile.TemporaryDirectory() as folder:
            se_nas.search(table, out=Path(folder) / "run", evaluator="paper", trials=service_trials, observer=clock, **settings)
        print(f"service, {workers} worker{'s' * (workers > 1)} {clock.each:8.2f} s a trial, {service_trials} trials", flush=True)


def tune_defaults(trials: int) -> float:
    """A function in a Tuner, as its documentation shows it; one at a time, like ours. Times are those of its calls."""
    with environment({name: QUIET[name] for name in ("RAY_AIR_NEW_OUTPUT", "RAY_USAGE_STATS_ENABLED")}), own_cluster(1, 0, 1):
        from ray import tune

        from se_nas.integrations.ray import param_space

        def train(config: dict[str, object]) -> None:
            tune.report({"accuracy": 0.5, "ended": time.time()})

        with tempfile.TemporaryDirectory() as folder:
            results = tune.Tuner(
                train,
                param_space=param_space(space()),
                tune_config=tune.TuneConfig(num_samples=trials),
                run_config=tune.RunConfig(storage_path=folder, verbose=0),
            ).fit()
            ends = sorted(result.metrics["ended"] for result in results)
    return float(ends[-1] - ends[0]) / (trials - 1)


def scaling(workers: int, sleep: float, rounds: int) -> float:
    """Share of the ideal speed-up of ``rounds`` trials a worker, once all workers are there."""
    with tempfile.TemporaryDirectory() as folder:
        sleeper = Sleeper(sleep, folder, workers)
        trials = search(folder, Observer(), sleeper, trials=workers * (rounds + 1), engine="ray", workers=workers).trials
    ready = max(t.metrics["ended"] for t in trials if "began" not in t.metrics)
    return rounds * sleep / (max(t.metrics["ended"] for t in trials) - ready)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=200, help="that do nothing")
    parser.add_argument("--tune-trials", type=int, help="with Tune's defaults, which take long (default: as --trials)")
    parser.add_argument("--service-trials", type=int, default=12, help="with NNI's training service, which take seconds")
    parser.add_argument("--sleep", type=float, default=10.0, help="seconds of a trial that sleeps")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--rounds", type=int, default=3, help="trials of each worker")
    parser.add_argument("--only", choices=("overhead", "scaling", "nni"))
    args = parser.parse_args()
    print(f"{os.cpu_count()} cores of {platform.machine()}, load {os.getloadavg()[0]:.1f}")
    if args.only in (None, "overhead"):
        overhead(args.trials, args.tune_trials or args.trials)
    if args.only in (None, "nni"):
        nni_overhead(args.trials, args.service_trials)
    if args.only in (None, "scaling"):
        for workers in args.workers:
            share = scaling(workers, args.sleep, args.rounds)
            print(f"{workers:3} workers: {share * workers:6.2f} times as fast as one, {share:.3f} of ideal", flush=True)


if __name__ == "__main__":
    main()
