"""All that one-shot search imports of NNI and Lightning, in one place so that the import is quiet."""

# ruff: noqa: F401

from __future__ import annotations

from se_nas.oneshot.nni_setup import quiet_imports

with quiet_imports():
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
