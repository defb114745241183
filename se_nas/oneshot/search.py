"""One-shot search: trains a supernet with one of NNI's strategies, then ranks the space's architectures by it."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim.swa_utils import update_bn

from se_nas.errors import known
from se_nas.evaluate import Report
from se_nas.evaluate.batches import eval_batches, resident
from se_nas.evaluate.data import Data
from se_nas.evaluate.device import choose_threads, find_device, reproducible
from se_nas.evaluate.parts import scores_of
from se_nas.evaluate.start import load_start
from se_nas.oneshot import ONE_SHOT, faults
from se_nas.oneshot.expected_cost import ExpectedCost
from se_nas.oneshot.nni_imports import Lightning, RawFormatModelSpace, SequentialExecutionEngine, Trainer, strategies
from se_nas.oneshot.nni_setup import NEEDED_FOR_RL, check_installed
from se_nas.oneshot.supernet import SEModelSpace
from se_nas.oneshot.training import Batches, EpochCallback, SupernetTraining
from se_nas.run.settings import SearchSettings
from se_nas.space.architecture import Architecture
from se_nas.space.space import SearchSpace

REACH = 6.0
"""How far a logit can move: its learning rate times the number of steps. In the DARTS paper it is 3e-4 x 50 epochs x 390."""

WARM_UP = 4
"""The first quarter of the epochs trains only weights, no choices."""

RECALIBRATING = 8
"""Batches from which the batch norms of an architecture that is drawn from a supernet get statistics of their own."""

SAMPLED = 64
"""At least so many architectures are drawn to rank a supernet trained on random paths."""


@dataclass(frozen=True)
class OneShotResult:
    """What a one-shot search found.

    Attributes:
        architectures: within the budgets, most promising first.
        probabilities: dimension of the space -> value -> probability; empty if the strategy learns none.
        supernet: the trained supernet. ``supernet.frozen(architecture)`` is a network with its part of the weights.
    """

    architectures: tuple[Architecture, ...]
    probabilities: Mapping[str, Mapping[Any, float]]
    supernet: SEModelSpace


def search_one_shot(
    space: SearchSpace,
    settings: SearchSettings,
    data: Data,
    count: int,
    device: str = "cpu",
    report: Report | None = None,
    start: Mapping[str, Tensor] | None = None,
) -> OneShotResult:
    """Train a supernet's weights on ``data.train`` and its choices on ``data.val``, then rank architectures.

    DARTS, GumbelDARTS, Proxyless and ENAS learn probabilities. They rank architectures within the budgets by the product of
    their probabilities. RandomOneShot learns none. It draws architectures within the budgets, and ranks them by accuracy
    on ``data.val`` with the supernet's weights.

    Args:
        space: the search space with its budgets.
        settings: ``strategy``, ``seed``, ``supernet_epochs``, ``cost_*``, ``threads`` and ``train`` are used.
        data: images of the space's input size.
        count: number of architectures to return; fewer if the space has no more.
        device: ``cpu`` or ``cuda:N``.
        report: called after each epoch.
        start: the plain network's weights, with which the supernet begins as single networks do.

    Raises:
        InputError: for a strategy that is not one-shot, a missing extra, or a wrong cost setting.
    """
    name, place = _name(settings), find_device(device)
    data = resident(data, place)  # once, for training and ranking
    model, strategy = train_supernet(space, settings, data, device, report, start)
    cost = ExpectedCost(space, settings.cost_metric, settings.cost_target)
    if name == "random-one-shot":
        with reproducible(settings.seed, place, _threads(space, settings)):
            return OneShotResult(_best_drawn(model, data, cost, settings, count, place), {}, model)
    learned = model.probabilities() if name != "enas" else _policy(strategy)
    ranking = tuple(islice(space.ranked(cost.worth(learned)), count))
    named = {label: dict(zip(values, learned[label].tolist(), strict=True)) for label, values in space.dimensions.items()}
    return OneShotResult(ranking, named, model)


def train_supernet(
    space: SearchSpace,
    settings: SearchSettings,
    data: Data,
    device: str = "cpu",
    report: Report | None = None,
    start: Mapping[str, Tensor] | None = None,
) -> tuple[SEModelSpace, Any]:
    """The trained supernet, on ``device``, and NNI's strategy that trained it. Arguments and errors are those of `search_one_shot`."""
    name = _name(settings)
    known(name, ONE_SHOT, "strategy")
    check_installed()
    place = find_device(device)
    epochs = settings.supernet_epochs or settings.epochs
    cost = ExpectedCost(space, settings.cost_metric, settings.cost_target)
    threads = _threads(space, settings)
    with reproducible(settings.seed, place, threads), _seeded(settings.seed), faults.quiet(), faults.interruptible():
        model = SEModelSpace(space)
        if start is not None:
            load_start(model.network, start)
        loaders = [Batches(data, split, settings.train, place) for split in ("train", "val")]
        strategy = _MAKE[name](REACH / (max(map(len, loaders)) * (epochs - epochs // WARM_UP)), epochs // WARM_UP)
        trainer = Trainer(
            max_epochs=epochs,
            accelerator="gpu" if place.type == "cuda" else "cpu",
            devices=[place.index] if place.type == "cuda" else 1,
            callbacks=[EpochCallback(report)] if report else [],
            num_sanity_val_steps=0,
            limit_val_batches=0,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        training = SupernetTraining(settings.train, cost, settings.cost_weight, start is not None)
        evaluator = Lightning(training, trainer, train_dataloaders=loaders[0], val_dataloaders=loaders[1])
        strategy(RawFormatModelSpace(model, evaluator), SequentialExecutionEngine())
        model.to(place)  # Lightning leaves it on the CPU
    return model, strategy


def _name(settings: SearchSettings) -> str:
    return settings.strategy.rpartition(":")[2]  # a run stores nni:NAME


def _threads(space: SearchSpace, settings: SearchSettings) -> int:
    return settings.threads or choose_threads(space.plain_cost.macs, settings.train.batch_size)


def _enas(lr: float, warm_up: int) -> Any:
    check_installed(NEEDED_FOR_RL, "nni-rl")
    from nni.nas.strategy._rl_impl import default_policy_fn

    # NNI's defaults (learning rate 1e-4, an update every 20 batches) need tens of thousands of batches
    policy = partial(default_policy_fn, lr=1e-3)
    return faults.ENAS(batches_per_update=10, reward_metric_name="reward", warmup_epochs=warm_up, policy_fn=policy)


_MAKE: dict[str, Callable[[float, int], Any]] = {
    "darts": lambda lr, warm_up: strategies.DARTS(arc_learning_rate=lr, warmup_epochs=warm_up),
    "gumbel-darts": lambda lr, warm_up: strategies.GumbelDARTS(arc_learning_rate=lr, warmup_epochs=warm_up),
    "proxyless": lambda lr, warm_up: faults.Proxyless(arc_learning_rate=lr, warmup_epochs=warm_up),
    "enas": _enas,
    "random-one-shot": lambda lr, warm_up: strategies.RandomOneShot(),
}


def _policy(strategy: Any) -> dict[str, Tensor]:
    """The probabilities of ENAS's controller along its most probable choices, each given those before it."""
    generator = strategy.oneshot_module.generator
    generator.policy.eval()
    generator.policy._deterministic_eval, generator.policy.action_type = True, "discrete"  # tianshou does not recognise gym's
    with torch.no_grad():
        generator.next_sample()
    logits = {label: torch.tensor(values, dtype=torch.float64) for label, values in generator.sample_logits.items()}
    return {label: values / values.sum() for label, values in logits.items()}  # NNI calls them logits; they are probabilities


@torch.inference_mode()
def drawn_scores(
    model: SEModelSpace, architectures: Iterable[Architecture], data: Data, settings: SearchSettings, device: torch.device
) -> list[tuple[float, float]]:
    """Accuracy (0..1) and loss of each architecture on ``data.val``, with the weights of a supernet trained on random paths."""
    batch = 2 * settings.train.batch_size
    fresh = settings.train.frozen(settings.started) == "none"
    sample = [images for images, _ in islice(eval_batches(data, data.train, batch, device), RECALIBRATING)]
    found: list[tuple[float, float]] = []
    for architecture in architectures:
        model.draw(architecture)
        if fresh:  # the statistics of its batch norms are a mixture over all architectures
            update_bn(sample, model)
        model.eval()
        right, loss = torch.zeros((), device=device), torch.zeros((), device=device)
        for images, labels in eval_batches(data, data.val, batch, device):
            scores = scores_of(model(images))
            right += (scores.argmax(1) == labels).sum()
            loss += torch.nn.functional.cross_entropy(scores, labels, reduction="sum")
        found.append((float(right) / len(data.val), float(loss) / len(data.val)))
    return found


def _best_drawn(
    model: SEModelSpace, data: Data, cost: ExpectedCost, settings: SearchSettings, count: int, device: torch.device
) -> tuple[Architecture, ...]:
    """Draw architectures within the budgets; return the best by accuracy on ``data.val`` minus the cost term, then by loss."""
    space = model.space
    codes = space.sample_many(settings.seed, max(SAMPLED, 4 * count))
    drawn = list({architecture.id: architecture for architecture in map(space.decode, codes)}.values())
    excess = [float(cost.excess(float(getattr(space.cost(architecture), cost.metric)))) for architecture in drawn]
    scores = drawn_scores(model, drawn, data, settings, device)
    badness = [(settings.cost_weight * over - accuracy, loss) for over, (accuracy, loss) in zip(excess, scores, strict=True)]
    return tuple(drawn[i] for i in sorted(range(len(drawn)), key=badness.__getitem__)[:count])


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed Python's and numpy's global generators, which NNI and tianshou use, and restore them afterwards."""
    before, numpy_before = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed % 2**32)
    try:
        yield
    finally:
        random.setstate(before)
        np.random.set_state(numpy_before)
