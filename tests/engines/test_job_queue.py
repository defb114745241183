"""What is handed out together, again, or alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from conftest import digits_space
from worker_evaluators import Joint, Lookup

from se_nas.engines.job_queue import JobQueue
from se_nas.engines.outcome import evaluate_jobs
from se_nas.engines.plan import Job, Plan
from se_nas.errors import InputError, OutOfMemory
from se_nas.evaluate import Apart, Evaluation
from se_nas.goals.objective import parse_objectives
from se_nas.run.settings import SearchSettings

Make = Callable[..., JobQueue]


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def make(tmp_path: Any, notes: list[str]) -> Make:
    def queue(together: int = 4, evaluator: Any = None, **settings: Any) -> JobQueue:
        asked = SearchSettings(**{"trials": 11, "strategy": "random", **settings})
        plan = Plan(digits_space(), asked, parse_objectives(asked.objectives), [])
        return JobQueue(plan, evaluator or Joint(tmp_path / "calls"), together, notes.append)

    return queue


def numbers(jobs: Any) -> list[int]:
    return [job.number for job in jobs]


def test_jobs_of_one_seed_go_together_and_the_references_are_first(make: Make) -> None:
    queue = make(repeats=2)
    assert [numbers(queue.next()) for _ in range(6)] == [[0, 1], [2, 3], [4, 5, 6, 7], [8, 9, 10], [], []]
    assert queue.over
    single = make(together=1)
    assert [numbers(single.next()) for _ in range(2)] == [[0], [1]]
    assert numbers(make(evaluator=Lookup("nowhere")).next()) == [0]  # type: ignore[arg-type]


def test_what_comes_again_comes_first_and_the_search_is_not_over_before(make: Make, notes: list[str]) -> None:
    queue = make(trials=6)
    first, rest = queue.next(), queue.next()
    assert (numbers(first), numbers(rest), queue.next(), queue.over) == ([0, 1, 2, 3], [4, 5], (), True)
    queue.apart(first, Apart("the memory is full", 2))
    assert not queue.over and [numbers(queue.next()) for _ in range(3)] == [[0, 1], [2, 3], []]
    queue.alone(first[:2])
    queue.again(rest)
    assert [numbers(queue.next()) for _ in range(3)] == [[4, 5], [0], [1]]
    queue.apart(first, Apart("an old one", 2))
    assert [numbers(queue.next()) for _ in range(2)] == [[0, 1], [2, 3]]
    assert notes == ["2 trials train together, not 4: the memory is full"]


class Refusing:
    """Raises what it is given, where several are asked for; looks single ones up."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __call__(self, *asked: object) -> Evaluation:
        return Evaluation({"accuracy": 0.5})

    def together(self, *asked: object) -> list[Evaluation]:
        raise self.error


@pytest.mark.parametrize(
    ("error", "reason", "most"),
    [
        (Apart("it cannot"), "it cannot", 1),
        (Apart("not so many", 9), "not so many", 3),
        (OutOfMemory("full. Tried to allocate"), "full", 2),
        (InputError("no image", "mend it", "data"), "InputError: data: no image; mend it", 1),
        (ValueError("shapes\ndiffer"), "ValueError: shapes differ", 1),
    ],
)
def test_every_error_of_several_says_how_many_may_be_tried(make: Make, error: Exception, reason: str, most: int) -> None:
    jobs: Any = make().next()
    evaluator, reports = Refusing(error), [lambda *_: None] * 4
    with pytest.raises(Apart) as caught:
        evaluate_jobs(evaluator, jobs, "cpu", reports, "local:cpu")  # type: ignore[arg-type]
    assert (str(caught.value), caught.value.most, caught.value.__context__) == (reason, most, None)
    job: Job = jobs[0]
    assert evaluate_jobs(evaluator, [job], "cpu", reports[:1], "local:cpu")[0].status == "complete"  # type: ignore[arg-type]
