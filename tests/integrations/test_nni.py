from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import digits_space
from torch import nn

pytest.importorskip("nni")

# A script of the public kind, as in NNI's tutorials: imported after ours, so that it is silent. The line of ours is marked.
import nni
from nni.mutable import frozen_context
from nni.nas import strategy
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.evaluator.pytorch import Classification, DataLoader
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.experiment import NasExperiment
from nni.nas.experiment.config import SequentialEngineConfig
from nni.nas.nn.pytorch import LayerChoice, ModelSpace
from nni.nas.space import RawFormatModelSpace, model_context
from nni.nas.strategy.middleware import Chain, Filter

from se_nas.errors import InputError
from se_nas.integrations.nni import ENAS, Proxyless, SEHooks, architecture, cost, se_choice, to_model_space, within_budgets
from se_nas.oneshot.faults import quiet
from se_nas.se.block import SEBlock


class Net(ModelSpace):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.body = LayerChoice({"conv3": nn.Conv2d(8, 8, 3, padding=1), "conv5": nn.Conv2d(8, 8, 5, padding=2)}, label="body")
        self.se = se_choice(8, label="stage1", reductions=[2, 4], squeezes=["avg", "avg+max"])  # our line
        self.head = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.body(torch.relu(self.stem(x))))
        return self.head(self.se(x).mean((2, 3)))


class Shared(SEHooks, ModelSpace):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 8, 3, padding=1)
        self.se = se_choice(8, label="stage1", reductions=[2, 4], gates=["sigmoid", "tanh"], shared=True)
        self.head = nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.se(torch.relu(self.stem(x))).mean((2, 3)))


def evaluate(model: nn.Module) -> None:
    nni.report_final_result(float(sum(p.numel() for p in model.parameters())))


def one_shot_evaluator() -> Classification:
    generator = torch.Generator().manual_seed(0)
    data = torch.utils.data.TensorDataset(torch.randn(32, 1, 8, 8, generator=generator), torch.arange(32) % 10)
    loaders = {f"{split}_dataloaders": DataLoader(data, batch_size=16) for split in ("train", "val")}
    off = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Classification(learning_rate=1e-2, max_epochs=1, num_classes=10, accelerator="cpu", **loaders, **off)


MULTI_TRIAL: dict[str, Callable[[], Any]] = {
    "random": strategy.Random,
    "grid": strategy.GridSearch,
    "evolution": lambda: strategy.RegularizedEvolution(population_size=3, sample_size=2, mutation_prob=0.5),
    "tpe": strategy.TPE,
    "rl": strategy.PolicyBasedRL,
}
ONE_SHOT: dict[str, Callable[[], Any]] = {
    "darts": strategy.DARTS,
    "gumbel-darts": strategy.GumbelDARTS,
    "proxyless": strategy.Proxyless,
    "our-proxyless": Proxyless,
    "random-one-shot": strategy.RandomOneShot,
    "our-enas": lambda: ENAS(batches_per_update=2, reward_metric_name="val_acc"),
}
SLOW = ("tpe", "rl", "our-enas")  # a second a trial of sleep; tianshou


def marked(strategies: dict[str, Any]) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in strategies]


@pytest.fixture(autouse=True)
def silent() -> Iterator[None]:
    with quiet():
        yield


def needs(name: str) -> None:
    if name in ("rl", "our-enas"):
        pytest.importorskip("tianshou")


@pytest.mark.parametrize("name", marked(MULTI_TRIAL))
@pytest.mark.parametrize("space", [Net, Shared])
def test_a_script_of_the_public_kind_plus_our_line_runs_in_each_multi_trial_strategy(
    name: str, space: type[ModelSpace], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs(name)
    monkeypatch.setenv("HOME", str(tmp_path))  # NNI notes every experiment there
    experiment = NasExperiment(space(), FunctionalEvaluator(evaluate), MULTI_TRIAL[name]())
    experiment.config.execution_engine = SequentialEngineConfig()
    experiment.config.max_trial_number = 4
    experiment.config.experiment_working_directory = tmp_path
    experiment.run(port=18095)
    (best,) = experiment.export_top_models(1, formatter="dict")
    models = list(experiment.strategy.list_models(sort=False))
    experiment.stop()
    assert len({str(model.sample) for model in models if model.metric is not None}) > 1
    network = space().freeze(best)
    assert sum(p.numel() for p in network.parameters()) == max(model.metric for model in models if model.metric is not None)


@pytest.mark.parametrize("name", marked(ONE_SHOT))
@pytest.mark.parametrize("space", [Net, Shared])
def test_it_runs_in_each_one_shot_strategy_and_the_frozen_weights_load_strictly(name: str, space: type[ModelSpace]) -> None:
    needs(name)
    search = ONE_SHOT[name]()
    search(RawFormatModelSpace(space(), one_shot_evaluator()), SequentialExecutionEngine())
    sample = next(iter(search.list_models())).sample
    frozen = search.supernet.freeze(sample)
    with model_context(sample):
        fresh = space()
    fresh.load_state_dict(frozen.state_dict())
    images = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(fresh.eval()(images), frozen.eval()(images))


def test_the_choice_holds_what_was_asked_for() -> None:
    choice = Net().se
    assert list(choice.choice.values) == ["none", "r2-avg-sigmoid", "r2-avg+max-sigmoid", "r4-avg-sigmoid", "r4-avg+max-sigmoid"]
    assert isinstance(choice["none"], nn.Identity) and isinstance(choice["r4-avg-sigmoid"], SEBlock)
    assert choice["r2-avg-sigmoid"].fc1.out_features == 4
    with frozen_context():
        assert "none" not in se_choice(8, label="a", reductions=[2], allow_none=False).choice.values
        rounded = se_choice(8, label="b", reductions=[4, 5, 8], divisor=2)
        assert list(rounded.choice.values) == ["none", "r4-avg-sigmoid"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reductions": [16]}, "16 is not allowed.*a ratio of 1 to 8"),
        ({"squeezes": ["mean"]}, "'mean' is not allowed"),
        ({"gates": []}, "no candidate"),
        ({"label": "a/b"}, "NNI cannot take 'a/b' as a label"),
    ],
)
def test_what_cannot_be_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        se_choice(8, **{"label": "a", "reductions": [2], **arguments})


def test_a_width_that_is_searched_is_refused_with_what_to_do() -> None:
    """F7."""
    with frozen_context(), pytest.raises(InputError, match=r"channels: .*is no number of channels; .*where the width is searched"):
        se_choice(nni.choice("width", [8, 16]), label="a")


def test_a_space_or_a_network_becomes_a_model_space_whose_filter_keeps_the_budgets() -> None:
    space = digits_space(share="stage", budgets={"params": "<= +1%"})
    search = strategy.Random(seed=0)
    kept = Chain(search, Filter(within_budgets(space)))
    engine = SequentialExecutionEngine(max_model_count=6)
    kept(RawFormatModelSpace(to_model_space(space), FunctionalEvaluator(evaluate)), engine)
    models = [model for model in engine.list_models() if model.metric is not None]
    assert len(models) == 6
    for model in models:
        assert space.is_feasible(architecture(space, model.sample))
        assert model.metric == cost(space, model.sample).params  # the network that was tried, to the integer
    network = space.build_backbone()
    own = to_model_space(network, input_size=(1, 8, 8), reduction=[4])
    plain = own.space.reference("plain")
    for ours, theirs in zip(own.frozen(plain).parameters(), network.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    with pytest.raises(InputError, match="takes no reduction"):
        to_model_space(space, reduction=[4])
