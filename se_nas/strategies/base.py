"""The base class of all strategies: remembers results and pending trials, and never proposes twice or over budget."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from se_nas.errors import InputError
from se_nas.goals.objective import Objective, Reward, is_number
from se_nas.space.choices import plain_scalar
from se_nas.strategies.domain import make_domain
from se_nas.strategies.domain.base import Floats, Ints, Key
from se_nas.strategies.told import Told
from se_nas.text import shown


class Strategy(ABC):
    """Proposes architectures (`ask`) and learns from their results (`tell`).

    Proposals depend only on the arguments, on what was told (in order), and on what is pending. So telling a new strategy the
    same restores the old one. Pickling does too.

    Args:
        space: a `SearchSpace`, a `CategoricalSpace`, or any object with ``dims`` (name -> values) and optionally ``costs``.
        objectives: what to optimise. Values of known objectives come from the space; values of the others are told.
        seed: random seed.

    Attributes:
        domain: the architectures, as codes.
        objectives: those that are compared.
        told: the results.
        seen: keys of what was told or is pending.

    Raises:
        InputError: for objectives that do not fit the space, or budgets that nothing meets.
    """

    OPTIONS: ClassVar[tuple[str, ...]] = ()
    """Names of the strategy's additional keyword arguments."""

    def __init__(self, space: Any, objectives: Sequence[Objective], seed: int = 0) -> None:
        given = _check_objectives(objectives)
        self.objectives = tuple(objective for objective in given if objective.compared)
        self.domain = make_domain(space, given)
        self.seed = seed
        self._known = [i for i, o in enumerate(self.objectives) if o.known]
        self._limits = np.array([math.inf if o.budget is None else o.loss(float(o.budget)) for o in self.objectives])
        self._pending: dict[Key, Ints] = {}
        self._heard: set[Key] = set()
        self._times = 0
        self.told = Told(len(self.domain.sizes), len(self.objectives))
        self.seen: set[Key] = set()

    def ask(self, n: int) -> list[Any]:
        """Propose up to n architectures within the budgets; fewer if no more are left.

        None of them was asked or told before, except for repeats (`may_repeat`).

        Raises:
            InputError: unless n is a whole number, 0 or more.
        """
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 0:
            raise InputError(f"{shown(n)} is not a number of architectures", "ask for 0 or more")
        asked: list[Any] = []
        while len(asked) < n:
            rng = np.random.default_rng([self.seed, len(self.seen)])
            codes = self.propose(rng)
            if codes is None or (self.is_seen(codes) and not self.may_repeat(codes)) or not self.domain.feasible(codes[None])[0]:
                codes = self.domain.unseen(self.seen, rng)
            if codes is None:
                break
            self._pending[codes.tobytes()] = codes
            self.seen.add(codes.tobytes())
            asked.append(self.domain.decode(codes))
        return asked

    def tell(self, architecture: Any, metrics: Mapping[str, Any] | float | None) -> None:
        """Report the result of a trial. It need not have been asked for: references, warm starts and further seeds are told too.

        Args:
            architecture: the architecture. One that is not in a `SearchSpace` is ignored.
            metrics: a finite value for each measured objective (other metrics are ignored), or the value itself if there is one
                measured objective; None for a failed trial. Scalars of NumPy and torch are numbers too.

        Raises:
            InputError: for a value that is missing or not a finite number; the trial is then not recorded.
        """
        codes = self.domain.encode(architecture)
        if metrics is not None and not isinstance(metrics, Mapping):
            metrics = {self._only_measured(metrics): metrics}
        values = None if metrics is None else [self._value(objective, metrics, codes) for objective in self.objectives]
        if codes is None:
            return
        key = codes.tobytes()
        self._pending.pop(key, None)
        self._heard.add(key)
        self.seen.add(key)
        self._times += 1
        if values is not None:
            losses = np.array([o.loss(value) for o, value in zip(self.objectives, values, strict=True)])
            losses[self._known] = self.known_losses(codes[None])[0]
            self.told.add(codes, losses, bool(self.domain.feasible(codes[None])[0]))

    def expect(self, architecture: Any) -> None:
        """Count an architecture as pending although it was not asked for. Ignores one that is seen already or not in the space."""
        codes = self.domain.encode(architecture)
        if codes is not None and not self.is_seen(codes):
            self._pending[codes.tobytes()] = codes
            self.seen.add(codes.tobytes())

    def withdraw(self) -> None:
        """Forget what is pending: those trials will not be told, and may be proposed again."""
        self.seen -= self._pending.keys() - self._heard
        self._pending.clear()

    def _value(self, objective: Objective, metrics: Mapping[str, float], codes: Ints | None) -> float:
        if objective.known:
            return 0.0
        if isinstance(objective, Reward):
            if codes is None:
                return self._value(objective.quality, metrics, codes)
            costs = dict(zip(self.domain.known, self.domain.costs(self.domain.known, codes[None])[0].tolist(), strict=True))
            return objective.of({o.name: costs[o.name] if o.known else self._value(o, metrics, codes) for o in objective.parts})
        value = plain_scalar(metrics.get(objective.name))
        if not is_number(value) or not math.isfinite(value):
            problem = f"{objective.name} is {shown(value)}" if objective.name in metrics else f"{objective.name} is missing"
            raise InputError(f"{problem}, not a finite number", "tell None for a trial that failed", "metrics")
        return float(value)

    def _only_measured(self, value: object) -> str:
        """The name of the measured objective, for a result told as a number."""
        parts = [part for o in self.objectives for part in (o.parts if isinstance(o, Reward) else (o,))]
        measured = list(dict.fromkeys(part.name for part in parts if not part.known))
        if len(measured) != 1:
            fix = f"tell a mapping of {', '.join(measured)}" if measured else "tell {}: all objectives are known"
            raise InputError(f"{shown(value)} does not say which objective it is", fix, "metrics")
        return measured[0]

    @abstractmethod
    def propose(self, rng: np.random.Generator) -> Ints | None:
        """Codes of the next architecture, shape (genes,).

        `ask` replaces None, and codes that are seen or over budget, by a random new architecture.
        """

    # What was told, for the strategies.

    def is_seen(self, codes: Ints) -> bool:
        """Whether an architecture was told or is pending."""
        return codes.tobytes() in self.seen

    def may_repeat(self, codes: Ints) -> bool:
        """Whether `ask` may propose a seen architecture again, for a trial with another seed. Strategies may override this."""
        return False

    @property
    def nearly_done(self) -> bool:
        """Whether more than half of the feasible architectures are seen. It is then faster to draw new ones than to breed them."""
        return self.domain.count is not None and len(self.seen) > self.domain.count / 2

    @property
    def pending(self) -> Ints:
        """Codes of what was asked and not yet told, shape (n, genes)."""
        return np.array(list(self._pending.values()), np.int64).reshape(-1, len(self.domain.sizes))

    @property
    def finished(self) -> tuple[Ints, Floats, Ints]:
        """Architectures with results, in the order told: (codes, losses, trials).

        Codes have shape (n, genes). Losses are means over an architecture's trials, smaller is better, shape (n, objectives).
        Trials are their numbers, shape (n,).
        """
        return self.told.after(len(self.told))

    @property
    def candidates(self) -> tuple[Ints, Floats]:
        """Codes and losses of `finished` within the budgets of known objectives, to breed from.

        If an architecture exceeds the budget of a measured objective, its losses are raised above all others.
        """
        codes, losses, _ = self.finished
        codes, losses = codes[self.told.within], losses[self.told.within]
        excess = np.maximum(losses - self._limits, 0).sum(1)
        if excess.any():
            worst = losses.max(0)
            losses = np.where(excess[:, None] > 0, worst + 1 + excess[:, None], losses)
        return codes, losses

    def known_losses(self, codes: Ints) -> Floats:
        """Losses of the known objectives, shape (n, known objectives)."""
        signs = np.array([self.objectives[i].loss(1.0) for i in self._known])
        return signs * self.domain.costs([self.objectives[i].name for i in self._known], codes)


def _check_objectives(objectives: Sequence[Objective]) -> tuple[Objective, ...]:
    checked = tuple(objectives)
    if not all(isinstance(objective, Objective) for objective in checked) or not any(objective.compared for objective in checked):
        raise InputError(f"{shown(objectives)} are not objectives", "give at least one se_nas.Objective", "objectives")
    if len({objective.name for objective in checked}) < len(checked):
        raise InputError("an objective is named twice", "name each once", "objectives")
    return checked
