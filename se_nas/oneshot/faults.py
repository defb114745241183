"""Faults of NNI 3.0 (and of Lightning in its hands) in one-shot search, and what is done about each: from outside, NNI is left as it is.

Written for that version and no other; NNI is archived and there will be none.

1. ENAS takes Lightning 2's (images, labels) for its own (batch, mode) and fails: `ENAS` says of each batch what it is for.
2. ENAS repeats its last update of the policy for every batch of weights that follows it: `ENAS` updates once.
3. Proxyless exports a random draw: `Proxyless` exports what is most probable.
4. The penalty of DARTS, GumbelDARTS and Proxyless has no gradient (the probabilities that it is given are plain numbers), so it
   changes nothing; and its profiler fails over `nn.Identity`: the cost term here is part of the loss, from our own tables.
5. On Ctrl-C Lightning ends the interpreter and leaves the signal ignored: `interruptible` makes it a KeyboardInterrupt.
6. Lightning and NNI talk while they work: `quiet`. (While they are imported: `se_nas.oneshot.silence`.)
"""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

from se_nas.oneshot.imported import (
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
from se_nas.oneshot.silence import quiet_logs


class Tagged:
    """One epoch of weights' batches, then one of the choices', each as (batch, mode)."""

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
            self._trajectory_counter = 0  # no new reward, no new update
        output = super().training_step(batch, batch_idx)
        if batch[1] == "train":
            self._trajectory_counter = told
        return output


class ENAS(strategies.ENAS):
    """NNI's ENAS without faults 1 and 2."""

    def train_dataloader(self, train: Callable[[], Any], val: Callable[[], Any]) -> Tagged:
        return Tagged(train(), val())

    def configure_oneshot_module(self, training_module: Any) -> Any:
        made = super().configure_oneshot_module(training_module)
        made.__class__ = _EnasModule  # the same but for its step
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
    """Ctrl-C inside ``with`` is a KeyboardInterrupt, and the signals' handlers are as before afterwards."""
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
    """Lightning and NNI say nothing below an error."""
    with quiet_logs(logging.ERROR, "pytorch_lightning", "lightning_fabric", "nni"):
        yield
