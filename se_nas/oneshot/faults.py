"""Faults of NNI 3.0 (and of Lightning as NNI uses it) in one-shot search, and how each is worked around.

All are worked around from outside, for this version only. NNI is archived; there will be no other.

1. ENAS takes Lightning 2's (images, labels) for its own (batch, mode) and fails. `ENAS` tags each batch with its mode.
2. ENAS repeats its last update of the policy for every later batch of weights. `ENAS` updates once.
3. Proxyless exports a random draw. `Proxyless` exports the most probable values.
4. The penalty of DARTS, GumbelDARTS and Proxyless has no gradient, since it gets probabilities as plain numbers; so it changes
   nothing. Its profiler fails on `nn.Identity`. Here the cost term is part of the loss, from our own tables.
5. On Ctrl-C, Lightning ends the interpreter and leaves the signal ignored. `interruptible` raises KeyboardInterrupt instead.
6. Lightning and NNI log while they work: `quiet`. For their imports see `se_nas.oneshot.nni_setup`.
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from se_nas.oneshot.nni_imports import (
    DifferentiableMixedInput,
    DifferentiableMixedLayer,
    EnasLightningModule,
    ProxylessMixedInput,
    ProxylessMixedLayer,
    ProxylessMixedRepeat,
    no_default_hook,
    strategies,
    suppress_already_mutated,
)
from se_nas.oneshot.nni_setup import quiet_logs


class TaggedBatches:
    """An epoch of batches for the weights, then one for the choices, each batch as (batch, mode)."""

    def __init__(self, train: Any, val: Any) -> None:
        self._train, self._val = train, val

    def __len__(self) -> int:
        return len(self._train) + len(self._val)

    def __iter__(self) -> Iterator[tuple[Any, str]]:
        for batch in self._train:
            yield batch, "train"
        for batch in self._val:
            yield batch, "val"


class _EnasModule(EnasLightningModule):
    _trajectory_counter: int

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        told = self._trajectory_counter
        if batch[1] == "train":
            self._trajectory_counter = 0  # without a new reward, no new update
        output = super().training_step(batch, batch_idx)
        if batch[1] == "train":
            self._trajectory_counter = told
        return output


class ENAS(strategies.ENAS):
    """NNI's ENAS without faults 1 and 2."""

    def train_dataloader(self, train: Callable[[], Any], val: Callable[[], Any]) -> TaggedBatches:
        return TaggedBatches(train(), val())

    def configure_oneshot_module(self, training_module: Any) -> Any:
        made = super().configure_oneshot_module(training_module)
        made.__class__ = _EnasModule  # the same class with another step
        return made


class _Layer(ProxylessMixedLayer):
    export = DifferentiableMixedLayer.export


class _Input(ProxylessMixedInput):
    export = DifferentiableMixedInput.export


class Proxyless(strategies.Proxyless):
    """NNI's Proxyless without fault 3."""

    def default_mutation_hooks(self) -> list[Any]:
        return [suppress_already_mutated, _Layer.mutate, _Input.mutate, ProxylessMixedRepeat.mutate, no_default_hook]


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Make Ctrl-C a KeyboardInterrupt, and restore the signal handlers afterwards."""
    here = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except SystemExit as end:
        raise KeyboardInterrupt from end
    finally:
        for number, handler in handlers.items() if here else ():
            signal.signal(number, handler)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Let Lightning and NNI log errors only."""
    with quiet_logs(logging.ERROR, "pytorch_lightning", "lightning_fabric", "nni"):
        yield
