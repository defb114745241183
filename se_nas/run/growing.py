"""The front of a search as it grows: what a trial changes is found without going through all trials. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean

from se_nas.goals.objective import Objective, dominates
from se_nas.goals.trade import PARETO, Trade
from se_nas.run.front import Entry, Front, Noise
from se_nas.run.trial import Trial
from se_nas.space.architecture import Architecture


class GrowingFront:
    """The front of the complete trials of one fidelity. A trial costs as much as the front is long, however many trials there are.

    Args:
        objectives: the search's objectives.
        limits: cost with a budget -> largest allowed value.
        fidelity: trials of other fidelities are left out.
        validation_images: size of the validation split, if accuracy is measured on one.
        trade: decides which architecture of the front is best.
    """

    def __init__(
        self,
        objectives: Sequence[Objective],
        limits: Mapping[str, float],
        fidelity: Mapping[str, int],
        validation_images: int | None = None,
        trade: Trade = PARETO,
    ) -> None:
        self._objectives, self._limits, self._fidelity = tuple(objectives), dict(limits), dict(fidelity)
        self._images, self._trade = validation_images, trade
        self._measured = next((objective for objective in objectives if not objective.known), None)
        self._entries: dict[Architecture, Entry] = {}
        self._references: dict[str, Architecture] = {}
        self._best = NonDominated()
        self._noise = _Repeats()

    def add(self, trial: Trial) -> None:
        """Take one more trial of the ledger."""
        values = trial.values
        if not (trial.complete and trial.fidelity == self._fidelity and all(o.name in values for o in self._objectives)):
            return
        architecture, before = trial.architecture, self._entries.get(trial.architecture)
        entry = self._entries[architecture] = _entry((*before.trials, trial) if before else (trial,))
        if trial.role != "proposal":
            self._references[trial.role] = architecture
        if self._measured and before:
            self._noise.add([one.metrics[self._measured.name] for one in entry.trials])
        if before:
            self._best.remove(architecture)
        if all(entry.values.get(metric, math.inf) <= limit for metric, limit in self._limits.items()):
            self._best.add(architecture, tuple(o.loss(entry.values[o.name]) for o in self._objectives))

    @property
    def front(self) -> Front:
        """The front as it is now."""
        best = [self._entries[architecture] for architecture in self._best]
        best.sort(key=lambda entry: (entry.values.get("params", 0), entry.values.get("macs", 0), entry.number))
        references = {role: self._entries[architecture] for role, architecture in self._references.items()}
        noise = self._noise.found or self._sampling(references.get("plain"))
        return Front(self._objectives, tuple(self._entries.values()), tuple(best), references, noise, self._trade)

    def _sampling(self, plain: Entry | None) -> Noise | None:
        """The sampling error of the validation split: what is known of the noise while no seed was repeated."""
        if self._measured is None or self._measured.name != "accuracy" or not self._images or not plain:
            return None
        p = plain.values["accuracy"]
        source = f"a rough guide, the sampling error of {self._images:,} validation images: no seed was repeated"
        return Noise(math.sqrt(p * (1 - p) / self._images), self._images, source)


class NonDominated:
    """Those of many architectures that no other dominates; of equal ones, all.

    Each dominated architecture stands below one that dominates it, in a forest whose roots are the result. A new one is compared
    with the roots alone. When one is removed, only those directly below it have to find another place.
    """

    def __init__(self) -> None:
        self._losses: dict[Architecture, tuple[float, ...]] = {}
        self._above: dict[Architecture, Architecture] = {}
        self._below: dict[Architecture, set[Architecture]] = {}
        self._roots: dict[Architecture, None] = {}

    def __iter__(self) -> Iterator[Architecture]:
        return iter(self._roots)

    def add(self, architecture: Architecture, losses: tuple[float, ...]) -> None:
        """Add one that is not there, with its losses (smaller is better)."""
        self._losses[architecture], self._below[architecture] = losses, set()
        self._place(architecture)

    def remove(self, architecture: Architecture) -> None:
        """Take one out; nothing happens if it is not there."""
        if self._losses.pop(architecture, None) is None:
            return
        above, below = self._above.pop(architecture, None), self._below.pop(architecture)
        if above is not None:  # what it dominated, the one above it dominates too
            self._below[above].remove(architecture)
            self._put(below, above)
            return
        del self._roots[architecture]
        for orphan in sorted(below, key=lambda orphan: self._losses[orphan]):  # a better one first: others go below it
            del self._above[orphan]
            self._place(orphan)

    def _place(self, architecture: Architecture) -> None:
        losses = self._losses[architecture]
        for root in self._roots:
            if dominates(self._losses[root], losses):
                return self._put({architecture}, root)
        beaten = {root for root in self._roots if dominates(losses, self._losses[root])}
        for root in beaten:
            del self._roots[root]
        self._roots[architecture] = None
        self._put(beaten, architecture)

    def _put(self, those: set[Architecture], above: Architecture) -> None:
        self._below[above] |= those
        self._above.update(dict.fromkeys(those, above))


class _Repeats:
    """The noise pooled over architectures with several seeds (Welford's sums: a further value adds its own square)."""

    def __init__(self) -> None:
        self._squares, self._freedom, self._runs, self._architectures = 0.0, 0, 0, 0

    def add(self, values: Sequence[float]) -> None:
        """One architecture's values, the new one last; the others were told before, if there are several."""
        *before, new = values
        self._squares += (new - fmean(before)) ** 2 * len(before) / len(values)
        self._freedom += 1
        self._runs += 1 if len(before) > 1 else 2
        self._architectures += len(before) == 1

    @property
    def found(self) -> Noise | None:
        """None until an architecture has a second seed."""
        if not self._freedom:
            return None
        source = f"{self._runs} trials of {self._architectures} architectures with several seeds"
        return Noise(math.sqrt(self._squares / self._freedom), self._freedom, source)


def _entry(trials: tuple[Trial, ...]) -> Entry:
    if len(trials) == 1:
        return Entry(trials, {**trials[0].costs, **{name: float(trials[0].metrics[name]) for name in sorted(trials[0].metrics)}})
    metrics = set.intersection(*(set(trial.metrics) for trial in trials))
    means = {name: fmean(trial.metrics[name] for trial in trials) for name in sorted(metrics)}
    return Entry(trials, {**trials[0].costs, **means})
