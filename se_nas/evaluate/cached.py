"""What a frozen backbone computes of a batch before the first SE block, kept for later trials that see the same batch.

Up to there all architectures compute alike. What they compute is known by its content: a digest of the calls and of all that
they read (`se_nas.evaluate.calls`), so that only what is truly the same is shared. A trial begins each batch at the latest cut
that is kept and not behind its own first SE block, and keeps its own cut on the way.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from se_nas.evaluate.calls import Differs, Plan, Recording, Replay, Result, random_state, set_random_state
from se_nas.evaluate.kept import Kept, Tensors
from se_nas.evaluate.students import Key, Students
from se_nas.network.placement import attached_blocks


class Activations:
    """Activations of batches, and the forms of the calls that gave them. A pickle or deep copy of it is empty.

    Args:
        limit: GB of memory; 0 keeps nothing, None a quarter of what is free.
        patience: how many times as long as computing reading from disk may take.
    """

    def __init__(self, limit: float | None = None, patience: float = 1.0) -> None:
        self.kept = Kept(limit, patience)
        self._forms: dict[tuple[str, torch.Size], list[Result]] = {}
        self.checked: set[object] = set()

    def __reduce__(self) -> tuple[type[Activations], tuple[float | None, float]]:
        return type(self), (self.kept.limit, self.kept.patience)

    def latest(self, plan: Plan, images: Tensor, key: Key) -> int:
        """The latest cut of a plan at which something is kept of a batch; 0 if nothing is."""
        for cut in range(len(plan), 0, -1):
            if (plan.digests[cut], images.shape) in self._forms and (plan.digests[cut], key) in self.kept:
                return cut
        return 0

    def replay(self, plan: Plan, images: Tensor, key: Key) -> Replay:
        """A pass that begins at the latest cut, and keeps the plan's own if that is another one and there is room."""
        cut, keep = self.latest(plan, images, key), self.kept.takes(plan.digests[-1], key)
        form = keep and (plan.digests[-1], images.shape) not in self._forms
        if not cut:
            return Replay(plan, images, [], {}, keep, form)
        tensors = self.kept.get(plan.digests[cut], key)
        if not plan.live(cut) <= tensors.keys():
            raise Differs("it reads more behind the cut")
        return Replay(plan, images, self._forms[plan.digests[cut], images.shape], tensors, keep and cut < len(plan), form)

    def keep(self, plan: Plan, images: Tensor, key: Key, tensors: Tensors, passed: Recording | Replay) -> None:
        """Keep tensors that are read after a plan, if there is room; ``passed`` is the pass that gave them."""
        if self.kept.put(plan.digests[-1], key, tensors, passed.seconds):
            self._forms.setdefault((plan.digests[-1], images.shape), passed.results)


class Cached:
    """Students with a frozen backbone, whose batches begin at what is kept.

    The first batch is computed as usual and recorded. Unless an earlier trial did so at this very cut, it is then computed again
    with what is kept. Only if the scores are the same, bit for bit, are later batches computed in this way.

    Args:
        students: what trains; in evaluation mode.
        activations: of all trials of this process.
    """

    def __init__(self, students: Students, activations: Activations) -> None:
        self._students, self._activations = students, activations
        self.module = students.module
        self._plan: Plan | None = None
        self._off = False

    def __len__(self) -> int:
        return len(self._students)

    def split(self) -> Mapping[nn.Parameter, nn.Parameter]:
        return self._students.split()

    def weights(self, index: int) -> Mapping[str, Tensor]:
        return self._students.weights(index)

    def scores(self, images: Tensor, key: Key | None = None) -> Tensor:
        """(N, C, H, W) -> (K, N, classes). The first batch is one of training."""
        if self._off or key is None:
            return self._students.scores(images)
        if self._plan is None:
            return self._first(images, key)
        try:
            return self._pass(self._plan, images, key)
        except Differs as difference:  # before anything that trains was computed
            self._stop(str(difference))
            return self._students.scores(images)

    def _pass(self, plan: Plan, images: Tensor, key: Key) -> Tensor:
        with self._activations.replay(plan, images, key) as replay:
            scores = self._students.scores(images)
        if replay.keeps:
            self._activations.keep(plan, images, key, replay.kept(), replay)
        return scores

    def _first(self, images: Tensor, key: Key) -> Tensor:
        before, state = random_state(images.device), self._state(images)
        with Recording(images, attached_blocks(self.module)) as recording:
            scores = self._students.scores(images)
        self._plan, after = recording.plan(scores), random_state(images.device)
        if not len(self._plan):
            self._off = True
        elif state != self._state(images):
            self._stop("its forward pass changes it")
        else:
            cut = self._activations.latest(self._plan, images, key)
            if not cut and (tensors := recording.kept(self._plan)):
                self._activations.keep(self._plan, images, key, tensors, recording)
            del recording
            if cut < len(self._plan) or self._kind(self._plan) not in self._activations.checked:
                self._check(self._plan, images, key, scores, before)
                set_random_state(images.device, after)
        return scores

    def _kind(self, plan: Plan) -> object:
        """What decides whether a batch can begin at a plan's end."""
        return len(self), plan.digests[-1], plan.live(len(plan)), plan.changing(len(plan))

    def _check(self, plan: Plan, images: Tensor, key: Key, scores: Tensor, random: list[Tensor]) -> None:
        """Compute a batch again: at what is kept, and then at what was kept on the way."""
        try:
            for _ in range(1 if self._activations.latest(plan, images, key) == len(plan) else 2):
                set_random_state(images.device, random)
                again = self._pass(plan, images, key)
                if not torch.allclose(again, scores, rtol=0, atol=0, equal_nan=True):
                    raise Differs("the scores are not the same")
            self._activations.checked.add(self._kind(plan))
        except Exception as error:  # of a network that looks at tensors without torch's knowledge, it may be any
            self._activations.kept.drop(plan.digests[-1])
            self._stop(" ".join(f"{'' if isinstance(error, Differs) else type(error).__name__ + ': '}{error}".split())[:200])
        self._off = self._off or not self._activations.latest(plan, images, key)  # there was no room

    def _state(self, images: Tensor) -> list[int]:
        """Versions of all that a forward pass could write to."""
        return [tensor._version for tensor in (images, *self.module.parameters(), *self.module.buffers())]

    def _stop(self, reason: str) -> None:
        self._off = True
        self._activations.kept.say(f"activations are not kept for all trials: {reason}")
