"""What workers get of the CPUs and GPUs, and what happens when too many trials share a GPU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from conftest import digits_space
from torch import nn

import se_nas
from se_nas.engines import ray_tune
from se_nas.engines.job_queue import JobQueue
from se_nas.engines.outcome import Outcome
from se_nas.engines.plan import Job, Plan
from se_nas.engines.ray_tune.resources import WorkerResources, check_memory, choose_resources
from se_nas.engines.recorder import Recorder
from se_nas.evaluate import Evaluation, Report
from se_nas.evaluate.memory import CONTEXT, training_memory
from se_nas.goals.objective import parse_objectives
from se_nas.run.evaluator import make_evaluator
from se_nas.run.observer import Observer
from se_nas.run.run import Run
from se_nas.run.settings import SearchSettings
from se_nas.space.architecture import Architecture


@pytest.mark.parametrize(
    ("asked", "machine", "given"),
    [
        ({}, (8, 0), WorkerResources(8, 1, 0)),
        ({"cpus_per_trial": 2}, (8, 0), WorkerResources(4, 2, 0)),
        ({"workers": 16}, (2, 0), WorkerResources(16, 1, 0)),
        ({}, (16, 2), WorkerResources(2, 8, 1)),
        ({"gpus_per_trial": 0.25}, (16, 1), WorkerResources(4, 4, 0.25)),
        ({"gpus_per_trial": 0.25, "workers": 2}, (16, 1), WorkerResources(2, 8, 0.25)),
        ({"gpus_per_trial": 0}, (16, 2), WorkerResources(16, 1, 0)),
        ({"gpus_per_trial": 2}, (16, 4), WorkerResources(2, 8, 2)),
        ({"device": "cpu"}, (4, 2), WorkerResources(4, 1, 0)),
    ],
)
def test_what_is_not_asked_for_is_what_fits(asked: dict[str, Any], machine: tuple[float, float], given: WorkerResources) -> None:
    assert choose_resources(SearchSettings(**asked), 1, *machine) == given


@pytest.mark.parametrize(
    ("asked", "machine", "message"),
    [
        (
            {"gpus_per_trial": 0.25, "workers": 8},
            (16, 1),
            "need 2, and 1 are there; take at most --workers 4",
        ),
        ({"gpus_per_trial": 1}, (16, 0), "a trial asks for 1 GPUs, and 0 are there"),
        ({"device": "cuda", "gpus_per_trial": 0}, (16, 1), "trials on a GPU have none"),
        (
            {"gpus_per_trial": 0.5, "objectives": ("accuracy", "min:latency")},
            (16, 1),
            "latency cannot be measured on a GPU",
        ),
    ],
)
def test_what_cannot_be_is_refused(asked: dict[str, Any], machine: tuple[float, float], message: str) -> None:
    with pytest.raises(se_nas.InputError, match=message):
        choose_resources(SearchSettings(**asked), 1, *machine)


def test_sharing_loosens_until_each_has_a_gpu() -> None:
    shares = []
    resources: WorkerResources | None = WorkerResources(8, 1, 0.25)
    while resources:
        shares.append((resources.to_a_gpu, resources.workers))
        resources = resources.looser()
    assert shares == [(4, 8), (2, 4), (1, 2)]
    assert WorkerResources(8, 1, 0).looser() is None


def test_more_trials_than_fit_the_memory_is_refused() -> None:
    gib = 2**30
    check_memory(5 * gib, WorkerResources(2, 1, 0.5), 16 * gib)
    check_memory(20 * gib, WorkerResources(2, 1, 1), 16 * gib)  # an estimate: one alone may try
    with pytest.raises(se_nas.InputError, match=r"4 trials to a GPU of 16.0 GiB, .* about 5.0 GiB; take --gpus-per-trial 0.34 or more"):
        check_memory(5 * gib, WorkerResources(4, 1, 0.25), 16 * gib)


def test_memory_of_a_training_step_is_what_autograd_keeps() -> None:
    """Of a chain of linear layers without biases each keeps its input: counted by hand."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 32, bias=False), nn.Linear(32, 16, bias=False))
    parameters = 48 * 32 + 32 * 16
    expected = CONTEXT + 3 * 4 * parameters + 1.25 * 4 * 64 * (48 + 32)
    assert training_memory(network, (3, 4, 4), 64, half=False) == pytest.approx(expected, abs=1)
    assert training_memory(network, (3, 4, 4), 64, half=True) == pytest.approx(expected - 0.625 * 4 * 64 * (48 + 32), abs=1)


def test_the_largest_candidate_is_what_counts() -> None:
    space = digits_space()
    small = training_memory(space.build(space.reference("plain")), space.input_size, 64, True)
    evaluator = make_evaluator(space, SearchSettings())
    assert ray_tune._largest(evaluator) > small
    assert ray_tune._largest(lambda *a: None) == 0  # type: ignore[arg-type, return-value]


class Crowded:
    """Runs out of memory for one architecture while it shares a GPU."""

    def __init__(self, architecture: Architecture) -> None:
        self.architecture = architecture

    def __call__(self, architecture: Architecture, seed: int, fidelity: Mapping[str, int], device: str, report: Report) -> Evaluation:
        import ray

        share = ray.get_runtime_context().get_assigned_resources().get("GPU")
        assert device == "cuda"
        if architecture == self.architecture and share < 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
        return Evaluation({"accuracy": 0.5, "share": share})


@pytest.mark.slow
def test_out_of_memory_is_tried_again_with_more_room(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On GPUs that Ray is told of and that are not there: who shares one is real, the lack of memory is not."""
    from se_nas.engines.environment_variables import environment
    from se_nas.engines.ray_tune.cluster import QUIET, own_cluster

    notes: list[str] = []

    class Listen(Observer):
        def note(self, text: str) -> None:
            notes.append(text)

    space = digits_space()
    monkeypatch.setattr(ray_tune, "_this_machine", lambda: (4.0, 1.0))
    with environment(QUIET), own_cluster(cpus=4, gpus=1, threads=1):
        run = se_nas.search(
            space,
            trials=6,
            strategy="random",
            evaluator=Crowded(space.reference("paper")),
            out=tmp_path / "run",
            engine="ray",
            gpus_per_trial=0.25,
            cpus_per_trial=0.5,
            observer=Listen(),
        )
    assert len(run.trials) == 6 and all(t.complete for t in run.trials)
    share = {t.number: t.metrics["share"] for t in run.trials}
    assert share[0] == 0.25 and share[1] == 1.0
    assert [note.split(" with ")[-1] for note in notes] == ["2 to a GPU", "1 to a GPU"]
    assert all("trial 1: CUDA out of memory" in note for note in notes)


def test_out_of_memory_alone_on_a_gpu_is_a_failed_trial(tmp_path) -> None:
    """What the tracker decides, without workers."""
    pytest.importorskip("ray")
    from se_nas.engines.ray_tune.job_tracker import JobTracker, LiveTask

    space, settings = digits_space(), SearchSettings(trials=4)
    plan = Plan(space, settings, parse_objectives(settings.objectives), [])
    run = Run.create(tmp_path / "run", {"search": settings.to_dict(), "budgets": []})
    queue = JobQueue(plan, lambda *_: Evaluation({}), 1, lambda text: None)
    tracker = JobTracker(queue, Recorder(run, plan, Observer()), WorkerResources(1, 1, 1.0), 0, ("accuracy", 1.0))
    job = plan.next()
    assert isinstance(job, Job)
    tracker._ended(LiveTask([job], [job]), job, Outcome("memory", error="CUDA out of memory"))
    assert [(t.status, t.error) for t in run.trials] == [("failed", "CUDA out of memory")]
