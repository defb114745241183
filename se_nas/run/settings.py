"""What a search is asked to do: defaults, then the space file's ``search:`` section, then flags. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from se_nas.errors import InputError, known
from se_nas.evaluate.settings import TrainSettings
from se_nas.goals.trade import TRADES, WEIGHT
from se_nas.space.spacefile import check_keys

SCHEDULERS = ("none", "asha", "hyperband", "pbt")
"""What may end a trial before its last epoch."""

NNI_SERVICES = ("none", "local", "remote")
"""Where the engine ``nni`` runs trials: in this process, as processes of this machine, or of others."""

_LEAST = {"epochs": 1, "trials": 1, "repeats": 1, "front_seeds": 1, "seed": 0, "threads": 0}
_LEAST |= {"supernet_epochs": 0, "cost_weight": 0}
_LEAST |= {"workers": 0, "cpus_per_trial": 0, "gpus_per_trial": 0, "trial_timeout": 0}


@dataclass(frozen=True)
class SearchSettings:
    """Everything that decides a search beside its space.

    Attributes:
        data: ``digits``, ``cifar10``, ``folder:PATH``, ``package.module:callable``, see `se_nas.evaluate.data`.
        data_root: where torchvision's data sets lie or are downloaded to.
        epochs: of each trial.
        trials: how many to have finished at the end, the references among them.
        seed: of the strategy, and of each trial.
        strategy: a name in `se_nas.strategies.STRATEGIES`.
        objectives: what to trade, the first being what "best" means.
        trade: ``pareto``, ``weighted`` or ``constrained``, see `se_nas.goals.trade`.
        targets: of ``weighted``: objective -> target, ``300k`` or ``+5%`` of the plain backbone; that one's own by default.
        weight: of ``weighted``: the exponent, below 0.
        repeats: seeds with which both references are trained; 2 or more measure the noise between seeds.
        front_seeds: most seeds of one architecture: with 2 or more, strategy ``known-cost`` tries what is on the front again
            where noise hides what is better; it needs the noise, so ``repeats`` of 2 or more.
        prior: ``paper``: strategy ``known-cost`` begins with what the SENet paper's tables say of SE-ResNet-50 on ImageNet.
        threads: of the CPU in training; 0 chooses by how much work a step is.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        keep_weights: of which trials: ``front`` (and references), ``all`` or ``none``.
        warm_start: directory of an earlier run whose trials the strategy is told first; it does not try them again.
        evaluator: ``training``, or ``paper``: estimates from the SENet paper's tables, see `se_nas.evaluate.paper`.
        supernet_epochs: of a one-shot search's supernet; 0 takes ``epochs``.
        cost_weight: of the cost term in a one-shot search: the loss for each unit that the mean cost is over its target, one
            unit being what the dearest architecture adds to the plain backbone.
        cost_metric: of that term, ``params`` or ``macs``.
        cost_target: what costs nothing, written as a budget is (``+2%``, ``1.2M``); empty for the plain backbone's cost.
        engine: where trials run, a name in `se_nas.engines.ENGINES`. The rest but ``train`` is for engines with workers.
        workers: trials at a time; 0 takes as many as the machine or cluster holds.
        cpus_per_trial: CPU cores of each; 0 takes the number of threads.
        gpus_per_trial: GPUs of each, or a share of one such as 0.25; ``None`` takes one where there are any.
        address: of a cluster to connect to, ``auto`` or ``HOST:PORT``; empty for workers on this machine.
        storage: where partial trainings are kept, seen by every machine; empty for the run's directory.
        trial_timeout: seconds after which a trial is ended as failed; 0 for no limit.
        scheduler: ends bad trials early, a name in `SCHEDULERS`.
        nni_service: of the engine ``nni``: trials as processes, a name in `NNI_SERVICES`.
        nni_machines: YAML file of the machines of the ``remote`` service.
        train: how networks are trained.
    """

    data: str = "digits"
    data_root: str = "data"
    epochs: int = 3
    trials: int = 30
    seed: int = 0
    strategy: str = "known-cost"
    objectives: tuple[str, ...] = ("accuracy", "params")
    trade: str = "pareto"
    targets: Mapping[str, Any] = field(default_factory=dict)
    weight: float = WEIGHT
    repeats: int = 1
    front_seeds: int = 1
    prior: str = ""
    threads: int = 0
    device: str = "auto"
    keep_weights: str = "front"
    warm_start: str = ""
    evaluator: str = "training"
    supernet_epochs: int = 0
    cost_weight: float = 0
    cost_metric: str = "params"
    cost_target: str = ""
    engine: str = "local"
    workers: int = 0
    cpus_per_trial: float = 0
    gpus_per_trial: float | None = None
    address: str = ""
    storage: str = ""
    trial_timeout: float = 0
    scheduler: str = "none"
    nni_service: str = "none"
    nni_machines: str = ""
    train: TrainSettings = field(default_factory=TrainSettings)

    def __post_init__(self) -> None:
        for key, least in _LEAST.items():
            value = getattr(self, key)
            if value is not None and not value >= least:
                raise InputError(f"{value} is below {least}", f"take {least} or more", key)
        known(self.evaluator, ("training", "paper"), "evaluator")
        if self.front_seeds > 1:
            known(self.strategy, ("known-cost",), "strategy with front_seeds")
            if self.repeats < 2:
                raise InputError("front_seeds needs to know the noise between seeds", "take repeats of 2 or more", "front_seeds")
        if self.prior:
            known(self.prior, ("paper",), "prior")
            known(self.strategy, ("known-cost",), "strategy with a prior")
            if not {"accuracy", "max:estimated_accuracy"} & set(self.objectives):
                raise InputError("the paper's tables say what accuracy to expect, and it is no objective", "add accuracy", "prior")
        known(self.cost_metric, ("params", "macs"), "cost_metric")
        known(self.keep_weights, ("front", "all", "none"), "keep_weights")
        known(self.scheduler, SCHEDULERS, "scheduler")
        known(self.trade, TRADES, "trade")
        known(self.nni_service, NNI_SERVICES, "nni_service")

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "objectives": list(self.objectives)}


_TYPES: dict[str, tuple[type, ...]] = {
    "data": (str,),
    "data_root": (str,),
    "epochs": (int,),
    "trials": (int,),
    "seed": (int,),
    "strategy": (str,),
    "objectives": (list,),
    "trade": (str,),
    "targets": (dict,),
    "weight": (int, float),
    "repeats": (int,),
    "front_seeds": (int,),
    "prior": (str,),
    "threads": (int,),
    "device": (str,),
    "keep_weights": (str,),
    "warm_start": (str,),
    "evaluator": (str,),
    "supernet_epochs": (int,),
    "cost_weight": (int, float),
    "cost_metric": (str,),
    "cost_target": (str,),
    "engine": (str,),
    "workers": (int,),
    "cpus_per_trial": (int, float),
    "gpus_per_trial": (int, float, type(None)),
    "address": (str,),
    "storage": (str,),
    "trial_timeout": (int, float),
    "scheduler": (str,),
    "nni_service": (str,),
    "nni_machines": (str,),
    "train": (dict,),
}
_TRAIN_TYPES: dict[str, tuple[type, ...]] = {f.name: (type(f.default),) for f in fields(TrainSettings)}


def resolve_settings(section: Mapping[str, Any], source: str, flags: Mapping[str, Any]) -> SearchSettings:
    """Settings from a ``search:`` section, overridden by flags that are not None.

    Raises:
        InputError: for an unknown key or a value of the wrong type, naming the file and key.
    """
    check_keys(section, _TYPES, source)
    check_keys(section.get("train", {}), _TRAIN_TYPES, f"{source}, train")
    given = {key: value for key, value in flags.items() if value is not None}
    merged = {**section, **given}
    if merged.get("evaluator") == "paper":
        own = {"accuracy": "max:estimated_accuracy"}  # so that no estimate is taken for a measurement
        merged["objectives"] = [own.get(str(name), name) for name in merged.get("objectives", SearchSettings.objectives)]
    if "objectives" in merged:
        merged["objectives"] = tuple(map(str, merged["objectives"]))
    try:
        return SearchSettings(**{**merged, "train": TrainSettings(**merged.get("train", {}))})
    except InputError as error:
        flag = f"--{error.source}".replace("_", "-")
        raise InputError(error.problem, error.fix, flag if error.source in given else f"{source}, {error.source}") from None
