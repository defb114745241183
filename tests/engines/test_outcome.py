"""What becomes of a trial: decided in one place, whatever the evaluator returns or raises."""

from __future__ import annotations

import json
import math
import pickle

import pytest
import torch
from conftest import digits_space

from se_nas.engines.outcome import Outcome, evaluate_job, lost
from se_nas.engines.plan import Job, Plan
from se_nas.errors import InputError, OutOfMemory, TrialFailed
from se_nas.evaluate import Evaluation
from se_nas.goals.objective import parse_objectives
from se_nas.run.settings import SearchSettings
from se_nas.run.trial import Trial

TORCH_MEMORY = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")


@pytest.fixture
def reference() -> Job:
    settings = SearchSettings(trials=4)
    job = Plan(digits_space(), settings, parse_objectives(settings.objectives), []).next()
    assert isinstance(job, Job) and job.role == "plain"
    return job


@pytest.fixture
def proposal(reference: Job) -> Job:
    return Job(**{**vars(reference), "number": 2, "role": "proposal"})


def outcome_of(job: Job, result: Evaluation | BaseException) -> Outcome:
    def evaluator(architecture: object, seed: int, fidelity: object, device: str, report: object) -> Evaluation:
        assert (architecture, seed, fidelity, device) == (job.architecture, job.seed, job.fidelity, "cpu")
        if isinstance(result, BaseException):
            raise result
        return result

    return evaluate_job(evaluator, job, "cpu", lambda *_: None, "local:cpu")


@pytest.mark.parametrize("role", ["reference", "proposal"])
@pytest.mark.parametrize(
    ("result", "status", "error"),
    [
        (Evaluation({"accuracy": 0.5}, {"w": torch.ones(1)}), "complete", None),
        (Evaluation({"accuracy": math.nan}, {"w": torch.ones(1)}), "failed", "accuracy is nan"),
        (Evaluation({"accuracy": math.inf}), "failed", "accuracy is inf"),
        (TrialFailed("loss is nan in epoch 2"), "failed", "loss is nan in epoch 2"),
        (OutOfMemory("CUDA out of memory (batch size 8)"), "memory", "CUDA out of memory (batch size 8)"),
        (TORCH_MEMORY, "memory", "CUDA out of memory"),
    ],
    ids=["complete", "nan", "inf", "failed", "memory", "torch's memory"],
)
def test_what_an_architecture_can_do_is_its_trials(role: str, result: object, status: str, error: str | None, request) -> None:
    job = request.getfixturevalue(role)
    outcome = outcome_of(job, result)  # type: ignore[arg-type]
    assert (outcome.status, outcome.error, outcome.cause) == (status, error, None)
    complete = status == "complete"
    assert (outcome.metrics, bool(outcome.weights)) == (({"accuracy": 0.5}, True) if complete else ({}, False))
    trial = outcome.trial(job)
    assert (trial.status, trial.error) == ("complete" if complete else "failed", error)
    assert (trial.number, trial.role, trial.architecture, trial.worker) == (job.number, job.role, job.architecture, "local:cpu")
    assert Trial.from_json(json.loads(json.dumps(trial.to_json()))) == trial


def test_any_other_error_fails_a_proposal(proposal: Job) -> None:
    outcome = outcome_of(proposal, ValueError("shapes differ"))
    assert (outcome.status, outcome.error, outcome.cause) == ("failed", "ValueError: shapes differ", None)


@pytest.mark.parametrize("error", [ValueError("shapes differ"), InputError("no data", "get some", "data")], ids=["bug", "input"])
def test_any_other_error_of_a_reference_ends_the_search(reference: Job, error: Exception) -> None:
    outcome = outcome_of(reference, error)
    assert outcome.status == "broken" and str(error) in str(outcome.error)
    with pytest.raises(type(error)) as caught:
        outcome.trial(reference)
    assert caught.value is error
    sent: Outcome = pickle.loads(pickle.dumps(Outcome("broken", error=outcome.error)))  # from a worker, without its exception
    with pytest.raises(RuntimeError, match=r"trial 0 \(plain\) cannot be run: (.*\n)*.*" + str(error).split(";")[0]):
        sent.trial(reference)


@pytest.mark.parametrize("signal", [KeyboardInterrupt(), SystemExit(1)], ids=["ctrl-c", "exit"])
def test_an_interrupt_is_no_outcome(proposal: Job, signal: BaseException) -> None:
    with pytest.raises(type(signal)):
        outcome_of(proposal, signal)


def test_a_lost_process_fails_a_proposal_and_ends_the_search_for_a_reference(reference: Job, proposal: Job) -> None:
    trial = lost(proposal, "its process died", "a log", "ray").trial(proposal, "2026-01-01T00:00:00+00:00")
    assert (trial.status, trial.error, trial.worker, trial.started) == ("failed", "its process died", "ray", "2026-01-01T00:00:00+00:00")
    with pytest.raises(RuntimeError, match=r"trial 0 \(plain\) cannot be run: its process died\na log"):
        lost(reference, "its process died", "a log", "ray").trial(reference)


def test_a_stopped_trial_keeps_what_it_reached(proposal: Job) -> None:
    trial = Outcome("stopped", {"accuracy": 0.4}, worker="ray").trial(proposal, fidelity={"epochs": 3, "of": 10})
    assert trial.stopped and trial.values["accuracy"] == 0.4 and trial.fidelity == {"epochs": 3, "of": 10}


def test_a_job_survives_the_way_to_another_process(proposal: Job) -> None:
    assert Job.from_json(json.loads(json.dumps(proposal.to_json()))) == proposal
