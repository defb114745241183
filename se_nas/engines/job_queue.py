"""What is tried next: jobs of the plan that can train as one network, and those that are tried again."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from se_nas.engines.plan import Job, Plan
from se_nas.evaluate import Apart, Evaluator

FULL = "the memory does not hold more"


class JobQueue:
    """Hands out the plan's jobs, up to ``together`` at a time. Those handed out at once have one seed, fidelity and backbone.

    Args:
        plan: where they come from.
        evaluator: what tries them. One without ``together`` gets a job at a time.
        together: most at a time.
        note: told once why there are fewer.

    Attributes:
        plan: where they come from.
        together: most at a time, as far as is known now.
    """

    def __init__(self, plan: Plan, evaluator: Evaluator, together: int, note: Callable[[str], None]) -> None:
        self.plan, self.together, self._note = plan, together if hasattr(evaluator, "together") else 1, note
        self._waiting: deque[Sequence[Job]] = deque()
        self._ended = False

    @property
    def over(self) -> bool:
        """Whether the plan has no more jobs, and none waits to be tried again."""
        return self._ended and not self._waiting

    def next(self) -> Sequence[Job]:
        """The next jobs; none if there are no more."""
        if not self._waiting and not self._ended:
            self._waiting.extend(_alike(self._planned()))
            self._ended = not self._waiting
        if not self._waiting:
            return ()
        jobs = self._waiting.popleft()
        if len(jobs) > self.together:
            self._waiting.appendleft(jobs[self.together :])
        return jobs[: self.together]

    def _planned(self) -> list[Job]:
        jobs: list[Job] = []
        while len(jobs) < self.together and (job := self.plan.next()):
            jobs.append(job)
        return jobs

    def again(self, jobs: Sequence[Job]) -> None:
        """Hand out jobs that were not tried to their end once more, before all others."""
        self._waiting.appendleft(jobs)

    def alone(self, jobs: Sequence[Job]) -> None:
        """The same, each by itself."""
        self._waiting.extendleft([job] for job in reversed(jobs))

    def apart(self, jobs: Sequence[Job], reason: Apart) -> None:
        """The same for jobs that could not be tried together, and for all that come: fewer at a time."""
        self.fewer(reason.most, str(reason))
        self.again(jobs)

    def fewer(self, number: int, reason: str) -> None:
        """Hand out at most ``number`` at a time from now on."""
        if number < self.together:
            said = f"{number} trials train together" if number > 1 else "trials train one after another"
            self._note(f"{said}, not {self.together}: {reason}")
            self.together = number


def _alike(jobs: Sequence[Job]) -> list[list[Job]]:
    """Jobs of one seed, fidelity and backbone, in the order of the first of each."""
    found: dict[tuple[object, ...], list[Job]] = {}
    for job in jobs:
        found.setdefault((job.seed, tuple(job.fidelity.items()), job.architecture.extra), []).append(job)
    return list(found.values())
