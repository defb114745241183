"""What `se_nas.oneshot.faults` says of NNI is so: a test that fails here means that a fault is gone, and its remedy may go."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn

pytest.importorskip("nni")

from conftest import ROOT

from se_nas.oneshot import faults
from se_nas.oneshot.nni_imports import LayerChoice, Lightning, LightningModule, ModelSpace, RawFormatModelSpace, Trainer, strategies
from se_nas.oneshot.nni_imports import SequentialExecutionEngine as Engine


class Net(ModelSpace):
    def __init__(self) -> None:
        super().__init__()
        self.body = LayerChoice({"wide": nn.Conv2d(1, 4, 3, padding=1), "narrow": nn.Conv2d(1, 4, 1)}, label="body")
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x).mean((2, 3)))


class Training(LightningModule):
    def training_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> torch.Tensor:
        return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

    def validation_step(self, batch: tuple[torch.Tensor, torch.Tensor], index: int) -> None:
        self.log("reward", -self.training_step(batch, index), on_step=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.model.parameters(), 0.01)


def run(strategy: object) -> object:
    """A strategy over a few batches, with the same numbers each time."""
    torch.manual_seed(0)
    with faults.quiet():
        images = torch.utils.data.TensorDataset(torch.randn(48, 1, 4, 4), torch.randint(2, (48,)))
        batches = torch.utils.data.DataLoader(images, batch_size=8)
        off = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = Trainer(max_epochs=1, accelerator="cpu", limit_val_batches=0, **off)
        evaluator = Lightning(Training(), trainer, train_dataloaders=batches, val_dataloaders=batches)
        strategy(RawFormatModelSpace(Net(), evaluator), Engine())  # type: ignore[operator]
    return strategy


def test_enas_takes_images_for_a_mode_and_ours_does_not() -> None:
    pytest.importorskip("tianshou")
    options = {"batches_per_update": 2, "reward_metric_name": "reward"}
    with pytest.raises((ValueError, IndexError)):
        run(strategies.ENAS(**options))
    assert next(iter(run(faults.ENAS(**options)).list_models())).sample["body"] in ("wide", "narrow")  # type: ignore[attr-defined]


def test_enas_updates_once_for_each_reward(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tianshou")
    strategy = run(faults.ENAS(batches_per_update=3, reward_metric_name="reward", update_kwargs={"batch_size": 8, "repeat": 1}))
    module = strategy.oneshot_module  # type: ignore[attr-defined]
    updates: list[int] = []
    monkeypatch.setattr(module.policy, "update", lambda *_, **__: updates.append(1))
    assert module._trajectory_counter == 6
    batch = (torch.randn(8, 1, 4, 4), torch.randint(2, (8,)))
    monkeypatch.setattr(module, "advance_optimization", lambda *_: None)
    monkeypatch.setattr(module, "advance_lr_schedulers", lambda *_: None)
    monkeypatch.setattr(module, "log_probs", lambda *_: None)
    type(module).__mro__[1].training_step(module, (batch, "train"), 0)  # NNI's own
    assert len(updates) == 1
    module.training_step((batch, "train"), 0)
    assert len(updates) == 1 and module._trajectory_counter == 6


def test_proxyless_exports_by_chance_and_ours_the_most_probable() -> None:
    exported = {}
    for kind in (strategies.Proxyless, faults.Proxyless):
        strategy = run(kind())
        strategy._arch_parameters["body"].data = torch.tensor([0.1, 0.0])  # type: ignore[attr-defined]
        exported[kind] = {strategy.oneshot_module.export()["body"] for _ in range(40)}  # type: ignore[attr-defined]
    assert exported == {strategies.Proxyless: {"wide", "narrow"}, faults.Proxyless: {"wide"}}


def test_the_penalty_of_darts_changes_nothing() -> None:
    from nni.nas.profiler.pytorch.flops import FlopsProfiler

    learned = []
    for scale in (0.0, 1e6):
        penalty = {"profiler": FlopsProfiler(Net(), torch.zeros(1, 1, 4, 4)), "baseline": 1.0, "scale": scale}
        learned.append(run(strategies.DARTS(penalty=penalty))._arch_parameters["body"].detach())  # type: ignore[attr-defined]
    assert torch.equal(*learned)


@pytest.mark.slow
def test_importing_is_silent() -> None:
    code = "import se_nas.integrations.nni, se_nas.oneshot.search"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout == done.stderr == ""


def test_quiet_leaves_filters_as_they_were() -> None:
    before = list(warnings.filters)
    with faults.quiet():
        assert warnings.filters != before
    assert warnings.filters == before
