"""Everything that is taken of NNI and Lightning, in one place, imported without their talk.

NNI warns of classes of a newer torch that are none of its business, and gym prints that it is unmaintained: no person can
put either right, and NNI needs that gym. tianshou has numba compile loops over a few dozen steps, which takes longer than
they ever will: it gets them as they are written.
"""

# ruff: noqa: F401

from __future__ import annotations

import contextlib
import importlib
import warnings
from collections.abc import Iterator

with contextlib.suppress(ImportError):  # gym prints what this table holds
    importlib.import_module("gym_notices.notices").notices.clear()


@contextlib.contextmanager
def _uncompiled() -> Iterator[None]:
    try:
        from numba import config
    except ImportError:
        yield
        return
    before, config.DISABLE_JIT = config.DISABLE_JIT, 1
    try:
        yield
    finally:
        config.DISABLE_JIT = before


with warnings.catch_warnings(), _uncompiled():
    warnings.simplefilter("ignore")
    from nni.mutable import Categorical
    from nni.nas import strategy as strategies
    from nni.nas.evaluator.pytorch import Lightning, LightningModule, Trainer
    from nni.nas.execution import SequentialExecutionEngine
    from nni.nas.nn.pytorch import LayerChoice, ModelSpace, MutableModule
    from nni.nas.oneshot.pytorch.sampling import EnasLightningModule
    from nni.nas.oneshot.pytorch.strategy import no_default_hook
    from nni.nas.oneshot.pytorch.supermodule.base import BaseSuperNetModule
    from nni.nas.oneshot.pytorch.supermodule.differentiable import DifferentiableMixedInput, DifferentiableMixedLayer
    from nni.nas.oneshot.pytorch.supermodule.proxyless import (
        ProxylessMixedInput,
        ProxylessMixedLayer,
        ProxylessMixedRepeat,
        suppress_already_mutated,
    )
    from nni.nas.space import RawFormatModelSpace, current_model, model_context
    from pytorch_lightning import Callback
