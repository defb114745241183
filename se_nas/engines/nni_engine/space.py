"""A search space for NNI's multi-trial strategies: one choice for each group, without the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from nni.mutable import Categorical, LabeledMutable, Mutable, MutableDict
from nni.nas.space import ExecutableModelSpace, ModelStatus

from se_nas.engines.plan import Job
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace

Execute = Callable[["Model"], None]


class Model(ExecutableModelSpace):
    """The whole space, or one architecture once frozen.

    A choice is the index of an option in its group, so different samples are different networks.

    Args:
        space: the search space.
        execute: called to try a frozen model.

    Attributes:
        sample: label -> index, of a frozen model that NNI sampled.
        job: the job that this model is for, if there is one already.
    """

    def __init__(self, space: SearchSpace, execute: Execute) -> None:
        super().__init__()
        self._space, self._execute = space, execute
        names = [name.replace("/", ".") for name in space.coding.names]  # NNI uses slashes in labels itself
        self.labels = tuple(f"{place}:{name}" for place, name in enumerate(names))
        options = dict(zip(self.labels, map(range, space.coding.sizes), strict=True))
        self._mutables = MutableDict({label: Categorical(places, label=label) for label, places in options.items()})
        self.evaluator = None
        self.sample: dict[str, int] | None = None
        self.job: Job | None = None
        self._architecture: Architecture | None = None

    def freeze(self, sample: Mapping[str, int]) -> Model:
        self.validate(dict(sample))
        frozen = self._fixed(self._space.decode(np.array([sample[label] for label in self.labels])))
        frozen.sample = {label: sample[label] for label in self.labels}
        return frozen

    def of_job(self, job: Job) -> Model:
        """The model of a job. A reference need not be in the space."""
        frozen = self._fixed(job.architecture)
        frozen.job = job
        return frozen

    def _fixed(self, architecture: Architecture) -> Model:
        frozen = Model.__new__(Model)
        ExecutableModelSpace.__init__(frozen, ModelStatus.Frozen)
        frozen.__dict__.update({key: value for key, value in vars(self).items() if key not in ("status", "metrics")})
        frozen._architecture = architecture
        return frozen

    @property
    def architecture(self) -> Architecture:
        """The architecture of a frozen model."""
        assert self._architecture is not None
        return self._architecture

    def execute(self) -> None:
        self._execute(self)

    def check_contains(self, sample: dict[str, Any]) -> Any:
        return self._mutables.check_contains(sample)

    def leaf_mutables(self, is_leaf: Callable[[Mutable], bool]) -> Iterable[LabeledMutable]:
        yield from self._mutables.leaf_mutables(is_leaf)
